"""The report as one self-contained HTML page; only the film lies beside it, as a file."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from c2f_ros.geometry import ByteArray
from c2f_ros.pictures import encoded
from c2f_ros.plots import NAMES, accuracy_plot, latency_plot, timeline_plot

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 0; background: #f4f5f7; color: #1d2430; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 0 0 10px; }
.quiet { color: #667080; } .problem { color: #a1260d; }
section { background: #fff; border: 1px solid #e2e5ea; border-radius: 10px; padding: 18px 20px; margin-top: 18px; }
table { border-collapse: collapse; width: 100%; } td, th { padding: 5px 10px; text-align: right; }
th { font-weight: 600; color: #667080; border-bottom: 1px solid #e2e5ea; }
td:first-child, th:first-child { text-align: left; } tr.ours td { font-weight: 700; background: #eaf2fe; }
img, video { max-width: 100%; display: block; border-radius: 6px; } video { background: #000; width: 100%; }
.tiles { display: flex; flex-wrap: wrap; gap: 10px; } .tiles b { display: block; font-size: 20px; }
.tiles div { flex: 1 1 90px; background: #f4f5f7; border-radius: 8px; padding: 8px 12px; }
"""

COLUMNS = (
    ("miou_full", "whole"),
    ("miou_occ", "hidden part"),
    ("miou_full_hidden", "whole, hidden &gt; 5 %"),
    ("miou_occ_hidden", "hidden part, &gt; 5 %"),
    ("miou_full_mostly_hidden", "whole, &gt; 70 %"),
    ("miou_occ_mostly_hidden", "hidden part, &gt; 70 %"),
)
OURS = ' class="ours"'
FRAMES = ("in_bag", "paired", "inferred", "skipped", "refused", "failed", "unpaired", "lost")


def write_page(path: Path, report: Mapping[str, Any], sheet: ByteArray | None) -> None:
    """Write the page of `report` (what report.json holds). sheet: the contact sheet, [h, w, 3], if there is one."""
    sections = [section("Film", _film(report)) if sheet is not None else "", section("Frames", _frames(report))]
    if report["accuracy"]:
        sections.append(section("Accuracy against ground truth, mean IoU in percent", _accuracy(report)))
        sections.append(section("Accuracy against how much is hidden", svg(accuracy_plot(report["by_occlusion"]))))
        sections.append(section("Accuracy over time", _over_time(report["over_time"])))
    if report["tracks"]:
        plot = timeline_plot(report["tracks"], report["frames"]["inferred"])
        note = '<p class="quiet">Dots: completed from memory, nothing of the object is visible.</p>'
        remembered = note if report["objects"]["invisible"] else ""
        sections.append(section("Timeline of each track", svg(plot) + remembered))
    if report["latency_ms"]:
        latency = {s: {"median_ms": v["median"], "p95_ms": v["p95"]} for s, v in report["latency_ms"].items()}
        sections.append(section("Time per stage", svg(latency_plot(latency))))
    if sheet is not None:
        sections.append(section("Contact sheet", picture("jpeg", encoded(sheet, ".jpg"), "contact sheet")))
    path.write_text(_page(report, "\n".join(sections)), "utf-8")


def _page(report: Mapping[str, Any], body: str) -> str:
    title = f"{escape(report['model_id'])} on {escape(report['bag'])}, {report['mode']}"
    rule = {
        "anything": "hidden parts may lie under anything",
        "other_instances": "hidden parts only under other objects",
    }
    about = f"{escape(report['engine'])}; {rule.get(report['hidden_under'], escape(report['hidden_under']))}"
    end = (
        'Every number is in <a href="report.json">report.json</a>, every mask in '
        f'<a href="{report["files"]["result"]}">{report["files"]["result"]}</a>.'
    )
    return page(title, about, report["problems"], body, end)


def page(title: str, about: str, problems: Sequence[str], body: str, end: str) -> str:
    """A whole page. title, about, body, end: HTML; problems: text."""
    faults = "".join(f'<p class="problem">{escape(text)}</p>' for text in problems)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
        f'<body><main><h1>{title}</h1>\n<p class="quiet">{about}</p>{faults}\n{body}\n'
        f'<p class="quiet">{end}</p></main></body></html>\n'
    )


