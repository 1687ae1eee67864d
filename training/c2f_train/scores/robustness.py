"""Accuracy of several models under each fault of an upstream segmenter, alone, at two strengths.

True masks are the truth; the models are given what the faulty upstream sends. Where it sends two objects as one, that
is one object-frame, of the object whose id is sent; the other object is not sent. Object-frames that are not sent are
in no average of those sent. They have their own: IoU of whole masks over visible object-frames that are not sent, of
objects that were sent before, where no answer counts 0. Objects count from the frame on in which they are first sent;
frames that are not sent at all count nowhere. What is sent differs from fault to fault, so models are to be compared
within a line first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from c2f_ros.geometry import ByteArray
from c2f_train.data.upstream import KINDS, STRENGTHS, UpstreamFault
from c2f_train.scores.evaluate import MOVED, evaluate
from c2f_train.scores.evaluation_pictures import COLOURS, figure_pixels, write_png
from c2f_train.scores.evaluation_result import EvaluationResult, Row, Sequences
from c2f_train.scores.faulty_sequences import FaultySequences
from c2f_train.scores.methods import Predictor, StreamPredictor, View

NO_FAULT = "none"
MEASURES = {
    "miou_full": "whole masks, mIoU_full",
    "miou_occ_occluded": "hidden parts, object-frames with a hidden pixel",
    "miou_occ_mostly_hidden": "hidden parts, more than 70 % hidden",
    "miou_invisible": "whole masks, hidden wholly",
    "flicker": "flicker (less is better)",
}
"""Of `Accuracy.summary` and `OverTime.summary`, and how they are called; each has a table."""
PLOTTED = "miou_occ_occluded"

Model = tuple[Predictor | StreamPredictor, View]


@dataclass(frozen=True)
class Measured:
    """One condition: a kind of fault ("none": none) and its strength (0 with none); per model its measures in percent
    and counts, those of its rival "last mask moved" where objects are not sent among them."""

    kind: str
    strength: int
    rows: dict[str, Row]

    @property
    def name(self) -> str:
        """As in tables."""
        return self.kind if not self.strength else f"{self.kind} {self.strength}"

    def to_json(self) -> dict[str, Any]:
        """For a JSON file."""
        return {"kind": self.kind, "strength": self.strength, "rows": self.rows}


def conditions(kinds: Sequence[str] = KINDS) -> list[UpstreamFault | None]:
    """No fault, and each of these kinds at both strengths."""
    return [None, *(UpstreamFault(kind, strength) for kind in kinds for strength in STRENGTHS)]


def measure(
    sequences: Sequences,
    models: Mapping[str, Model],
    faults: Sequence[UpstreamFault | None],
    seed: int = 0,
    every: int = 1,
) -> Iterator[Measured]:
    """One condition after the other. sequences: iterated once for each; every: score each n-th frame that is sent."""
    predictors = {name: predict for name, (predict, _) in models.items()}
    views = {name: view for name, (_, view) in models.items()}
    crop = next(iter(views.values())).crop
    for fault in faults:
        faulty = FaultySequences(sequences, fault, seed)
        result = evaluate(faulty, predictors, crop, every, views=views, cases=0)
        rows = {name: _row(result, name) for name in models}
        yield Measured(NO_FAULT if fault is None else fault.kind, 0 if fault is None else fault.strength, rows)


def _row(result: EvaluationResult, name: str) -> Row:
    rows, timed = result.rows(), result.rows_over_time()
    moved = timed[name + MOVED]
    rivals: Row = {f"{key}_moved": moved[key] for key in ("miou_full_unsent", "miou_invisible")}
    return {**rows[name], **timed[name], **rivals}


def write_robustness(found: Sequence[Measured], about: Mapping[str, Any], folder: Path) -> Path:
    """Write robustness.json, .md and .png into `folder`, made if missing; returns the Markdown's path. found: at least
    one condition."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"about": dict(about), "conditions": [item.to_json() for item in found]}
    (folder / "robustness.json").write_text(json.dumps(content, indent=1))
    write_png(folder / "robustness.png", plot(found))
    (folder / "robustness.md").write_text(_markdown(found, about))
    return folder / "robustness.md"


