"""Thin things: poles, railings, fences, ladders, stools, bare trees, bicycles. Much is seen through them."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from c2f_train.synth.mesh import Mesh, box, ellipsoid, join, lathe, torus, tube


def _rod(a: tuple, b: tuple, radius: float, sides: int = 6) -> Mesh:
    return tube([a, b], radius, sides)


def pole(rng: Generator) -> Mesh:
    """A post, perhaps leaning, perhaps with a lamp."""
    lean, radius = rng.normal(0, 0.03), rng.uniform(0.012, 0.025)
    pieces = [tube([(0, 0, 0), (lean * 0.5, 0, 0.5), (lean, 0, 1.0)], [radius * 1.2, radius, radius * 0.9], 9)]
    if rng.random() < 0.5:
        reach = rng.uniform(0.12, 0.22)
        pieces += [tube([(lean, 0, 0.96), (lean + reach, 0, 1.0)], radius * 0.7, 7)]
        pieces.append(ellipsoid(0.06, 0.025, 0.018, rows=6, sides=9).moved(lean + reach, 0, 0.99).painted(1))
    return join(*pieces)


def signpost(rng: Generator) -> Mesh:
    """A round, square or three-cornered sign on a post."""
    sides = int(rng.choice([3, 4, 20]))
    radius = rng.uniform(0.13, 0.2)
    plate = lathe([(0, -0.008), (radius, -0.008), (radius, 0.008), (0, 0.008)], sides)
    plate = plate.turned("z", 90.0 if sides == 3 else 45.0).turned("y", 90).moved(0.02, 0, 1 - radius)
    return join(_rod((0, 0, 0), (0, 0, 0.98), rng.uniform(0.014, 0.022), 8), plate.painted(1))


def railing(rng: Generator) -> Mesh:
    """Rails on posts with bars between them."""
    height, posts, radius = rng.uniform(0.28, 0.5), int(rng.integers(2, 5)), rng.uniform(0.008, 0.014)
    x = np.linspace(-0.5, 0.5, posts)
    pieces = [_rod((k, 0, 0), (k, 0, height), radius * 1.5) for k in x]
    if rng.random() < 0.65:
        pieces += [_rod((-0.5, 0, z), (0.5, 0, z), radius) for z in (0.12 * height, height)]
        bars = np.linspace(-0.5, 0.5, int(rng.integers(10, 20)))[1:-1]
        pieces += [_rod((k, 0, 0.12 * height), (k, 0, height), radius * 0.6, 5) for k in bars]
    else:
        rails = np.linspace(0.25, 1.0, int(rng.integers(3, 6)))
        pieces += [_rod((-0.5, 0, z * height), (0.5, 0, z * height), radius) for z in rails]
    return join(*pieces)


def picket_fence(rng: Generator) -> Mesh:
    """Upright boards on two rails."""
    height, count = rng.uniform(0.28, 0.45), int(rng.integers(6, 12))
    wide = 1.0 / count * rng.uniform(0.35, 0.7)
    pieces = [box(1.0, 0.02, 0.04).moved(0, -0.02, z * height) for z in (0.2, 0.7)]
    for x in np.linspace(-0.5 + wide, 0.5 - wide, count):
        pieces.append(box(wide, 0.018, height * 0.92).moved(x))
        pieces.append(box(wide, 0.018, height * 0.08, 0.2).moved(x, 0, height * 0.92))
    return join(*pieces)


def bar_stool(rng: Generator) -> Mesh:
    """A tall stool on thin legs with a ring for the feet."""
    spread, radius, low = rng.uniform(0.14, 0.22), rng.uniform(0.012, 0.02), rng.uniform(0.25, 0.4)
    seat = lathe([(0, 0.94), (0.17, 0.94), (0.18, 0.97), (0.16, 1.0), (0, 1.0)], 18).painted(1)
    turns = [np.radians(45 + 90 * k) for k in range(4)]
    legs = [
        _rod((spread * np.cos(t), spread * np.sin(t), 0), (0.1 * np.cos(t), 0.1 * np.sin(t), 0.95), radius)
        for t in turns
    ]
    ring = torus(spread + (0.1 - spread) * low / 0.95, radius * 0.8, 16).moved(z=low)
    return join(seat, ring, *legs)


def bench(rng: Generator) -> Mesh:
    """A bench of slats, often with a back."""
    deep, high = rng.uniform(0.26, 0.32), rng.uniform(0.27, 0.32)
    pieces = [box(0.06, 1.0, 0.025).moved(-deep / 2 + 0.04 + k * (deep - 0.06) / 3, 0, high - 0.025) for k in range(4)]
    for side in (-0.42, 0.42):
        pieces += [
            _rod((x, side, 0), (x, side, high - 0.02), 0.016).painted(1) for x in (-deep / 2 + 0.05, deep / 2 - 0.02)
        ]
    if rng.random() < 0.6:
        pieces += [box(0.02, 1.0, 0.07).moved(-deep / 2, 0, high + rise) for rise in (0.08, 0.2)]
        pieces += [
            _rod((-deep / 2 + 0.01, side, high), (-deep / 2 - 0.01, side, high + 0.27), 0.014).painted(1)
            for side in (-0.42, 0.42)
        ]
    return join(*pieces)


def bare_tree(rng: Generator) -> Mesh:
    """A tree without leaves."""
    pieces: list[Mesh] = []

    def grow(start: np.ndarray, towards: np.ndarray, length: float, radius: float, depth: int) -> None:
        end = start + towards * length
        bend = rng.normal(0, 0.05, 3) * length
        pieces.append(
            tube([start, (start + end) / 2 + bend, end], [radius, radius * 0.85, radius * 0.65], 6 if depth else 5)
        )
        if depth == 0:
            return
        for _ in range(int(rng.integers(2, 4))):
            turned = towards + rng.normal(0, 0.55, 3) * np.array([1, 1, 0.6])
            turned[2] = max(turned[2], 0.05)
            turned /= np.linalg.norm(turned)
            grow(
                start + towards * length * rng.uniform(0.7, 0.98),
                turned,
                length * rng.uniform(0.55, 0.8),
                radius * 0.55,
                depth - 1,
            )

    grow(np.zeros(3), np.array([0.0, 0.0, 1.0]), rng.uniform(0.3, 0.45), rng.uniform(0.025, 0.04), 3)
    return join(*pieces)


def bicycle(rng: Generator) -> Mesh:
    """A bicycle on its stand."""
    wheel, base = rng.uniform(0.18, 0.2), rng.uniform(0.56, 0.62)
    back, front = (-base / 2, 0.0, wheel), (base / 2, 0.0, wheel)
    ring = torus(wheel - 0.012, 0.012, 22).turned("x", 90).painted(2)
    spokes = [_rod((0, 0, -wheel), (0, 0, wheel), 0.003, 4).turned("y", 36 * k).painted(2) for k in range(5)]
    pieces = [piece.moved(*hub) for hub in (back, front) for piece in (ring, *spokes)]
    crank, seat, head = (-0.03, 0, wheel * 0.95), (-0.11, 0, 0.5), (base / 2 - 0.1, 0, 0.5)
    lines = [(crank, seat), (seat, head), (crank, head), (back, crank), (back, seat), (front, head)]
    pieces += [_rod(a, b, 0.013) for a, b in lines]
    pieces.append(_rod(head, (head[0] - 0.01, 0, 0.58), 0.011))
    pieces.append(
        tube([(head[0] - 0.06, -0.14, 0.59), (head[0], 0, 0.58), (head[0] - 0.06, 0.14, 0.59)], 0.01, 6).painted(2)
    )
    pieces.append(ellipsoid(0.07, 0.035, 0.018, rows=6, sides=9).moved(-0.12, 0, 0.53).painted(2))
    pieces.append(_rod((-0.03, 0, wheel * 0.95), (-0.1, 0.1, 0.0), 0.006, 5).painted(2))
    for side in (-1, 1):
        pieces.append(_rod(crank, (crank[0] + side * 0.08, side * 0.05, crank[2]), 0.008, 5).painted(2))
    return join(*pieces)


def ladder(rng: Generator) -> Mesh:
    """A ladder, upright and leaning, or a pair of steps."""
    wide, rungs, radius = rng.uniform(0.14, 0.2), int(rng.integers(5, 9)), rng.uniform(0.01, 0.016)
    sides = [_rod((0, side * wide, 0), (0, side * wide * 0.8, 1.0), radius * 1.3) for side in (-1, 1)]
    steps = [
        _rod((0, -wide * (1 - 0.2 * z), z), (0, wide * (1 - 0.2 * z), z), radius) for z in np.linspace(0.1, 0.93, rungs)
    ]
    half = join(*sides, *steps).turned("y", rng.uniform(8, 18))
    if rng.random() < 0.5:
        other = join(*sides, steps[1]).turned("y", -rng.uniform(8, 18))
        return join(half, other.moved(half.vertices[:, 0].max() - other.vertices[:, 0].min()))
    return half


def trellis(rng: Generator) -> Mesh:
    """A lattice of laths on two feet."""
    wide, count, lath = rng.uniform(0.5, 0.9), int(rng.integers(4, 8)), rng.uniform(0.008, 0.014)
    across = [_rod((-wide / 2, 0, z), (wide / 2, 0, z), lath, 5) for z in np.linspace(0.15, 1.0, count)]
    upright = [_rod((x, 0.012, 0.0), (x, 0.012, 1.0), lath, 5) for x in np.linspace(-wide / 2, wide / 2, count)]
    return join(*across, *upright)