def section(title: str, body: str) -> str:
    """A part of the page under a heading."""
    return f"<section><h2>{title}</h2>\n{body}</section>"


def _film(report: Mapping[str, Any]) -> str:
    name = report["files"]["film"]
    legend = '<p class="quiet">Tinted: what the segmenter saw. Hatched: what this model says is hidden.'
    if report["objects"]["invisible"]:
        legend += " Dashed: completed from memory, nothing of the object is visible."
    return (
        f'<video src="{name}" controls loop muted autoplay playsinline></video>{legend} <a href="{name}">{name}</a></p>'
    )


def _frames(report: Mapping[str, Any]) -> str:
    counts = [(report["frames"][key], key.replace("_", " ")) for key in FRAMES]
    objects = [(report["objects"][key], key.replace("_", " ")) for key in ("tracks", "object_frames", "invisible")]
    return tiles([*counts, *objects])


def _accuracy(report: Mapping[str, Any]) -> str:
    head = "<tr><th></th>" + "".join(f"<th>{title}</th>" for _, title in COLUMNS) + "</tr>"
    rows = []
    for method, numbers in report["accuracy"].items():
        cells = "".join(f"<td>{number(numbers[key])}</td>" for key, _ in COLUMNS)
        row_class = OURS if method == "model" else ""
        rows.append(f"<tr{row_class}><td>{NAMES[method]}</td>{cells}</tr>")
    ours, scored = report["accuracy"]["model"], report["scored"]
    note = (
        f"{ours['objects']} objects, {ours['object_frames']} object-frames in {scored['frames']} frames; "
        f"{scored['missing']} missing. Averages as in the published evaluation: over frames, then over objects."
    )
    return f'<table>{head}{"".join(rows)}</table><p class="quiet">{note}</p>'


def _over_time(found: Mapping[str, Any]) -> str:
    invisible, ids, order = found["invisible"], found["ids"], found["order"]
    shown = [
        (
            number(invisible["miou_invisible"]),
            f"mean IoU hidden wholly ({invisible['invisible_frames']} object-frames)",
        ),
        (str(invisible["ghost_frames"]), f"of {invisible['left_frames']} object-frames outside the image have a mask"),
        (str(ids["id_switches"]), f"id switches of {ids['id_objects']} objects"),
        (str(ids["id_takeovers"]), "ids taken over from another object"),
        (number(order["order_placed"]), f"percent of {order['order_pairs']} pairs in the right order"),
        (number(order["occluded_by_precision"]), "percent of occluded_by are right"),
        (number(order["occluded_by_recall"]), "percent of those who hide are named"),
    ]
    head = "<tr><th>change from frame to frame, percent</th><th>whole mask</th><th>hidden part</th></tr>"
    truth = found["flicker"]["model"]
    rows = [(NAMES[name], numbers["flicker"], numbers["flicker_hidden"]) for name, numbers in found["flicker"].items()]
    rows.append(("the truth itself", truth["flicker_truth"], truth["flicker_hidden_truth"]))
    lines = "".join(
        f"<tr{OURS if name == NAMES['model'] else ''}><td>{name}</td>"
        f"<td>{number(whole)}</td><td>{number(part)}</td></tr>"
        for name, whole, part in rows
    )
    note = (
        f"{truth['flicker_pairs']} pairs of adjacent frames of objects hidden by more than 5 %: 1 - IoU of the masks, "
        "the earlier one moved along with the object."
    )
    return f'{tiles(shown)}<table>{head}{lines}</table><p class="quiet">{note}</p>'


def tiles(numbers: Sequence[tuple[Any, str]]) -> str:
    """Large numbers, each above what it counts."""
    return '<div class="tiles">' + "".join(f"<div><b>{value}</b>{name}</div>" for value, name in numbers) + "</div>"


def number(value: float | None) -> str:
    """The number as a cell shows it, a dash if there is none."""
    return "&ndash;" if value is None else f"{value:.1f}"


def svg(text: str) -> str:
    """A plot as an image inside the page."""
    return picture("svg+xml", text.encode(), "plot")


def picture(kind: str, data: bytes, name: str) -> str:
    """An image inside the page; kind: png, jpeg or svg+xml."""
    return f'<img alt="{name}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'
