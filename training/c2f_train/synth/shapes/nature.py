"""Plants and fruit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.random import Generator

from c2f_train.synth.mesh import Mesh, ellipsoid, join, lathe, smooth_profile, torus, tube


def _bumpy(mesh: Mesh, rng: Generator, amount: float) -> Mesh:
    """The mesh with its vertices pushed in and out by a smooth random pattern."""
    waves = rng.normal(0, 6, (4, 3)).astype(np.float32)
    phases = rng.uniform(0, 6.28, 4).astype(np.float32)
    swing = np.sin(mesh.vertices @ waves.T + phases).mean(1, keepdims=True)
    centre = mesh.vertices.mean(0)
    return replace(mesh, vertices=(centre + (mesh.vertices - centre) * (1 + amount * swing)).astype(np.float32))


def tree(rng: Generator) -> Mesh:
    """A broadleaf tree: a trunk with a few branches and a crown of leafy balls."""
    trunk = tube([(0, 0, 0), (0.01, 0, 0.3), (rng.uniform(-0.04, 0.04), 0, 0.6)], [0.075, 0.055, 0.04]).painted(1)
    balls = [ellipsoid(0.26, 0.26, 0.22, sides=14).moved(z=0.74)]
    for angle in np.linspace(0, 2 * np.pi, int(rng.integers(4, 7)), endpoint=False) + rng.uniform(0, 6):
        size, reach = rng.uniform(0.14, 0.22), rng.uniform(0.15, 0.26)
        ball = ellipsoid(size, size, size * 0.9, rows=9, sides=12)
        balls.append(ball.moved(np.cos(angle) * reach, np.sin(angle) * reach, rng.uniform(0.52, 0.78)))
    return join(trunk, *[_bumpy(ball, rng, 0.25) for ball in balls])


def pine(rng: Generator) -> Mesh:
    """A fir: stacked skirts on a short trunk."""
    layers, width = int(rng.integers(3, 6)), rng.uniform(0.28, 0.4)
    skirts = []
    for k in range(layers):
        low, radius = 0.16 + 0.7 * k / layers, width * (1 - 0.8 * k / layers)
        skirts.append(lathe([(0, low + 0.05), (radius, low), (0.02, min(low + 0.42, 1.0))], 14))
    return join(lathe([(0, 0), (0.06, 0), (0.05, 0.25)], 10).painted(1), *skirts)


def cactus(rng: Generator) -> Mesh:
    """A ribbed column with two bent arms in a pot."""
    trunk = tube([(0, 0, 0.15), (0, 0, 0.85)], 0.12, sides=14)
    arms = []
    for side in (-1, 1):
        low, reach = rng.uniform(0.35, 0.55), rng.uniform(0.22, 0.3)
        bend = smooth_profile(
            [
                (0, 0, low),
                (side * reach * 0.8, 0, low + 0.02),
                (side * reach, 0, low + 0.12),
                (side * reach, 0, low + 0.3),
            ]
        )
        arms.append(tube(bend, 0.07))
    pot = lathe([(0, 0), (0.15, 0), (0.2, 0.2), (0.17, 0.2), (0, 0.17)]).painted(1)
    flower = ellipsoid(0.07, 0.07, 0.05, rows=7, sides=10).moved(z=0.97).painted(2)
    return join(trunk, pot, flower, *arms)


def mushroom(rng: Generator) -> Mesh:
    """A mushroom with a domed cap and dots."""
    width, height, thick = rng.uniform(0.35, 0.5), rng.uniform(0.28, 0.42), rng.uniform(0.09, 0.15)
    stem = lathe(smooth_profile([(thick * 1.3, 0), (thick, 0.25), (thick * 0.9, 0.62)])).painted(1)
    dome = smooth_profile([(width * 0.96, 0.55), (width, 0.6), (width * 0.72, 0.6 + height * 0.7), (0, 0.6 + height)])
    dots = []
    for angle in np.arange(0, 6.28, 1.05) + rng.uniform(0, 1):
        tilt = rng.uniform(0.35, 1.0)
        dot = ellipsoid(0.06, 0.06, 0.025, rows=5, sides=8).turned("y", np.degrees(tilt))
        dot = dot.moved(np.sin(tilt) * width * 0.93, 0, 0.6 + np.cos(tilt) * height * 0.97)
        dots.append(dot.turned("z", np.degrees(angle)).painted(1))
    return join(stem, lathe([(0, 0.58), (width * 0.9, 0.55), *dome]), *dots)


def pumpkin(rng: Generator) -> Mesh:
    """A ribbed pumpkin with a stalk."""
    ribs, height, depth = int(rng.integers(7, 12)), rng.uniform(0.3, 0.42), rng.uniform(0.06, 0.12)
    ball = ellipsoid(0.5, 0.5, height, rows=13, sides=ribs * 6)
    x, y, z = ball.vertices.T
    radial = 1 - depth * (0.5 - 0.5 * np.cos(ribs * np.arctan2(y, x))) ** 2
    dip = 1 - 0.25 * np.exp(-((x**2 + y**2) / 0.02))
    body = replace(ball, vertices=np.stack([x * radial, y * radial, z * dip], -1).astype(np.float32))
    bend = rng.uniform(-0.12, 0.12)
    stalk = tube([(0, 0, height * 0.7), (0, 0, height * 0.95), (bend, 0, height * 1.3)], [0.07, 0.05, 0.04]).painted(1)
    return join(body, stalk)


def snowman(rng: Generator) -> Mesh:
    """Three balls, a hat, a nose and a scarf."""
    low, middle, top = rng.uniform(0.25, 0.3), rng.uniform(0.18, 0.22), rng.uniform(0.12, 0.15)
    second = low * 1.7 + middle * 0.7
    third = second + middle * 0.75 + top * 0.75
    balls = [ellipsoid(r, r, r).moved(z=z) for r, z in ((low, low * 0.92), (middle, second), (top, third))]
    rim = third + top * 0.75
    hat = lathe(
        [
            (0, rim),
            (top * 1.3, rim),
            (top * 1.3, rim + 0.02),
            (top * 0.8, rim + 0.02),
            (top * 0.8, rim + 0.18),
            (0, rim + 0.18),
        ]
    )
    nose = lathe([(0.03, 0), (0, 0.16)], 10).turned("y", 90).moved(top * 0.9, 0, third).painted(2)
    scarf = torus(top * 0.85, 0.035).moved(z=third - top * 0.75).painted(2)
    return join(*balls, hat.painted(1), nose, scarf)
