"""How objects and the background move in the image from frame to frame: sparse optical flow, one call a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from c2f_ros.geometry import BoolArray, ByteArray, FloatArray, PlacedMask

LONGEST = 400
"""Flow is sought in a copy of the image whose longer side has at most so many pixels."""
OBJECT_POINTS, BACKGROUND_POINTS = 24, 64
"""Points per object and of the background, at most."""
LEAST_POINTS, LEAST_FOR_SCALE = 3, 8
"""Found points that a shift, and a change of size, must rest on."""
MOST_GROWTH = 1.15
"""An object does not grow or shrink more than this in one frame; more is a fault of the flow."""
WINDOW, NEAR_WINDOW = 15, 9
"""Sides of the patches that are compared: sought anywhere, and near where they should be."""

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


def small_gray(pixels: ByteArray, encoding: str) -> ByteArray:
    """uint8 [h, w]: the image [H, W, C] in gray, its longer side at most `LONGEST`."""
    height, width = pixels.shape[:2]
    if max(height, width) > LONGEST:
        factor = LONGEST / max(height, width)
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    code = _TO_GRAY[encoding]
    return np.ascontiguousarray(pixels) if code is None else cv2.cvtColor(pixels, code)


def find_motions(
    before: ByteArray,
    now: ByteArray,
    seen: Sequence[PlacedMask],
    labels: NDArray[np.integer],
    drifts: Sequence[tuple[float, float] | None] = (),
) -> tuple[list[Similarity | None], Similarity | None]:
    """How each object moved, and the scene; None where too little was found again.

    The scene's motion is a shift, the median over objects and background: what the camera's motion does to things at
    about the objects' distance. (The background's own is that of things far behind: under a camera that circles a
    cluster it misleads hidden objects.)

    before, now: of `small_gray`, equal shapes. seen: the objects' visible masks in the frame before, in pixels of the
    whole image; labels [H, W] of that frame, 0 where no instance is. drifts: how each object should have moved against
    the scene, in pixels (x, y), None where nothing is known. It matters for slivers at an occluder's edge: sought
    from afar, their points follow the occluder; sought from where they should be, they are found.
    """
    flow = _Flow(before, now, before.shape[1] / labels.shape[1], labels.shape)
    sets = [_points(mask.mask, mask.box.x0, mask.box.y0, OBJECT_POINTS) for mask in seen]
    sets.append(_background(labels))
    points = np.concatenate(sets).astype(np.float32) + 0.5
    if not len(points):
        return [None] * len(seen), None
    ends = np.cumsum([len(part) for part in sets])
    parts = [slice(start, end) for start, end in zip(np.append(0, ends[:-1]), ends, strict=True)]
    found, is_found, _ = flow.track(points, None)
    motions = [_fit(points[part], found[part], is_found[part]) for part in parts]
    scene = _scene(motions, seen, labels.shape)
    rows = [row for row, drift in enumerate(drifts) if drift is not None and len(sets[row])]
    if rows:
        shift, starts = scene or STILL, points.copy()
        for row in rows:
            starts[parts[row]] += np.add((shift.dx, shift.dy), drifts[row])
        own = np.concatenate([np.arange(len(points))[parts[row]] for row in rows])
        first, second = (flow.track(points[own], start[own]) for start in (found, starts))
        begin = 0
        for row in rows:
            part = slice(begin, begin := begin + len(sets[row]))
            if _misfit(second, part) <= _misfit(first, part):
                motions[row] = _fit(points[own][part], second[0][part], second[1][part]) or motions[row]
    return motions[:-1], scene


def _scene(
    motions: Sequence[Similarity | None], seen: Sequence[PlacedMask], size: tuple[int, ...]
) -> Similarity | None:
    """The median shift of objects, each at its middle, and of the background, at the image's, which counts twice.

    motions: of `seen`, then of the background."""
    middles = [((m.box.x0 + m.box.x1) / 2, (m.box.y0 + m.box.y1) / 2) for m in seen]
    middles += [(size[1] / 2, size[0] / 2)] * 2
    shifts = [
        np.subtract(motion.at(*middle), middle)
        for motion, middle in zip([*motions, motions[-1]], middles, strict=True)
        if motion is not None
    ]
    if not shifts:
        return None
    x, y = np.median(np.array(shifts), axis=0)
    return Similarity(1.0, float(x), float(y))


Tracked = tuple[NDArray[np.float32], BoolArray, NDArray[np.float32]]
"""Where points are now [n, 2], whether they were found inside the image [n], and how badly they fit [n]."""


@dataclass(frozen=True, eq=False)
class _Flow:
    """Two gray images, `shrink` times as large as the whole ones, of `size` (rows, columns)."""

    before: ByteArray
    now: ByteArray
    shrink: float
    size: tuple[int, ...]

    def track(self, points: NDArray[np.float32], starts: NDArray[np.float32] | None) -> Tracked:
        """Seek points [n, 2] of the whole image again: anywhere, or near `starts` [n, 2], in a smaller window."""
        small = self._small(points)
        if starts is None:
            how: dict[str, Any] = {"winSize": (WINDOW, WINDOW), "maxLevel": 3}
            moved, is_found, misfit = cv2.calcOpticalFlowPyrLK(self.before, self.now, small, None, **how)
        else:
            how = {"winSize": (NEAR_WINDOW, NEAR_WINDOW), "maxLevel": 0, "flags": cv2.OPTFLOW_USE_INITIAL_FLOW}
            start = self._small(starts)
            moved, is_found, misfit = cv2.calcOpticalFlowPyrLK(self.before, self.now, small, start, **how)
        target = (moved.reshape(-1, 2) + 0.5) / self.shrink
        inside = (target >= 0).all(1) & (target[:, 0] <= self.size[1]) & (target[:, 1] <= self.size[0])
        return target, (is_found.ravel() == 1) & inside, misfit.ravel()

    def _small(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        return (points * self.shrink - 0.5).reshape(-1, 1, 2).astype(np.float32)


def _fit(before: NDArray[np.float32], now: NDArray[np.float32], is_found: BoolArray) -> Similarity | None:
    return fit_similarity(before[is_found], now[is_found])


def _misfit(tracked: Tracked, part: slice) -> float:
    """Of the part's points that were found; infinite where too few were."""
    is_found = tracked[1][part]
    return float(np.median(tracked[2][part][is_found])) if is_found.sum() >= LEAST_POINTS else float("inf")


