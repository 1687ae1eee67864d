"""Scores results against ground truth: the model, and beside it what needs no learning.

Objects are matched by track id. An object counts in the frames that were answered and in which at least one of its
pixels is visible; averages are those of `metrics.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from c2f_ros.baselines import BASELINES, baseline
from c2f_ros.geometry import EMPTY_MASK, PlacedMask
from c2f_ros.metrics import Accuracy, FrameScore, score_frame
from c2f_ros.records import AmodalFrame

METHODS = ("model", *BASELINES)
OCCLUSION_EDGES = (0.0, 0.05, 0.25, 0.5, 0.7, 0.9, 1.0)
"""Bins of the hidden share of the true mask; the last one holds 1 too."""


@dataclass(frozen=True)
class ObjectScore:
    """One object in one frame: its hidden share, and the scores of each of `METHODS`."""

    stamp_ns: int
    track_id: str
    occlusion: float
    scores: Mapping[str, FrameScore]


@dataclass
class Scoring:
    """Collects frames. missing: visible objects of the truth that have no result in an answered frame; they score 0."""

    accuracy: dict[str, Accuracy] = field(default_factory=lambda: {name: Accuracy() for name in METHODS})
    rows: list[ObjectScore] = field(default_factory=list)
    missing: int = 0

    def add(self, result: AmodalFrame, truth: AmodalFrame) -> None:
        """Score every visible object of `truth`; both frames have the same stamp and size."""
        labels = seen_labels(result)
        found = {item.track_id: item for item in result.instances}
        for true in truth.instances:
            if true.visible.is_empty:
                continue
            item = found.get(true.track_id)
            self.missing += item is None
            visible, amodal = (item.visible, item.amodal) if item else (EMPTY_MASK, EMPTY_MASK)
            scores = {
                name: score_frame(predict(name, visible, amodal, labels), true.amodal, true.visible) for name in METHODS
            }
            known = {name: score for name, score in scores.items() if score is not None}
            if known:
                self._count(truth.stamp_ns, true.track_id, known)

    def _count(self, stamp_ns: int, track_id: str, scores: Mapping[str, FrameScore]) -> None:
        for name, score in scores.items():
            self.accuracy[name].add(track_id, score)
        self.rows.append(ObjectScore(stamp_ns, track_id, scores["model"].occlusion, scores))

    def summary(self) -> dict[str, dict[str, float | int | None]]:
        """Per method what `Accuracy.summary` gives."""
        return {name: accuracy.summary() for name, accuracy in self.accuracy.items()}

    def by_occlusion(self) -> list[dict[str, object]]:
        """Per bin of occlusion: `low`, `high`, `object_frames`, and per method the mean IoU in percent of whole masks
        (`full`) and of hidden parts (`occluded`); None in an empty bin."""
        bins = []
        for low, high in zip(OCCLUSION_EDGES, OCCLUSION_EDGES[1:], strict=False):
            is_last = high == OCCLUSION_EDGES[-1]
            rows = [r for r in self.rows if low <= r.occlusion < high or (is_last and r.occlusion == high)]
            entry: dict[str, object] = {"low": low, "high": high, "object_frames": len(rows)}
            for name in METHODS:
                entry[name] = {
                    "full": _mean_percent([r.scores[name].full_iou for r in rows]),
                    "occluded": _mean_percent([r.scores[name].occluded_iou for r in rows]),
                }
            bins.append(entry)
        return bins


def predict(method: str, visible: PlacedMask, amodal: PlacedMask, labels: NDArray[np.integer]) -> PlacedMask:
    """The amodal mask by one of `METHODS`; amodal: the model's. From nothing visible, baselines make nothing."""
    if method == "model":
        return amodal
    return visible if visible.is_empty else baseline(method, visible, labels)


def seen_labels(frame: AmodalFrame) -> NDArray[np.int32]:
    """int32 [H, W]: k + 1 where instance k of the frame is visible, 0 where none is."""
    labels = np.zeros((frame.height, frame.width), np.int32)
    for index, item in enumerate(frame.instances):
        labels[item.visible.box.slices][item.visible.mask] = index + 1
    return labels


def _mean_percent(values: list[float]) -> float | None:
    return round(100.0 * sum(values) / len(values), 2) if values else None
