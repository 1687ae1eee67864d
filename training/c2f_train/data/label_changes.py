"""Changes of a label image as imperfect segmenters make them: other values, cuts through an object, ragged borders.

All work in label space: a pixel keeps one value, so instances stay disjoint. Label images are uint16 [H, W], 0 where no
instance is. Lengths are pixels of an image whose shorter side is 256 and grow with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from c2f_ros.geometry import FloatArray

Labels = NDArray[np.uint16]

SIDE = 256
WAVE_CELL = 16
"""Borders wave with about this length."""
WAYS = 64
GROWN, SHRUNK, KEPT = range(3)
LEAST_PIXELS = 4
"""A border never takes more of an object than that so many pixels are left: no segmenter sends less."""
NEAR = 2
"""Instances with at most so many pixels between them touch."""


@dataclass(frozen=True, eq=False)
class Recolored:
    """Value v becomes table[v]; values beyond the table stay. table: uint16 [L], table[0] = 0."""

    table: Labels

    def apply(self, labels: Labels) -> Labels:
        """The label image with new values."""
        most = int(labels.max())
        if most < len(self.table):
            return self.table[labels]
        return np.append(self.table, np.arange(len(self.table), most + 1, dtype=np.uint16))[labels]


@dataclass(frozen=True)
class Cut:
    """The part of `value` beyond a line becomes `into` (0: it is lost). The line's normal has `angle` (radians); along
    it, the line is `offset` standard deviations of the object's pixels from their centre."""

    value: int
    into: int
    angle: float
    offset: float

    def apply(self, labels: Labels) -> Labels:
        """The label image with the object cut; as it was if nothing would be left on one side."""
        rows, columns = np.nonzero(labels == self.value)
        if not len(rows):
            return labels
        along = columns * np.cos(self.angle) + rows * np.sin(self.angle)
        beyond = along > along.mean() + self.offset * along.std()
        count = int(beyond.sum())
        if count <= LEAST_PIXELS or len(rows) - count <= LEAST_PIXELS:
            return labels
        out = labels.copy()
        out[rows[beyond], columns[beyond]] = self.into
        return out


@dataclass(frozen=True, eq=False)
class Ragged:
    """Wavy borders, and objects grown into the background or shrunk.

    wave: float32 [rows, columns, 2], shifts of the border (x, y), spread over the image. ways: int [64]: what happens
    to value v is ways[v % 64]. radius: how far grown or shrunk.
    """

    wave: FloatArray
    ways: NDArray[np.int64]
    radius: float

    def apply(self, labels: Labels) -> Labels:
        """The label image with ragged borders; objects that would all but vanish stay as they were."""
        height, width = labels.shape
        factor = min(height, width) / SIDE
        positions = cv2.resize(self.wave, (width, height), interpolation=cv2.INTER_LINEAR)
        if factor != 1:
            positions *= np.float32(factor)
        positions += _positions(height, width)
        waved = cv2.remap(labels, positions, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        out = _grown_and_shrunk(waved, self.ways, max(1, round(self.radius * factor)))
        return _without_loss(labels, out)


Change = Recolored | Cut | Ragged


def draw_ragged(
    rng: np.random.Generator, height: int, width: int, shift: float, radius: float, ways: NDArray[np.int64]
) -> Ragged:
    """Ragged borders of one frame; shift: standard deviation of the wave."""
    cell = max(4.0, WAVE_CELL * min(height, width) / SIDE)
    shape = (max(2, round(height / cell)), max(2, round(width / cell)), 2)
    return Ragged(rng.standard_normal(shape, np.float32) * np.float32(shift), ways, radius)


def touching(labels: Labels, value: int) -> int:
    """The other instance with the longest common border with `value`; 0 if it touches none."""
    own = (labels == value).view(np.uint8)
    x, y, width, height = cv2.boundingRect(own)
    if not width:
        return 0
    part = np.s_[max(0, y - NEAR) : y + height + NEAR, max(0, x - NEAR) : x + width + NEAR]
    near = cv2.dilate(own[part], np.ones((2 * NEAR + 1, 2 * NEAR + 1), np.uint8)) > own[part]
    counts = np.bincount(labels[part][near], minlength=1)
    counts[0] = 0
    return int(counts.argmax()) if counts.any() else 0


def areas(labels: Labels) -> NDArray[np.int64]:
    """Pixels of every value, int [highest value + 1]."""
    return np.bincount(labels.ravel())


def _grown_and_shrunk(labels: Labels, ways: NDArray[np.int64], radius: int) -> Labels:
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    most, least = cv2.dilate(labels, kernel), cv2.erode(labels, kernel)
    # Only pixels near a border change: they are a few, and looked up one by one.
    flat = labels.ravel().copy()
    near = np.flatnonzero((most != least).ravel())
    values, others = flat[near], most.ravel()[near]
    way = ways[np.where(values == 0, others, values) % WAYS]
    changed = np.where((values == 0) & (way == GROWN), others, values)
    flat[near] = np.where((values != 0) & (way == SHRUNK), 0, changed)
    return flat.reshape(labels.shape)


def _without_loss(before: Labels, after: Labels) -> Labels:
    had, has = areas(before), areas(after)
    has = np.pad(has, (0, max(0, len(had) - len(has))))[: len(had)]
    for value in np.flatnonzero((had > 0) & (has <= LEAST_PIXELS) & (has < had)):
        if value:
            after[before == value] = value
    return after


@lru_cache(maxsize=8)
def _positions(height: int, width: int) -> FloatArray:
    """float32 [H, W, 2]: every pixel's own (x, y)."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