def fit_similarity(before: FloatArray, now: FloatArray) -> Similarity | None:
    """The similarity that takes points [n, 2] to where they are now, by medians; None for too few points."""
    if len(before) < LEAST_POINTS:
        return None
    middle = np.median(before, axis=0)
    shift = np.median(now - before, axis=0)
    scale = 1.0
    if len(before) >= LEAST_FOR_SCALE:
        radius = np.hypot(*(before - middle).T)
        wide = radius >= max(4.0, float(np.median(radius)))
        if wide.any():
            grown = np.hypot(*(now[wide] - middle - shift).T) / radius[wide]
            scale = float(np.clip(np.median(grown), 1 / MOST_GROWTH, MOST_GROWTH))
    x, y = middle + shift - scale * middle
    return Similarity(scale, float(x), float(y))


def _points(mask: BoolArray, x0: int, y0: int, most: int) -> NDArray[np.float64]:
    """At most about `most` set pixels [n, 2] as (x, y), spread evenly; pixels at the mask's border are avoided."""
    if not mask.size:
        return np.zeros((0, 2))
    inner = cv2.erode(mask.view(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    rows, columns = np.nonzero(inner if inner.any() else mask)
    if len(rows) > most:
        step = max(1, int(np.sqrt(len(rows) / most)))
        on_grid = (rows % step == step // 2) & (columns % step == step // 2)
        if np.count_nonzero(on_grid) >= most // 2:
            rows, columns = rows[on_grid], columns[on_grid]
        chosen = np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)
        rows, columns = rows[chosen], columns[chosen]
    return np.stack([columns + x0, rows + y0], 1).astype(np.float64)


def _background(labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Points of an even grid that no instance covers."""
    height, width = labels.shape
    step = max(4, int(np.sqrt(height * width / (2 * BACKGROUND_POINTS))))
    rows, columns = np.nonzero(labels[step // 2 :: step, step // 2 :: step] == 0)
    points = np.stack([columns * step + step // 2, rows * step + step // 2], 1).astype(np.float64)
    return points[:: max(1, len(points) // BACKGROUND_POINTS)]
