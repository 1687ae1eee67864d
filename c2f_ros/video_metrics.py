"""Accuracy over time, as raw sums that add up: objects hidden wholly, flicker, changes of ids.

Each class takes the frames of a clip in order of time and remembers per object only what it was in its last frame;
`end_clip` forgets that before another clip begins. Object keys are unique over clips (`clip/object`), track ids are
not.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from c2f_ros.geometry import EMPTY_MASK, Box, PlacedMask, count_common, minus, tighten

HIDDEN_SHARE = 0.05
"""Flicker is measured while more than this share of the true mask is hidden, as in `Accuracy`'s group `hidden`."""
AGES = (1, 2, 4, 8, 16)
"""First frame, counted from the last one in which the object was seen, of each bin of `InvisibleAccuracy`."""
MATCH_IOU, HIDDEN_MATCH_IOU = 0.5, 0.25
"""Least IoU of visible masks, and of whole masks where a result has no visible one, for a result to be of an object."""


@dataclass
class MeanSums:
    """A count and a total: a mean that can be added up."""

    count: int = 0
    total: float = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.count += 1
        self.total += value

    def __add__(self, other: MeanSums) -> MeanSums:
        return MeanSums(self.count + other.count, self.total + other.total)

    @property
    def percent(self) -> float | None:
        """The mean times 100; None if nothing was counted."""
        return None if self.count == 0 else round(100.0 * self.total / self.count, 2)


def iou(a: PlacedMask, b: PlacedMask) -> float:
    """Intersection over union, 0..1; 1 if both are empty."""
    common = count_common(a, b)
    joined = a.area + b.area - common
    return common / joined if joined else 1.0


@dataclass
class InvisibleAccuracy:
    """IoU of whole masks in the frames in which an object that was seen before is hidden wholly.

    objects: per object. ages: by frames since it was last seen, bins as in `AGES`. left: frames in which an object
    that was seen before is not in the image at all; ghosts: those of them with a mask all the same.
    """

    objects: dict[str, MeanSums] = field(default_factory=dict)
    ages: list[MeanSums] = field(default_factory=lambda: [MeanSums() for _ in AGES])
    left: int = 0
    ghosts: int = 0
    _unseen: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    def add(self, object_key: str, predicted: PlacedMask, truth: PlacedMask, visible: PlacedMask) -> None:
        """Take one object's frame, whether it counts or not. truth, visible: its true masks; predicted: `EMPTY_MASK`
        where there is no answer."""
        if not visible.is_empty:
            self._unseen[object_key] = 0
            return
        if object_key not in self._unseen:
            return
        self._unseen[object_key] += 1
        if truth.is_empty:
            self.left += 1
            self.ghosts += not predicted.is_empty
            return
        value = iou(predicted, truth)
        self.objects.setdefault(object_key, MeanSums()).add(value)
        self.ages[sum(self._unseen[object_key] >= first for first in AGES) - 1].add(value)

    def end_clip(self) -> None:
        """Forget which objects were seen."""
        self._unseen.clear()

    def __add__(self, other: InvisibleAccuracy) -> InvisibleAccuracy:
        objects = {
            key: self.objects.get(key, MeanSums()) + other.objects.get(key, MeanSums())
            for key in [*self.objects, *(key for key in other.objects if key not in self.objects)]
        }
        ages = [a + b for a, b in zip(self.ages, other.ages, strict=True)]
        return InvisibleAccuracy(objects, ages, self.left + other.left, self.ghosts + other.ghosts)

    def summary(self) -> dict[str, float | int | None]:
        """Percent, None where nothing was counted: `miou_invisible` over object-frames, `miou_invisible_objects` over
        frames and then over objects. Counts: `invisible_frames`, `invisible_objects`, `left_frames`, `ghost_frames`."""
        over_objects = MeanSums(len(self.objects), sum(s.total / s.count for s in self.objects.values()))
        return {
            "miou_invisible": sum(self.objects.values(), MeanSums()).percent,
            "miou_invisible_objects": over_objects.percent,
            "invisible_frames": sum(s.count for s in self.objects.values()),
            "invisible_objects": len(self.objects),
            "left_frames": self.left,
            "ghost_frames": self.ghosts,
        }

    def by_age(self) -> list[dict[str, float | int | None]]:
        """Per bin of frames since the object was seen: `first`, `last` (None: no end), `object_frames`, `full` (mean
        IoU in percent or None)."""
        lasts = [*(first - 1 for first in AGES[1:]), None]
        return [
            {"first": first, "last": last, "object_frames": sums.count, "full": sums.percent}
            for first, last, sums in zip(AGES, lasts, self.ages, strict=True)
        ]

    def to_json(self) -> dict[str, Any]:
        """The raw sums, for a JSON file."""
        return {
            "objects": {key: list(dataclasses.astuple(sums)) for key, sums in self.objects.items()},
            "ages": [list(dataclasses.astuple(sums)) for sums in self.ages],
            "left": self.left,
            "ghosts": self.ghosts,
        }

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> InvisibleAccuracy:
        """What `to_json` wrote."""
        objects = {key: MeanSums(*sums) for key, sums in content["objects"].items()}
        ages = [MeanSums(*sums) for sums in content["ages"]]
        return InvisibleAccuracy(objects, ages, content["left"], content["ghosts"])


