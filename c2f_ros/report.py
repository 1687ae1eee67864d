"""Writes the report of a replay into a folder: report.json, report.html, overlay.mp4, contact_sheet.png.

`result.mcap`, a single MCAP file (`ros2 bag play` and Foxglove open it) with every c2f_ros/AmodalInstanceArray on
/c2f/output/instances, is there already: replay wrote it. The keys of report.json:

| key | what |
|---|---|
| `schema_version` | 1 |
| `mode` | `offline` or `live` |
| `bag` | name of the bag |
| `model_id`, `engine`, `hidden_under` | which model, what ran it, the rule for hidden parts |
| `frames` | `in_bag`, `seen`, `paired`, `inferred`, `skipped`, `refused`, `failed`, `unpaired`, `lost`: see `FrameCounts` |
| `objects` | `tracks`, `object_frames`, `not_inferred` (object-frames beyond the node's limit) and `invisible` (completed from memory alone) over all results |
| `accuracy` | per method `model`, `visible`, `hull`, `clipped_hull`: `miou_full`, `miou_occ` (published averaging), the same ending in `_hidden` (more than 5 % hidden) and `_mostly_hidden` (more than 70 %), `objects`, `object_frames`, `unoccluded_frames`; percent; null without ground truth |
| `scored` | `frames` with result and ground truth, `missing` (visible objects of the truth without a result; they score 0); null without ground truth |
| `by_occlusion` | per bin `low`, `high` (hidden share), `object_frames`, and per method `full` and `occluded`: mean IoU in percent or null |
| `over_time` | `invisible` (objects hidden wholly that were seen before: `miou_invisible`, frames and objects, `by_age`), `flicker` per method, `ids` (switches and takeovers), `order` (from front to back): see `video_metrics.py` and `order_metrics.py`; null without ground truth |
| `latency_ms` | per stage `median` and `p95` |
| `tracks` | per track id `class_id`, `frame` (index among the answered frames), `occlusion` (hidden share, true where known), `frames_used`, `status` (as in AmodalInstance.msg), and with ground truth `iou` (whole mask, 0..1, null where not known) |
| `problems` | what went wrong, one sentence each |
| `files` | names of the files beside this one: `html`, `result`, `film`, `contact_sheet` (the last two null if no frame was answered) |
"""  # noqa: E501

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from c2f_ros.bag import RESULT_TOPIC, BagReader, BagTopics, read_input
from c2f_ros.contract import InputError
from c2f_ros.crops import to_rgb
from c2f_ros.geometry import ByteArray
from c2f_ros.pictures import Film, contact_sheet, film_picture, region_of_interest, sheet_row, write_png
from c2f_ros.records import AmodalFrame, Frame, Status
from c2f_ros.replay import Run
from c2f_ros.report_page import write_page
from c2f_ros.scoring import Scoring
from c2f_ros.steps.step1_read import stamp_ns

FILES = {"html": "report.html", "film": "overlay.mp4", "contact_sheet": "contact_sheet.png", "result": "result.mcap"}
SHEET_ROWS = 5
FEW_FRAMES, FEW_FRAMES_RATE_HZ = 4, 0.5
"""So few frames are photographs, not a film: each is shown for two seconds."""


@dataclass(frozen=True)
class Replayed:
    """A bag's frames by stamp. stamps: of all masks, in order; truth: empty where the bag has none."""

    stamps: tuple[int, ...]
    results: Mapping[int, AmodalFrame]
    truth: Mapping[int, AmodalFrame]

    @property
    def answered(self) -> list[int]:
        """Stamps that have a result, in order."""
        return [stamp for stamp in self.stamps if stamp in self.results]

    @property
    def rate_hz(self) -> float:
        """Frames per second, from the stamps' median distance; slow for a few photographs."""
        if len(self.stamps) <= FEW_FRAMES:
            return FEW_FRAMES_RATE_HZ
        return 1e9 / max(1.0, float(np.median(np.diff(self.stamps))))


def write_report(out: Path, bag: Path, topics: BagTopics, run: Run) -> dict[str, Any]:
    """Write all files into `out`, where result.mcap is, and return what report.json holds."""
    replayed = read_replay(out / FILES["result"], bag, topics)
    return write_scored(out, bag, topics, run, replayed, score_replay(replayed))


def write_scored(
    out: Path, bag: Path, topics: BagTopics, run: Run, replayed: Replayed, scoring: Scoring
) -> dict[str, Any]:
    """`write_report` of frames that are read and scored already."""
    report = make_report(bag.name, replayed, scoring, run)
    sheet = draw(out, bag, topics, replayed, run.model_id)
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    write_page(out / FILES["html"], report, sheet)
    return report


def read_replay(result: Path, bag: Path, topics: BagTopics) -> Replayed:
    """A bag's frames with the results in the file `result`."""
    with BagReader(result) as reader:
        results = {frame.stamp_ns: frame for frame in reader.amodal_frames(RESULT_TOPIC)}
    with BagReader(bag) as reader:
        stamps = {stamp_ns(message.header): None for _, _, message in reader.messages((topics.masks,))}
        truth = {frame.stamp_ns: frame for frame in reader.amodal_frames(topics.truth)} if topics.truth else {}
    return Replayed(tuple(sorted(stamps)), results, truth)


def score_replay(replayed: Replayed) -> Scoring:
    """The scores of all frames that have a result and ground truth; numbers are those of all frames with masks."""
    scoring = Scoring()
    for number, stamp in enumerate(replayed.stamps):
        if stamp in replayed.results and stamp in replayed.truth:
            scoring.add(replayed.results[stamp], replayed.truth[stamp], number)
    return scoring


