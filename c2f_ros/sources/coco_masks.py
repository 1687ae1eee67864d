"""Masks as COCO-style JSON writes them: polygons, or run lengths with or without compression.

Run lengths are decoded here, with every number checked; only polygons need pycocotools, which draws their borders as
all users of COCO know them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from c2f_ros.contract import InputError
from c2f_ros.geometry import BoolArray

FARTHEST_CORNER = 10
"""A polygon's corners lie at most this many image sides from the origin: far ones take all memory when drawn."""


def decode_segmentation(value: Any, height: int, width: int, path: Path, where: str) -> BoolArray:
    """bool [height, width] of a `segmentation`: one polygon (flat x, y list), a list of them, or run lengths.

    path, where: the file and the place in it, for the InputError raised if `value` is none of these, is cut for
    another image size, or is broken.
    """
    try:
        if isinstance(value, dict):
            return _decode_runs(value, height, width)
        if isinstance(value, (list, np.ndarray)):
            return _draw_polygons(_polygons(value, height, width), height, width)
        raise ValueError(f"{type(value).__name__} is not a polygon or run-length mask")
    except ValueError as error:
        raise InputError(f"{path}: {where}: {error}; correct the annotation") from error


def _decode_runs(value: dict[str, Any], height: int, width: int) -> BoolArray:
    """Runs of 0 and 1 in turn, down the columns, columns from the left."""
    if not {"size", "counts"} <= value.keys():
        raise ValueError("not a polygon or run-length mask, 'size' and 'counts' are missing")
    size = value["size"]
    if not isinstance(size, (list, tuple)) or list(size) != [height, width]:
        raise ValueError(f"it is a mask for {size!r:.40} (rows, columns), the image has {[height, width]}")
    counts = value["counts"]
    if isinstance(counts, str):
        counts = counts.encode()
    runs = expand_counts(counts) if isinstance(counts, bytes) else np.asarray(counts)
    if runs.ndim != 1 or (runs.size and runs.dtype.kind not in "iu"):
        raise ValueError("not a polygon or run-length mask, its counts are no whole numbers")
    if runs.size and not 0 <= runs.min() <= runs.max() <= height * width:
        raise ValueError(f"a run length is {runs.min()} or {runs.max()}, the image has {height * width} pixels")
    if runs.sum() != height * width:
        raise ValueError(f"its run lengths cover {runs.sum()} pixels, the image has {height * width}")
    return np.repeat(np.arange(runs.size) % 2 == 1, runs).reshape(width, height).T


def expand_counts(text: bytes) -> NDArray[np.int64]:
    """Run lengths of COCO's compressed form: groups of five bits, low ones first, the sixth bit set in all but the last
    of a number; from the fourth number on, the difference to the last but one. Raises ValueError if it is not that."""
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not codes.size:
        return codes
    is_last = (codes & 0x20) == 0
    if codes.min() < 0 or codes.max() > 63 or not is_last[-1]:
        raise ValueError("its compressed run lengths are broken or cut short")
    starts = np.flatnonzero(np.concatenate([[True], is_last[:-1]]))
    lengths = np.diff(np.append(starts, codes.size))
    if lengths.max() > 7:  # more than 35 bits: no image is that large
        raise ValueError("its compressed run lengths are broken")
    place = np.arange(codes.size) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((codes & 0x1F) << (5 * place), starts)
    negative = (codes[is_last] & 0x10) != 0
    numbers[negative] -= np.int64(1) << (5 * lengths[negative])
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers


def _polygons(value: Any, height: int, width: int) -> list[list[float]]:
    """The polygons as flat x, y lists of at least three corners."""
    parts = value if len(value) and isinstance(value[0], (list, np.ndarray)) else [value] if len(value) else []
    limit = FARTHEST_CORNER * max(height, width)
    out = []
    for part in parts:
        try:
            corners = np.asarray(part, np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"not a polygon or run-length mask ({error})") from error
        if corners.ndim != 1 or corners.size % 2:
            raise ValueError(f"a polygon of {corners.size} numbers is no list of x, y pairs")
        if corners.size < 6:
            raise ValueError(f"a polygon has {corners.size // 2} corners, expected at least 3")
        if not (np.abs(corners) <= limit).all():
            raise ValueError(f"a polygon has a corner more than {limit} pixels away, or none at all")
        out.append(corners.tolist())
    return out


def _draw_polygons(polygons: list[list[float]], height: int, width: int) -> BoolArray:
    if not polygons:
        return np.zeros((height, width), bool)
    from pycocotools import mask as coco

    return coco.decode(coco.merge(coco.frPyObjects(polygons, height, width))).astype(bool)