class _Masks(NamedTuple):
    """One object in its last frame."""

    number: int
    predicted: PlacedMask
    truth: PlacedMask


FLICKERS = ("whole", "whole_truth", "hidden", "hidden_truth")


@dataclass
class Flicker:
    """1 - IoU of an object's mask in one frame, moved along with the object, and its mask in the next.

    It is moved as the box of the true mask moves and grows. Pairs of adjacent frames count if the object is visible
    and hidden by more than 5 % in both. whole: whole masks; hidden: what of them is not visible in the later frame;
    `_truth`: the same of the true masks, which shows how much a perfect answer changes (turning, leaving the image).
    """

    whole: MeanSums = field(default_factory=MeanSums)
    whole_truth: MeanSums = field(default_factory=MeanSums)
    hidden: MeanSums = field(default_factory=MeanSums)
    hidden_truth: MeanSums = field(default_factory=MeanSums)
    _last: dict[str, _Masks] = field(default_factory=dict, repr=False, compare=False)

    def add(
        self, object_key: str, number: int, predicted: PlacedMask, truth: PlacedMask, visible: PlacedMask
    ) -> float | None:
        """Take one object's frame; the distance from the last one, 0..1, if they count as a pair.

        number: of the frame in its clip; only frames whose numbers differ by one are adjacent. truth, visible: true
        masks. Two empty predicted masks do not differ.
        """
        before = self._last.pop(object_key, None)
        hidden = minus(truth, visible).area
        if visible.is_empty or hidden <= HIDDEN_SHARE * truth.area:
            return None
        truth = tighten(truth)
        self._last[object_key] = _Masks(number, predicted, truth)
        if before is None or number != before.number + 1:
            return None
        moved = moved_along(before.predicted, before.truth.box, truth.box)
        moved_truth = moved_along(before.truth, before.truth.box, truth.box)
        distance = 1.0 - iou(moved, predicted)
        self.whole.add(distance)
        self.whole_truth.add(1.0 - iou(moved_truth, truth))
        self.hidden.add(1.0 - iou(minus(moved, visible), minus(predicted, visible)))
        self.hidden_truth.add(1.0 - iou(minus(moved_truth, visible), minus(truth, visible)))
        return distance

    def end_clip(self) -> None:
        """Forget the last frames."""
        self._last.clear()

    def __add__(self, other: Flicker) -> Flicker:
        return Flicker(*(getattr(self, name) + getattr(other, name) for name in FLICKERS))

    def summary(self) -> dict[str, float | int | None]:
        """Mean distance in percent, None without pairs: `flicker`, `flicker_hidden`, and of the true masks
        `flicker_truth`, `flicker_hidden_truth`. Count: `flicker_pairs`."""
        return {
            "flicker": self.whole.percent,
            "flicker_truth": self.whole_truth.percent,
            "flicker_hidden": self.hidden.percent,
            "flicker_hidden_truth": self.hidden_truth.percent,
            "flicker_pairs": self.whole.count,
        }

    def to_json(self) -> dict[str, Any]:
        """The raw sums, for a JSON file."""
        return {name: list(dataclasses.astuple(getattr(self, name))) for name in FLICKERS}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Flicker:
        """What `to_json` wrote."""
        return Flicker(*(MeanSums(*content[name]) for name in FLICKERS))


def moved_along(mask: PlacedMask, old: Box, new: Box) -> PlacedMask:
    """The mask after the shift and the stretch in rows and columns that take box `old` to `new`, nearest pixel.

    Neither box is empty. The result may reach outside the image.
    """
    if mask.box.is_empty:
        return EMPTY_MASK
    x0, x1, columns = _moved_indices(mask.box.x0, mask.box.x1, (old.x0, old.x1), (new.x0, new.x1))
    y0, y1, rows = _moved_indices(mask.box.y0, mask.box.y1, (old.y0, old.y1), (new.y0, new.y1))
    return PlacedMask(Box(x0, y0, x1, y1), mask.mask[rows[:, None], columns[None, :]])


