"""The comparison of two models as one self-contained HTML page and as lines of text; only the film lies beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from c2f_ros.comparison_plots import chosen_tracks, mean_plot, tracks_plot
from c2f_ros.plots import track_name
from c2f_ros.report_page import number, page, section, svg

Model = Mapping[str, Any]
"""One of compare.json's `models`."""

MOST_ROWS = 40
"""Tracks in the table, those in which the models differ most."""


def _accuracy(key: str) -> Callable[[Model], float | None]:
    return lambda model: model["accuracy"]["model"][key] if model["accuracy"] else None


def _over_time(part: str, key: str) -> Callable[[Model], float | None]:
    def read(model: Model) -> float | None:
        found = model["over_time"]
        if not found:
            return None
        value: float | None = (found["flicker"]["model"] if part == "flicker" else found[part])[key]
        return value

    return read


def _milliseconds(model: Model) -> float | None:
    stages = [
        v["median"] for stage, v in model["latency_ms"].items() if stage not in ("image_to_result", "read_and_pair")
    ]
    return sum(stages) if stages else None


ROWS: tuple[tuple[str, Callable[[Model], float | None]], ...] = (
    ("whole mask, mean IoU", _accuracy("miou_full")),
    ("hidden part, mean IoU", _accuracy("miou_occ")),
    ("hidden part, objects with a hidden pixel", _accuracy("miou_occ_occluded")),
    ("hidden part, more than 5 % hidden", _accuracy("miou_occ_hidden")),
    ("hidden part, more than 70 % hidden", _accuracy("miou_occ_mostly_hidden")),
    ("whole mask, objects hidden wholly", _over_time("invisible", "miou_invisible")),
    ("masks of objects outside the image", _over_time("invisible", "ghost_frames")),
    ("flicker: change from frame to frame, percent", _over_time("flicker", "flicker")),
    ("flicker of hidden parts", _over_time("flicker", "flicker_hidden")),
    ("flicker of the truth itself", _over_time("flicker", "flicker_truth")),
    ("id switches", _over_time("ids", "id_switches")),
    ("pairs in the right order, percent", _over_time("order", "order_placed")),
    ("occluded_by: named rightly, percent", _over_time("order", "occluded_by_precision")),
    ("occluded_by: found, percent", _over_time("order", "occluded_by_recall")),
    ("frames answered", lambda model: model["frames"]["inferred"]),
    ("object-frames", lambda model: model["objects"]["object_frames"]),
    ("of these with nothing visible", lambda model: model["objects"]["invisible"]),
    ("milliseconds per frame, sum of the stages' medians", _milliseconds),
)


def comparison_rows(comparison: Mapping[str, Any]) -> list[tuple[str, float | None, float | None]]:
    """Name and both models' numbers of every row that either has a number in."""
    first, second = comparison["models"]
    rows = [(name, read(first), read(second)) for name, read in ROWS]
    return [row for row in rows if row[1] is not None or row[2] is not None]


def comparison_lines(comparison: Mapping[str, Any]) -> list[str]:
    """The table as text, for the terminal."""
    first, second = comparison["labels"]
    width = max(12, len(first), len(second)) + 2
    lines = [f"{'':<52}{first:>{width}}{second:>{width}}"]
    for name, a, b in comparison_rows(comparison):
        lines.append(f"{name:<52}{_plain(a):>{width}}{_plain(b):>{width}}")
    lines.append(_agreement(comparison["agreement"]))
    problems = zip(comparison["labels"], comparison["models"], strict=True)
    return lines + [f"problem, {label}: {text}" for label, model in problems for text in model["problems"]]


