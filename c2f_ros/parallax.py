"""How fast what stands still moves in the image, by where it stands: what is near moves otherwise than what is far.

Pure logic, shared by training and runtime. On a plane, the inverse of a point's depth is linear in the row of the image
where it stands, and so is what a moving camera does to it. The plane and the camera are not known: the line is fitted
to the objects themselves. An object that is hidden, or of which a sliver is seen, moves by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from statistics import median

LEAST_OBJECTS = 5
"""So many objects, at least, say how speed depends on the row."""
LEAST_ERROR = 0.1
"""Standard error that every velocity has at least, in object sizes per second."""
STIFFNESS = 0.1
"""The slope is drawn to 0: it is what fits best, divided by 1 and this."""
ROUNDS = 4
"""Fits in a row; in each, objects that the last one does not explain count less: they move by themselves."""
LEAST_SPREAD = 0.15
"""Object sizes per second by which standing objects differ at least from the line: heights, shapes, slopes."""


@dataclass(frozen=True, slots=True)
class Mover:
    """An object that moves by `velocity` (x, y), pixels per second, with standard error `error`, and stands at
    `row` of the image; size: its longer side."""

    row: float
    velocity: tuple[float, float]
    error: float
    size: float


@dataclass(frozen=True, slots=True)
class Parallax:
    """velocity (x, y), pixels per second, at row `middle`; slope: what it grows by per row; spread: the standard
    deviation of an object's own velocity from the line, pixels per second."""

    middle: float
    velocity: tuple[float, float]
    slope: tuple[float, float]
    spread: float

    def at(self, row: float) -> tuple[float, float]:
        """The velocity of what stands at this row."""
        away = row - self.middle
        return self.velocity[0] + away * self.slope[0], self.velocity[1] + away * self.slope[1]


def find_parallax(movers: Sequence[Mover]) -> Parallax | None:
    """The line through the objects' velocities; None if they are too few.

    Plain numbers: for so few objects arrays cost several times as much.
    """
    if len(movers) < LEAST_OBJECTS:
        return None
    rows = [m.row for m in movers]
    vx, vy = [m.velocity[0] for m in movers], [m.velocity[1] for m in movers]
    trust = [1 / max(m.error, LEAST_ERROR * m.size) ** 2 for m in movers]
    weights = trust
    for _ in range(ROUNDS):
        total = sum(weights)
        middle = sum(map(mul, weights, rows)) / total
        away = [row - middle for row in rows]
        pull = list(map(mul, weights, away))
        square = sum(map(mul, pull, away)) * (1 + STIFFNESS) + 1e-9 * total
        mean_x, mean_y = sum(map(mul, weights, vx)) / total, sum(map(mul, weights, vy)) / total
        slope_x, slope_y = sum(map(mul, pull, vx)) / square, sum(map(mul, pull, vy)) / square
        beyond = [
            math.hypot(x - mean_x - slope_x * d, y - mean_y - slope_y * d) for x, y, d in zip(vx, vy, away, strict=True)
        ]
        typical = median(beyond)
        scale = 1 / (2 * typical + 1e-6) ** 2
        weights = [t / (1 + b * b * scale) for t, b in zip(trust, beyond, strict=True)]
    spread = max(typical, LEAST_SPREAD * median(m.size for m in movers))
    return Parallax(middle, (mean_x, mean_y), (slope_x, slope_y), spread)
