"""What stands far behind a scene: walls of brick and wood with windows, hedges, bare trees; painted into the sky."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.random import Generator

from c2f_train.synth.appearance import (
    PANORAMA_COLUMNS,
    PANORAMA_HIGH,
    PANORAMA_LOW,
    PANORAMA_ROWS,
    Float32Array,
    Surroundings,
    linear,
    noise,
)

PER_RADIAN = PANORAMA_ROWS / (PANORAMA_HIGH - PANORAMA_LOW)
HORIZON = int(round(PANORAMA_HIGH * PER_RADIAN))
"""Row of the horizon."""
KINDS = ("hedge", "wall", "branches", "fence")


def with_backdrop(around: Surroundings, rng: Generator) -> Surroundings:
    """The surroundings with some of these all around, farther ones first."""
    sky = around.panorama.copy()
    if rng.random() < 0.75:
        _hedge(sky, rng)
    for _ in range(int(rng.integers(0, 3))):
        _branches(sky, rng)
    for _ in range(int(rng.integers(0, 5))):
        _wall(sky, rng)
    if rng.random() < 0.4:
        _fence(sky, rng)
    return replace(around, panorama=sky)


def _hedge(sky: Float32Array, rng: Generator) -> None:
    """Bushes and trees with leaves all around."""
    tall = rng.uniform(4, 40) * (0.4 + noise(rng, 8, PANORAMA_COLUMNS, 14, 5)[0])
    leaves = noise(rng, PANORAMA_ROWS, PANORAMA_COLUMNS, 90, 3)
    row = np.arange(PANORAMA_ROWS)[:, None]
    inside = (row > HORIZON - tall * (0.75 + 0.5 * leaves)).astype(np.float32)[..., None]
    green = linear(rng.uniform(0.15, 0.33), rng.uniform(0.25, 0.6), rng.uniform(0.25, 0.55))
    sky += (green * (0.35 + 1.3 * leaves[..., None]) - sky) * inside


def _wall(sky: Float32Array, rng: Generator) -> None:
    """The front of a building between two columns, with windows and a roof."""
    wide, high = int(rng.integers(50, 220)), int(rng.integers(14, 62))
    left, top = int(rng.integers(0, PANORAMA_COLUMNS - wide)), HORIZON - high
    row, column = np.mgrid[0:high, 0:wide]
    kind = rng.choice(["brick", "boards", "plaster"])
    base = linear(
        *(
            (0.02, 0.6, 0.6)
            if kind == "brick"
            else (rng.uniform(0.05, 0.14), rng.uniform(0, 0.4), rng.uniform(0.3, 0.95))
        )
    )
    shade = np.ones((high, wide))
    if kind == "brick":
        course = row // 3
        joint = (row % 3 == 0) | ((column + 3 * (course % 2)) % 6 == 0)
        shade = np.where(
            joint,
            1.3,
            0.85 + 0.3 * rng.random((high // 3 + 1, wide // 6 + 2))[course, (column + 3 * (course % 2)) // 6],
        )
    elif kind == "boards":
        upright = rng.random() < 0.5
        shade = np.where((column if upright else row) % 4 == 0, 0.6, 0.9 + 0.2 * noise(rng, high, wide, 6))
    picture = base * shade[..., None]
    for x in range(int(rng.integers(4, 20)), wide - 12, int(rng.integers(18, 46))):
        if high > 22 and rng.random() < 0.75:
            sill = high - int(0.75 * high)
            cv2.rectangle(picture, (x - 1, sill - 1), (x + 8, sill + high // 3 + 1), (base * 1.4 + 0.1).tolist(), -1)
            cv2.rectangle(
                picture, (x, sill), (x + 7, sill + high // 3), linear(0.6, 0.2, rng.uniform(0.1, 0.5)).tolist(), -1
            )
    sky[top:HORIZON, left : left + wide] = picture
    if rng.random() < 0.7:
        rise, over = int(rng.integers(6, 24)), int(rng.integers(2, 6))
        corners = [
            (left - over, top),
            (left + wide + over, top),
            (left + wide - rise, top - rise),
            (left + rise, top - rise),
        ]
        colour = linear(rng.uniform(0.0, 0.1), rng.uniform(0.1, 0.6), rng.uniform(0.25, 0.6))
        cv2.fillPoly(sky, [np.array(corners, np.int32)], colour.tolist())


def _branches(sky: Float32Array, rng: Generator) -> None:
    """A row of bare trees over part of the panorama."""
    left, wide = int(rng.integers(0, PANORAMA_COLUMNS)), int(rng.integers(100, 500))
    colour = linear(rng.uniform(0.05, 0.12), rng.uniform(0.1, 0.4), rng.uniform(0.15, 0.5)).tolist()
    for _ in range(int(rng.integers(4, 14))):
        x = (left + rng.integers(0, wide)) % PANORAMA_COLUMNS
        _branch(sky, float(x), float(HORIZON), -np.pi / 2 + rng.normal(0, 0.1), rng.uniform(10, 26), 4, colour, rng)


def _branch(
    sky: Float32Array, x: float, y: float, angle: float, length: float, depth: int, colour: list, rng: Generator
) -> None:
    end_x, end_y = x + length * np.cos(angle), y + length * np.sin(angle)
    start, end = (round(x), round(y)), (round(end_x), round(end_y))
    cv2.line(sky, start, end, colour, max(1, depth - 2), cv2.LINE_AA)
    if depth:
        for _ in range(int(rng.integers(2, 4))):
            turn = angle + rng.normal(0, 0.5)
            _branch(sky, end_x, end_y, turn, length * rng.uniform(0.5, 0.8), depth - 1, colour, rng)


def _fence(sky: Float32Array, rng: Generator) -> None:
    """Rails and posts all around."""
    high, step = int(rng.integers(5, 16)), int(rng.integers(3, 14))
    colour = linear(0.08, rng.uniform(0, 0.5), rng.uniform(0.1, 0.8))
    for row in np.linspace(HORIZON - high, HORIZON - 2, int(rng.integers(2, 5))).astype(int):
        sky[row] = colour
    sky[HORIZON - high - 1 : HORIZON, ::step] = colour * 0.9
