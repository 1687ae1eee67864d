"""From sequences to training samples: one record per object and frame, cut by the runtime's own functions.

A record is uint8 [P, S, S]: rgb, the mask planes that the network gets, the true visible mask where the visible plane
is a prediction, the whole mask. Masks are coverage, 0..255.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from c2f_ros.contract import MASK_CHANNELS, CropSpec, InputSpec
from c2f_ros.crops import cut_object, observe_object, stretch_mask, stretch_pixels
from c2f_ros.geometry import (
    EMPTY_BOX,
    EMPTY_MASK,
    Box,
    ByteArray,
    FloatArray,
    PlacedMask,
    common_sizes,
    count_common,
    crop_mask,
    cut_mask,
    square_crop,
)
from c2f_ros.records import Observation, SourceFrame, SourceObject
from c2f_ros.sources.predicted import MatchedObject
from c2f_train.data_config import DataConfig

RGB, VISIBLE, AMODAL = slice(0, 3), 3, -1
"""Planes of a record. The visible mask is the first of the mask planes, the whole mask the last plane."""

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
"""(rgb / 255 - MEAN) / STD with crop rule `square`; with `stretched`, as published, rgb / 255."""


def input_spec(crop: CropSpec, mask_channels: tuple[str, ...] = MASK_CHANNELS) -> InputSpec:
    """The value range of a network trained on crops of this rule; the manifest repeats it."""
    mean, std = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)) if crop.rule == "stretched" else (MEAN, STD)
    return InputSpec("rgb", mean, std, mask_channels)


MANY_IDS = 4096
"""With larger ids in an image (predictions without an object have such) boxes are found by new, small numbers."""


@dataclass(frozen=True)
class Cutting:
    """How records are cut. frames: longest window that is trained on; 1 leaves out frames in which the object is
    hidden. predicted: visible masks are predictions, the true ones get a plane of their own."""

    crop: CropSpec
    data: DataConfig
    mask_channels: tuple[str, ...]
    frames: int
    predicted: bool

    @property
    def planes(self) -> int:
        """P: planes of a record."""
        return 4 + len(self.mask_channels) + self.predicted

    @property
    def record_bytes(self) -> int:
        """Size of a record."""
        return self.planes * self.crop.size**2

    @property
    def chunk(self) -> int:
        """Frames that are scaled alike."""
        return self.frames if self.crop.rule == "stretched" else 1


@dataclass(frozen=True, eq=False)
class Track:
    """One object in consecutive frames. records: uint8 [n, P, S, S]; seen: bool [n], False where the object is hidden;
    occlusion: float32 [n], hidden share of its pixels inside the image."""

    records: ByteArray
    seen: NDArray[np.bool_]
    occlusion: FloatArray


@dataclass(frozen=True, eq=False)
class _Waiting:
    observation: Observation
    truth: PlacedMask
    amodal: PlacedMask
    seen: bool


def cut_tracks(frames: Iterable[SourceFrame], cutting: Cutting, seed: Sequence[int]) -> tuple[list[Track], int]:
    """The records of every object of a sequence, and how many times an object was left out for want of truth.

    A track begins when at least `min_visible_pixels` of the object are seen. While fewer are, its frames count as
    unseen: cut around the box seen last and, for images, left out. It ends when the object leaves the image. With crop
    rule `stretched`, tracks are parted into windows of `frames` that are scaled alike (spec 2.3).
    """
    tracks: list[_Cutter] = []
    running: dict[int, _Cutter] = {}
    without_truth = 0
    for number, frame in enumerate(frames):
        visible = visible_masks(frame.labels)
        known = {i: about for i, about in frame.objects.items() if about.amodal is not None}
        without_truth += len(visible.keys() - known.keys())
        inside = {i: about for i, about in known.items() if not about.amodal.is_empty}
        running = {i: track for i, track in running.items() if i in inside}
        for identity, about in inside.items():
            shown = visible.get(identity, EMPTY_MASK)
            if identity not in running:
                if shown.area < max(1, cutting.data.min_visible_pixels):
                    continue
                running[identity] = _Cutter(cutting, np.random.default_rng([*seed, number, identity]))
                tracks.append(running[identity])
            running[identity].add(frame, visible, shown, about)
    return [part for track in tracks for part in track.finish()], without_truth


def visible_masks(labels: NDArray[np.int32]) -> dict[int, PlacedMask]:
    """Every object that `labels` [H, W] show, by id."""
    ids: Sequence[int] = range(int(labels.max()) + 1)
    numbers: NDArray = labels
    if len(ids) > MANY_IDS:
        unique, numbers = np.unique(labels, return_inverse=True)
        ids, numbers = [0, *unique.tolist()], numbers.reshape(labels.shape) + 1
    found = {}
    for number, where in enumerate(ndimage.find_objects(numbers), start=1):
        if where is not None and ids[number] != 0:
            rows, columns = where
            box = Box(columns.start, rows.start, columns.stop, rows.stop)
            found[ids[number]] = PlacedMask(box, labels[where] == ids[number])
    return found


@dataclass(frozen=True)
class _Drawn:
    """A random crop. scale: of the visible box; grown: side over the side that this gives; right, down: of the centre,
    as a share of the side."""

    scale: float
    grown: float
    right: float
    down: float


def _moved(square: Box, drawn: _Drawn) -> Box:
    side = max(2, round(square.width * drawn.grown))
    x0 = round(square.x0 + (square.width - side) / 2 + square.width * drawn.right)
    y0 = round(square.y0 + (square.width - side) / 2 + square.width * drawn.down)
    return Box(x0, y0, x0 + side, y0 + side)


class _Cutter:
    """Cuts one object's records, frame by frame."""

    def __init__(self, cutting: Cutting, rng: np.random.Generator) -> None:
        self._cutting, self._rng = cutting, rng
        self._last_seen = EMPTY_BOX
        self._waiting: list[_Waiting] = []
        self._done: list[Track] = []
        self._found: dict[int, bool] = {}
        self._found_share = 1.0
        if rng.random() < cutting.data.unsegmented_fraction:
            self._found_share = float(rng.choice([0.0, rng.uniform(0.2, 0.9)]))

    def add(self, frame: SourceFrame, visible: dict[int, PlacedMask], shown: PlacedMask, about: SourceObject) -> None:
        """One more frame."""
        is_seen = shown.area >= max(1, self._cutting.data.min_visible_pixels)
        if is_seen:
            self._last_seen = shown.box
        elif self._cutting.frames == 1:
            return
        labels = self._segmented(frame.labels, visible)
        truth = about.true_visible if isinstance(about, MatchedObject) else shown
        assert about.amodal is not None
        self._waiting.append(_Waiting(self._observe(frame, labels, shown), truth, about.amodal, is_seen))
        if len(self._waiting) == self._cutting.chunk:
            self._flush()

    def finish(self) -> list[Track]:
        """What was cut; windows and ends in which the object is never seen are left out."""
        if self._waiting:
            self._flush()
        if self._cutting.chunk > 1:
            return [track for track in self._done if track.seen.any()]
        seen = np.concatenate([track.seen for track in self._done])
        count = min(len(seen), int(np.flatnonzero(seen)[-1]) + self._cutting.frames)
        parts = self._done[:count]
        occlusion = np.concatenate([track.occlusion for track in parts])
        return [Track(np.concatenate([track.records for track in parts]), seen[:count], occlusion)]

    def _segmented(
        self, labels: NDArray[np.int32], visible: dict[int, PlacedMask]
    ) -> NDArray[np.int32] | NDArray[np.bool_]:
        """[H, W], not 0 where an upstream segmenter is imagined to have found an object; the same ones all along."""
        if self._found_share == 1.0:
            return labels
        found = np.zeros(max(visible, default=0) + 1, bool)
        for identity in visible:
            if identity not in self._found:
                self._found[identity] = bool(self._rng.random() < self._found_share)
            found[identity] = self._found[identity]
        return found[labels]

    def _observe(self, frame: SourceFrame, labels: NDArray, shown: PlacedMask) -> Observation:
        crop, channels = self._cutting.crop, self._cutting.mask_channels
        drawn = self._draw_crop()
        if crop.rule == "square":
            square = _moved(square_crop(self._last_seen, *labels.shape, drawn.scale, crop.min_side_fraction), drawn)
            cut = cut_object(frame.rgb, "rgb8", labels, shown, square, crop.size, channels)
            return Observation(frame.stamp_ns, square, *cut)
        crop, box = replace(crop, scale=drawn.scale * drawn.grown), self._last_seen
        left, top = box.x0 + crop.scale * box.width * drawn.right, box.y0 + crop.scale * box.height * drawn.down
        bounds = (left, top, box.width, box.height)
        return observe_object(frame.rgb, "rgb8", labels, shown, crop, channels, frame.stamp_ns, bounds)

    def _draw_crop(self) -> _Drawn:
        data, scale = self._cutting.data, self._cutting.crop.scale
        if data.scale_range:
            scale = float(self._rng.uniform(*data.scale_range))
        grown = 1 + self._rng.uniform(-0.5, 1) * data.scale_jitter
        right, down = self._rng.uniform(-1, 1, 2) * data.shift_jitter
        return _Drawn(scale, grown, right, down)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        cut = _square if self._cutting.crop.rule == "square" else _stretched
        occlusion = [1 - count_common(w.truth, w.amodal) / w.amodal.area for w in waiting]
        self._done.append(
            Track(cut(waiting, self._cutting), np.array([w.seen for w in waiting]), np.array(occlusion, np.float32))
        )


