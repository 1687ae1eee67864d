"""Accuracy of amodal masks, as raw sums that add up over frames, tracks, clips and machines.

One definition each, after the code of C2F-Seg (its text leaves them open). P predicted, F true whole, V true visible
mask; hidden parts are P - V and F - V:

- video (spec 10.4): IoU with 1e-6 in the denominator; mean over an object's counted frames, then over objects. A frame
  without hidden pixels counts, and its hidden IoU is 0;
- image (10.1, 10.2): every object-frame is an object. Whole IoU with 1e-10 above and below; hidden IoU with 1e-6 below,
  summed over all and divided by the number of those with |F| != |V|;
- occluded only: mean over object-frames with at least one hidden pixel.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from c2f_ros.contract import ContractError
from c2f_ros.geometry import BoolArray, FloatArray, PlacedMask, count_common, minus

EPSILON = 1e-6
IMAGE_EPSILON = 1e-10
BINS = 10
"""Bins of the hidden share of the true mask, equally wide; the last one holds 1 too."""
DoubleArray = NDArray[np.float64]


class ImageScores(NamedTuple):
    """Published image variant of N objects: whole and hidden IoU [N], and whether each counts in the latter's mean."""

    full_iou: DoubleArray
    occluded_iou: DoubleArray
    is_counted: BoolArray


class VideoScores(NamedTuple):
    """Published video variant of T frames of one object: whole and hidden IoU [T]."""

    full_iou: DoubleArray
    occluded_iou: DoubleArray


def published_image_iou(predicted: BoolArray, full: BoolArray, visible: BoolArray) -> ImageScores:
    """Scores as the published image evaluation gives them; masks are [N, H, W] (spec 10.1, 10.2).

    mIoU_full is `full_iou.mean()`, mIoU_occ is `occluded_iou.sum() / is_counted.sum()`.
    """
    common, joined = _overlap(predicted, full)
    full_iou = (common + IMAGE_EPSILON) / (joined + IMAGE_EPSILON)
    common, joined = _overlap(predicted & ~visible, full & ~visible)
    is_counted = full.sum(axis=(-2, -1)) != visible.sum(axis=(-2, -1))
    return ImageScores(full_iou, common / (joined + EPSILON), is_counted)


def published_video_iou(predicted: BoolArray, full: BoolArray, visible: BoolArray) -> VideoScores:
    """Scores as the published video evaluation gives them; masks are [T, H, W] (spec 10.4)."""
    common, joined = _overlap(predicted, full)
    hidden_common, hidden_joined = _overlap(predicted & ~visible, full & ~visible)
    return VideoScores(common / (joined + EPSILON), hidden_common / (hidden_joined + EPSILON))


def _overlap(a: BoolArray, b: BoolArray) -> tuple[DoubleArray, DoubleArray]:
    common = (a & b).sum(axis=(-2, -1)).astype(np.float64)
    return common, (a | b).sum(axis=(-2, -1)).astype(np.float64)


@dataclass(frozen=True)
class FrameScore:
    """One object in one frame. full_iou, occluded_iou: video variant, the latter 0 where nothing is hidden.
    occlusion: hidden share of the true mask, 0..1. is_occluded: a pixel is hidden. image_full_iou: image variant (its
    hidden IoU is the same number). is_counted: |F| != |V|, so that it counts in the image variant's hidden mean."""

    full_iou: float
    occluded_iou: float
    occlusion: float
    is_occluded: bool
    image_full_iou: float
    is_counted: bool


def score_frame(predicted: PlacedMask, truth: PlacedMask, visible: PlacedMask) -> FrameScore | None:
    """Scores of one predicted amodal mask; None if the true mask is empty (nothing to compare with)."""
    truth_area = truth.area
    if truth_area == 0:
        return None
    common = count_common(predicted, truth)
    joined = predicted.area + truth_area - common
    hidden_truth, hidden_predicted = minus(truth, visible), minus(predicted, visible)
    hidden_area = hidden_truth.area
    hidden_common = count_common(hidden_predicted, hidden_truth)
    occluded = hidden_common / (hidden_predicted.area + hidden_area - hidden_common + EPSILON)
    return FrameScore(
        common / (joined + EPSILON), occluded, hidden_area / truth_area, hidden_area > 0,
        (common + IMAGE_EPSILON) / (joined + IMAGE_EPSILON), truth_area != visible.area,
    )  # fmt: skip


