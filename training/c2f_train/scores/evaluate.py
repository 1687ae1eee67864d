"""Accuracy on whole sequences, pasted back at image resolution, always beside the baselines.

Every object-frame with at least one visible pixel counts, if upstream sends it; averages are those of
`c2f_ros.metrics`. Rows: the baselines, and per predictor its mask joined with the visible one, and the same with hidden
pixels kept only under other objects.

Scores over time (`over_time.py`) have rows of their own: object-frames hidden wholly or not sent never enter the
averages above. They have one more row per predictor: its last mask, moved as the object moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tqdm import tqdm

from c2f_ros.baselines import BASELINES, keep_under_others
from c2f_ros.contract import CropSpec
from c2f_ros.geometry import EMPTY_MASK, PlacedMask, union
from c2f_ros.metrics import EVERYTHING, Selection
from c2f_ros.motion import Similarity
from c2f_ros.records import SourceFrame
from c2f_ros.sources.datasets import Dataset
from c2f_ros.sources.predicted import FIRST_UNMATCHED_ID
from c2f_train.data.sequences import KnownFrame
from c2f_train.scores.evaluation_report import table
from c2f_train.scores.evaluation_result import (
    Answer,
    Collecting,
    Collector,
    EvaluationResult,
    FrameAnswers,
    Sequences,
    Target,
    Unseen,
    baseline_answers,
    targets_of,
)
from c2f_train.scores.methods import (
    KEEP_S,
    Found,
    LastMasks,
    Method,
    Movements,
    Predictor,
    StreamPredictor,
    View,
    start,
    trained_input,
)
from c2f_train.scores.over_time import TimedFrame, TimedObject

__all__ = ["MOVED", "RULE", "EvaluationResult", "Sequences", "View", "evaluate", "table", "targets_of", "trained_input"]

RULE = " + under others"
"""Suffix of the rows whose hidden pixels are kept only under other visible objects."""
MOVED = ", last mask moved"
"""Suffix of the rows over time of a predictor's simple rival, where the object is not sent."""


def evaluate(
    sequences: Sequences,
    predictors: Mapping[str, Predictor | StreamPredictor],
    crop: CropSpec,
    every: int = 1,
    *,
    name: str = "",
    views: Mapping[str, View] | None = None,
    selection: Selection = EVERYTHING,
    with_precision: bool = False,
    by_class: bool = False,
    cases: int = 12,
    followed: str = "",
    keep_s: float = KEEP_S,
) -> EvaluationResult:
    """One row per baseline and per predictor, the latter with and without the rule that hidden parts lie only under
    other objects; and the scores over time.

    every: score each n-th frame of a clip; flicker needs all, and the last masks are those of frames scored. crop: of
    predictors without a view of their own in `views`. selection: which object-frames count. with_precision: AP and AR
    too (ContractError without pycocotools), by_class: averaged over categories; a predictor's score is the IoU it
    expects, a baseline's is 1. cases: how many worst and best ones of row `followed` (the last predictor's) to keep.
    keep_s: for how long objects are completed that are not sent any more.
    """
    own = views or {}
    known = {method: own[method] if method in own else View(crop) for method in predictors}
    methods = [*BASELINES, *(row for method in predictors for row in (method, method + RULE))]
    main = followed or (list(predictors)[-1] if predictors else BASELINES[-1])
    timed = [*methods, *(method + MOVED for method in predictors)]
    collector = Collector(Collecting(methods, main, selection, with_precision, cases, by_class, timed))
    strange = 0
    for clip, frames in tqdm(sequences, desc="evaluating", unit="clip"):
        asked = _Clip(clip, {m: start(p, known[m], keep_s) for m, p in predictors.items()}, keep_s)
        for number, frame in enumerate(frames):
            answers = asked.answers(number, frame, number % every == 0)
            if answers is not None:
                strange += sum(identity >= FIRST_UNMATCHED_ID for identity in frame.objects)
                collector.add(answers)
        collector.end_clip()
    refused = sequences.refused if isinstance(sequences, Dataset) else ()
    notes = [f"Left out: {text}" for text in refused]
    if strange:
        notes.append(f"Predicted visible masks of no true object; they are not completed and not in AP: {strange}.")
    return collector.result(name, notes)


