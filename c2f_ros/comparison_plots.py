"""The plots of a comparison of two models, as SVG text: their accuracy, or how much they agree, over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from c2f_ros.plots import figure_of, svg_of, track_name

COLOURS = ("#c2551e", "#1667d9")
HIDDEN_COLOUR = "#8a919e"
MOST_PANELS, PANELS_PER_ROW = 12, 3
FEWEST_FRAMES = 3


def mean_plot(means: Sequence[Sequence[float | None]], labels: Sequence[str]) -> str:
    """Mean IoU of each model over the objects that are hidden by more than 5 %, frame by frame; means:
    compare.json's `mean_iou`."""
    figure, (axis,) = figure_of(1, 1, 9.0, 2.6)
    values = np.array([[np.nan if v is None else v for v in pair] for pair in means], float).reshape(-1, 2)
    for side, label in enumerate(labels):
        axis.plot(100 * values[:, side], "-", color=COLOURS[side], label=label, linewidth=1.8)
    axis.set_ylim(0, 100)
    axis.set_ylabel("mean IoU, %")
    axis.set_xlabel("frame that both answered")
    axis.legend(loc="lower right", frameon=False, fontsize=8)
    return svg_of(figure)


def chosen_tracks(tracks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The tracks of compare.json to look at: those in which the models differ most in sum, of at least 3 frames."""
    long = [name for name, track in tracks.items() if len(track["frame"]) >= FEWEST_FRAMES]
    return sorted(long, key=lambda name: -_difference(tracks[name]))[:MOST_PANELS]


def tracks_plot(tracks: Mapping[str, Mapping[str, Any]], chosen: Sequence[str], labels: Sequence[str]) -> str:
    """A panel for each of `chosen`: IoU of both models over time, or without truth the IoU of one with the other; grey:
    the hidden share."""
    columns = min(len(chosen), PANELS_PER_ROW)
    rows = -(-len(chosen) // columns)
    figure, axes = figure_of(rows, columns, 12.0, 1.9 * rows)
    for axis, name in zip(axes, chosen, strict=False):
        track = tracks[name]
        frames = range(track["frame"][0], track["frame"][-1] + 1)
        hidden = _series(track["frame"], track["occlusion"], frames)
        axis.fill_between(frames, 0, 100 * np.nan_to_num(hidden), color=HIDDEN_COLOUR, alpha=0.25, linewidth=0)
        lines = list(zip(labels, COLOURS, track["iou"], strict=True)) if "iou" in track else []
        lines = lines or [("IoU of one with the other", "#1d2430", track["agreement"])]
        for label, colour, values in lines:
            line = 100 * _series(track["frame"], values, frames)
            axis.plot(frames, line, ".-", color=colour, linewidth=1.5, markersize=3, label=label)
        axis.set_ylim(0, 102)
        axis.set_title(track_name(name, track), fontsize=9)
    for axis in axes[len(chosen) :]:
        axis.set_visible(False)
    axes[0].legend(loc="lower left", frameon=False, fontsize=7)
    return svg_of(figure)


def _difference(track: Mapping[str, Any]) -> float:
    """Sum over frames of how far the two models are apart."""
    if "iou" in track:
        pairs = zip(*track["iou"], strict=True)
        return float(sum(abs(a - b) for a, b in pairs if a is not None and b is not None))
    return sum(1.0 if value is None else 1.0 - value for value in track["agreement"])


def _series(at: Sequence[int], values: Sequence[float | None], frames: range) -> NDArray[np.float64]:
    """One value for each of `frames`, nan where there is none."""
    out = np.full(len(frames), np.nan)
    for frame, value in zip(at, values, strict=True):
        out[frame - frames.start] = np.nan if value is None else value
    return out
