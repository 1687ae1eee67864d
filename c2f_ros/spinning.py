"""Several nodes in one process: an executor and a thread for each, so that cameras do not wait for each other."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor


def spin(executors: Sequence[SingleThreadedExecutor]) -> None:
    """Spin each in a thread of its own until one ends; then all end. Raises what ended them.

    With rclpy's MultiThreadedExecutor two cameras took a third more CPU time per frame.
    """

    def run(executor: SingleThreadedExecutor) -> None:
        try:
            executor.spin()
        finally:
            rclpy.try_shutdown()

    if len(executors) == 1:
        executors[0].spin()
        return
    with ThreadPoolExecutor(len(executors), "c2f_callbacks") as pool:
        errors = [ended.exception() for ended in [pool.submit(run, executor) for executor in executors]]
    for error in sorted(filter(None, errors), key=lambda one: isinstance(one, ExternalShutdownException)):
        raise error
