"""How objects and the background move in the image from frame to frame: sparse optical flow, one call a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from c2f_ros.flow_points import NO_POINTS, background_points, mask_points
from c2f_ros.geometry import BoolArray, Box, ByteArray, FloatArray, PlacedMask

LONGEST = 400
"""Flow is sought in a copy of the image whose longer side has at most so many pixels."""
OBJECT_POINTS, BACKGROUND_POINTS = 14, 32
"""Points per object and of the background, at most."""
LEAST_POINTS, LEAST_FOR_SCALE = 3, 8
"""Found points that a shift, and a change of size, must rest on."""
MOST_GROWTH = 1.15
"""An object does not grow or shrink more than this in one frame; more is a fault of the flow."""
WINDOW, NEAR_WINDOW = 13, 9
"""Sides of the patches that are compared: sought anywhere, and near where they should be."""
FAR_LEVELS, BOX_LEVELS = 3, 1
"""Halvings of the image in which the search begins: of what may be anywhere, and of what a box of visible pixels says
to be near."""
STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03)
"""A search ends after so many steps, or a step of so many pixels."""
SAME_SIZE, MOST_APART = 0.1, 0.15
"""A box of visible pixels whose sides changed by less than the first share went where its object went. Flow that says
otherwise by more than the second share of the box's longer side has found a repetition of the texture."""

FEW = 4
"""Objects that tell what the camera did."""

_TO_GRAY = {
    "rgb8": cv2.COLOR_RGB2GRAY,
    "bgr8": cv2.COLOR_BGR2GRAY,
    "rgba8": cv2.COLOR_RGBA2GRAY,
    "bgra8": cv2.COLOR_BGRA2GRAY,
    "mono8": None,
}