@dataclass(frozen=True)
class Selection:
    """Which object-frames count. least_hidden, most_hidden: hidden share of the true mask, 0..1, both ends included
    (spec D14: 0.1 to 0.7 on Fishbowl). objects: keys of the objects that count (D15); None: all."""

    least_hidden: float = 0.0
    most_hidden: float = 1.0
    objects: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.least_hidden <= self.most_hidden <= 1:
            raise ContractError(
                f"hidden shares from {self.least_hidden} to {self.most_hidden}; expected 0 <= least <= most <= 1"
            )

    def has_object(self, key: str) -> bool:
        """Whether any frame of the object may count."""
        return self.objects is None or key in self.objects

    def holds(self, key: str, occlusion: float) -> bool:
        """Whether an object-frame hidden by that share counts."""
        return self.has_object(key) and self.least_hidden <= occlusion <= self.most_hidden


EVERYTHING = Selection()


@dataclass
class ObjectSums:
    """Sums over object-frames: of one object, or of a group. occluded_frames: those with a hidden pixel."""

    frames: int = 0
    full: float = 0.0
    occluded: float = 0.0
    occluded_frames: int = 0

    def add(self, score: FrameScore) -> None:
        """Count one object-frame."""
        self.frames += 1
        self.full += score.full_iou
        self.occluded += score.occluded_iou
        self.occluded_frames += score.is_occluded

    def __add__(self, other: ObjectSums) -> ObjectSums:
        return ObjectSums(*(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))


GROUPS = ("hidden", "mostly_hidden", "partly_hidden")


