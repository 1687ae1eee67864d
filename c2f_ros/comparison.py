"""Compares two models on one bag: compare.json, compare.html, compare.mp4, and each one's own report in `a/` and `b/`.

The keys of compare.json:

| key | what |
|---|---|
| `schema_version` | 1 |
| `bag`, `mode` | name of the bag; `offline` or `live` |
| `labels` | what the two models are called here: their ids, told apart if they are equal |
| `models` | per model its own report.json without `tracks` and `by_occlusion` |
| `agreement` | of both answers to the same object-frames: `object_frames`, `full` (mean IoU of whole masks, percent), `occluded` (of hidden parts, over object-frames in which either has one), `only` (object-frames that only the first, only the second answered) |
| `tracks` | per object, by its true id where that is known: `class_id`, `frame` (index among the frames that both answered), `occlusion` (hidden share, true where known), `agreement` (IoU of both whole masks, null if only one answered), and with ground truth `iou` (per model, 0 where it has no answer) |
| `mean_iou` | per frame that both answered the mean `iou` of each model over the objects hidden by more than 5 %, or null; empty without ground truth |
| `files` | names of the files beside this one: `html`, `film` (null if no frame was answered by both) |
"""  # noqa: E501

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from c2f_ros.bag import BagTopics
from c2f_ros.comparison_page import write_comparison_page
from c2f_ros.geometry import EMPTY_MASK, PlacedMask, minus
from c2f_ros.pictures import Film, comparison_picture
from c2f_ros.records import AmodalFrame, AmodalInstance
from c2f_ros.replay import Run
from c2f_ros.report import FILES as REPORT_FILES
from c2f_ros.report import Replayed, images_of, read_replay, score_replay, write_scored
from c2f_ros.scoring import Scoring
from c2f_ros.scoring_over_time import shown
from c2f_ros.video_metrics import HIDDEN_SHARE, MeanSums, iou, match_visible

FILES = {"html": "compare.html", "film": "compare.mp4"}
SIDES = ("a", "b")
"""Folders of the two models' own reports."""


@dataclass(frozen=True)
class Side:
    """One of the two models: how it ran, its frames, their scores, its report."""

    run: Run
    replayed: Replayed
    scoring: Scoring
    report: dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """One object in one frame that both models answered. a, b: None where that model has no such object; true: None
    where the truth is not known."""

    key: str
    a: AmodalInstance | None
    b: AmodalInstance | None
    true: AmodalInstance | None

    @property
    def whole(self) -> tuple[PlacedMask, PlacedMask]:
        """Both whole masks; empty where there is none."""
        return self.a.amodal if self.a else EMPTY_MASK, self.b.amodal if self.b else EMPTY_MASK

    @property
    def visible(self) -> PlacedMask:
        """What is seen of it, true where known."""
        known = self.true or self.a or self.b
        return known.visible if known else EMPTY_MASK

    @property
    def occlusion(self) -> float:
        """Hidden share of the whole mask: the true one where known, else the first model's."""
        if self.true is None:
            item = self.a or self.b
            return item.occlusion_ratio if item else 0.0
        return minus(self.true.amodal, self.true.visible).area / max(1, self.true.amodal.area)


@dataclass
class Agreement:
    """Sums over object-frames that both models answered. only: those that the first, the second alone answered."""

    full: MeanSums = field(default_factory=MeanSums)
    occluded: MeanSums = field(default_factory=MeanSums)
    only: list[int] = field(default_factory=lambda: [0, 0])

    def add(self, pair: Pair) -> float | None:
        """Take one object-frame; the IoU of both whole masks, None if only one model answered."""
        if pair.a is None or pair.b is None:
            self.only[int(pair.a is None)] += 1
            return None
        value = iou(*pair.whole)
        self.full.add(value)
        hidden = [minus(mask, pair.visible) for mask in pair.whole]
        if any(not part.is_empty for part in hidden):
            self.occluded.add(iou(*hidden))
        return value


def write_comparison(out: Path, bag: Path, topics: BagTopics, runs: tuple[Run, Run]) -> dict[str, Any]:
    """Write all files into `out`, where a/result.mcap and b/result.mcap are, and return what compare.json holds."""
    sides = tuple(_side(out / name, bag, topics, run) for name, run in zip(SIDES, runs, strict=True))
    labels = labels_of(runs)
    comparison = make_comparison(bag.name, sides, labels)
    if not _film(out / FILES["film"], bag, topics, sides, labels):
        comparison["files"]["film"] = None
    (out / "compare.json").write_text(json.dumps(comparison, indent=1) + "\n")
    write_comparison_page(out / FILES["html"], comparison)
    return comparison


def labels_of(runs: tuple[Run, Run]) -> list[str]:
    """The models' ids, with their letters if they are equal."""
    names = [run.model_id for run in runs]
    return [f"{name} ({side})" for name, side in zip(names, SIDES, strict=True)] if names[0] == names[1] else names


def _side(folder: Path, bag: Path, topics: BagTopics, run: Run) -> Side:
    replayed = read_replay(folder / REPORT_FILES["result"], bag, topics)
    scoring = score_replay(replayed)
    return Side(run, replayed, scoring, write_scored(folder, bag, topics, run, replayed, scoring))


