"""Furniture and buildings: assembled boxes and prisms."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from c2f_train.synth.mesh import Mesh, box, ellipsoid, extrude, join, lathe, tube


def _legs(length: float, width: float, height: float, thickness: float) -> list[Mesh]:
    """Four legs under a length x width plate."""
    x, y = length / 2 - thickness, width / 2 - thickness
    return [box(thickness, thickness, height).moved(sx * x, sy * y) for sx in (-1, 1) for sy in (-1, 1)]


def chair(rng: Generator) -> Mesh:
    """A chair with slats or a full back."""
    seat, thick, high = rng.uniform(0.42, 0.52), rng.uniform(0.04, 0.07), rng.uniform(0.42, 0.5)
    plate = box(seat, seat, 0.06).moved(z=high).painted(1)
    back_x = -seat / 2 + thick / 2
    posts = [box(thick, thick, 1 - high).moved(back_x, s * (seat - thick) / 2, high) for s in (-1, 1)]
    rail = box(thick, seat, 0.1).moved(back_x, 0, 0.9)
    if rng.random() < 0.5:
        slats = [box(thick * 0.6, 0.04, 0.9 - high).moved(back_x, y * seat, high) for y in (-0.25, 0.0, 0.25)]
    else:
        slats = [box(thick * 0.6, seat, 0.3).moved(back_x, 0, 0.62).painted(1)]
    return join(plate, rail, *_legs(seat, seat, high, thick), *posts, *slats)


def table(rng: Generator) -> Mesh:
    """A table, oblong on four legs or round on one."""
    height = rng.uniform(0.5, 0.75)
    if rng.random() < 0.35:
        top = lathe([(0, height), (0.5, height), (0.5, height + 0.06), (0, height + 0.06)])
        stem = lathe([(0, 0), (0.28, 0), (0.26, 0.04), (0.06, 0.1), (0.05, height)]).painted(1)
        return join(top, stem)
    length, width, thick = 1.0, rng.uniform(0.5, 0.8), rng.uniform(0.06, 0.1)
    top = box(length, width, 0.07).moved(z=height)
    return join(top, *[leg.painted(1) for leg in _legs(length, width, height, thick)])


def stool(rng: Generator) -> Mesh:
    """A round stool on three or four spread legs."""
    count, height, radius = int(rng.integers(3, 5)), rng.uniform(0.6, 0.8), rng.uniform(0.22, 0.3)
    seat = lathe(
        [(0, height), (radius, height), (radius, height + 0.08), (radius * 0.9, height + 0.11), (0, height + 0.11)]
    )
    leg = tube([(radius * 0.6, 0, height), (radius * 1.15, 0, 0.03)], 0.035).painted(1)
    legs = [leg.turned("z", 360 * k / count) for k in range(count)]
    ring = lathe([(radius * 0.85, height * 0.42), (radius * 0.88, height * 0.46)], 20).painted(1)
    return join(seat, ring, *legs)


def sofa(rng: Generator) -> Mesh:
    """A sofa with arm rests and cushions."""
    width, deep, arm = rng.uniform(0.8, 1.0), rng.uniform(0.4, 0.48), rng.uniform(0.08, 0.12)
    base = box(deep, width, 0.2).moved(z=0.04)
    back = ellipsoid(0.09, width / 2, 0.25, 0.4).moved(-deep / 2 + 0.05, 0, 0.32)
    arms = [ellipsoid(deep / 2, arm / 2, 0.2, 0.4).moved(0, s * (width - arm) / 2, 0.22) for s in (-1, 1)]
    half = (width - 2 * arm) / 2
    cushions = [
        ellipsoid(deep * 0.42, half * 0.49, 0.06, 0.4).moved(0.05, s * half / 2, 0.28).painted(1) for s in (-1, 1)
    ]
    return join(base, back, *arms, *cushions, *[leg.painted(2) for leg in _legs(deep, width, 0.05, 0.05)])


def shelf(rng: Generator) -> Mesh:
    """An open shelf with boards and a few books."""
    width, deep, boards = rng.uniform(0.45, 0.65), rng.uniform(0.2, 0.28), int(rng.integers(3, 5))
    sides = [box(deep, 0.035, 1.0).moved(0, s * width / 2) for s in (-1, 1)]
    heights = [0.03 + 0.93 * k / (boards - 1) for k in range(boards)]
    plates = [box(deep, width, 0.035).moved(z=z) for z in heights]
    back = box(0.02, width, 1.0).moved(-deep / 2).painted(1)
    books = []
    for z in heights[:-1]:
        y = -width / 2 + 0.06
        while y < width * rng.uniform(-0.1, 0.45):
            thick = rng.uniform(0.03, 0.07)
            books.append(box(deep * 0.8, thick, rng.uniform(0.14, 0.22)).moved(0, y, z + 0.035).painted(2))
            y += thick * 1.2
    return join(*sides, *plates, back, *books)


def box_carton(rng: Generator) -> Mesh:
    """A carton with tape, sometimes open."""
    length, width, height = rng.uniform(0.5, 1.0), rng.uniform(0.4, 0.8), rng.uniform(0.35, 0.9)
    body = box(length, width, height)
    tape = box(length * 1.005, 0.09, height * 1.005).painted(1)
    if rng.random() < 0.5:
        return join(body, tape)
    flap = box(length, width * 0.45, 0.015).moved(0, width * 0.225)
    flaps = [flap.turned("x", rng.uniform(20, 70)).moved(0, width / 2, height)]
    flaps.append(flap.turned("x", rng.uniform(20, 70)).turned("z", 180).moved(0, -width / 2, height))
    return join(body, *flaps)


def house(rng: Generator) -> Mesh:
    """A small house with a gable roof, a door, windows and a chimney."""
    length, width, wall = rng.uniform(0.7, 1.0), rng.uniform(0.5, 0.7), rng.uniform(0.35, 0.5)
    ridge = wall + rng.uniform(0.22, 0.38)
    half = width / 2
    gable = extrude([(-half, 0), (half, 0), (half, wall), (0, ridge), (-half, wall)], length).turned("z", 90)
    over, drop = half + 0.07, wall - 0.07 * (ridge - wall) / half
    outline = [(-over, drop), (0, ridge), (over, drop), (over, drop + 0.06), (0, ridge + 0.06), (-over, drop + 0.06)]
    roof = extrude(outline, length + 0.12).turned("z", 90).painted(1)
    door = box(0.02, 0.14, wall * 0.6).moved(length / 2 + 0.005, 0).painted(2)
    panes = [box(0.1, width + 0.02, 0.13).moved(x * length, 0, wall * 0.45).painted(2) for x in (-0.25, 0.25)]
    chimney = box(0.1, 0.1, 0.3).moved(-length * 0.25, half * 0.45, wall + 0.12).painted(1)
    return join(gable, roof, door, chimney, *panes)


def arch(rng: Generator) -> Mesh:
    """A stone arch, or a bridge when it is low."""
    outer, inner, leg = 0.5, rng.uniform(0.26, 0.36), rng.uniform(0.05, 0.45)
    angle = np.linspace(0, np.pi, 15)
    top = [(outer * np.cos(a), leg + outer * np.sin(a)) for a in angle]
    under = [(inner * np.cos(a), leg + inner * np.sin(a)) for a in angle[::-1]]
    stone = extrude([(outer, 0), *top, (-outer, 0), (-inner, 0), *under, (inner, 0)], rng.uniform(0.22, 0.4))
    key = box(0.12, 0.42, 0.2).moved(0, 0, leg + inner - 0.02).painted(1)
    return join(stone, key)