@dataclass(frozen=True, slots=True)
class Similarity:
    """(x, y) -> (scale * x + dx, scale * y + dy), in pixels; pixel k covers k to k + 1."""

    scale: float = 1.0
    dx: float = 0.0
    dy: float = 0.0

    def after(self, first: Similarity) -> Similarity:
        """`first`, then this one."""
        return Similarity(
            self.scale * first.scale, self.scale * first.dx + self.dx, self.scale * first.dy + self.dy
        )  # fmt: skip

    def inverse(self) -> Similarity:
        """What undoes it."""
        return Similarity(1 / self.scale, -self.dx / self.scale, -self.dy / self.scale)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where (x, y) goes."""
        return self.scale * x + self.dx, self.scale * y + self.dy


STILL = Similarity()


@dataclass(frozen=True, slots=True)
class Expected:
    """How something should have moved since the frame before: its middle (x, y) by `shift`, in pixels. is_steady: it is
    followed well enough to tell what the camera did. is_sliver: little of it is seen."""

    middle: tuple[float, float]
    shift: tuple[float, float]
    is_steady: bool
    is_sliver: bool


def small_gray(pixels: ByteArray, encoding: str) -> ByteArray:
    """uint8 [h, w]: the image [H, W, C] in gray, its longer side at most `LONGEST`.

    Halved while that leaves it larger, then resampled linearly: so every pixel counts, and halving is cheap.
    """
    code = _TO_GRAY[encoding]
    gray = pixels if code is None else cv2.cvtColor(pixels, code)
    height, width = gray.shape
    if max(height, width) <= LONGEST:
        return np.ascontiguousarray(gray)
    factor = LONGEST / max(height, width)
    while min(gray.shape) > 1 and max(gray.shape) >= 2 * LONGEST:
        rows, columns = gray.shape[0] // 2, gray.shape[1] // 2
        gray = cv2.resize(gray[: 2 * rows, : 2 * columns], (columns, rows), interpolation=cv2.INTER_AREA)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(gray, size, interpolation=cv2.INTER_LINEAR)


@dataclass(frozen=True)
class Motions:
    """How each object and the background moved, None where too little was found again; surprise: what all that is
    followed steadily moved by beyond what was expected of it, in pixels (x, y): the camera turned."""

    objects: list[Similarity | None]
    background: Similarity | None
    surprise: tuple[float, float]


def find_motions(
    before: ByteArray,
    now: ByteArray,
    seen: Sequence[PlacedMask],
    labels: NDArray[np.integer],
    expected: Sequence[Expected | None] = (),
    boxes: Sequence[Box | None] = (),
) -> Motions:
    """What moved between two frames.

    before, now: of `small_gray`, equal shapes. seen: the objects' visible masks in the frame before, in pixels of the
    whole image; labels [H, W] of that frame, 0 where no instance is. expected: of each object, then of the background,
    None where nothing is. It matters for slivers at an occluder's edge: sought from afar, their points follow the
    occluder; sought from where they should be, they are found.
    boxes: of the objects' visible pixels now, None where there are none: such an object is not sought, the others
    are sought from where their boxes went, however far. () where nothing is known.
    """
    sets = [mask_points(mask, OBJECT_POINTS) for mask in seen]
    if boxes:
        sets = [part if box is not None else NO_POINTS for part, box in zip(sets, boxes, strict=True)]
    points = _Points.of([*sets, background_points(labels, BACKGROUND_POINTS)])
    if not points.is_set.any():
        return Motions([None] * len(seen), None, (0.0, 0.0))
    flow = _Flow(before, now, before.shape[1] / labels.shape[1], labels.shape)
    found = _first_search(flow, points, seen, boxes)
    motions = fit_similarities(points.at, found.at, found.is_found)
    if boxes:
        motions[:-1] = [_as_box_went(*one) for one in zip(motions[:-1], seen, boxes, strict=True)]
    surprise = _surprise(motions, expected)
    rows = [row for row, one in enumerate(expected) if one is not None and one.is_sliver and points.is_set[row].any()]
    if rows:
        shift = np.array([expected[row].shift for row in rows]) + surprise  # type: ignore[union-attr]
        better = _second_search(flow, points.part(rows), found.part(rows), shift)
        for row, motion in zip(rows, better, strict=True):
            motions[row] = motion or motions[row]
    return Motions(motions[:-1], motions[-1], surprise)


def _surprise(motions: Sequence[Similarity | None], expected: Sequence[Expected | None]) -> tuple[float, float]:
    """The median, over all that is steady, of what its middle moved by beyond what was expected.

    The background, the last, counts twice beside fewer than `FEW` objects: one that is pushed is not the camera.
    """
    beyond: list[list[float]] = []
    for motion, one in zip(motions, expected, strict=False):
        if motion is not None and one is not None and one.is_steady:
            there = motion.at(*one.middle)
            beyond.append([there[axis] - one.middle[axis] - one.shift[axis] for axis in (0, 1)])
    if beyond and len(beyond) <= FEW and expected[-1] is not None and motions[-1] is not None:
        beyond.append(beyond[-1])
    return (median(b[0] for b in beyond), median(b[1] for b in beyond)) if beyond else (0.0, 0.0)


@dataclass(frozen=True, eq=False)
class _Points:
    """Points of K parts in the whole image: at [K, M, 2] as (x, y), is_set [K, M]; the rest is padding."""

    at: FloatArray
    is_set: BoolArray

    @classmethod
    def of(cls, sets: Sequence[NDArray[np.float64]]) -> _Points:
        """Pixels [n, 2] of every part; their middles."""
        most = max(len(part) for part in sets)
        at, is_set = np.zeros((len(sets), most, 2), np.float32), np.zeros((len(sets), most), bool)
        for row, part in enumerate(sets):
            at[row, : len(part)], is_set[row, : len(part)] = part + 0.5, True
        return cls(at, is_set)

    def part(self, rows: Sequence[int]) -> _Points:
        """These parts alone."""
        return _Points(self.at[rows], self.is_set[rows])


@dataclass(frozen=True, eq=False)
class _Found:
    """Where points of K parts are now: at [K, M, 2]; is_found [K, M]: inside the image; misfit [K, M]: of patches."""

    at: FloatArray
    is_found: BoolArray
    misfit: FloatArray

    def part(self, rows: Sequence[int]) -> _Found:
        """These parts alone."""
        return _Found(self.at[rows], self.is_found[rows], self.misfit[rows])


@dataclass(frozen=True, eq=False)
class _Flow:
    """Two gray images, `shrink` times as large as the whole ones, of `size` (rows, columns)."""

    before: ByteArray
    now: ByteArray
    shrink: float
    size: tuple[int, ...]

    def seek(self, points: _Points, starts: FloatArray, window: int, levels: int) -> _Found:
        """Seek the points again from `starts` [K, M, 2], in patches of `window` pixels and `levels` halvings."""
        at, is_set = starts.copy(), points.is_set
        is_found, misfit = np.zeros(is_set.shape, bool), np.full(is_set.shape, np.inf, np.float32)
        if is_set.any():
            moved, status, error = cv2.calcOpticalFlowPyrLK(
                self.before, self.now, self._small(points.at[is_set]), self._small(starts[is_set]),
                winSize=(window, window), maxLevel=levels, criteria=STOP, flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
            )  # fmt: skip
            target = (moved.reshape(-1, 2) + 0.5) / self.shrink
            inside = (target >= 0).all(1) & (target[:, 0] <= self.size[1]) & (target[:, 1] <= self.size[0])
            at[is_set], is_found[is_set], misfit[is_set] = target, (status.ravel() == 1) & inside, error.ravel()
        return _Found(at, is_found, misfit)

    def _small(self, points: FloatArray) -> FloatArray:
        return np.ascontiguousarray((points * self.shrink - 0.5).reshape(-1, 1, 2), np.float32)


def _first_search(flow: _Flow, points: _Points, seen: Sequence[PlacedMask], boxes: Sequence[Box | None]) -> _Found:
    """Objects from where their boxes went, the background (the last part) from where it was; without boxes all so."""
    if not boxes:
        return flow.seek(points, points.at, WINDOW, FAR_LEVELS)
    steps = np.array([_box_step(mask.box, box) for mask, box in zip(seen, boxes, strict=True)], np.float32)
    objects, background = range(len(seen)), [len(seen)]
    starts = points.at[:-1] + steps.reshape(-1, 1, 2)
    near = flow.seek(points.part(objects), starts, WINDOW, BOX_LEVELS)
    far = flow.seek(points.part(background), points.at[-1:], WINDOW, FAR_LEVELS)
    parts = ((getattr(near, name), getattr(far, name)) for name in ("at", "is_found", "misfit"))
    return _Found(*(np.concatenate(pair) for pair in parts))


def _second_search(flow: _Flow, points: _Points, found: _Found, shift: NDArray[np.float64]) -> list[Similarity | None]:
    """The motions of parts that should have moved by `shift` [K, 2]: sought closely both there and where they were
    found, the one that fits better."""
    count = len(shift)
    starts = np.concatenate([found.at, points.at + shift[:, None].astype(np.float32)])
    twice = _Points(*(np.concatenate([array, array]) for array in (points.at, points.is_set)))
    both = flow.seek(twice, starts, NEAR_WINDOW, 0)
    counts = np.count_nonzero(both.is_found, axis=1)
    misfits = np.where(counts < LEAST_POINTS, np.inf, _medians(both.misfit, both.is_found, counts))
    is_better = misfits[count:] <= misfits[:count]
    motions = fit_similarities(points.at, both.at[count:], both.is_found[count:])
    return [motion if better else None for motion, better in zip(motions, is_better, strict=True)]


def _box_step(old: Box, new: Box | None) -> tuple[float, float]:
    """How far the middle of a box went."""
    if new is None or old.is_empty:
        return 0.0, 0.0
    return (new.x0 + new.x1 - old.x0 - old.x1) / 2, (new.y0 + new.y1 - old.y0 - old.y1) / 2


def _as_box_went(motion: Similarity | None, mask: PlacedMask, new: Box | None) -> Similarity | None:
    """The object's motion, or its box's where that kept its size and flow leads elsewhere; see `SAME_SIZE`."""
    old = mask.box
    if motion is None or new is None:
        return motion
    change = max(abs(new.width - old.width) / old.width, abs(new.height - old.height) / old.height)
    x, y, step = (old.x0 + old.x1) / 2, (old.y0 + old.y1) / 2, _box_step(old, new)
    found = motion.at(x, y)
    apart = max(abs(found[0] - x - step[0]), abs(found[1] - y - step[1]))
    if change > SAME_SIZE or apart <= max(2.0, MOST_APART * max(old.width, old.height)):
        return motion
    return Similarity(1.0, *step)


def fit_similarity(before: FloatArray, now: FloatArray) -> Similarity | None:
    """The similarity that takes points [n, 2] to where they are now, by medians; None for too few points."""
    return fit_similarities(before[None], now[None], np.ones((1, len(before)), bool))[0]


def fit_similarities(before: FloatArray, now: FloatArray, is_found: BoolArray) -> list[Similarity | None]:
    """The similarity of each of K parts whose points [K, M, 2], where `is_found` [K, M], are `now` there; see
    `fit_similarity`."""
    counts = np.count_nonzero(is_found, axis=1)
    both = np.concatenate([before, now - before], axis=2).transpose(2, 0, 1)
    middles = _medians(both, is_found, counts).T[:, None]
    middle, shift = middles[..., :2], middles[..., 2:]  # [K, 1, 2]
    radius = _lengths(before - middle)
    is_wide = is_found & (radius >= np.maximum(4.0, _medians(radius, is_found, counts))[:, None])
    wide = np.count_nonzero(is_wide, axis=1)
    ratio = _lengths(now - (middle + shift)) / np.where(is_wide, radius, 1.0)
    scale = np.minimum(np.maximum(_medians(ratio, is_wide, wide), 1 / MOST_GROWTH), MOST_GROWTH)
    scale[(counts < LEAST_FOR_SCALE) | (wide == 0)] = 1.0
    move = (middle + shift)[:, 0] - scale[:, None] * middle[:, 0]
    return [
        Similarity(size, x, y) if count >= LEAST_POINTS else None
        for count, size, (x, y) in zip(counts.tolist(), scale.tolist(), move.tolist(), strict=True)
    ]


def _lengths(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.hypot(vectors[..., 0], vectors[..., 1])


def _medians(values: FloatArray, is_given: BoolArray, counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """[..., K]: the median of each row of `values` [..., K, M] where `is_given` [K, M], `counts` [K] of them; 0 where
    none is."""
    if not values.shape[-1]:
        return np.zeros(values.shape[:-1])
    ordered = np.where(is_given, values, np.inf)
    ordered.sort(axis=-1)
    rows = np.arange(len(is_given))
    low, high = np.maximum(counts - 1, 0) // 2, np.minimum(counts // 2, values.shape[-1] - 1)
    return np.where(counts > 0, (ordered[..., rows, low] + ordered[..., rows, high]) / 2, 0.0)
