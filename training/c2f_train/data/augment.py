"""Visible masks as imperfect segmenters give them: ours (`ragged`) and the published recipe (spec 12.6).

Everything random is drawn for a whole batch at once, so that a part of the batch can be changed on its own and gives
the same. Sizes are of the published 256 x 256 crops (`ragged`: of 64 x 64) and grow with the crop.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from c2f_ros.geometry import ByteArray, FloatArray
from c2f_train.data_config import AugmentConfig

UNCHANGED, RAGGED, BLUR, MORPHOLOGY = range(4)
GROW, SHRINK, WAVE = range(3)

BLUR_KERNEL, BLUR_SIGMA = 35, 11.0
RECTANGLE_LEAST, RECTANGLE_MOST = 5, 13
REPETITIONS = 4
WAVE_GRID = 16
LEAST_PIXELS = 4
"""A change that leaves no more of a mask is not made: an upstream segmenter never sends an empty one."""


@dataclass(frozen=True, eq=False)
class MaskChanges:
    """What is done to each of n masks. kind: int [n], one of the four above.

    Of `RAGGED`: way int [n], radius int [n], wave float32 [n, 16, 16]. Of `MORPHOLOGY`: times int [n], grows bool [n],
    rectangles int [n, 4, 2], blurred bool [n, 4].
    """

    kind: NDArray[np.int64]
    way: NDArray[np.int64]
    radius: NDArray[np.int64]
    wave: FloatArray
    times: NDArray[np.int64]
    grows: NDArray[np.bool_]
    rectangles: NDArray[np.int64]
    blurred: NDArray[np.bool_]

    def __getitem__(self, part: slice) -> MaskChanges:
        return MaskChanges(*(getattr(self, field.name)[part] for field in fields(self)))


def draw_changes(count: int, augment: AugmentConfig, rng: np.random.Generator) -> MaskChanges:
    """Random changes of `count` masks, with the shares of `augment`."""
    ends = np.cumsum([augment.ragged, augment.blur, augment.morphology])
    kind = (np.searchsorted(ends, rng.random(count), side="right") + 1) % 4
    wave = np.zeros((count, WAVE_GRID, WAVE_GRID), np.float32)
    wavy = np.flatnonzero(kind == RAGGED)
    wave[wavy] = rng.standard_normal((len(wavy), WAVE_GRID, WAVE_GRID)) * 0.25
    return MaskChanges(
        kind,
        way=rng.integers(3, size=count),
        radius=rng.integers(1, 3, count),
        wave=wave,
        times=rng.integers(1, REPETITIONS + 1, count),
        grows=rng.random(count) < augment.dilate,
        rectangles=rng.integers(RECTANGLE_LEAST, RECTANGLE_MOST + 1, (count, REPETITIONS, 2)),
        blurred=rng.random((count, REPETITIONS)) < augment.blur_after,
    )


def change_masks(masks: ByteArray, changes: MaskChanges) -> ByteArray:
    """uint8 [n, S, S]: `masks` (coverage, 0..255) changed, each in its way; one that would vanish stays as it is."""
    out = masks.copy()
    for row in np.flatnonzero(changes.kind != UNCHANGED):
        changed = _CHANGES[changes.kind[row]](masks[row], changes, row)
        if changed.sum(dtype=np.int64) > LEAST_PIXELS * 255:
            out[row] = changed
    return out


def _ragged(mask: ByteArray, changes: MaskChanges, row: int) -> ByteArray:
    window = 2 * max(1, round(int(changes.radius[row]) * len(mask) / 64)) + 1
    way = changes.way[row]
    if way == GROW:
        return cv2.dilate(mask, _rectangle(window, window))
    if way == SHRINK:
        return cv2.erode(mask, _rectangle(window, window))
    share = cv2.boxFilter(mask, cv2.CV_32F, (window, window), normalize=False, borderType=cv2.BORDER_CONSTANT)
    share /= _covered(len(mask), window) * np.float32(255)
    wave = cv2.resize(changes.wave[row], mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
    # Within 0.5, the wave moves the border and neither makes islands nor holes away from it.
    return _cut(share + np.clip(wave, -0.499, 0.499))


@lru_cache(maxsize=8)
def _covered(size: int, window: int) -> FloatArray:
    """Pixels of the window around every pixel that lie inside the crop."""
    ones = np.ones((size, size), np.float32)
    return cv2.boxFilter(ones, cv2.CV_32F, (window, window), normalize=False, borderType=cv2.BORDER_CONSTANT)


def _blur(mask: ByteArray, changes: MaskChanges, row: int) -> ByteArray:
    return _cut(_blurred(mask.astype(np.float32) / np.float32(255)))


def _morphology(mask: ByteArray, changes: MaskChanges, row: int) -> ByteArray:
    change = cv2.dilate if changes.grows[row] else cv2.erode
    work = mask.astype(np.float32) / np.float32(255)
    for (rows, columns), is_blurred in zip(
        changes.rectangles[row, : changes.times[row]], changes.blurred[row], strict=False
    ):
        work = change(work, _rectangle(_scaled(rows, mask), _scaled(columns, mask)))
        if is_blurred:
            work = _blurred(work)
    return _cut(work)


def _blurred(mask: FloatArray) -> FloatArray:
    kernel = 2 * round(BLUR_KERNEL // 2 * len(mask) / 256) + 1
    return cv2.GaussianBlur(mask, (kernel, kernel), BLUR_SIGMA * len(mask) / 256)


def _scaled(side: int, mask: ByteArray) -> int:
    return max(1, round(int(side) * len(mask) / 256))


@lru_cache(maxsize=1024)
def _rectangle(rows: int, columns: int) -> ByteArray:
    return np.ones((rows, columns), np.uint8)


def _cut(share: FloatArray) -> ByteArray:
    return (share > 0.5).view(np.uint8) * np.uint8(255)


_CHANGES = {RAGGED: _ragged, BLUR: _blur, MORPHOLOGY: _morphology}
