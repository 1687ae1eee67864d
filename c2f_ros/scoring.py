"""Scores results against ground truth: the model, and beside it what needs no learning.

A true object's result is the one whose visible mask fits best, else the one with the object's own id; while the object
is hidden wholly, the one that it had last. Objects count in the frames that were answered: those of which a pixel is
visible in `accuracy`, with the averages of `metrics.py`; those hidden wholly, and what changes from frame to frame, in
`over_time`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from c2f_ros.baselines import BASELINES, baseline
from c2f_ros.geometry import EMPTY_MASK, PlacedMask
from c2f_ros.metrics import Accuracy, FrameScore, score_frame
from c2f_ros.records import AmodalFrame, AmodalInstance
from c2f_ros.scoring_over_time import ScoringOverTime, shown
from c2f_ros.video_metrics import iou, match_visible

METHODS = ("model", *BASELINES)
OCCLUSION_EDGES = (0.0, 0.05, 0.25, 0.5, 0.7, 0.9, 1.0)
"""Bins of the hidden share of the true mask; the last one holds 1 too."""


@dataclass(frozen=True)
class ObjectScore:
    """One visible object in one frame: its hidden share, and the scores of each of `METHODS`.

    track_id: the true one; result_id: of its result, "" if there is none."""

    stamp_ns: int
    track_id: str
    result_id: str
    occlusion: float
    scores: Mapping[str, FrameScore]


@dataclass(frozen=True)
class HiddenScore:
    """One object in one frame in which it is hidden wholly, and the IoU of its result's whole mask."""

    stamp_ns: int
    track_id: str
    result_id: str
    full_iou: float


@dataclass
class Scoring:
    """Collects frames. missing: visible objects of the truth that have no result in an answered frame; they score 0."""

    accuracy: dict[str, Accuracy] = field(default_factory=lambda: {name: Accuracy() for name in METHODS})
    over_time: ScoringOverTime = field(default_factory=lambda: ScoringOverTime(METHODS))
    rows: list[ObjectScore] = field(default_factory=list)
    hidden_rows: list[HiddenScore] = field(default_factory=list)
    missing: int = 0
    _last_ids: dict[str, str] = field(default_factory=dict, repr=False)

    def add(self, result: AmodalFrame, truth: AmodalFrame, number: int) -> None:
        """Score every object of `truth`; both frames have the same stamp and size. number: of the frame in the bag;
        frames are added in order."""
        if self.over_time.begin(truth):
            self._last_ids.clear()
        labels = seen_labels(result)
        found = self._found(result, truth)
        for true in truth.instances:
            item = found.get(true.track_id)
            visible, amodal = (item.visible, item.amodal) if item else (EMPTY_MASK, EMPTY_MASK)
            predicted = {name: predict(name, visible, amodal, labels) for name in METHODS}
            self.over_time.add(true, predicted, number)
            if true.visible.is_empty:
                self._count_hidden(truth.stamp_ns, true, item)
            else:
                self.missing += item is None
                self._count(truth.stamp_ns, true, item, predicted)
        self.over_time.end_frame(result, truth, {key: item.track_id for key, item in found.items()})

    def _found(self, result: AmodalFrame, truth: AmodalFrame) -> dict[str, AmodalInstance]:
        """The result of every true object that has one, by the true id."""
        items = {item.track_id: item for item in result.instances}
        ids = match_visible(shown(truth), shown(result))
        taken = set(ids.values())
        for true in truth.instances:
            own = true.track_id if not true.visible.is_empty else self._last_ids.get(true.track_id, true.track_id)
            if true.track_id not in ids and own in items and own not in taken:
                ids[true.track_id] = own
                taken.add(own)
        self._last_ids |= ids
        return {key: items[name] for key, name in ids.items()}

    def _count(
        self, stamp_ns: int, true: AmodalInstance, item: AmodalInstance | None, predicted: Mapping[str, PlacedMask]
    ) -> None:
        scores = {name: score_frame(mask, true.amodal, true.visible) for name, mask in predicted.items()}
        known = {name: score for name, score in scores.items() if score is not None}
        if not known:
            return
        for name, score in known.items():
            self.accuracy[name].add(true.track_id, score)
        result_id = item.track_id if item else ""
        self.rows.append(ObjectScore(stamp_ns, true.track_id, result_id, known["model"].occlusion, known))

    def _count_hidden(self, stamp_ns: int, true: AmodalInstance, item: AmodalInstance | None) -> None:
        if item is not None and not true.amodal.is_empty:
            value = iou(item.amodal, true.amodal)
            self.hidden_rows.append(HiddenScore(stamp_ns, true.track_id, item.track_id, value))

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