def _markdown(found: Sequence[Measured], about: Mapping[str, Any]) -> str:
    parts = ["# Accuracy with a faulty upstream", ", ".join(f"{key}: {value}" for key, value in about.items())]
    parts += [(__doc__ or "").partition("\n\n")[2].strip(), "![](robustness.png)"]
    for key, title in MEASURES.items():
        parts += [f"## {title[0].upper()}{title[1:]}", table(found, key)]
    return "\n\n".join([*parts, "## Objects that are not sent", table_of_unsent(found)]) + "\n"


def table(found: Sequence[Measured], key: str) -> str:
    """Markdown: one line per condition, one column per model, in percent, and the change against no fault. key: of
    `MEASURES`."""
    models = list(found[0].rows)
    lines = ["| fault | object-frames sent | " + " | ".join(models) + " |", "|---|---:|" + "---:|" * len(models)]
    clean = found[0].rows if found[0].kind == NO_FAULT else None
    for item in found:
        compared = None if item.kind == NO_FAULT else clean
        cells = [_cell(item.rows[name][key], compared and compared[name][key]) for name in models]
        frames = item.rows[models[0]]["object_frames"]
        lines.append(f"| {item.name} | {frames} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def table_of_unsent(found: Sequence[Measured]) -> str:
    """Markdown: per condition how many visible object-frames are not sent, of objects sent before and of others; per
    model the IoU of what it says of the former, and of its last mask moved."""
    models = list(found[0].rows)
    heads = [head for name in models for head in (name, name + MOVED)]
    lines = ["| fault | not sent | never sent before | " + " | ".join(heads) + " |"]
    lines.append("|---|---:|---:|" + "---:|" * len(heads))
    for item in found:
        first = item.rows[models[0]]
        keys = ("miou_full_unsent", "miou_full_unsent_moved")
        cells = [_cell(item.rows[name][key], None) for name in models for key in keys]
        lines.append(
            f"| {item.name} | {first['unsent_frames']} | {first['never_sent_frames']} | " + " | ".join(cells) + " |"
        )
    return "\n".join(lines)


def _cell(value: float | int | None, clean: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if clean is None else f"{value:.1f} ({value - clean:+.1f})"


def plot(found: Sequence[Measured]) -> ByteArray:
    """uint8 [h, w, 3]: IoU of hidden parts by fault, one colour per model; strength 2 is pale, lines show no fault."""
    from matplotlib.figure import Figure

    models = list(found[0].rows)
    kinds = [kind for kind in dict.fromkeys(item.kind for item in found) if kind != NO_FAULT]
    figure = Figure(figsize=(10.5, 4.0), layout="constrained", dpi=110)
    axis = figure.subplots()
    wide = 0.8 / max(1, 2 * len(models))
    for order, name in enumerate(models):
        colour = COLOURS[order % len(COLOURS)]
        for item in found:
            value = item.rows[name][PLOTTED]
            if value is None:
                continue
            if item.kind == NO_FAULT:
                axis.axhline(value, color=colour, linewidth=1.0, label=name)
                continue
            x = kinds.index(item.kind) + (2 * order + item.strength - 1 - len(models) + 0.5) * wide
            axis.bar(x, value, wide * 0.92, color=colour, alpha=1.0 if item.strength == 1 else 0.5)
    axis.set_xticks(range(len(kinds)), kinds)
    axis.set_ylabel("IoU of hidden parts, %")
    axis.set_title("Each fault alone: strength 1 filled, strength 2 pale; lines: no fault", fontsize=9)
    axis.grid(axis="y", alpha=0.3)
    if models and any(item.kind == NO_FAULT for item in found):
        axis.legend(loc="lower right", fontsize=8)
    return figure_pixels(figure)
