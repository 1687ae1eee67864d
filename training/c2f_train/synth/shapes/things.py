"""Household things that fit no other kind."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from c2f_train.synth.mesh import Mesh, box, ellipsoid, extrude, join, lathe, smooth_profile, torus, tube


def shoe(rng: Generator) -> Mesh:
    """A shoe or, when tall, a boot."""
    shaft = rng.uniform(0.3, 0.62)
    front = smooth_profile([(0.5, 0.1), (0.45, 0.19), (0.2, 0.26), (-0.02, 0.34)], 3)
    outline = [(-0.46, 0.06), (0.48, 0.06), *front, (-0.06, shaft), (-0.44, shaft), (-0.48, 0.2)]
    upper = extrude(outline, 0.26)
    toe = ellipsoid(0.24, 0.16, 0.13, 0.8).moved(0.3, 0, 0.13)
    sole = ellipsoid(0.52, 0.18, 0.07, 0.45, 7, 20).moved(0.01, 0, 0.05).painted(1)
    collar = box(0.4, 0.28, 0.06).moved(-0.25, 0, shaft - 0.04).painted(1)
    laces = [
        tube([(x, -0.135, z), (x, 0.135, z)], 0.014, 6).painted(2)
        for x, z in ((0.08, 0.31), (0.18, 0.285), (0.28, 0.26))
    ]
    return join(upper, toe, sole, collar, *laces)


def ring(rng: Generator) -> Mesh:
    """A ring lying down, like a life belt, with bands."""
    thick = rng.uniform(0.1, 0.17)
    body = torus(0.38, thick).moved(z=thick)
    bands = []
    for turn in (0, 90, 180, 270):
        arc = np.radians(np.linspace(turn - 9, turn + 9, 4))
        path = np.stack([np.cos(arc) * 0.38, np.sin(arc) * 0.38, np.full(4, thick)], -1)
        bands.append(tube(path, thick * 1.04, 12).painted(1))
    return join(body, *bands)


def book_stack(rng: Generator) -> Mesh:
    """A pile of books, each turned a little."""
    pieces, height = [], 0.0
    for _ in range(int(rng.integers(3, 6))):
        length, width, thick = rng.uniform(0.65, 0.85), rng.uniform(0.48, 0.6), rng.uniform(0.08, 0.16)
        cover = int(rng.choice([0, 0, 1]))
        plates = [box(length, width, 0.015).moved(z=z).painted(cover) for z in (0, thick - 0.015)]
        spine = box(length, 0.015, thick).moved(0, -width / 2).painted(cover)
        pages = box(length * 0.96, width * 0.96, thick - 0.03).moved(z=0.015).painted(2)
        turn = rng.uniform(-25, 25)
        pieces += [part.turned("z", turn).moved(z=height) for part in (*plates, spine, pages)]
        height += thick
    return join(*pieces)


def hat(rng: Generator) -> Mesh:
    """A hat with a brim and a band."""
    brim, crown, high = 0.5, rng.uniform(0.24, 0.3), rng.uniform(0.3, 0.5)
    top = smooth_profile([(crown, 0.06), (crown * 0.95, high * 0.7), (crown * 0.75, high), (0, high * 0.93)])
    body = lathe([(0, 0.0), (brim * 0.9, 0.0), (brim, 0.05), (brim * 0.9, 0.03), (crown, 0.04), *top])
    return join(body, lathe([(crown * 1.03, 0.05), (crown * 1.02, 0.14)]).painted(1))


def guitar(rng: Generator) -> Mesh:
    """A guitar on a small foot, upright."""
    low, high, thick = rng.uniform(0.18, 0.23), rng.uniform(0.13, 0.17), rng.uniform(0.07, 0.11)
    half = smooth_profile(
        [(0.0, 0.0), (low * 0.8, 0.04), (low, 0.16), (high * 0.68, 0.31), (high, 0.42), (0.03, 0.52)], 4
    )
    outline = np.concatenate([half[:-1], [(0.03, 0.5)], np.flip(half[1:], 0) * np.array([-1, 1])])
    body = extrude(outline, thick).turned("z", 90)
    neck = box(0.03, 0.055, 0.42).moved(thick / 2, 0, 0.48).painted(1)
    head = box(0.03, 0.09, 0.12).moved(thick / 2, 0, 0.88).painted(1)
    hole = (
        lathe([(0, 0), (0.055, 0), (0.055, 0.01), (0, 0.01)], 16).turned("y", 90).moved(thick / 2, 0, 0.34).painted(2)
    )
    bridge = box(0.02, 0.13, 0.025).moved(thick / 2 + 0.005, 0, 0.15).painted(2)
    foot = [tube([(0, s * 0.06, 0.14), (-0.2, s * 0.14, 0.02)], 0.015, 6).painted(2) for s in (-1, 1)]
    return join(body, neck, head, hole, bridge, *foot)


def umbrella(rng: Generator) -> Mesh:
    """An open umbrella standing on a foot."""
    wide, edge = rng.uniform(0.42, 0.55), rng.uniform(0.6, 0.7)
    canopy = lathe(smooth_profile([(wide, edge), (wide * 0.72, edge + 0.16), (0.02, 0.96)], 4), 8)
    pole = tube([(0, 0, 0.04), (0, 0, 0.98)], 0.02, 8).painted(1)
    foot = lathe([(0, 0), (0.2, 0), (0.18, 0.06), (0.03, 0.08)], 20).painted(2)
    return join(canopy, pole, foot)


def ball(rng: Generator) -> Mesh:
    """A ball with a coloured belt and caps."""
    mesh = ellipsoid(0.5, 0.5, 0.5, rows=17, sides=24).moved(z=0.5)
    height = mesh.vertices[mesh.triangles].mean(1)[:, 2]
    belt, cap = rng.uniform(0.08, 0.2), rng.uniform(0.36, 0.45)
    parts = np.where(np.abs(height - 0.5) < belt, 1, np.where(np.abs(height - 0.5) > cap, 2, 0))
    turned = Mesh(mesh.vertices, mesh.triangles, parts.astype(np.uint8)).moved(z=-0.5)
    return turned.turned("x", rng.uniform(0, 90)).moved(z=0.5)
