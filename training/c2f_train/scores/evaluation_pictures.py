"""Pictures of an evaluation: accuracy against occlusion, and contact sheets of single cases."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from c2f_ros.geometry import BoolArray, ByteArray
from c2f_train.scores.evaluation_cases import Case, CasePicture

TILE, LABEL, GAP, TITLE, COLUMNS = 260, 40, 8, 58, 4
"""Pixels: side of a picture, height of its label, space between, height of the title; and pictures in a row."""
BACKGROUND, TEXT, QUIET = (24, 26, 31), (235, 238, 242), (150, 156, 168)
SEEN, TRUE, PREDICTED = (70, 150, 255), (80, 235, 120), (255, 70, 170)
BASELINE_COLOURS = {"visible": "#8a919e", "hull": "#e0a33e", "clipped_hull": "#c2551e"}
COLOURS = ("#1667d9", "#1f9e6e", "#8a4fd3", "#d1397c", "#0f9bb5", "#6d7a1f", "#3b3f8f", "#a35a2a")


def occlusion_plot(bins: Mapping[str, Sequence[Mapping[str, Any]]]) -> ByteArray:
    """uint8 [h, w, 3]: mean IoU against the hidden share, one line per method; left whole masks, right hidden parts.

    bins: `EvaluationResult.by_occlusion`; points of bins with fewer than ten object-frames are hollow.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}):
        figure = Figure(figsize=(10.5, 4.2), layout="constrained", dpi=110)
        axes = figure.subplots(1, 2)
        colours = iter(COLOURS * (1 + len(bins) // len(COLOURS)))
        for name, entries in bins.items():
            is_baseline = name in BASELINE_COLOURS
            colour = BASELINE_COLOURS[name] if is_baseline else next(colours)
            for axis, key in zip(axes, ("full", "occluded"), strict=True):
                _line(axis, name, entries, key, colour, is_baseline)
        for axis, title in zip(axes, ("IoU of whole masks", "IoU of hidden parts"), strict=True):
            _label(axis, title, next(iter(bins.values()), ()))
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
        return figure_pixels(figure)


def figure_pixels(figure: Any) -> ByteArray:
    """uint8 [h, w, 3]: a matplotlib figure drawn."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    pixels = cv2.imdecode(np.frombuffer(stream.getvalue(), np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _line(axis: Any, name: str, entries: Sequence[Mapping[str, Any]], key: str, colour: str, is_baseline: bool) -> None:
    known = [e for e in entries if e[key] is not None]
    x = [50 * (e["low"] + e["high"]) for e in known]
    style: dict[str, Any] = {"color": colour, "zorder": 2 if is_baseline else 3}
    axis.plot(x, [e[key] for e in known], "-", label=name, linewidth=1.4 if is_baseline else 2.2, **style)
    for e, place in zip(known, x, strict=True):
        face = colour if e["object_frames"] >= 10 else "white"
        axis.plot(place, e[key], "o", markersize=4.5, markerfacecolor=face, **style)


def _label(axis: Any, title: str, entries: Sequence[Mapping[str, Any]]) -> None:
    axis.set_xticks(
        [50 * (e["low"] + e["high"]) for e in entries],
        [f"{100 * e['low']:.0f}-{100 * e['high']:.0f}\n({e['object_frames']})" for e in entries],
        fontsize=7.5,
    )
    axis.set_title(title)
    axis.set_xlim(0, 100)
    axis.set_ylim(0, 101)
    axis.grid(alpha=0.3)
    axis.set_ylabel("mean IoU, %")
    axis.set_xlabel("hidden share of the object, %  (object-frames; hollow: fewer than ten)")


def contact_sheet(cases: Sequence[Case], title: str) -> ByteArray:
    """uint8 [h, w, 3]: the cases that have pictures, in reading order, under a title and a key to the colours."""
    tiles = [_tile(case, case.picture) for case in cases if case.picture is not None]
    columns = min(COLUMNS, max(2, len(tiles)))
    rows = -(-len(tiles) // columns)
    width = columns * (TILE + GAP) + GAP
    sheet = np.full((TITLE + rows * (TILE + LABEL + GAP) + GAP, width, 3), BACKGROUND, np.uint8)
    _write(sheet, title, GAP, 22, TEXT, 0.55)
    column = GAP
    for text, colour in (("seen", SEEN), ("true outline", TRUE), ("predicted outline", PREDICTED)):
        cv2.rectangle(sheet, (column, 36), (column + 14, 48), colour, -1)
        column = _write(sheet, text, column + 20, 47, QUIET, 0.45) + 18
    for index, tile in enumerate(tiles):
        row, place = divmod(index, columns)
        top, left = TITLE + row * (TILE + LABEL + GAP), GAP + place * (TILE + GAP)
        sheet[top : top + TILE + LABEL, left : left + TILE] = tile
    return sheet


def _tile(case: Case, picture: CasePicture) -> ByteArray:
    """uint8 [TILE + LABEL, TILE, 3]: one case with its label."""
    out = np.full((TILE + LABEL, TILE, 3), BACKGROUND, np.uint8)
    drawn = _drawn(picture)
    top, left = (TILE - drawn.shape[0]) // 2, (TILE - drawn.shape[1]) // 2
    out[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn
    numbers = f"IoU {100 * case.full_iou:.0f} %, hidden part {100 * case.occluded_iou:.0f} %"
    _write(out, numbers, 4, TILE + 16, TEXT, 0.42)
    place = f"{100 * case.occlusion:.0f} % hidden  frame {case.frame}"
    end = _write(out, place, 4, TILE + 33, QUIET, 0.38)
    room = TILE - end - 12
    key = case.key
    while key and cv2.getTextSize(key, cv2.FONT_HERSHEY_SIMPLEX, 0.38, 1)[0][0] > room:
        key = key[1:]
    _write(out, key, end + 10, TILE + 33, QUIET, 0.38)
    return out


def _drawn(picture: CasePicture) -> ByteArray:
    """The picture as large as the tile allows, the visible part tinted, the true and predicted outlines in colour."""
    height, width = picture.rgb.shape[:2]
    factor = TILE / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    how = cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA
    out = cv2.resize(picture.rgb, size, interpolation=how)
    seen = _enlarged(picture.visible, size)
    out[seen] = (0.55 * out[seen] + 0.45 * np.asarray(SEEN)).astype(np.uint8)
    for mask, colour in ((picture.truth, TRUE), (picture.predicted, PREDICTED)):
        contours, _ = cv2.findContours(_enlarged(mask, size).view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(out, contours, -1, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.drawContours(out, contours, -1, colour, 2, cv2.LINE_AA)
    return out


def _enlarged(mask: BoolArray, size: tuple[int, int]) -> BoolArray:
    return cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5


def _write(out: ByteArray, text: str, column: int, row: int, colour: tuple[int, int, int], scale: float) -> int:
    """Write in place; returns the column where the text ends. Other than ASCII, which OpenCV lacks, becomes `?`."""
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(out, plain, (column, row), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
    return column + int(cv2.getTextSize(plain, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0])


def write_png(file: Path, rgb: ByteArray) -> None:
    """Save uint8 [h, w, 3]."""
    file.write_bytes(cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes())