def _moved_indices(
    low: int, high: int, old: tuple[int, int], new: tuple[int, int]
) -> tuple[int, int, NDArray[np.intp]]:
    """One side of the moved mask: its start and end, and for each of its pixels which one of low..high-1 (from 0)."""
    scale = (new[1] - new[0]) / (old[1] - old[0])
    first = math.floor(new[0] + (low - old[0]) * scale)
    last = math.ceil(new[0] + (high - old[0]) * scale)
    sources = np.floor(old[0] + (np.arange(first, last) + 0.5 - new[0]) / scale).astype(np.intp) - low
    inside = np.flatnonzero((sources >= 0) & (sources < high - low))
    start = first + int(inside[0]) if len(inside) else first
    return start, start + len(inside), sources[inside]


class Shown(NamedTuple):
    """An object in one frame, true or found. name: its key, or the result's track id; visible: empty if unseen."""

    name: str
    visible: PlacedMask
    amodal: PlacedMask


@dataclass
class IdSwitches:
    """How often the id that an object has in the results changes.

    switches: frames in which a true object has another id than when it was last found; takeovers: frames in which an
    id is of another object than before. frames: object-frames found.
    """

    switches: int = 0
    takeovers: int = 0
    frames: int = 0
    objects: set[str] = field(default_factory=set)
    _ids: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    _keys: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    def add(self, truth: Sequence[Shown], results: Sequence[Shown]) -> None:
        """Take one frame; the keys of `truth` are unique over clips. See `match_results` for what belongs together."""
        for key, track_id in match_results(truth, results).items():
            self.frames += 1
            self.objects.add(key)
            self.switches += self._ids.get(key, track_id) != track_id
            self.takeovers += self._keys.get(track_id, key) != key
            self._ids[key], self._keys[track_id] = track_id, key

    def end_clip(self) -> None:
        """Forget all ids."""
        self._ids.clear()
        self._keys.clear()

    def __add__(self, other: IdSwitches) -> IdSwitches:
        return IdSwitches(
            self.switches + other.switches,
            self.takeovers + other.takeovers,
            self.frames + other.frames,
            self.objects | other.objects,
        )

    def summary(self) -> dict[str, float | int | None]:
        """Counts: `id_switches`, `id_takeovers`, and over how many objects and object-frames: `id_objects`,
        `id_frames`."""
        return {
            "id_switches": self.switches,
            "id_takeovers": self.takeovers,
            "id_objects": len(self.objects),
            "id_frames": self.frames,
        }

    def to_json(self) -> dict[str, Any]:
        """The raw sums, for a JSON file."""
        numbers = {"switches": self.switches, "takeovers": self.takeovers, "frames": self.frames}
        return {**numbers, "objects": sorted(self.objects)}

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> IdSwitches:
        """What `to_json` wrote."""
        return IdSwitches(content["switches"], content["takeovers"], content["frames"], set(content["objects"]))


def match_results(truth: Sequence[Shown], results: Sequence[Shown]) -> dict[str, str]:
    """Track id per true object that was found: those of `match_visible`, and among the objects and the results without
    a visible mask that are left, those that fit by whole masks (IoU of at least 0.25).

    The latter are objects that are hidden wholly, or that upstream has missed.
    """
    found = match_visible(truth, results)
    rest = [item for item in truth if item.name not in found and not item.amodal.is_empty]
    remembered = [item for item in results if item.visible.is_empty and not item.amodal.is_empty]
    return found | _pairs(rest, remembered, "amodal", HIDDEN_MATCH_IOU)


def match_visible(truth: Sequence[Shown], results: Sequence[Shown]) -> dict[str, str]:
    """Track id per true object that was found by visible masks: one to one, IoU of at least 0.5, best total."""
    shown = [item for item in truth if not item.visible.is_empty]
    seen = [item for item in results if not item.visible.is_empty]
    return _pairs(shown, seen, "visible", MATCH_IOU)


def _pairs(truth: Sequence[Shown], results: Sequence[Shown], which: str, least: float) -> dict[str, str]:
    if not truth or not results:
        return {}
    overlap = np.array([[iou(getattr(a, which), getattr(b, which)) for b in results] for a in truth])
    rows, columns = linear_sum_assignment(-np.where(overlap >= least, overlap, 0.0))
    return {
        truth[row].name: results[column].name
        for row, column in zip(rows, columns, strict=True)
        if overlap[row, column] >= least
    }