def make_report(bag_name: str, replayed: Replayed, scoring: Scoring, run: Run) -> dict[str, Any]:
    """What report.json holds; the keys are in this module's docstring."""
    has_truth = bool(scoring.rows)
    items = [item for stamp in replayed.answered for item in replayed.results[stamp].instances]
    return {
        "schema_version": 1,
        "mode": run.mode,
        "bag": bag_name,
        "model_id": run.model_id,
        "engine": run.engine,
        "hidden_under": run.hidden_under,
        "frames": asdict(run.frames),
        "objects": {
            "tracks": len({item.track_id for item in items}),
            "object_frames": len(items),
            "not_inferred": sum(item.status == Status.NOT_INFERRED for item in items),
            "invisible": sum(item.status == Status.INVISIBLE for item in items),
        },
        "accuracy": scoring.summary() if has_truth else None,
        "scored": {"frames": len({r.stamp_ns for r in scoring.rows}), "missing": scoring.missing}
        if has_truth
        else None,
        "by_occlusion": scoring.by_occlusion() if has_truth else [],
        "over_time": scoring.over_time.summary() if has_truth else None,
        "latency_ms": {s: {"median": v["median_ms"], "p95": v["p95_ms"]} for s, v in run.latency.items()},
        "tracks": _timelines(replayed, scoring),
        "problems": list(run.problems),
        "files": FILES if replayed.answered else {**FILES, "film": None, "contact_sheet": None},
    }


def _timelines(replayed: Replayed, scoring: Scoring) -> dict[str, dict[str, Any]]:
    scores = {(r.stamp_ns, r.result_id): (r.occlusion, r.scores["model"].full_iou) for r in scoring.rows}
    scores |= {(r.stamp_ns, r.result_id): (1.0, r.full_iou) for r in scoring.hidden_rows}
    keys = ("frame", "occlusion", "frames_used", "status", *(["iou"] if scores else []))
    tracks: dict[str, dict[str, Any]] = {}
    for index, stamp in enumerate(replayed.answered):
        for item in replayed.results[stamp].instances:
            track = tracks.setdefault(item.track_id, {"class_id": item.class_id, **{key: [] for key in keys}})
            occlusion, value = scores.get((stamp, item.track_id), (item.occlusion_ratio, None))
            track["frame"].append(index)
            track["occlusion"].append(round(occlusion, 4))
            track["frames_used"].append(item.frames_used)
            track["status"].append(int(item.status))
            if scores:
                track["iou"].append(None if value is None else round(value, 4))
    for true in (item for frame in replayed.truth.values() for item in frame.instances):
        if true.track_id in tracks and not tracks[true.track_id]["class_id"]:
            tracks[true.track_id]["class_id"] = true.class_id
    return dict(sorted(tracks.items(), key=lambda pair: (not pair[0].isdecimal(), pair[0].zfill(12))))


def draw(out: Path, bag: Path, topics: BagTopics, replayed: Replayed, model_id: str) -> ByteArray | None:
    """Write the film and the contact sheet and return the sheet; None, and no files, if nothing was answered."""
    answered = replayed.answered
    if not answered:
        (out / FILES["film"]).unlink(missing_ok=True)
        (out / FILES["contact_sheet"]).unlink(missing_ok=True)
        return None
    sizes = {(frame.height, frame.width) for frame in replayed.results.values()}
    shapes = [film_picture(np.zeros((*size, 3), np.uint8), None, "", "").shape for size in sizes]
    height, width = max(s[0] for s in shapes), max(s[1] for s in shapes)
    chosen = {answered[round(i)] for i in np.linspace(0, len(answered) - 1, SHEET_ROWS)}
    shown = [replayed.results[stamp] for stamp in chosen]
    rows = []
    with Film(out / FILES["film"], replayed.rate_hz, height, width) as film:
        last = None
        for index, (stamp, rgb) in enumerate(images_of(bag, topics, replayed)):
            result = replayed.results.get(stamp)
            if result is not None:
                last = film_picture(rgb, result, model_id, f"frame {index + 1} of {len(replayed.stamps)}")
                if stamp in chosen:
                    alike = [f for f in shown if (f.height, f.width) == (result.height, result.width)]
                    box = region_of_interest(alike, result.height, result.width)
                    rows.append(sheet_row(rgb, result, replayed.truth.get(stamp), bool(replayed.truth), box))
            if last is not None:
                film.add(last)
    titles = ["input", "visible masks", model_id, *(["truth"] if replayed.truth else [])]
    sheet = contact_sheet(rows, titles)
    write_png(out / FILES["contact_sheet"], sheet)
    return sheet


def images_of(bag: Path, topics: BagTopics, replayed: Replayed) -> Iterator[tuple[int, ByteArray]]:
    """Stamp and RGB image [H, W, 3] of every image that carries masks, in the bag's order."""
    wanted = set(replayed.stamps)
    with BagReader(bag) as reader:
        for topic, time_ns, message in reader.messages((topics.image,)):
            if stamp_ns(message.header) not in wanted:
                continue
            try:
                frame = read_input(topics, topic, message, time_ns * 1e-9)
            except InputError:
                continue  # replay has counted it as refused
            assert isinstance(frame, Frame)
            yield frame.stamp_ns, to_rgb(frame.pixels, frame.encoding)
