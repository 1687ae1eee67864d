"""Walking pedestrians and cyclists in metres: x forward, z up, the lowest point on z = 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from c2f_train.synth.driving_materials import BAG, FRAME, HAIR, SHIRT, SHOES, SKIN, TROUSERS, TYRE
from c2f_train.synth.mesh import Mesh, box, ellipsoid, join, lathe, torus, tube

SIDES = 7
"""Of the tubes that limbs are."""
STRIDE = 0.82
"""Length of two steps over body height."""
CRANK, WHEEL = 0.17, 0.34
"""Radius of pedals and bicycle wheels, metres."""


@dataclass(frozen=True)
class Person:
    """Build of a person; height in metres, breadth and swing about 1, the rest whether they wear it."""

    height: float
    breadth: float
    swing: float
    coat: bool
    backpack: bool
    long_hair: bool


def random_person(rng: Generator) -> Person:
    """An adult, or now and then a child."""
    height = rng.uniform(1.05, 1.45) if rng.random() < 0.12 else rng.uniform(1.55, 1.92)
    wears = rng.random(3) < np.array([0.25, 0.25, 0.4])
    return Person(height, rng.uniform(0.88, 1.2), rng.uniform(0.8, 1.15), *(bool(value) for value in wears))


def _at(x: float, y: float, z: float) -> NDArray[np.float64]:
    return np.array([x, y, z])


def _leg_points(person: Person, side: int, phase: float, stride: float) -> list[NDArray[np.float64]]:
    """Hip, knee and ankle; stride 0 is standing, 1 walking."""
    h = person.height
    turn = stride * person.swing * np.radians(27) * np.sin(phase)
    bend = np.radians(4) + stride * np.radians(48) * max(0.0, np.cos(phase))
    hip = _at(0, side * 0.055 * h * person.breadth, 0.5 * h)
    knee = hip + 0.235 * h * _at(np.sin(turn), 0, -np.cos(turn))
    return [hip, knee, knee + 0.225 * h * _at(np.sin(turn - bend), 0, -np.cos(turn - bend))]


def _arm_points(person: Person, side: int, phase: float, stride: float) -> list[NDArray[np.float64]]:
    """Shoulder, elbow and hand."""
    h = person.height
    turn = -stride * person.swing * np.radians(24) * np.sin(phase)
    bend = np.radians(14) + stride * np.radians(16) * (1 - np.sin(phase)) / 2
    shoulder = _at(0, side * 0.11 * h * person.breadth, 0.81 * h)
    elbow = shoulder + 0.17 * h * _at(np.sin(turn), side * 0.12, -np.cos(turn))
    return [shoulder, elbow, elbow + 0.165 * h * _at(np.sin(turn + bend), 0, -np.cos(turn + bend))]


def _limb(points: list[NDArray[np.float64]], radii: list[float], part: int) -> Mesh:
    return tube(np.array(points), radii, SIDES).painted(part)


def _head(person: Person, centre: NDArray[np.float64]) -> list[Mesh]:
    h = person.height
    face = ellipsoid(0.055 * h, 0.046 * h, 0.068 * h, rows=8, sides=10).moved(*centre).painted(SKIN)
    low = 0.065 if person.long_hair else 0.045
    hair = ellipsoid(0.055 * h, 0.051 * h, low * h, rows=7, sides=10)
    return [
        face,
        hair.moved(centre[0] - 0.014 * h, centre[1], centre[2] + (0.012 if low > 0.05 else 0.032) * h).painted(HAIR),
    ]


def pedestrian(person: Person, phase: float, stride: float) -> Mesh:
    """A person on foot at a phase of the gait in radians; stride 0 stands, 1 walks."""
    h, wide, pieces = person.height, person.breadth, []
    for side in (-1, 1):
        swing = phase + (np.pi if side < 0 else 0.0)
        leg = _leg_points(person, side, swing, stride)
        pieces.append(_limb(leg, [0.052 * h * wide, 0.036 * h, 0.026 * h], TROUSERS))
        foot = ellipsoid(0.075 * h, 0.028 * h, 0.024 * h, rows=6, sides=8).painted(SHOES)
        pieces.append(foot.moved(leg[2][0] + 0.032 * h, leg[2][1], leg[2][2] - 0.012 * h))
        arm = _arm_points(person, side, swing, stride)
        pieces.append(_limb(arm, [0.033 * h * wide, 0.026 * h, 0.021 * h], SHIRT))
        pieces.append(ellipsoid(0.022 * h, 0.018 * h, 0.028 * h, rows=5, sides=7).moved(*arm[2]).painted(SKIN))
    chest = ellipsoid(0.07 * h * wide, 0.11 * h * wide, 0.17 * h, 0.8, 9, 12).moved(0, 0, 0.68 * h)
    hips = ellipsoid(0.068 * h * wide, 0.095 * h * wide, 0.085 * h, 0.8, 7, 10).moved(0, 0, 0.52 * h)
    neck = _limb([_at(0, 0, 0.8 * h), _at(0.01 * h, 0, 0.88 * h)], [0.034 * h, 0.03 * h], SKIN)
    pieces += [chest.painted(SHIRT), hips.painted(TROUSERS), neck, *_head(person, _at(0.012 * h, 0, 0.93 * h))]
    if person.coat:
        skirt = [(0.1 * h * wide, 0.33 * h), (0.095 * h * wide, 0.45 * h), (0.09 * h * wide, 0.62 * h), (0, 0.66 * h)]
        pieces.append(lathe(skirt, 12).scaled(0.85, 1.0, 1.0).painted(SHIRT))
    if person.backpack:
        pieces.append(ellipsoid(0.06 * h, 0.08 * h, 0.12 * h, 0.6, 7, 10).moved(-0.1 * h, 0, 0.7 * h).painted(BAG))
    mesh = join(*pieces)
    return mesh.moved(z=-float(mesh.vertices[:, 2].min()))


def _knee(hip: NDArray[np.float64], foot: NDArray[np.float64], thigh: float, shin: float) -> NDArray[np.float64]:
    """Where the knee is between hip and foot, bent forwards, in the plane of the bicycle."""
    reach = foot - hip
    length = min(float(np.linalg.norm(reach)), 0.999 * (thigh + shin))
    along = (length**2 + thigh**2 - shin**2) / (2 * length)
    unit = reach / np.linalg.norm(reach)
    return hip + along * unit + np.sqrt(max(thigh**2 - along**2, 0.0)) * _at(-unit[2], 0, unit[0])


def _bicycle() -> list[Mesh]:
    """Wheels and frame; the pedals turn about (-0.02, 0, 0.3)."""
    wheel = torus(WHEEL - 0.02, 0.022, 20).turned("x", 90).painted(TYRE)
    spokes = [tube([(0, 0, -WHEEL), (0, 0, WHEEL)], 0.006, 4).turned("y", 45 * k).painted(FRAME) for k in range(4)]
    pieces = [piece.moved(x, 0, WHEEL) for x in (-0.5, 0.55) for piece in (wheel, *spokes)]
    crank, seat, head, low = (-0.02, 0, 0.3), (-0.18, 0, 0.82), (0.38, 0, 0.86), (0.43, 0, 0.7)
    lines = [(crank, seat), (seat, head), (crank, low), (head, (0.55, 0, WHEEL)), (crank, (-0.5, 0, WHEEL))]
    pieces += [tube([a, b], 0.02, 6).painted(FRAME) for a, b in [*lines, (seat, (-0.5, 0, WHEEL))]]
    pieces.append(tube([(0.38, -0.27, 1.0), (0.42, 0, 1.0), (0.38, 0.27, 1.0)], 0.015, 6).painted(TYRE))
    pieces.append(tube([head, (0.42, 0, 1.0)], 0.018, 6).painted(FRAME))
    return [*pieces, box(0.26, 0.15, 0.06).moved(-0.2, 0, 0.86).painted(TYRE)]


def cyclist(person: Person, phase: float) -> Mesh:
    """A person on a bicycle with the pedals at a phase in radians."""
    pieces, hip, shoulder = _bicycle(), _at(-0.2, 0, 0.96), _at(0.14, 0, 1.46)
    for side in (-1, 1):
        turn = phase + (np.pi if side < 0 else 0.0)
        foot = _at(-0.02 + CRANK * np.cos(turn), side * 0.11, 0.34 - CRANK * np.sin(turn))
        start = hip + _at(0, side * 0.1, 0)
        pieces.append(_limb([start, _knee(start, foot, 0.44, 0.46), foot], [0.085, 0.06, 0.045], TROUSERS))
        pieces.append(
            ellipsoid(0.13, 0.045, 0.04, rows=6, sides=8).moved(foot[0] + 0.05, foot[1], foot[2]).painted(SHOES)
        )
        arm, hand = shoulder + _at(0, side * 0.19, -0.03), _at(0.4, side * 0.25, 1.03)
        pieces.append(
            _limb([arm, (arm + hand) / 2 + _at(-0.04, side * 0.05, -0.05), hand], [0.06, 0.045, 0.035], SHIRT)
        )
    back = tube(np.array([hip + _at(0, 0, 0.02), _at(-0.07, 0, 1.24), shoulder]), [0.14, 0.17, 0.15], 10)
    pieces += [back.scaled(1.0, 1.2, 1.0).painted(SHIRT), _limb([shoulder, _at(0.22, 0, 1.58)], [0.06, 0.05], SKIN)]
    pieces += _head(person, _at(0.25, 0, 1.66))
    if person.coat:
        pieces.append(ellipsoid(0.14, 0.1, 0.1, rows=6, sides=10).moved(0.22, 0, 1.71).painted(FRAME))
    mesh = join(*pieces)
    return mesh.moved(z=-float(mesh.vertices[:, 2].min()))
