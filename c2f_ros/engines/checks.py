"""What is asked of a graph's outputs before anything is published or kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from c2f_ros.contract import EngineError, TensorSpec
from c2f_ros.geometry import FloatArray


def check_amodal(engine: str, amodal: FloatArray, count: int, size: int) -> None:
    """Raises EngineError unless `amodal` is [count, size, size] in 0..1."""
    if amodal.shape != (count, size, size):
        raise EngineError(f"{engine} returned {amodal.shape}, expected {(count, size, size)}; nothing is published")
    low, high = float(amodal.min()), float(amodal.max())
    if not (low >= 0.0 and high <= 1.0):
        raise EngineError(f"{engine} returned values in {low}..{high}, expected 0..1; nothing is published")


def broken_masks(amodal: FloatArray) -> list[int]:
    """Rows of `amodal` [N, S, S] in which a value is not finite."""
    return np.flatnonzero(~np.isfinite(amodal.reshape(len(amodal), -1)).all(axis=1)).tolist()


def broken_rows(engine: str, tensors: Sequence[TensorSpec], found: dict[str, NDArray[Any]], count: int) -> list[int]:
    """Rows in which any of the tensors holds a value that is not finite.

    Raises EngineError if one of them does not have the shape that the manifest says, for `count` rows.
    """
    is_whole = np.ones(count, bool)
    for tensor in tensors:
        array, shape = found[tensor.name], (count, *tensor.shape[1:])
        if array.shape != shape:
            raise EngineError(f"{engine} returned {tensor.name} as {array.shape}, expected {shape}; nothing is kept")
        if array.dtype.kind == "f":
            is_whole &= np.isfinite(array.reshape(count, -1)).all(axis=1)
    return np.flatnonzero(~is_whole).tolist()
