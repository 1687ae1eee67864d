"""A straight line through measured points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Line:
    """y = at_zero + slope * x; r2: the share of y's variance that the line explains (1: all points lie on it)."""

    at_zero: float
    slope: float
    r2: float

    def __call__(self, x: float) -> float:
        return self.at_zero + self.slope * x

    def plain(self) -> dict[str, float]:
        return {"at_zero": round(self.at_zero, 5), "slope": round(self.slope, 6), "r2": round(self.r2, 4)}


def fit_line(x: Sequence[float], y: Sequence[float]) -> Line:
    """The line of least squares. Raises ValueError for fewer than two different x. Where all y are equal, r2 is 1."""
    across, up = np.asarray(x, float), np.asarray(y, float)
    if len(across) != len(up) or len(set(across.tolist())) < 2:
        raise ValueError(f"{len(up)} values at x = {list(x)} make no line; measure at two different x or more")
    slope, at_zero = np.polyfit(across, up, 1)
    rest, spread = up - (at_zero + slope * across), up - up.mean()
    total = float(spread @ spread)
    return Line(float(at_zero), float(slope), 1.0 if total == 0 else 1.0 - float(rest @ rest) / total)
