"""A ROS context for the length of a `with`, and waiting in it for something to become true."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import rclpy

LOOK_AGAIN_S = 0.1
"""What wakes no executor (a subscription that matches, on older ROS) is looked at this often."""


@contextmanager
def ros_context() -> Iterator[None]:
    """rclpy, initialized without arguments and shut down at the end (older rclpy.init is no context manager)."""
    rclpy.init(args=[])
    try:
        yield
    finally:
        rclpy.try_shutdown()


def spin_until(executor: Any, is_true: Callable[[], bool], timeout_s: float) -> bool:
    """Spin until `is_true()`, looked at after every event; False if that takes longer than `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        executor.spin_once(timeout_sec=min(left, LOOK_AGAIN_S))
    return True
