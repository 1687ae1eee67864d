"""What an evaluation finds: raw sums per method, AP and AR, and the worst and best cases; and what collects them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from c2f_ros.baselines import BASELINES, baseline
from c2f_ros.geometry import PlacedMask, place
from c2f_ros.metrics import EVERYTHING, Accuracy, FrameScore, Selection, score_frame
from c2f_ros.records import SourceFrame
from c2f_ros.sources.predicted import FIRST_UNMATCHED_ID, true_visible
from c2f_train.data.sequences import track_name
from c2f_train.scores.coco_scores import CocoDetections, CocoTruth, require_pycocotools
from c2f_train.scores.evaluation_cases import Case, Extremes, case_picture
from c2f_train.scores.over_time import OverTime, TimedFrame

CASE_HIDDEN = 0.2
"""Worst and best cases are sought among object-frames hidden by more than this share."""

Sequences = Iterable[tuple[str, Iterable[SourceFrame]]]
"""Name and frames of each clip."""

Row = dict[str, float | int | None]
"""`Accuracy.summary`, and with AP `CocoDetections.scores`."""


@dataclass(frozen=True, eq=False)
class Target:
    """A true object that is seen. visible, truth: its true masks; given: the visible mask that methods are shown;
    track: what upstream calls it, unique over clips."""

    key: str
    category: str
    visible: PlacedMask
    truth: PlacedMask
    given: PlacedMask
    track: str


@dataclass(frozen=True, eq=False)
class Unseen:
    """A true object that does not count in this frame: nothing of it is visible, its whole mask is unknown, or no
    predicted visible mask is of it. visible, truth: its true masks."""

    key: str
    category: str
    visible: PlacedMask
    truth: PlacedMask | None


@dataclass(frozen=True, eq=False)
class Answer:
    """A predicted whole mask. score: confidence, which orders the answers for AP."""

    mask: PlacedMask
    score: float


@dataclass(frozen=True, eq=False)
class FrameAnswers:
    """All methods' answers to one frame.

    answers: per method one for each target, in order. detections: where AP should be taken over other answers than
    those (a detector's, before they are matched), per method these, each with its category. timed: all objects with a
    true mask, for the scores over time; whole: per row of these scores an answer to each of them.
    """

    clip: str
    number: int
    frame: SourceFrame
    targets: Sequence[Target]
    unseen: Sequence[Unseen]
    answers: Mapping[str, Sequence[Answer]]
    detections: Mapping[str, Sequence[tuple[Answer, str]]] = field(default_factory=dict)
    timed: TimedFrame | None = None
    whole: Mapping[str, Sequence[PlacedMask]] = field(default_factory=dict)


@dataclass
class EvaluationResult:
    """An evaluation of several methods on one data set.

    accuracy: per method its raw sums. precision: per method AP and AR, or empty. followed: the method whose worst and
    best cases are kept. notes: sentences for the reader: what was given, matched, left out. over_time: of the methods
    that were scored over time, and of their rivals.
    """

    name: str
    accuracy: dict[str, Accuracy]
    precision: dict[str, dict[str, float | None]]
    followed: str
    worst: list[Case]
    best: list[Case]
    notes: list[str] = field(default_factory=list)
    over_time: dict[str, OverTime] = field(default_factory=dict)

    def rows(self) -> dict[str, Row]:
        """Per method `Accuracy.summary` in percent, and `ap`, `ap50`, `ap75`, `ar` where they were asked for."""
        return {name: {**self.precision.get(name, {}), **a.summary()} for name, a in self.accuracy.items()}

    def by_occlusion(self) -> dict[str, list[dict[str, float | int | None]]]:
        """Per method `Accuracy.by_occlusion`."""
        return {name: accuracy.by_occlusion() for name, accuracy in self.accuracy.items()}

    def rows_over_time(self) -> dict[str, Row]:
        """Per method and rival `OverTime.summary`."""
        return {name: scores.summary() for name, scores in self.over_time.items()}

    def to_json(self) -> dict[str, Any]:
        """Everything but the pictures; `rows...` and `by_occlusion` are there to be read, `sums...` to be added."""
        return {
            "name": self.name,
            "rows": self.rows(),
            "rows_over_time": self.rows_over_time(),
            "by_occlusion": self.by_occlusion(),
            "precision": self.precision,
            "followed": self.followed,
            "worst": [case.to_json() for case in self.worst],
            "best": [case.to_json() for case in self.best],
            "notes": self.notes,
            "sums": {name: accuracy.to_json() for name, accuracy in self.accuracy.items()},
            "sums_over_time": {name: scores.to_json() for name, scores in self.over_time.items()},
        }

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> EvaluationResult:
        """What `to_json` wrote, without pictures."""
        worst, best = ([Case(**{**c, "box": tuple(c["box"])}) for c in content[key]] for key in ("worst", "best"))
        sums = {name: Accuracy.from_json(part) for name, part in content["sums"].items()}
        timed = {name: OverTime.from_json(part) for name, part in content["sums_over_time"].items()}
        return EvaluationResult(
            content["name"], sums, content["precision"], content["followed"], worst, best, content["notes"], timed
        )

    @staticmethod
    def load(file: Path) -> EvaluationResult:
        """The `results.json` of a report."""
        return EvaluationResult.from_json(json.loads(file.read_text()))


@dataclass(frozen=True)
class Collecting:
    """What to collect. followed: method of the worst and best cases, `cases` of each; with_precision: AP and AR too;
    by_class: per category, then averaged, instead of all objects alike; timed: rows of the scores over time."""

    methods: Sequence[str]
    followed: str
    selection: Selection = EVERYTHING
    with_precision: bool = False
    cases: int = 12
    by_class: bool = False
    timed: Sequence[str] = ()


class Collector:
    """Turns frames with answers into an `EvaluationResult`."""

    def __init__(self, about: Collecting) -> None:
        """Raises ContractError if AP is asked for and pycocotools is missing."""
        if about.with_precision:
            require_pycocotools()
        self._about = about
        self._accuracy = {name: Accuracy(about.selection) for name in about.methods}
        self._truth = CocoTruth()
        self._detections = {name: CocoDetections(self._truth) for name in about.methods}
        self._over_time = {name: OverTime() for name in about.timed}
        self._not_found = 0
        self._worst, self._best = Extremes(about.cases, 1), Extremes(about.cases, -1)

    def add(self, found: FrameAnswers) -> None:
        """Score one frame."""
        self._not_found += sum(not u.visible.is_empty and u.truth is not None for u in found.unseen)
        for name, accuracy in self._accuracy.items():
            for unseen in found.unseen:
                accuracy.add(unseen.key, None)
            for target, answer in zip(found.targets, found.answers[name], strict=True):
                score = score_frame(answer.mask, target.truth, target.visible)
                accuracy.add(target.key, score)
                if name == self._about.followed and score is not None:
                    self._consider(found, target, answer, score)
        if self._about.with_precision:
            self._add_detections(found)
        if found.timed is not None:
            order = found.timed.true_order()
            for name, scores in self._over_time.items():
                scores.add(found.timed, order, found.whole[name])

    def end_clip(self) -> None:
        """The frames of another clip come next."""
        for scores in self._over_time.values():
            scores.end_clip()

    def result(self, name: str, notes: Sequence[str] = ()) -> EvaluationResult:
        """What was collected, as the evaluation of data set `name`."""
        precision = {}
        if self._about.with_precision:
            precision = {method: detections.scores() for method, detections in self._detections.items()}
        return EvaluationResult(
            name, self._accuracy, precision, self._about.followed, self._worst.sorted(), self._best.sorted(),
            [*notes, *self._not_counted()], self._over_time,
        )  # fmt: skip

    def _not_counted(self) -> Iterator[str]:
        if self._not_found:
            yield f"Object-frames of which no visible mask was predicted; they do not count: {self._not_found}."
        chosen = self._about.selection.objects
        accuracy = self._accuracy[self._about.followed]
        missing = (chosen or frozenset()) - accuracy.objects.keys() - accuracy.not_counted
        if missing:
            yield f"Listed objects that are not in the data: {len(missing)}, for example {min(missing)}."

    def _add_detections(self, found: FrameAnswers) -> None:
        image = self._truth.add_image(*found.frame.labels.shape)
        selection, by_class = self._about.selection, self._about.by_class
        for unseen in found.unseen:
            if unseen.truth is not None:
                self._truth.add(image, unseen.truth, unseen.category if by_class else "", is_counted=False)
        for target in found.targets:
            hidden = score_frame(target.truth, target.truth, target.visible)
            is_counted = hidden is not None and selection.holds(target.key, hidden.occlusion)
            self._truth.add(image, target.truth, target.category if by_class else "", is_counted)
        for name, detections in self._detections.items():
            categories = (target.category for target in found.targets)
            own = zip(found.answers[name], categories, strict=True)
            for answer, category in found.detections.get(name, own):
                detections.add(image, answer.mask, answer.score, category if by_class else "")

    def _consider(self, found: FrameAnswers, target: Target, answer: Answer, score: FrameScore) -> None:
        if score.occlusion <= CASE_HIDDEN or not self._about.selection.holds(target.key, score.occlusion):
            return
        for extremes in (self._worst, self._best):
            if extremes.most and extremes.wants(target.key, score.full_iou):
                box, picture = case_picture(found.frame.rgb, target.visible, target.truth, answer.mask)
                extremes.add(
                    Case(
                        target.key, found.number, score.full_iou, score.occluded_iou, score.occlusion,
                        (box.x0, box.y0, box.x1, box.y1), picture,
                    )
                )  # fmt: skip


def targets_of(clip: str, frame: SourceFrame) -> tuple[list[Target], list[Unseen]]:
    """The frame's objects that count and the others; keys are `clip/object id`.

    An object counts that is seen and has a true mask; where the labels are predicted, only one that they hold. What was
    predicted beside the true objects is neither.
    """
    seen, unseen = [], []
    for identity, item in frame.objects.items():
        if identity >= FIRST_UNMATCHED_ID:
            continue
        key, visible, given = f"{clip}/{identity}", true_visible(frame, identity), place(frame.labels == identity)
        if visible.is_empty or given.is_empty or item.amodal is None or item.amodal.is_empty:
            unseen.append(Unseen(key, item.class_id, visible, item.amodal))
        else:
            track = f"{clip}/{track_name(frame, identity)}"
            seen.append(Target(key, item.class_id, visible, item.amodal, given, track))
    return seen, unseen


def baseline_answers(seen: Sequence[Target], labels: NDArray[np.integer]) -> dict[str, list[Answer]]:
    """Each baseline's answers, from the visible masks given; labels [H, W], 0 where none of those is."""
    return {name: [Answer(baseline(name, t.given, labels), 1.0) for t in seen] for name in BASELINES}


def read_object_list(file: Path) -> frozenset[str]:
    """The objects to count: a text file with one key `clip/object` per line; empty lines are skipped (spec D15)."""
    return frozenset(line.strip() for line in file.read_text().splitlines() if line.strip())


def write_object_list(file: Path, keys: Sequence[str]) -> None:
    """A file for `read_object_list`."""
    file.write_text("".join(f"{key}\n" for key in sorted(keys)))
