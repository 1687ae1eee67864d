"""Boxes, placed masks, the crop rules, the square one's inverse. Pure numpy and OpenCV; training and runtime share it.

Pixel (x, y) is column x, row y. Boxes are half-open: columns x0..x1-1, rows y0..y1-1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
ByteArray = NDArray[np.uint8]
FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Box:
    """A half-open pixel rectangle; it may reach outside the image. Empty if x1 <= x0 or y1 <= y0."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        return max(0, self.x1 - self.x0)

    @property
    def height(self) -> int:
        return max(0, self.y1 - self.y0)

    @property
    def is_empty(self) -> bool:
        return self.x1 <= self.x0 or self.y1 <= self.y0

    def intersect(self, other: Box) -> Box:
        """The common rectangle; `EMPTY_BOX` if there is none."""
        x0, x1 = max(self.x0, other.x0), min(self.x1, other.x1)
        y0, y1 = max(self.y0, other.y0), min(self.y1, other.y1)
        if x1 <= x0 or y1 <= y0:
            return EMPTY_BOX
        if x0 == self.x0 and x1 == self.x1 and y0 == self.y0 and y1 == self.y1:
            return self
        return Box(x0, y0, x1, y1)

    def enclose(self, other: Box) -> Box:
        """The smallest rectangle that holds both; an empty box adds nothing."""
        if self.is_empty or other.is_empty:
            return other if self.is_empty else self
        return Box(min(self.x0, other.x0), min(self.y0, other.y0), max(self.x1, other.x1), max(self.y1, other.y1))

    def clip(self, height: int, width: int) -> Box:
        """The part inside an image of `height` x `width`; `EMPTY_BOX` if wholly outside."""
        return self.intersect(Box(0, 0, width, height))

    def within(self, origin: Box) -> tuple[slice, slice]:
        """Row and column slices of this box in an array that covers `origin`."""
        return (slice(self.y0 - origin.y0, self.y1 - origin.y0), slice(self.x0 - origin.x0, self.x1 - origin.x0))

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices of this box in a whole-image array; the box must lie inside."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)