def _square(waiting: Sequence[_Waiting], cutting: Cutting) -> ByteArray:
    size, count = cutting.crop.size, len(cutting.mask_channels)
    out = np.empty((len(waiting), cutting.planes, size, size), np.uint8)
    for record, w in zip(out, waiting, strict=True):
        record[RGB] = w.observation.rgb.transpose(2, 0, 1)
        record[VISIBLE : VISIBLE + count] = w.observation.masks
        for plane, mask in zip(record[VISIBLE + count :], _truths(w, cutting), strict=True):
            plane[:] = crop_mask(mask, w.observation.box, size)
    return out


def _stretched(waiting: Sequence[_Waiting], cutting: Cutting) -> ByteArray:
    size = cutting.crop.size
    out = np.empty((len(waiting), cutting.planes, size, size), np.uint8)
    sizes = common_sizes([w.observation.box for w in waiting], size)
    for record, w, fill in zip(out, waiting, sizes, strict=True):
        rgb = np.rint(stretch_pixels(w.observation.rgb, *fill, size) * np.float32(255))
        record[RGB] = rgb.transpose(2, 0, 1)
        cuts = [cut_mask(mask, w.observation.box).view(np.uint8) * np.uint8(255) for mask in _truths(w, cutting)]
        for plane, mask in zip(record[VISIBLE:], [*w.observation.masks, *cuts], strict=True):
            plane[:] = stretch_mask(mask, *fill, size)
    return out


def _truths(waiting: _Waiting, cutting: Cutting) -> list[PlacedMask]:
    return [waiting.truth, waiting.amodal] if cutting.predicted else [waiting.amodal]