@dataclass
class Accuracy:
    """Collects frame scores per object; `summary` gives the averages. Two of them can be added.

    Groups of object-frames: hidden (more than 5 %), mostly_hidden (more than 70 %), partly_hidden (at least a pixel).
    bins: by hidden share. image_*: image variant's sums over all object-frames. not_counted: objects met that
    have no counted frame so far.
    """

    selection: Selection = EVERYTHING
    objects: dict[str, ObjectSums] = field(default_factory=dict)
    hidden: ObjectSums = field(default_factory=ObjectSums)
    mostly_hidden: ObjectSums = field(default_factory=ObjectSums)
    partly_hidden: ObjectSums = field(default_factory=ObjectSums)
    bins: list[ObjectSums] = field(default_factory=lambda: [ObjectSums() for _ in range(BINS)])
    image_full: float = 0.0
    image_counted: int = 0
    not_counted: set[str] = field(default_factory=set)

    def add(self, object_key: str, score: FrameScore | None) -> None:
        """Count one object-frame; `object_key` is unique per object and clip.

        None: the object is there, but the frame cannot count (nothing of it visible, or no true mask).
        """
        if not self.selection.has_object(object_key):
            return
        if score is None or not self.selection.holds(object_key, score.occlusion):
            if object_key not in self.objects:
                self.not_counted.add(object_key)
            return
        self.not_counted.discard(object_key)
        self.objects.setdefault(object_key, ObjectSums()).add(score)
        for group, counts in (
            (self.hidden, score.occlusion > 0.05),
            (self.mostly_hidden, score.occlusion > 0.70),
            (self.partly_hidden, score.is_occluded),
        ):
            if counts:
                group.add(score)
        self.bins[min(int(score.occlusion * BINS), BINS - 1)].add(score)
        self.image_full += score.image_full_iou
        self.image_counted += score.is_counted

    def __add__(self, other: Accuracy) -> Accuracy:
        """The accuracy over the frames of both. Raises ValueError if they count different objects or hidden shares."""
        if self.selection != other.selection:
            raise ValueError(f"accuracies over {self.selection} and {other.selection} do not add up; use the same one")
        out = Accuracy(self.selection)
        for part in (self, other):
            for key, sums in part.objects.items():
                out.objects[key] = out.objects.get(key, ObjectSums()) + sums
            for name in GROUPS:
                setattr(out, name, getattr(out, name) + getattr(part, name))
            out.bins = [a + b for a, b in zip(out.bins, part.bins, strict=True)]
            out.image_full += part.image_full
            out.image_counted += part.image_counted
        out.not_counted = (self.not_counted | other.not_counted) - out.objects.keys()
        return out

    def summary(self) -> dict[str, float | int | None]:
        """Percent, or None where nothing was counted.

        `miou_full`, `miou_occ`: published video averaging; with `_image` published image averaging, with `_occluded`
        over object-frames with a hidden pixel, `_hidden` more than 5 %, `_mostly_hidden` more than 70 %.
        Counts: `objects`, `object_frames`, `unoccluded_frames`, `objects_not_counted` (without any counted frame).
        """
        objects = list(self.objects.values())
        frames = sum(o.frames for o in objects)
        occluded = sum(o.occluded for o in objects)
        return {
            "miou_full": _percent(sum(o.full / o.frames for o in objects), len(objects)),
            "miou_occ": _percent(sum(o.occluded / o.frames for o in objects), len(objects)),
            "miou_full_image": _percent(self.image_full, frames),
            "miou_occ_image": _percent(occluded, self.image_counted),
            "miou_full_occluded": _percent(self.partly_hidden.full, self.partly_hidden.frames),
            "miou_occ_occluded": _percent(self.partly_hidden.occluded, self.partly_hidden.frames),
            "miou_full_hidden": _percent(self.hidden.full, self.hidden.frames),
            "miou_occ_hidden": _percent(self.hidden.occluded, self.hidden.frames),
            "miou_full_mostly_hidden": _percent(self.mostly_hidden.full, self.mostly_hidden.frames),
            "miou_occ_mostly_hidden": _percent(self.mostly_hidden.occluded, self.mostly_hidden.frames),
            "objects": len(objects),
            "object_frames": frames,
            "unoccluded_frames": frames - self.partly_hidden.frames,
            "objects_not_counted": len(self.not_counted),
        }

    def by_occlusion(self) -> list[dict[str, float | int | None]]:
        """Per bin of the hidden share: `low`, `high`, `object_frames`, and mean IoU in percent of whole masks (`full`)
        and of hidden parts over frames that have any (`occluded`); None in an empty bin."""
        return [
            {
                "low": index / BINS,
                "high": (index + 1) / BINS,
                "object_frames": sums.frames,
                "full": _percent(sums.full, sums.frames),
                "occluded": _percent(sums.occluded, sums.occluded_frames),
            }
            for index, sums in enumerate(self.bins)
        ]

    def to_json(self) -> dict[str, Any]:
        """The raw sums, for a JSON file; every `ObjectSums` as the list of its four numbers."""
        chosen = self.selection.objects
        return {
            "least_hidden": self.selection.least_hidden,
            "most_hidden": self.selection.most_hidden,
            "only_objects": None if chosen is None else sorted(chosen),
            "objects": {key: list(dataclasses.astuple(sums)) for key, sums in self.objects.items()},
            **{name: list(dataclasses.astuple(getattr(self, name))) for name in GROUPS},
            "bins": [list(dataclasses.astuple(sums)) for sums in self.bins],
            "image_full": self.image_full,
            "image_counted": self.image_counted,
            "not_counted": sorted(self.not_counted),
        }

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Accuracy:
        """What `to_json` wrote."""
        chosen = content["only_objects"]
        selection = Selection(
            content["least_hidden"], content["most_hidden"], None if chosen is None else frozenset(chosen)
        )
        return Accuracy(
            selection,
            {key: ObjectSums(*sums) for key, sums in content["objects"].items()},
            **{name: ObjectSums(*content[name]) for name in GROUPS},
            bins=[ObjectSums(*sums) for sums in content["bins"]],
            image_full=content["image_full"],
            image_counted=content["image_counted"],
            not_counted=set(content["not_counted"]),
        )


def _percent(total: float, count: int) -> float | None:
    return None if count == 0 else round(100.0 * total / count, 2)


def expected_iou(probability: FloatArray, threshold: float) -> float:
    """IoU to expect of the thresholded mask if the probabilities are true, 0..1."""
    return expected_ious(probability[None], threshold)[0]


def expected_ious(probabilities: FloatArray, threshold: float) -> list[float]:
    """`expected_iou` of every map of [N, ...]."""
    flat = probabilities.reshape(len(probabilities), math.prod(probabilities.shape[1:]))
    inside = flat > threshold
    common = np.multiply(flat, inside).sum(axis=1, dtype=np.float64)
    either = np.count_nonzero(inside, axis=1) + (flat.sum(axis=1, dtype=np.float64) - common)
    return np.divide(common, either, out=np.zeros(len(flat)), where=either > 0).tolist()
