"""Scores results of any system in the table of our models: same objects, same averages, same baselines.

Which entry answers which true object of an image: one with `object_id` that object. The others are matched by IoU, most
alike pair first, each entry and each object once, any overlap is enough; compared are the visible masks where the entry
has one, else the whole masks. An object without an entry is answered by nothing, its IoU is 0. AP is taken over all
entries, matched or not.

With predicted visible masks, only objects that they found count, as in the published evaluation of KINS; which those
are is decided in `c2f_ros.sources.predicted`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tqdm import tqdm

from c2f_ros.baselines import BASELINES
from c2f_ros.contract import InputError
from c2f_ros.geometry import EMPTY_MASK, union
from c2f_ros.metrics import EVERYTHING, Selection
from c2f_ros.records import SourceFrame
from c2f_ros.sources.datasets import Dataset
from c2f_train.scores.evaluation_result import (
    Answer,
    Collecting,
    Collector,
    EvaluationResult,
    FrameAnswers,
    baseline_answers,
    targets_of,
)
from c2f_train.scores.result_matching import matched
from c2f_train.scores.results_file import DecodedEntry, ResultsFile

JOINED = " + visible"
"""Suffix of the row whose masks are joined with visible masks."""


@dataclass
class ScoredResults:
    """result: the table and all. found: keys of the objects that an entry answered in at least one frame."""

    result: EvaluationResult
    found: set[str]


@dataclass
class _Counts:
    """What was matched how. own_visible: matched entries that bring a visible mask. read: image ids met."""

    by_id: int = 0
    by_iou: int = 0
    unmatched: int = 0
    unanswered: int = 0
    own_visible: int = 0
    found: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)


def score_results(
    data: Dataset,
    results: ResultsFile,
    method: str,
    *,
    name: str = "",
    selection: Selection = EVERYTHING,
    with_precision: bool = True,
    by_class: bool = False,
    cases: int = 12,
) -> ScoredResults:
    """Rows: the baselines, `method` (its masks as they are) and `method + visible`.

    data: an entry's image_id is one of its parts' `image_ids` or `part name/frame number`; opened with predicted
    visible masks, these are what baselines start from and what is joined, unless an entry brings its own.
    by_class: AP over categories instead of all objects alike.
    Raises InputError if an entry is broken, or is of an image or object that the data does not have.
    """
    _require_known_images(results, data)
    methods = [*BASELINES, method, method + JOINED]
    collector = Collector(Collecting(methods, method, selection, with_precision, cases, by_class))
    counts = _Counts()
    for part, (clip, frames) in zip(data.parts, tqdm(data, desc="scoring", unit="part"), strict=True):
        ids = part.image_ids()
        for number, frame in enumerate(frames):
            names = [f"{clip}/{number}", *ids[number : number + 1]]
            counts.read.update(names)
            _require_known_objects(results, names, frame)
            entries = results.decoded(names, *frame.labels.shape)
            collector.add(_answers(clip, number, frame, entries, method, counts))
    if not data.refused:
        _require_all_read(results, counts)
    notes = [*_notes(results, method, counts), *(f"Left out: {text}" for text in data.refused)]
    return ScoredResults(collector.result(name, notes), counts.found)


def _answers(
    clip: str, number: int, frame: SourceFrame, entries: Sequence[DecodedEntry], method: str, counts: _Counts
) -> FrameAnswers:
    seen, unseen = targets_of(clip, frame)
    matches = matched(entries, seen, unseen)
    counts.by_id += sum(e.entry.object_id is not None for e in matches.values())
    counts.by_iou += sum(e.entry.object_id is None for e in matches.values())
    counts.own_visible += sum(e.visible is not None for e in matches.values())
    counts.unmatched += len(entries) - len(matches)
    counts.unanswered += len(seen) - len(matches)
    counts.found.update(seen[k].key for k in matches)
    plain, joined = [], []
    for k, target in enumerate(seen):
        if k not in matches:
            plain.append(Answer(EMPTY_MASK, 0.0))
            joined.append(Answer(EMPTY_MASK, 0.0))
            continue
        entry = matches[k]
        plain.append(Answer(entry.amodal, entry.entry.score))
        visible = target.given if entry.visible is None else entry.visible
        joined.append(Answer(union(entry.amodal, visible), entry.entry.score))
    answers = {**baseline_answers(seen, frame.labels), method: plain, method + JOINED: joined}
    return FrameAnswers(clip, number, frame, seen, unseen, answers, _detections(entries, matches, joined, method))


def _detections(
    entries: Sequence[DecodedEntry], matches: Mapping[int, DecodedEntry], joined: Sequence[Answer], method: str
) -> dict[str, list[tuple[Answer, str]]]:
    """All entries for AP; in the second row joined with a visible mask where they have one or are matched."""
    target_of = {entry.entry.number: k for k, entry in matches.items()}
    plain, second = [], []
    for entry in entries:
        about = entry.entry
        plain.append((Answer(entry.amodal, about.score), about.category))
        mask = union(entry.amodal, entry.visible) if entry.visible is not None else entry.amodal
        if about.number in target_of:
            mask = joined[target_of[about.number]].mask
        second.append((Answer(mask, about.score), about.category))
    return {method: plain, method + JOINED: second}


def _require_known_images(file: ResultsFile, data: Dataset) -> None:
    ids = [part.image_ids() for part in data.parts]
    if not all(ids):
        return  # a part whose file is broken: which images it has is not known
    known, names = {key for part in ids for key in part}, {part.name for part in data.parts}
    for key in file.by_image:
        name, _, number = key.rpartition("/")
        if key not in known and not (name in names and number.isdecimal()):
            example = f"image ids are for example {ids[0][0]!r} or '{data.parts[0].name}/0'"
            raise _unknown_image(file, key, f"{example}; choose the data and the split that these results are of")


def _require_all_read(file: ResultsFile, counts: _Counts) -> None:
    for key in file.by_image:
        if key not in counts.read:
            raise _unknown_image(file, key, "leave it out")


def _unknown_image(file: ResultsFile, key: str, what_to_do: str) -> InputError:
    number = file.by_image[key][0].number
    return InputError(
        f"{file.path}: entry {number} is of image {key!r:.80}, which the data does not have; {what_to_do}"
    )


def _require_known_objects(file: ResultsFile, names: Sequence[str], frame: SourceFrame) -> None:
    met: dict[int, int] = {}
    for entry in file.of_image(names):
        identity, number = entry.object_id, entry.number
        if identity is None:
            continue
        if identity not in frame.objects:
            raise InputError(
                f"{file.path}: entry {number} is of object {identity}, which image {entry.image_id!r} does not have; "
                "correct the object_id, or leave it out to match by IoU"
            )
        if identity in met:
            raise InputError(
                f"{file.path}: entries {met[identity]} and {number} are both of object {identity} in image "
                f"{entry.image_id!r}; keep one"
            )
        met[identity] = number


def _notes(results: ResultsFile, method: str, counts: _Counts) -> list[str]:
    notes = [
        f"{method}: {results.count} entries; {counts.by_id} matched by object_id, {counts.by_iou} by IoU, "
        f"{counts.unmatched} of no object that counts; object-frames without an entry, which count as 0: "
        f"{counts.unanswered}."
    ]
    total = counts.by_id + counts.by_iou
    if total:
        notes.append(
            f"{method}{JOINED}: each mask joined with the entry's own visible mask ({counts.own_visible} of {total}) "
            "or, where it has none, with the one that the baselines start from."
        )
    return notes
