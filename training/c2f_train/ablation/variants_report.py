"""The tables of an ablation: our numbers beside the paper's, as text and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from c2f_train.ablation.variants import ABLATIONS
from c2f_train.ablation.variants_run import AblationResult, PlannedRow
from c2f_train.scores.evaluation_result import Row

COLUMNS = {
    "miou_full": "mIoU_full",
    "miou_occ": "mIoU_occ",
    "miou_full_image": "full image",
    "miou_occ_image": "occ image",
    "miou_full_occluded": "full hidden",
    "miou_occ_occluded": "occ hidden",
}
PAPER = ("paper full", "paper occ")
LEGEND = """\
In percent. mIoU: mean over an object's frames, then over objects, occ 0 in frames without hidden pixels (published
video variant). image: every object-frame alike (published image variant). hidden: only object-frames with a hidden
pixel. paper: on MOViD-A, from the paper's tables; - : the number is not known to us, the cell is not filled. It is
another model on other data: what compares is the difference between two rows."""

Scored = Sequence[tuple[PlannedRow, Row]]


def ablation_table(rows: Scored) -> str:
    """One table, the same text for terminal and Markdown."""
    lines = [["variant", *COLUMNS.values(), *PAPER]]
    for row, found in rows:
        paper = [f"{value:.2f}" for value in row.paper] if row.paper else ["-", "-"]
        lines.append([row.label, *(_number(found.get(column)) for column in COLUMNS), *paper])
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    shown = [lines[0], rule, *lines[1:]]
    return "\n".join(
        "| " + " | ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) + " |" for line in shown
    )


def ablation_text(result: AblationResult) -> str:
    """All tables, as Markdown that is also read in a terminal."""
    parts = [f"# Ablations of {result.name}"]
    for data, tables in result.scored.items():
        counts = next((found for rows in tables.values() for _, found in rows), {})
        parts.append(f"## {data}: {counts.get('objects', 0)} objects, {counts.get('object_frames', 0)} object-frames")
        for name, rows in tables.items():
            parts += [f"### {ABLATIONS[name].title}", ablation_table(rows)]
            parts += [ABLATIONS[name].note] if ABLATIONS[name].note else []
    return "\n\n".join([*parts, *result.notes, LEGEND]) + "\n"


def ablation_json(result: AblationResult) -> dict[str, Any]:
    """Everything in the tables, and all other measures of every row."""
    return {
        "name": result.name,
        "notes": list(result.notes),
        "data": {
            data: {
                name: [
                    {"variant": row.label, "weights": row.folder, "paper": row.paper, "measures": found}
                    for row, found in rows
                ]
                for name, rows in tables.items()
            }
            for data, tables in result.scored.items()
        },
    }


def write_ablation(result: AblationResult, folder: Path) -> Path:
    """Write `ablation.md` and `ablation.json` into `folder`, made if missing; returns the path of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ablation.json").write_text(json.dumps(ablation_json(result), indent=1))
    (folder / "ablation.md").write_text(ablation_text(result))
    return folder / "ablation.md"


def _number(value: float | int | None) -> str:
    return "-" if value is None else f"{value:.2f}"
