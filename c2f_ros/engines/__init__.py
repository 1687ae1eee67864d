"""Inference engines: one file each, opened by name in step 6; `modes.py` is what they have in common."""

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from c2f_ros.bundle import Arrays

Graph = Callable[[Arrays, Sequence[str]], dict[str, NDArray[Any]]]
"""A loaded graph: inputs by name and names of the outputs that are wanted -> these outputs."""
