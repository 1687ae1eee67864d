"""Waiting with a ROS executor for something to become true."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

LOOK_AGAIN_S = 0.1
"""What wakes no executor (a subscription that matches, on older ROS) is looked at this often."""


def spin_until(executor: Any, is_true: Callable[[], bool], timeout_s: float) -> bool:
    """Spin until `is_true()`, looked at after every event; False if that takes longer than `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        executor.spin_once(timeout_sec=min(left, LOOK_AGAIN_S))
    return True