def write_comparison_page(path: Path, comparison: Mapping[str, Any]) -> None:
    """Write the page of what compare.json holds."""
    labels = [escape(label) for label in comparison["labels"]]
    sections = [section("Film", _film(comparison))] if comparison["files"]["film"] else []
    sections.append(section("Both models", _table(comparison, labels)))
    if any(value is not None for pair in comparison["mean_iou"] for value in pair):
        plot = mean_plot(comparison["mean_iou"], comparison["labels"])
        sections.append(section("Mean IoU over time, objects hidden by more than 5 %", svg(plot)))
    tracks, chosen = comparison["tracks"], chosen_tracks(comparison["tracks"])
    if chosen:
        title = "Tracks in which the models differ most" + (", IoU in percent" if comparison["mean_iou"] else "")
        note = '<p class="quiet">Grey: how much of the object is hidden.</p>'
        sections.append(section(title, svg(tracks_plot(tracks, chosen, comparison["labels"])) + note))
    if tracks:
        sections.append(section("Each track", _tracks(tracks, labels)))
    title = f"{labels[0]} and {labels[1]} on {escape(comparison['bag'])}, {comparison['mode']}"
    about = " ".join(
        f'<a href="{side}/report.html">Report of {label}</a> ({escape(model["engine"])}).'
        for side, label, model in zip("ab", labels, comparison["models"], strict=True)
    )
    problems = [
        f"{label}: {text}" for label, m in zip(labels, comparison["models"], strict=True) for text in m["problems"]
    ]
    end = 'Every number is in <a href="compare.json">compare.json</a>.'
    path.write_text(page(title, about, problems, "\n".join(sections), end), "utf-8")


def _film(comparison: Mapping[str, Any]) -> str:
    name = comparison["files"]["film"]
    return (
        f'<video src="{name}" controls loop muted autoplay playsinline></video><p class="quiet">Tinted: what the '
        "segmenter saw. Hatched: what a model says is hidden. Dashed: completed from memory, nothing of the object is "
        f'visible. <a href="{name}">{name}</a></p>'
    )


def _table(comparison: Mapping[str, Any], labels: Sequence[str]) -> str:
    head = f"<tr><th></th><th>{labels[0]}</th><th>{labels[1]}</th><th>difference</th></tr>"
    lines = []
    for name, a, b in comparison_rows(comparison):
        lines.append(f"<tr><td>{name}</td><td>{_cell(a)}</td><td>{_cell(b)}</td><td>{_signed(a, b)}</td></tr>")
    return f'<table>{head}{"".join(lines)}</table><p class="quiet">{_agreement(comparison["agreement"])}</p>'


def _tracks(tracks: Mapping[str, Mapping[str, Any]], labels: Sequence[str]) -> str:
    has_truth = any("iou" in track for track in tracks.values())
    titles = ["frames", "hidden, %", *((*labels, "difference") if has_truth else ()), "agreement"]
    head = "<tr><th>track</th>" + "".join(f"<th>{title}</th>" for title in titles) + "</tr>"
    rows = sorted((_track_row(name, track) for name, track in tracks.items()), key=lambda row: -row[0])
    return f"<table>{head}{''.join(line for _, line in rows[:MOST_ROWS])}</table>"


def _track_row(name: str, track: Mapping[str, Any]) -> tuple[float, str]:
    """How far the models are apart, in percent, and the row of the table."""
    agreement = _percent(track["agreement"])
    apart = 100.0 - (agreement or 0.0)
    cells = [_cell(len(track["frame"])), _cell(_percent(track["occlusion"]))]
    if "iou" in track:
        a, b = (_percent(values) for values in track["iou"])
        cells += [_cell(a), _cell(b), _signed(a, b)]
        apart = abs(b - a) if a is not None and b is not None else 0.0
    cells.append(_cell(agreement))
    line = "".join(f"<td>{cell}</td>" for cell in cells)
    return apart, f"<tr><td>{escape(track_name(name, track))}</td>{line}</tr>"


def _agreement(found: Mapping[str, Any]) -> str:
    only = " and ".join(str(count) for count in found["only"])
    return (
        f"IoU of one model's masks with the other's: whole {_plain(found['full'])}, hidden parts "
        f"{_plain(found['occluded'])}, over {found['object_frames']} object-frames; {only} more that only the first, "
        "only the second answered."
    )


def _percent(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return 100 * sum(known) / len(known) if known else None


def _signed(a: float | None, b: float | None) -> str:
    """How much more `b` is, as a cell shows it."""
    if a is None or b is None:
        return "&ndash;"
    return f"{b - a:+d}" if isinstance(a, int) and isinstance(b, int) else f"{b - a:+.1f}"


def _cell(value: float | None) -> str:
    return str(value) if isinstance(value, int) else number(value)


def _plain(value: float | None) -> str:
    return "-" if value is None else _cell(value)
