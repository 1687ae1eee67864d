"""What stands beside the road and is no labelled object: houses, trees, posts, hedges, walls, fences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from c2f_train.synth.driving_materials import BRICK, FRONT, LEAVES, POST, ROOF, SIGN, STONE, STOREY, TRUNK
from c2f_train.synth.driving_road import SIDE_ROAD_HALF, Road
from c2f_train.synth.mesh import Mesh, box, ellipsoid, extrude, join, lathe, tube

BESIDE, BEHIND = 90.0, -14.0
"""Things stand from that far behind the start of the drive to this far ahead of its end, metres."""


def house(rng: Generator, length: float) -> Mesh:
    """A house whose front lies along x at y = 0 and faces -y, with a flat or a pitched roof."""
    depth, height = (
        rng.uniform(8, 13),
        STOREY * float(rng.choice([1, 2, 3, 4, 5], p=[0.15, 0.3, 0.25, 0.15, 0.15])) + 0.2,
    )
    body = box(length, depth, height).moved(y=depth / 2).painted(FRONT)
    plinth = box(length + 0.06, depth + 0.06, rng.uniform(0.3, 0.7)).moved(y=depth / 2).painted(STONE)
    pieces = [body, plinth]
    if rng.random() < 0.6:
        rise = rng.uniform(2.0, 4.0)
        gable = extrude([(-depth / 2 - 0.5, 0), (depth / 2 + 0.5, 0), (0, rise)], length + 0.4).turned("z", 90)
        pieces.append(gable.moved(0, depth / 2, height).painted(ROOF))
    else:
        pieces.append(box(length + 0.3, depth + 0.3, 0.35).moved(0, depth / 2, height).painted(STONE))
    door = box(1.1, 0.1, 2.1).moved(rng.uniform(-0.35, 0.35) * length, -0.02, 0.05).painted(ROOF)
    if rng.random() < 0.3:
        balcony = box(2.4, 0.9, 0.9).painted(STONE)
        pieces += [
            balcony.moved(rng.uniform(-0.3, 0.3) * length, -0.45, z) for z in np.arange(STOREY, height - 2.5, STOREY)
        ]
    return join(*pieces, door)


def _ragged(mesh: Mesh, amount: float, rng: Generator) -> Mesh:
    """The mesh with its vertices shifted at random, corners at the same place together."""
    places, which = np.unique(np.round(mesh.vertices, 4), axis=0, return_inverse=True)
    shift = rng.normal(0, amount, places.shape).astype(np.float32)
    return Mesh(mesh.vertices + shift[which.ravel()], mesh.triangles, mesh.parts)


def tree(rng: Generator) -> Mesh:
    """A street tree: trunk and a ragged crown."""
    height, radius = rng.uniform(4.5, 10), rng.uniform(0.1, 0.24)
    clear = height * rng.uniform(0.28, 0.45)
    lean = rng.normal(0, 0.12, 2)
    trunk = tube(
        [(0, 0, -0.1), (lean[0] * 0.4, lean[1] * 0.4, clear), (*lean, height * 0.75)],
        [radius, radius * 0.8, radius * 0.3],
        9,
    )
    crown, wide = [], height * rng.uniform(0.17, 0.26)
    for _ in range(int(rng.integers(4, 8))):
        size = wide * rng.uniform(0.55, 0.95)
        blob = ellipsoid(size, size, size * rng.uniform(0.7, 1.0), rows=9, sides=13)
        x, y = rng.normal(0, wide * 0.42, 2)
        z = rng.uniform(clear + size * 0.45, max(height - size, clear + size * 0.5))
        crown.append(_ragged(blob, size * 0.07, rng).moved(x, y, z))
    return join(trunk.painted(TRUNK), *[blob.painted(LEAVES) for blob in crown])


def bush(rng: Generator) -> Mesh:
    """A bush on the ground."""
    size = rng.uniform(0.5, 1.1)
    blobs = [ellipsoid(size, size, size * 0.8, rows=8, sides=12) for _ in range(3)]
    spots = rng.normal(0, size * 0.5, (3, 2))
    return join(
        *[_ragged(b, size * 0.07, rng).moved(x, y, size * 0.5) for b, (x, y) in zip(blobs, spots, strict=True)]
    ).painted(LEAVES)


def lamp_post(rng: Generator) -> Mesh:
    """A street lamp whose arm reaches along -y, over the road."""
    height, reach = rng.uniform(5, 8.5), rng.uniform(0.6, 2.0)
    arm = tube(
        [(0, 0, 0), (0, 0, height - 0.4), (0, -reach * 0.4, height), (0, -reach, height)], [0.1, 0.07, 0.05, 0.04], 8
    )
    head = box(0.22, 0.6, 0.12).moved(0, -reach, height - 0.05)
    return join(arm, head, lathe([(0.14, 0), (0.14, 0.9), (0, 0.95)], 10)).painted(POST)


def sign_post(rng: Generator) -> Mesh:
    """A traffic sign that faces -x, or a bare post."""
    height = rng.uniform(2.2, 3.0)
    post = tube([(0, 0, 0), (0, 0, height)], rng.uniform(0.03, 0.06), 8).painted(POST)
    kind = rng.integers(4)
    if kind == 0:
        return post
    plate = [lathe([(0.33, -0.015), (0.33, 0.015), (0, 0.015)], 18).turned("y", 90), box(0.03, 0.6, 0.6),
             extrude([(-0.38, 0), (0.38, 0), (0, 0.66)], 0.03).turned("z", 90)][kind - 1]  # fmt: skip
    inner = plate.scaled(0.6, 0.66, 0.66)
    face = [plate.painted(SIGN), inner.moved(-0.03, 0, 0.1 if kind > 1 else 0).painted(STONE)]
    return join(post, *[piece.moved(-0.06, 0, height - (0.3 if kind == 1 else 0.6)) for piece in face])


def bollard(rng: Generator) -> Mesh:
    """A bollard or a bin."""
    radius, height = (0.08, 0.9) if rng.random() < 0.6 else (0.28, 1.1)
    return lathe([(0, 0), (radius, 0), (radius, height), (radius * 0.6, height + 0.08), (0, height + 0.1)], 12).painted(
        POST
    )


def hedge(rng: Generator, length: float) -> Mesh:
    """A clipped hedge along x."""
    height, count = rng.uniform(0.9, 1.9), max(2, int(length / 0.6))
    x = np.linspace(-length / 2, length / 2, count)
    pieces = [box(length / count * 1.05, 0.75, height, 0.93).moved(value) for value in (x[:-1] + x[1:]) / 2]
    return _ragged(join(*pieces), 0.045, rng).painted(LEAVES)


def wall(rng: Generator, length: float) -> Mesh:
    """A garden wall along x with a coping."""
    height = rng.uniform(0.6, 2.0)
    coping = box(length + 0.05, 0.36, 0.08).moved(z=height).painted(STONE)
    return join(box(length, 0.26, height).painted(BRICK if rng.random() < 0.6 else STONE), coping)


def fence(rng: Generator, length: float) -> Mesh:
    """A fence of posts, rails and pales along x; one sees through it."""
    height, step = rng.uniform(0.8, 1.5), rng.uniform(0.13, 0.3)
    rails = [box(length, 0.05, 0.07).moved(0, 0, height * z) for z in (0.2, 0.85)]
    pales = [box(0.05, 0.03, height).moved(x, -0.03, 0.03) for x in np.arange(-length / 2, length / 2, step)]
    return join(*rails, *pales).painted(TRUNK if rng.random() < 0.6 else POST)


FRONTIERS: tuple[Callable[[Generator, float], Mesh], ...] = (hedge, wall, fence)


def _set(mesh: Mesh, road: Road, side: int, s: float, away: float) -> Mesh:
    """A thing that faces -y put beside the road, at a distance from the middle line, facing it."""
    sign = -1 if side == 0 else 1
    x, y = road.place(s, sign * away)
    # A thing on the left of the world looks to the right as it is made; on the other side it turns round.
    turn = 0.0 if sign * road.handed > 0 else 180.0
    return mesh.turned("z", turn + np.degrees(road.heading(s))).moved(x, y)


def _facing_traffic(mesh: Mesh, road: Road, side: int, s: float, away: float) -> Mesh:
    """A sign that faces -x put beside the road so that it faces the camera."""
    x, y = road.place(s, (-1 if side == 0 else 1) * away)
    return mesh.turned("z", np.degrees(road.heading(s))).moved(x, y)


def random_street(road: Road, end: float, post_density: float, tree_density: float, rng: Generator) -> list[Mesh]:
    """Everything beside the road from BEHIND to BESIDE metres after end, in the world; densities per 100 m and side."""
    things = []
    for side in (0, 1):
        things += _row_of_fronts(road, side, end, rng)
        last, span = end + BESIDE, (end + BESIDE - BEHIND) / 100
        edge = road.kerb(side) + 0.45
        if rng.random() < 0.7:
            step = 100 / max(tree_density * rng.uniform(0.5, 1.5), 0.01)
            for s in np.arange(BEHIND + rng.uniform(0, step), last, step):
                if road.is_side_road(s, 2.5):
                    continue
                things.append(_set(tree(rng), road, side, s + rng.normal(0, 0.8), edge + rng.uniform(0.1, 0.4)))
        for s in rng.uniform(BEHIND, last, rng.poisson(post_density * span)):
            if road.is_side_road(s, 0.6):
                continue
            make = (lamp_post, sign_post, sign_post, bollard)[rng.integers(4)]
            put = _facing_traffic if make is sign_post else _set
            things.append(put(make(rng), road, side, s, edge + rng.uniform(-0.1, 0.2)))
    return things


def _row_of_fronts(road: Road, side: int, end: float, rng: Generator) -> list[Mesh]:
    """Houses, gaps with trees, and hedges, walls or fences before them."""
    things, s, last = [], BEHIND, end + BESIDE + 40
    town = rng.random() < 0.75
    hedged = rng.random() < (0.35 if town else 0.6)
    frontier = FRONTIERS[rng.integers(len(FRONTIERS))]
    away = road.front(side)
    while s < last:
        length = float(rng.uniform(9, 24))
        corner = road.side_road - SIDE_ROAD_HALF - 2.0
        if s < corner + 2 * SIDE_ROAD_HALF + 4.0 and s + length > corner:
            length = corner - s
            if length < 6:
                s = corner + 2 * SIDE_ROAD_HALF + 4.0
                continue
        if rng.random() < (0.88 if town else 0.3):
            things.append(_set(house(rng, length), road, side, s + length / 2, away + rng.uniform(0, 1.2) + 0.3))
        else:
            for _ in range(int(rng.integers(1, 4))):
                spot = s + rng.uniform(0, length), away + rng.uniform(2, 14)
                things.append(_set((tree, tree, bush)[rng.integers(3)](rng), road, side, *spot))
        if hedged and rng.random() < 0.85:
            step = min(length - rng.uniform(0, 3), 12.0)
            before = min(road.back(side) + 0.4, away - 0.5)
            things.append(_set(frontier(rng, step), road, side, s + length / 2, max(before, road.back(side) + 0.15)))
        s += length + (0.05 if town and rng.random() < 0.6 else float(rng.uniform(1, 9)))
    return things