EMPTY_BOX = Box(0, 0, 0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class PlacedMask:
    """A mask stored as the rectangle that holds it. mask: bool [box.height, box.width]."""

    box: Box
    mask: BoolArray

    def __post_init__(self) -> None:
        if self.mask.shape != (self.box.height, self.box.width) or self.mask.dtype != np.bool_:
            raise ValueError(
                f"mask is {self.mask.dtype} {self.mask.shape}, its box is {self.box.height}x{self.box.width}; "
                "pass a bool mask of the box's size"
            )

    @property
    def area(self) -> int:
        """Pixels that are set."""
        return int(np.count_nonzero(self.mask))

    @property
    def is_empty(self) -> bool:
        return self.box.is_empty or not self.mask.any()

    def full(self, height: int, width: int) -> BoolArray:
        """bool [height, width]: the mask in the whole image; the box must lie inside it."""
        out = np.zeros((height, width), bool)
        out[self.box.slices] = self.mask
        return out


EMPTY_MASK = PlacedMask(EMPTY_BOX, np.zeros((0, 0), bool))


def tighten(mask: PlacedMask) -> PlacedMask:
    """The same pixels in their smallest rectangle; `EMPTY_MASK` if none is set."""
    if mask.box.is_empty:
        return EMPTY_MASK
    x, y, width, height = cv2.boundingRect(mask.mask.view(np.uint8))
    if width == 0:
        return EMPTY_MASK
    if (height, width) == mask.mask.shape:
        return mask
    x0, y0 = mask.box.x0 + x, mask.box.y0 + y
    return PlacedMask(Box(x0, y0, x0 + width, y0 + height), mask.mask[y : y + height, x : x + width])


def place(mask: BoolArray) -> PlacedMask:
    """The set pixels of a whole-image mask [H, W], placed."""
    return tighten(PlacedMask(Box(0, 0, mask.shape[1], mask.shape[0]), mask))


def union(a: PlacedMask, b: PlacedMask) -> PlacedMask:
    """Pixels set in either mask; the box encloses both."""
    box = a.box.enclose(b.box)
    out = np.zeros((box.height, box.width), bool)
    for part in (a, b):
        if not part.box.is_empty:
            out[part.box.within(box)] |= part.mask
    return PlacedMask(box, out)


def count_common(a: PlacedMask, b: PlacedMask) -> int:
    """Pixels set in both masks."""
    box = a.box.intersect(b.box)
    if box.is_empty:
        return 0
    return int(np.count_nonzero(a.mask[box.within(a.box)] & b.mask[box.within(b.box)]))


def minus(a: PlacedMask, b: PlacedMask) -> PlacedMask:
    """Pixels of `a` that are not in `b`, in a's box."""
    box = a.box.intersect(b.box)
    if box.is_empty:
        return a
    out = a.mask.copy()
    part = out[box.within(a.box)]
    np.greater(part, b.mask[box.within(b.box)], out=part)  # and not
    return PlacedMask(a.box, out)


def square_crop(visible: Box, height: int, width: int, scale: float, min_side_fraction: float) -> Box:
    """The square to cut for an object whose visible pixels fill `visible`, centred on it.

    Its side is `scale` times the longer side, but at least `min_side_fraction` of the image's shorter side:
    a small visible part must not hide the whole object from the crop. It may reach outside the image.
    """
    side = max(round(scale * max(visible.width, visible.height)), round(min_side_fraction * min(height, width)), 1)
    x0 = (visible.x0 + visible.x1 - side) // 2
    y0 = (visible.y0 + visible.y1 - side) // 2
    return Box(x0, y0, x0 + side, y0 + side)


def stretched_crop(
    left: float, top: float, width: float, height: float, image_height: int, image_width: int, scale: float
) -> Box:
    """The rectangle that the published model cuts for a visible box, always inside the image (spec 1.2, 1.3).

    It is `scale` times the box about its centre, plus one row and one column, and clipped: at image borders the
    object is off-centre. Floor divisions and truncations are the published ones, on floats as on integers. `EMPTY_BOX`
    if nothing of it lies inside the image.
    """
    r0, r1, c0, c1 = top, top + height, left, left + width
    row, column = (r0 + r1) // 2, (c0 + c1) // 2
    rows, columns = int((r1 - r0) * scale), int((c1 - c0) * scale)
    y0, y1 = int(max(0, row - rows // 2)), int(min(image_height, row + rows // 2))
    x0, x1 = int(max(0, column - columns // 2)), int(min(image_width, column + columns // 2))
    box = Box(x0, y0, min(image_width, x1 + 1), min(image_height, y1 + 1))
    return EMPTY_BOX if box.is_empty else box


def common_sizes(boxes: Sequence[Box], size: int) -> list[tuple[int, int]]:
    """Rows and columns that each box's crop fills of [size, size] if all are scaled alike (spec 2.3).

    The tallest crop fills all rows, the widest all columns; a single box fills both. The rest is padding at the bottom
    and right. boxes: at least one, none empty.
    """
    tallest, widest = max(box.height for box in boxes), max(box.width for box in boxes)
    return [(max(1, round(size / tallest * box.height)), max(1, round(size / widest * box.width))) for box in boxes]


def cut_mask(mask: PlacedMask, box: Box) -> BoolArray:
    """bool [box.height, box.width]: the mask seen through `box`, at its own resolution."""
    out = np.zeros((box.height, box.width), bool)
    inside = mask.box.intersect(box)
    if not inside.is_empty:
        out[inside.within(box)] = mask.mask[inside.within(mask.box)]
    return out


def crop_pixels(image: ByteArray, box: Box, size: int) -> ByteArray:
    """`image` [H, W] or [H, W, C] cut to `box` and resampled to [size, size(, C)]; outside the image is 0."""
    inside = box.clip(image.shape[0], image.shape[1])
    if inside.is_empty:
        return np.zeros((size, size, *image.shape[2:]), np.uint8)
    return _resampled(image[inside.slices], inside, box, size)


def crop_mask(mask: PlacedMask, box: Box, size: int) -> ByteArray:
    """uint8 [size, size]: how much of each crop pixel the mask covers, 0..255."""
    inside = mask.box.intersect(box)
    if inside.is_empty:
        return np.zeros((size, size), np.uint8)
    return _resampled(mask.mask[inside.within(mask.box)].view(np.uint8) * np.uint8(255), inside, box, size)


def crop_inside(box: Box, height: int, width: int, size: int) -> ByteArray:
    """uint8 [size, size]: how much of each crop pixel lies inside the image of `height` x `width`, 0..255."""
    inside = box.clip(height, width)
    if inside == box:
        return np.full((size, size), 255, np.uint8)
    rows = _cover(inside.y0 - box.y0, inside.y1 - box.y0, box.height, size)
    columns = _cover(inside.x0 - box.x0, inside.x1 - box.x0, box.width, size)
    return np.rint(rows[:, None] * columns).astype(np.uint8)


def _cover(first: int, last: int, side: int, size: int) -> FloatArray:
    """float32 [size]: what `_resampled` makes of a row of `side` pixels that is set from `first` to `last`; its square
    root of 255 at most, so that two of them multiplied are a plane."""
    most = np.float32(255**0.5)
    if first <= 0 and last >= side:
        return np.full(size, most, np.float32)
    unit = _halvings(side, size)
    start = np.arange(side // unit, dtype=np.float32)
    line = np.minimum(np.maximum(last / unit - start, 0), 1) - np.minimum(np.maximum(first / unit - start, 0), 1)
    line *= most
    return (
        line if len(line) == size else cv2.resize(line[:, None], (1, size), interpolation=_way(len(line), size)).ravel()
    )


def _resampled(part: ByteArray, inside: Box, box: Box, size: int) -> ByteArray:
    """[size, size(, C)]: the square `box`, which shows `part` at `inside` and 0 elsewhere; every pixel of it counts.

    An even side is halved while it is twice as long as `size` or longer: four pixels become one, which is many times
    cheaper than fractions of pixels. Only what is shown is halved, so an empty border costs nothing.
    """
    unit = _halvings(box.width, size)
    side, top, left = box.width // unit, inside.y0 - box.y0, inside.x0 - box.x0
    if unit > 1:
        bottom, right = inside.y1 - box.y0, inside.x1 - box.x0
        part = _bordered(part, top % unit, -bottom % unit, left % unit, -right % unit)
        for _ in range(unit.bit_length() - 1):
            part = cv2.resize(part, (part.shape[1] // 2, part.shape[0] // 2), interpolation=cv2.INTER_AREA)
        top, left = top // unit, left // unit
    part = _bordered(part, top, side - top - part.shape[0], left, side - left - part.shape[1])
    if side == size:
        return np.ascontiguousarray(part)
    return cv2.resize(part, (size, size), interpolation=_way(side, size))


def _halvings(side: int, size: int) -> int:
    """The power of two by which `side` is divided before the rest is resampled to `size`."""
    unit = 1
    while side % (2 * unit) == 0 and side >= 2 * unit * size:
        unit *= 2
    return unit


def _bordered(part: ByteArray, top: int, bottom: int, left: int, right: int) -> ByteArray:
    if not (top or bottom or left or right):
        return part
    return cv2.copyMakeBorder(part, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))


def _way(side: int, size: int) -> int:
    """Linear up to half the size, where it still reaches every pixel; below, the mean of those covered."""
    return cv2.INTER_AREA if side > 2 * size else cv2.INTER_LINEAR


def paste_probability(probability: FloatArray, box: Box, height: int, width: int, threshold: float) -> PlacedMask:
    """Where `probability` [S, S], laid over the square `box`, exceeds `threshold`, inside the image.

    The inverse of the crop: linear between crop pixels, area when the box is smaller than the crop.
    A crop wholly outside the image, or nothing above the threshold, gives `EMPTY_MASK`.
    Raises ValueError if the map is not square: crops are square (manifest `crop.size`).
    """
    size = probability.shape[0]
    if probability.ndim != 2 or size != probability.shape[1]:
        raise ValueError(f"probability map is {probability.shape}, crops are square; check the engine's output")
    inside = box.clip(height, width)
    if inside.is_empty:
        return EMPTY_MASK
    full = probability
    if box.width != size:
        how = cv2.INTER_AREA if box.width < size else cv2.INTER_LINEAR
        full = cv2.resize(probability, (box.width, box.height), interpolation=how)
    return tighten(PlacedMask(inside, full[inside.within(box)] > threshold))
