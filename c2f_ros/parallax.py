"""How fast what stands still moves in the image, by where it stands: what is near moves otherwise than what is far.

Pure logic, shared by training and runtime. On a plane, the inverse of a point's depth is linear in the row of the image
where it stands, and so is what a moving camera does to it. The plane and the camera are not known: the line is fitted
to the objects themselves. An object that is hidden, or of which a sliver is seen, moves by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

LEAST_OBJECTS = 5
"""So many objects, at least, say how speed depends on the row."""
LEAST_ERROR = 0.1
"""Standard error that every velocity has at least, in object sizes per second."""
STIFFNESS = 0.1
"""How little must speak for a slope: it is drawn to 0 as by an object, this weight of all others', one height of
their rows away."""
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


def find_parallax(movers: Iterable[Mover]) -> Parallax | None:
    """The line through the objects' velocities; None if they are too few."""
    rows = [(m.row, *m.velocity, max(m.error, LEAST_ERROR * m.size), m.size) for m in movers]
    if len(rows) < LEAST_OBJECTS:
        return None
    row, vx, vy, error, size = np.array(rows).T
    velocity = np.stack([vx, vy])
    trust = 1 / error**2
    weight = trust
    for _ in range(ROUNDS):
        total = weight.sum()
        middle = (weight @ row) / total
        away = row - middle
        mean = velocity @ weight / total
        square = (weight @ away**2) * (1 + STIFFNESS) + 1e-9 * total
        slope = (velocity - mean[:, None]) @ (weight * away) / square
        rest = velocity - mean[:, None] - slope[:, None] * away
        beyond = np.hypot(*rest)
        typical = float(np.median(beyond)) + 1e-6
        weight = trust / (1 + (beyond / (2 * typical)) ** 2)
    spread = max(typical, LEAST_SPREAD * float(np.median(size)))
    return Parallax(float(middle), (float(mean[0]), float(mean[1])), (float(slope[0]), float(slope[1])), spread)
