"""Resampling with the arithmetic of the published C2F-Seg model: crops to the network, its maps back to the image.

Pure numpy and SciPy; spec 1.5, 1.6 and 8.2. Every resize is separable: rows and columns have their own ratio.
OpenCV's `resize` differs at the outermost pixels and when shrinking, enough to flip tokens of a published model.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FloatArray = NDArray[np.float32]

CACHED_WEIGHTS = 16
"""Weight matrices kept; the largest is image side x crop side, some two megabytes."""


def shrink_or_stretch(image: NDArray[np.uint8], rows: int, columns: int) -> FloatArray:
    """float32 [rows, columns, C] in 0..1 of uint8 [h, w, C]: Gaussian where an axis shrinks, then linear.

    Sigma is (ratio - 1) / 2 per shrinking axis; sample i lies at (i + 0.5) * ratio - 0.5; beyond the border the
    image is mirrored about its outermost pixel, which is not repeated (spec 1.6).
    """
    source = image.astype(np.float64) / 255.0
    sizes = (rows, columns)
    sigma = [max(0.0, (n_in / n_out - 1) / 2) for n_in, n_out in zip(image.shape[:2], sizes, strict=True)]
    out = source
    if any(sigma):
        out = ndimage.gaussian_filter(source, (*sigma, 0.0), mode="mirror", truncate=4.0)
    for axis, n_out in enumerate(sizes):
        out = _linear(out, axis, n_out)
    return np.clip(out, source.min(), source.max()).astype(np.float32)


def nearest(mask: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
    """[rows, columns] of [h, w], same type: sample i is source pixel floor((i + 0.5) * ratio) (spec 1.5)."""
    height, width = mask.shape
    return mask[np.ix_(_nearest_index(height, rows), _nearest_index(width, columns))]


def linear_antialiased(values: FloatArray, rows: int, columns: int) -> FloatArray:
    """float32 [rows, columns] of [h, w]: bilinear with half-pixel centres; where an axis shrinks, the triangle is
    widened by the ratio (spec 8.2, antialias on)."""
    height, width = values.shape
    return triangle_weights(height, rows) @ values @ triangle_weights(width, columns).T


@lru_cache(maxsize=CACHED_WEIGHTS)
def triangle_weights(n_in: int, n_out: int) -> FloatArray:
    """float32 [n_out, n_in], read-only: row i holds what every source pixel adds to target pixel i; rows sum to 1.

    Ratio and centres are rounded to float32 as in the published pipeline: over hundreds of pixels that moves a value by
    up to 3e-5, which decides pixels at the threshold.
    """
    ratio = np.float32(n_in) / np.float32(n_out)
    reach = max(float(ratio), 1.0)
    centres = ((np.arange(n_out) + 0.5) * float(ratio)).astype(np.float32)
    distance = np.abs(np.arange(n_in, dtype=np.float32) - centres[:, None] + 0.5) / reach
    weights = np.maximum(0.0, 1.0 - distance).astype(np.float64)
    weights /= weights.sum(axis=1, keepdims=True)
    out = weights.astype(np.float32)
    out.flags.writeable = False
    return out


def _linear(values: NDArray[np.float64], axis: int, n_out: int) -> NDArray[np.float64]:
    n_in = values.shape[axis]
    if n_in == n_out:
        return values
    at = (np.arange(n_out) + 0.5) * (n_in / n_out) - 0.5
    low = np.floor(at).astype(np.int64)
    share = (at - low).reshape([-1 if k == axis else 1 for k in range(values.ndim)])
    before, after = (np.take(values, _mirrored(index, n_in), axis=axis) for index in (low, low + 1))
    return before * (1.0 - share) + after * share


def _mirrored(index: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Indices brought into 0..count-1 by mirroring about the outermost ones: -1 is 1, `count` is `count` - 2."""
    index = np.abs(index)
    return np.clip(np.where(index >= count, 2 * (count - 1) - index, index), 0, count - 1)


def _nearest_index(n_in: int, n_out: int) -> NDArray[np.int64]:
    return (2 * np.arange(n_out) + 1) * n_in // (2 * n_out)
