"""The costs as one picture: a panel per thing that time grows with, points with their spread, and the fitted lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")  # no display is needed, nor looked for

from matplotlib import pyplot as plt

from benchmarks.costs import Curve


def save_costs(curves: Sequence[Curve], file: Path) -> None:
    """Write the picture (PNG)."""
    groups = list(dict.fromkeys(curve.group for curve in curves))
    figure, panels = plt.subplots(1, len(groups), figsize=(4.6 * len(groups), 3.6), layout="constrained", squeeze=False)
    for panel, group in zip(panels[0], groups, strict=True):
        for curve in (one for one in curves if one.group == group):
            _draw(panel, curve)
        panel.set(xlabel=next(c.against for c in curves if c.group == group), ylabel="ms per frame", title=group)
        panel.set_ylim(bottom=0)
        panel.set_xlim(left=0)
        panel.grid(alpha=0.3)
        panel.legend(fontsize=7)
    figure.savefig(file, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _draw(panel: plt.Axes, curve: Curve) -> None:
    line, middle = curve.line, np.array([one.median for one in curve.ms])
    low, high = np.array([one.quartiles for one in curve.ms]).T
    points = panel.errorbar(curve.x, middle, np.abs([middle - low, high - middle]), fmt="o", markersize=4, capsize=2)
    ends = np.array([0.0, max(curve.x)])
    panel.plot(
        ends,
        [line(x) for x in ends],
        color=points[0].get_color(),
        linewidth=1,
        label=f"{curve.what}: {line.at_zero:.3g} + {line.slope:.3g} x, R² {line.r2:.3f}",
    )