@dataclass
class _Clip:
    """All predictors in one clip. tracks: what upstream last called each object that it has sent."""

    name: str
    methods: Mapping[str, Method]
    keep_s: float
    tracks: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._movements = Movements(self.keep_s)
        self._last = {method: LastMasks() for method in self.methods}

    def answers(self, number: int, frame: SourceFrame, is_asked: bool) -> FrameAnswers | None:
        """All rows' answers to a frame; None if they are not asked about it, and only watch."""
        seen, unseen = targets_of(self.name, frame)
        sent = {target.track: target.given for target in seen}
        found = {name: method.answer(frame, sent, is_asked) for name, method in self.methods.items()}
        anchors = self._movements.advance(frame, sent)
        self.tracks.update({target.key: target.track for target in seen})
        if not is_asked:
            return None
        rows = baseline_answers(seen, frame.labels)
        for name, answers in found.items():
            rows |= _rows(name, answers, seen, frame)
        timed = self._timed(number, frame, seen, unseen)
        whole = self._whole(frame, anchors, seen, unseen, found, rows)
        return FrameAnswers(self.name, number, frame, seen, unseen, rows, timed=timed, whole=whole)

    def _timed(self, number: int, frame: SourceFrame, seen: Sequence[Target], unseen: Sequence[Unseen]) -> TimedFrame:
        """The objects in the order of `_whole`: those seen, then the others that have a true mask."""
        nearer = frame.nearer if isinstance(frame, KnownFrame) else None
        objects = [TimedObject(t.key, t.visible, t.truth, t.given, True, _row(t.key)) for t in seen]
        objects += [
            TimedObject(u.key, u.visible, u.truth, EMPTY_MASK, u.key in self.tracks, _row(u.key))
            for u in unseen
            if u.truth is not None
        ]
        return TimedFrame(number, objects, nearer)

    def _whole(
        self,
        frame: SourceFrame,
        anchors: Mapping[str, Similarity],
        seen: Sequence[Target],
        unseen: Sequence[Unseen],
        found: Mapping[str, Mapping[str, Found]],
        rows: Mapping[str, Sequence[Answer]],
    ) -> dict[str, list[PlacedMask]]:
        """Per row over time the whole masks of the objects seen, and then of the others that have a true mask."""
        tracks = [self.tracks.get(u.key, "") for u in unseen if u.truth is not None]
        whole = {row: [a.mask for a in answers] + [EMPTY_MASK] * len(tracks) for row, answers in rows.items()}
        size = frame.labels.shape
        for name, answers in found.items():
            remembered = [answers[track].mask if track in answers else EMPTY_MASK for track in tracks]
            under = [keep_under_others(mask, EMPTY_MASK, frame.labels) for mask in remembered]
            moved = [self._last[name].moved(track, anchors.get(track), *size) for track in tracks]
            own = whole[name][: len(seen)]
            whole[name] = own + remembered
            whole[name + RULE] = whole[name + RULE][: len(seen)] + under
            whole[name + MOVED] = own + moved
            for target, mask in zip(seen, own, strict=True):
                if target.track in anchors:
                    self._last[name].remember(target.track, mask, anchors[target.track])
        return whole


def _rows(name: str, found: Mapping[str, Found], seen: Sequence[Target], frame: SourceFrame) -> dict[str, list[Answer]]:
    """The predictor's two rows."""
    rows: dict[str, list[Answer]] = {name: [], name + RULE: []}
    for target in seen:
        answer = found[target.track]
        rows[name].append(Answer(union(answer.mask, target.given), answer.score))
        rows[name + RULE].append(Answer(keep_under_others(answer.mask, target.given, frame.labels), answer.score))
    return rows


def _row(key: str) -> int:
    """Row of an object, by its key `clip/id`, in `KnownFrame.nearer`."""
    return int(key.rpartition("/")[2]) - 1
