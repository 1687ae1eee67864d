"""A decorator for lifecycle callbacks: rclpy swallows their exceptions without a word, this one logs them."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import State, TransitionCallbackReturn

from c2f_ros.contract import ContractError

Callback = Callable[[Any, State], TransitionCallbackReturn]


def guarded(on_failure: TransitionCallbackReturn) -> Callable[[Callback], Callback]:
    """Log an exception of the callback with its traceback, release the node's resources, return `on_failure`.

    A ContractError is an expected refusal: its sentence is logged first, for the person who has to act.
    """

    def decorate(callback: Callback) -> Callback:
        @functools.wraps(callback)
        def wrapped(node: Any, state: State) -> TransitionCallbackReturn:
            try:
                return callback(node, state)
            except Exception as error:
                sentence = str(error) if isinstance(error, ContractError) else f"{type(error).__name__}: {error}"
                node.get_logger().error(f"{callback.__name__} failed: {sentence}\n{traceback.format_exc()}")
                node.release()
                return on_failure

        return wrapped

    return decorate
