"""Crops of random objects, whole and with parts hidden, as a tokenizer gets them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from c2f_ros.geometry import BoolArray, ByteArray
from c2f_train.distill.outlines import draw_blob, draw_object

FINE = 3
"""Points per side of a crop's pixel at which a mask is looked up where crops have fractional masks."""
SMALLEST, LARGEST = 20, 256
"""Of an object in its image, pixels."""
EMPTY = 0.02
"""Share of visible masks that are empty: objects hidden as a whole."""


@dataclass(frozen=True)
class MaskSource:
    """Sample `index` of `seed`: crops of `size`, of objects drawn and of those in `pool`.

    is_binary: nearest neighbours, as the published crops are made, else the share of a pixel that is covered.
    """

    size: int
    is_binary: bool
    seed: int
    pool: Sequence[BoolArray]

    def pair(self, index: int) -> tuple[ByteArray, ByteArray]:
        """Visible and whole mask of one object, uint8 [S, S] each in 0..255; the same for the same index."""
        rng = np.random.default_rng([self.seed, index])
        side = round(float(np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST)))))
        whole = draw_object(rng, side, self.pool)
        visible = whole & ~_hidden(rng, side, self.pool)
        if rng.random() < 0.25:
            visible = _ragged(rng, visible, side)
        box = _crop(rng, visible if visible.any() else whole)
        if rng.random() < EMPTY:
            visible = np.zeros_like(visible)
        rows, columns = self._filled(rng)
        return self._cut(visible, box, rows, columns), self._cut(whole, box, rows, columns)

    def _filled(self, rng: Generator) -> tuple[int, int]:
        """Rows and columns of the crop that are filled: in a clip all frames are scaled alike (spec 2.3)."""
        if not self.is_binary or rng.random() < 0.75:
            return self.size, self.size
        rows, columns = (max(8, round(self.size * share)) for share in rng.uniform(0.5, 1.0, 2))
        return (rows, self.size) if rng.random() < 0.5 else (self.size, columns)

    def _cut(self, mask: BoolArray, box: tuple[float, float, float, float], rows: int, columns: int) -> ByteArray:
        """The box (left, top, width, height) of the mask at the top left of [S, S]; outside the mask is nothing."""
        fine = 1 if self.is_binary else FINE
        left, top, width, height = box
        x = np.floor((np.arange(columns * fine) + 0.5) * width / (columns * fine) + left).astype(np.int64)
        y = np.floor((np.arange(rows * fine) + 0.5) * height / (rows * fine) + top).astype(np.int64)
        found = mask[y.clip(0, len(mask) - 1)][:, x.clip(0, len(mask) - 1)]
        found = found & ((y >= 0) & (y < len(mask)))[:, None] & ((x >= 0) & (x < len(mask)))
        out = np.zeros((self.size, self.size), np.uint8)
        cells = found.reshape(rows, fine, columns, fine).mean((1, 3)) * 255
        out[:rows, :columns] = np.rint(cells)
        return out


def _hidden(rng: Generator, side: int, pool: Sequence[BoolArray]) -> BoolArray:
    """What is in front of an object: nothing, some outlines, or another object beside it."""
    hidden = np.zeros((side, side), bool)
    if rng.random() < 0.3:
        return hidden
    if rng.random() < 0.4:
        other = draw_object(rng, side, pool)
        y, x = (int(step) for step in rng.integers(-side // 2, side // 2 + 1, 2))
        hidden[max(0, y) : side + min(0, y), max(0, x) : side + min(0, x)] = other[
            max(0, -y) : side - max(0, y), max(0, -x) : side - max(0, x)
        ]
    for _ in range(int(rng.integers(1, 4))):
        hidden |= draw_blob(rng, side, 0.15, 0.7)
    return hidden


def _ragged(rng: Generator, mask: BoolArray, side: int) -> BoolArray:
    """A mask as a segmenter would have it: a little more, a little less, with another edge."""
    reach = int(rng.integers(1, max(2, side // 24) + 1))
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * reach + 1, reach + 1))
    change = cv2.dilate if rng.random() < 0.5 else cv2.erode
    if rng.random() < 0.6:
        return change(mask.astype(np.uint8), kernel).astype(bool)
    sigma = rng.uniform(0.5, 0.02 * side + 0.6)
    return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma) > rng.uniform(0.35, 0.65)


def _crop(rng: Generator, mask: BoolArray) -> tuple[float, float, float, float]:
    """A box (left, top, width, height) around a mask: 1.5 to 3 times its own, mostly 2; mostly stretched to a square,
    sometimes cut at the border of an image, that is, off the middle."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        rows = columns = np.arange(len(mask))
    top, left = float(rows[0]), float(columns[0])
    height, width = rows[-1] + 1.0 - top, columns[-1] + 1.0 - left
    if rng.random() < 0.3:
        height = width = max(height, width)
    share = 2.0 if rng.random() < 0.6 else rng.uniform(1.5, 3.0)
    x, y = (columns[0] + columns[-1] + 1) / 2, (rows[0] + rows[-1] + 1) / 2
    x0, x1, y0, y1 = x - share * width / 2, x + share * width / 2, y - share * height / 2, y + share * height / 2
    for _ in range(int(rng.choice([0, 0, 1, 2]))):
        border, amount = int(rng.integers(4)), rng.uniform(0.0, 0.5)
        x0 += amount * (x - x0) if border == 0 else 0.0
        x1 -= amount * (x1 - x) if border == 1 else 0.0
        y0 += amount * (y - y0) if border == 2 else 0.0
        y1 -= amount * (y1 - y) if border == 3 else 0.0
    return x0, y0, max(2.0, x1 - x0), max(2.0, y1 - y0)
