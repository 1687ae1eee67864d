"""Measures in a process of its own, where no other library's threads work or wait."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

import cv2

Found = TypeVar("Found")


def alone(function: Callable[..., Found], *arguments: object) -> Found:
    """What a module's function returns, called in a new process in which OpenCV has one thread, as in the node.

    CPU time is that of all threads of a process: in this one PyTorch's and the engines' would be counted too.
    """
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        return pool.submit(function, *arguments).result()