def make_comparison(bag_name: str, sides: tuple[Side, ...], labels: list[str]) -> dict[str, Any]:
    """What compare.json holds; the keys are in this module's docstring."""
    tracks, agreement, means = _tracks(sides)
    without = ("tracks", "by_occlusion")
    return {
        "schema_version": 1,
        "bag": bag_name,
        "mode": sides[0].run.mode,
        "labels": labels,
        "models": [{key: v for key, v in side.report.items() if key not in without} for side in sides],
        "agreement": {
            "object_frames": agreement.full.count,
            "full": agreement.full.percent,
            "occluded": agreement.occluded.percent,
            "only": agreement.only,
        },
        "tracks": tracks,
        "mean_iou": means,
        "files": dict(FILES),
    }


def _shared(sides: tuple[Side, ...]) -> list[int]:
    """Stamps of the frames that both models answered, in order."""
    return [stamp for stamp in sides[0].replayed.answered if stamp in sides[1].replayed.results]


def _tracks(sides: tuple[Side, ...]) -> tuple[dict[str, dict[str, Any]], Agreement, list[list[float | None]]]:
    agreement = Agreement()
    means: list[list[float | None]] = []
    has_truth = any(side.scoring.rows for side in sides)
    keys = ("frame", "occlusion", "agreement")
    tracks: dict[str, dict[str, Any]] = {}
    for index, pairs in enumerate(_paired_frames(sides)):
        hidden: list[tuple[float, float]] = []
        for pair in pairs:
            known = pair.true or pair.a or pair.b
            new = {"class_id": known.class_id if known else "", **{key: [] for key in keys}}
            track = tracks.setdefault(pair.key, new | ({"iou": [[], []]} if has_truth else {}))
            value = agreement.add(pair)
            track["frame"].append(index)
            track["occlusion"].append(round(pair.occlusion, 4))
            track["agreement"].append(None if value is None else round(value, 4))
            if has_truth:
                found = _true_iou(pair)
                for side, number in enumerate(found):
                    track["iou"][side].append(None if number is None else round(number, 4))
                if found[0] is not None and found[1] is not None and pair.occlusion > HIDDEN_SHARE:
                    hidden.append((found[0], found[1]))
        means.append([round(float(v), 4) for v in np.mean(hidden, axis=0)] if hidden else [None, None])
    ordered = sorted(tracks.items(), key=lambda item: (not item[0].isdecimal(), item[0].zfill(12)))
    return dict(ordered), agreement, means if has_truth else []


def _true_iou(pair: Pair) -> tuple[float | None, float | None]:
    if pair.true is None or pair.true.amodal.is_empty:
        return None, None
    first, second = pair.whole
    return iou(first, pair.true.amodal), iou(second, pair.true.amodal)


def _paired_frames(sides: tuple[Side, ...]) -> Iterator[list[Pair]]:
    names = [_true_names(side.scoring) for side in sides]
    for stamp in _shared(sides):
        first, second = (side.replayed.results[stamp] for side in sides)
        truth = sides[0].replayed.truth.get(stamp)
        keyed = [
            {names[k].get((stamp, item.track_id), item.track_id): item for item in frame.instances}
            for k, frame in enumerate((first, second))
        ]
        if truth is None:
            keyed[1] = _renamed(first, second)
        true = {item.track_id: item for item in truth.instances} if truth else {}
        yield [Pair(key, keyed[0].get(key), keyed[1].get(key), true.get(key)) for key in {**keyed[0], **keyed[1]}]


def _true_names(scoring: Scoring) -> dict[tuple[int, str], str]:
    """The true id by stamp and the result's track id."""
    names = {(row.stamp_ns, row.result_id): row.track_id for row in scoring.rows if row.result_id}
    return names | {(row.stamp_ns, row.result_id): row.track_id for row in scoring.hidden_rows}


def _renamed(first: AmodalFrame, second: AmodalFrame) -> dict[str, AmodalInstance]:
    """The second model's objects by the first one's ids: of the same visible mask, else the same id, if it is free."""
    ids = {b: a for a, b in match_visible(shown(first), shown(second)).items()}
    taken = set(ids.values())
    for item in second.instances:
        free = item.track_id if item.track_id not in taken else f"{item.track_id} ({SIDES[1]})"
        taken.add(ids.setdefault(item.track_id, free))
    return {ids[item.track_id]: item for item in second.instances}


def _film(path: Path, bag: Path, topics: BagTopics, sides: tuple[Side, ...], labels: list[str]) -> bool:
    """Write the film; False, and no file, if there is no frame that both models answered."""
    first = sides[0].replayed
    shared, sizes = set(_shared(sides)), {(f.height, f.width) for f in first.results.values()}
    path.unlink(missing_ok=True)
    if not shared:
        return False
    has_truth = bool(first.truth)
    blanks = [comparison_picture(np.zeros((*size, 3), np.uint8), (None, None), None, labels, "", has_truth)
              for size in sizes]  # fmt: skip
    height, width = max(b.shape[0] for b in blanks), max(b.shape[1] for b in blanks)
    with Film(path, first.rate_hz, height, width) as film:
        for index, (stamp, rgb) in enumerate(images_of(bag, topics, first)):
            if stamp in shared:
                results = (first.results[stamp], sides[1].replayed.results[stamp])
                note = f"frame {index + 1} of {len(first.stamps)}"
                film.add(comparison_picture(rgb, results, first.truth.get(stamp), labels, note, has_truth))
    return True
