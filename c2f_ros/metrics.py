"""Accuracy of amodal masks, as raw sums that add up over frames, tracks and clips.

Averages follow the published evaluation of C2F-Seg for video (its code, not its text): intersection over
union per frame, mean over an object's frames with at least one visible pixel, then mean over objects.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from c2f_ros.geometry import PlacedMask, count_common, minus

EPSILON = 1e-6


@dataclass(frozen=True)
class FrameScore:
    """One object in one frame. full_iou: of whole masks. occluded_iou: of the parts outside the visible
    mask; 0 where nothing is hidden (published averaging). occlusion: hidden share of the true mask, 0..1."""

    full_iou: float
    occluded_iou: float
    occlusion: float
    is_occluded: bool


def score_frame(predicted: PlacedMask, truth: PlacedMask, visible: PlacedMask) -> FrameScore | None:
    """Scores of one predicted amodal mask; None if the true mask is empty (nothing to compare with)."""
    truth_area = truth.area
    if truth_area == 0:
        return None
    common = count_common(predicted, truth)
    full = common / (predicted.area + truth_area - common + EPSILON)
    hidden_truth, hidden_predicted = minus(truth, visible), minus(predicted, visible)
    hidden_area = hidden_truth.area
    hidden_common = count_common(hidden_predicted, hidden_truth)
    occluded = hidden_common / (hidden_predicted.area + hidden_area - hidden_common + EPSILON)
    return FrameScore(full, occluded if hidden_area else 0.0, hidden_area / truth_area, hidden_area > 0)


@dataclass
class ObjectSums:
    """Sums over the frames of one object."""

    frames: int = 0
    full: float = 0.0
    occluded: float = 0.0


@dataclass
class Accuracy:
    """Collects frame scores per object; `summary` gives the averages.

    Besides the published averages it keeps the same over object-frames that are really hidden
    (more than 5 % of the object), and over those more than 70 % hidden.
    """

    objects: dict[str, ObjectSums] = field(default_factory=dict)
    hidden: ObjectSums = field(default_factory=ObjectSums)
    mostly_hidden: ObjectSums = field(default_factory=ObjectSums)
    unoccluded_frames: int = 0

    def add(self, object_key: str, score: FrameScore) -> None:
        """Count one object-frame; `object_key` is unique per object and clip."""
        _accumulate(self.objects.setdefault(object_key, ObjectSums()), score)
        if score.occlusion > 0.05:
            _accumulate(self.hidden, score)
        if score.occlusion > 0.70:
            _accumulate(self.mostly_hidden, score)
        self.unoccluded_frames += not score.is_occluded

    def summary(self) -> dict[str, float | int | None]:
        """Percent, or None where nothing was counted: `miou_full`, `miou_occ` (published averaging),
        `miou_full_hidden`, `miou_occ_hidden` (object-frames hidden > 5 %), `..._mostly_hidden` (> 70 %)."""
        objects = list(self.objects.values())
        return {
            "miou_full": _percent(sum(o.full / o.frames for o in objects), len(objects)),
            "miou_occ": _percent(sum(o.occluded / o.frames for o in objects), len(objects)),
            "miou_full_hidden": _percent(self.hidden.full, self.hidden.frames),
            "miou_occ_hidden": _percent(self.hidden.occluded, self.hidden.frames),
            "miou_full_mostly_hidden": _percent(self.mostly_hidden.full, self.mostly_hidden.frames),
            "miou_occ_mostly_hidden": _percent(self.mostly_hidden.occluded, self.mostly_hidden.frames),
            "objects": len(objects),
            "object_frames": sum(o.frames for o in objects),
            "unoccluded_frames": self.unoccluded_frames,
        }


def _accumulate(sums: ObjectSums, score: FrameScore) -> None:
    sums.frames += 1
    sums.full += score.full_iou
    sums.occluded += score.occluded_iou


def _percent(total: float, count: int) -> float | None:
    return None if count == 0 else round(100.0 * total / count, 2)
