"""The report's plots, each as SVG text. Matplotlib (Agg, no window) is imported when the first is drawn."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from c2f_ros.records import Status

COLOURS = {"model": "#1667d9", "visible": "#8a919e", "hull": "#e0a33e", "clipped_hull": "#c2551e"}
NAMES = {
    "model": "this model",
    "visible": "visible mask",
    "hull": "convex hull",
    "clipped_hull": "hull clipped to others",
}
MOST_TRACKS = 40
"""Tracks drawn in the timeline, those seen in most frames."""


def accuracy_plot(bins: Sequence[Mapping[str, Any]]) -> str:
    """IoU against occlusion rate: whole masks on the left, hidden parts on the right. bins: `Scoring.by_occlusion`."""
    figure, axes = figure_of(1, 2, 9.0, 3.4)
    used = [b for b in bins if b["object_frames"]]
    places = np.arange(len(used))
    for axis, key, title in zip(axes, ("full", "occluded"), ("whole mask", "hidden part"), strict=True):
        for name, colour in COLOURS.items():
            if key == "occluded" and name == "visible":
                continue
            values = [b[name][key] for b in used]
            width, order = (2.6, 3) if name == "model" else (1.5, 2)
            axis.plot(
                places, values, "o-", color=colour, label=NAMES[name], linewidth=width, markersize=4, zorder=order
            )
        labels = [f"{100 * b['low']:.0f}-{100 * b['high']:.0f} %\n({b['object_frames']})" for b in used]
        axis.set_xticks(places, labels)
        axis.set_ylim(0, 100)
        axis.set_ylabel("mean IoU, %")
        axis.set_title(title)
        axis.set_xlabel("hidden share of the object (object-frames)")
    axes[0].legend(loc="lower left", frameon=False, fontsize=8)
    return svg_of(figure)


def latency_plot(latency: Mapping[str, Mapping[str, float]]) -> str:
    """Milliseconds per stage: bars for the median, marks for the 95th percentile."""
    stages = list(latency)
    figure, (axis,) = figure_of(1, 1, 6.4, 0.6 + 0.36 * max(1, len(stages)))
    places = np.arange(len(stages))[::-1]
    medians = [latency[s]["median_ms"] for s in stages]
    tails = [latency[s]["p95_ms"] for s in stages]
    axis.barh(places, medians, color=COLOURS["model"], height=0.6, label="median")
    axis.plot(tails, places, "|", color="#1d2430", markersize=12, markeredgewidth=2, label="95 %")
    for place, median, tail in zip(places, medians, tails, strict=True):
        axis.text(
            max(median, tail) * 1.02 + 0.02 * max(tails), place, f"{median:.1f} / {tail:.1f}", va="center", fontsize=8
        )
    axis.set_yticks(places, [s.replace("_", " ") for s in stages])
    axis.set_xlim(0, 1.25 * max(tails, default=1.0))
    axis.set_xlabel("milliseconds per frame, median / 95 %")
    return svg_of(figure)


def timeline_plot(tracks: Mapping[str, Mapping[str, Any]], frames: int) -> str:
    """One row per track, one column per frame: how much is hidden, with truth the IoU of the model, and where models
    remember, from how many frames. A dot marks objects completed while nothing of them is visible.

    tracks: report.json's `tracks`; frames: how many answered frames there are.
    """
    chosen = _longest(tracks)
    panels = [("occlusion", "hidden share", "magma_r", 1.0)]
    if any("iou" in tracks[t] for t in chosen):
        panels.append(("iou", "IoU of the whole mask", "RdYlGn", 1.0))
    most = max((max(tracks[t]["frames_used"]) for t in chosen), default=0)
    if most > 1:
        panels.append(("frames_used", "frames used", "Blues", float(most)))
    figure, axes = figure_of(1, len(panels), 4.5 * len(panels), 0.9 + 0.2 * max(3, len(chosen)))
    for axis, (key, title, colours, highest) in zip(axes, panels, strict=True):
        shown = axis.imshow(
            _grid(tracks, chosen, key, frames), vmin=0, vmax=highest, aspect="auto", cmap=colours,
            interpolation="nearest",
        )  # fmt: skip
        axis.plot(*_invisible(tracks, chosen), "o", color="#1d2430", markersize=3, markerfacecolor="white")
        axis.set_yticks(range(len(chosen)), [track_name(t, tracks[t]) for t in chosen], fontsize=7)
        axis.set_title(title)
        axis.set_xlabel("answered frame")
        axis.grid(False)
        axis.set_facecolor("#dfe3e8")
        figure.colorbar(shown, ax=axis, fraction=0.04, pad=0.02)
    return svg_of(figure)


def _longest(tracks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """At most `MOST_TRACKS` tracks, those seen in most frames, in their own order."""
    longest = sorted(tracks, key=lambda t: -len(tracks[t]["frame"]))[:MOST_TRACKS]
    return [t for t in tracks if t in longest]


def _grid(tracks: Mapping[str, Mapping[str, Any]], chosen: Sequence[str], key: str, frames: int) -> NDArray[np.float64]:
    """[tracks, frames]: one value of report.json's `tracks` per frame, nan where there is none."""
    values = np.full((max(1, len(chosen)), max(1, frames)), np.nan)
    for row, track in enumerate(chosen):
        for frame, value in zip(tracks[track]["frame"], tracks[track].get(key, ()), strict=False):
            values[row, frame] = np.nan if value is None else value
    return values


def _invisible(tracks: Mapping[str, Mapping[str, Any]], chosen: Sequence[str]) -> tuple[list[int], list[int]]:
    """Frames and rows of what was completed from memory alone."""
    found = [
        (frame, row)
        for row, track in enumerate(chosen)
        for frame, status in zip(tracks[track]["frame"], tracks[track]["status"], strict=True)
        if status == Status.INVISIBLE
    ]
    return [frame for frame, _ in found], [row for _, row in found]


def track_name(track_id: str, track: Mapping[str, Any]) -> str:
    """Id and class of a track of report.json."""
    return f"{track_id} {track['class_id']}".strip()


def figure_of(rows: int, columns: int, width: float, height: float) -> tuple[Any, Sequence[Any]]:
    """A figure of `width` x `height` inches that no window system takes part in, and its axes."""
    import matplotlib
    from matplotlib.figure import Figure

    style: Any = {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.3,
        "font.size": 9,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.flat)


def svg_of(figure: Any) -> str:
    """The figure as SVG text, without a date."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
