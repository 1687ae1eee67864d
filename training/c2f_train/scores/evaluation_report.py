"""An evaluation as a folder: `report.md`, `results.json`, and the pictures `occlusion.png`, `worst.png`, `best.png`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from c2f_train.scores.evaluation_pictures import contact_sheet, occlusion_plot, write_png
from c2f_train.scores.evaluation_result import EvaluationResult, Row

COLUMNS = {
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ar": "AR",
    "miou_full": "mIoU_full",
    "miou_occ": "mIoU_occ",
    "miou_full_image": "full image",
    "miou_occ_image": "occ image",
    "miou_full_occluded": "full hidden",
    "miou_occ_occluded": "occ hidden",
    "miou_full_hidden": "full > 5 %",
    "miou_occ_hidden": "occ > 5 %",
    "miou_full_mostly_hidden": "full > 70 %",
    "miou_occ_mostly_hidden": "occ > 70 %",
}
TIMED_COLUMNS = {
    "miou_invisible": "invisible",
    "miou_full_unsent": "not sent",
    "flicker": "flicker",
    "flicker_truth": "of truth",
    "flicker_hidden": "hidden part",
    "flicker_hidden_truth": "of truth",
    "order_placed": "placed",
    "order_right": "decided rightly",
    "order_decided": "decided",
    "occluded_by_precision": "named rightly",
    "occluded_by_recall": "hiding named",
}
LEGEND = """\
All numbers in percent, masks at image resolution. full: IoU of whole masks. occ: IoU of the parts outside the true
visible mask.

- AP, AP50, AP75, AR: COCO's, of whole masks, all categories as one unless asked otherwise; 100 detections per image;
  objects of which nothing is visible are neither to be found nor wrong to find. Baselines know no confidence.
- mIoU_full, mIoU_occ: published video averaging. Mean over an object's frames, then over objects; in a frame without
  hidden pixels occ counts as 0.
- image: published image averaging. Each object-frame weighs the same; occ is divided by the number of those whose whole
  and visible masks differ in size.
- hidden, > 5 %, > 70 %: only object-frames with a hidden pixel, or with more than that share hidden.
"""
TIMED_LEGEND = """\
Over time, in percent. These object-frames are in no average above, except those of flicker and order.

- invisible: IoU of whole masks while an object that was seen before is hidden wholly; no answer counts 0. A predictor
  without memory has none. "last mask moved": its last answer before, moved by the image's motion.
- not sent: the same where an object is visible and upstream, which sent it before, does not send it. Object-frames
  before it is first sent count nowhere.
- flicker: 1 - IoU of a mask moved with the true box and the mask in the next frame, while more than 5 % is hidden; of
  truth: the same of true masks. hidden part: of what is not visible in the later frame.
- placed: pairs of objects that overlap, the nearer of which comes first in the order from front to back. decided
  rightly: of those pairs for which masks say who hides whom (decided). named rightly, hiding named: precision and
  recall of "occluded by".
"""


def table(rows: Mapping[str, Row]) -> str:
    """The same text for terminal and Markdown: one line per method, one column per measure that any method has."""
    return _table(rows, COLUMNS)


def table_over_time(result: EvaluationResult) -> str:
    """The table of scores over time under how much they count; "" if there are none."""
    rows = result.rows_over_time()
    shown = {name: row for name, row in rows.items() if any(row.get(key) is not None for key in TIMED_COLUMNS)}
    if not shown:
        return ""
    counts = next(iter(shown.values()))
    text = (
        f"{counts['invisible_frames']} invisible object-frames, {counts['unsent_frames']} not sent, "
        f"{counts['flicker_pairs']} pairs of frames, {counts['order_pairs']} pairs of objects"
    )
    return f"{text}\n\n{_table(shown, TIMED_COLUMNS)}"


def _table(rows: Mapping[str, Row], columns: Mapping[str, str]) -> str:
    used = [column for column in columns if any(row.get(column) is not None for row in rows.values())]
    cells = [["method", *(columns[c] for c in used)]]
    cells += [[name, *(_number(row.get(c)) for c in used)] for name, row in rows.items()]
    widths = [max(len(line[k]) for line in cells) for k in range(len(used) + 1)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = []
    for line in (cells[0], rule, *cells[1:]):
        first = line[0].ljust(widths[0])
        rest = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        lines.append("| " + " | ".join([first, *rest]) + " |")
    return "\n".join(lines)


def occlusion_table(result: EvaluationResult) -> str:
    """Markdown: per bin of the hidden share its object-frames, and per method the IoU of whole masks / hidden parts."""
    bins = result.by_occlusion()
    lines = ["| hidden share | object-frames | " + " | ".join(bins) + " |", "|---|---:|" + "---:|" * len(bins)]
    for index, entry in enumerate(next(iter(bins.values()), [])):
        if not entry["object_frames"]:
            continue
        found = (f"{_number(b[index]['full'])} / {_number(b[index]['occluded'])}" for b in bins.values())
        share = f"{round(100 * float(entry['low'] or 0))}-{round(100 * float(entry['high'] or 0))} %"
        lines.append(f"| {share} | {entry['object_frames']} | " + " | ".join(found) + " |")
    return "\n".join(lines)


def heading(result: EvaluationResult) -> str:
    """One line: what was evaluated, and how much of it."""
    summary = next(iter(result.rows().values()), {})
    selection = next(iter(result.accuracy.values())).selection
    text = f"{result.name or 'evaluation'}: {summary['objects']} objects, {summary['object_frames']} object-frames"
    if (selection.least_hidden, selection.most_hidden) != (0.0, 1.0):
        text += f", only {100 * selection.least_hidden:.0f} to {100 * selection.most_hidden:.0f} % hidden"
    if selection.objects is not None:
        text += f", only {len(selection.objects)} listed objects"
    if summary["objects_not_counted"]:
        text += f"; without a frame that counts: {summary['objects_not_counted']}"
    return text


def terminal_text(result: EvaluationResult) -> str:
    """Heading, tables and notes."""
    timed = table_over_time(result)
    return "\n".join([heading(result), "", table(result.rows()), *result.notes, *(["", timed] if timed else [])])


def write_report(result: EvaluationResult, folder: Path) -> Path:
    """Write the report into `folder`, made if missing; returns the path of its `report.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(result.to_json()))
    write_png(folder / "occlusion.png", occlusion_plot(result.by_occlusion()))
    pictures = {}
    for name, cases in (("worst", result.worst), ("best", result.best)):
        file = folder / f"{name}.png"
        file.unlink(missing_ok=True)
        if any(case.picture for case in cases):
            write_png(file, contact_sheet(cases, f"{name} cases of {result.followed}"))
            pictures[name] = file.name
    (folder / "report.md").write_text(_markdown(result, pictures))
    return folder / "report.md"


def _markdown(result: EvaluationResult, pictures: Mapping[str, str]) -> str:
    parts = [f"# {heading(result)}", table(result.rows()), *result.notes, LEGEND.strip()]
    timed = table_over_time(result)
    if timed:
        parts += ["## Over time", timed, TIMED_LEGEND.strip()]
    parts += ["## Accuracy against how much is hidden", "![](occlusion.png)"]
    parts += ["IoU of whole masks / hidden parts.", occlusion_table(result)]
    for name, file in pictures.items():
        parts += [f"## {name.capitalize()} cases of {result.followed}", f"![]({file})"]
    return "\n\n".join(parts) + "\n"


def _number(value: float | int | None) -> str:
    return "-" if value is None else f"{value:.1f}"
