"""Four-legged animals that walk. Lengths in metres; x forward, z up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from c2f_train.synth.mesh import Mesh, ellipsoid, join, lathe, tube
from c2f_train.synth.skeleton import Bone, Figure, Moment, figure

COAT, MANE, DARK, LIGHT, SOCKS = 0, 1, 2, 3, 4
"""Colour slots: the patterned coat, mane and tail, eyes and hooves, muzzle, lower legs."""
STEPS = {("hind", 1): 0.0, ("fore", 1): 0.25, ("hind", -1): 0.5, ("fore", -1): 0.75}
"""When each leg swings in a walk, as a share of the cycle."""


@dataclass(frozen=True)
class Build:
    """Proportions of a kind, in metres.

    leg: height of the belly. body: length, width, depth. slope: how much higher the shoulders are than the hips.
    neck: length, degrees above the horizon, radius at the base and at the head. head: length. tail: length.
    """

    leg: float
    body: tuple[float, float, float]
    slope: float
    neck: tuple[float, float, float, float]
    head: float
    tail: float
    thick: float
    ears: float = 0.1
    horns: str = ""
    mane: bool = False
    hump: bool = False
    tail_up: bool = False


BUILDS = {
    "giraffe_walking": Build(1.85, (1.5, 0.6, 0.95), 0.4, (2.1, 58, 0.3, 0.13), 0.6, 0.8, 0.115, 0.17, "knobs", True),
    "horse_walking": Build(0.86, (1.6, 0.52, 0.66), 0.02, (0.85, 44, 0.25, 0.14), 0.6, 0.85, 0.085, 0.13, "", True),
    "zebra_walking": Build(0.72, (1.35, 0.5, 0.6), 0.02, (0.62, 46, 0.22, 0.13), 0.5, 0.6, 0.075, 0.15, "", True),
    "cow_walking": Build(0.68, (1.7, 0.66, 0.8), 0.0, (0.55, 18, 0.27, 0.18), 0.52, 0.85, 0.09, 0.16, "short"),
    "goat_walking": Build(0.4, (0.85, 0.32, 0.38), 0.0, (0.34, 50, 0.13, 0.08), 0.26, 0.15, 0.04, 0.1, "swept"),
    "camel_walking": Build(1.15, (1.5, 0.6, 0.8), 0.1, (1.25, 36, 0.24, 0.13), 0.5, 0.5, 0.095, 0.09, "", False, True),
    "dog_walking": Build(
        0.36, (0.72, 0.24, 0.28), 0.03, (0.24, 48, 0.11, 0.09), 0.27, 0.38, 0.038, 0.11, "", False, False, True
    ),
}


def animal(kind: str, rng: Generator, young: bool = False) -> Figure:
    """An animal of one of BUILDS; a young one is small, with long legs, a short neck and a large head."""
    build = _varied(BUILDS[kind], rng, young)
    length, _, depth = build.body
    middle = build.leg + 0.45 * depth
    rest = {"neck": rng.normal(0, 6), "yaw": rng.normal(0, 14), "head": rng.normal(4, 6)}
    if kind not in ("giraffe_walking", "camel_walking") and rng.random() < 0.15:
        rest["neck"] += rng.uniform(40, 65)  # grazing
    bones = [Bone("body", "", (0.0, 0.0, middle), _trunk(build, middle)), *_front(build, middle)]
    tail = (-length * 0.5, 0.0, middle + 0.25 * depth - build.slope / 2)
    bones.append(Bone("tail", "body", tail, _tail(build, tail)))
    for name, at in (("fore", 0.33), ("hind", -0.36)):
        for side in (-1, 1):
            bones += _leg(build, name, side, at * length, middle)
    phases = rng.uniform(0, 2 * np.pi, 3)
    return figure(bones, lambda moment: _gait(moment, rest, phases), 1.7 * (build.leg + 0.3 * depth))


def _varied(build: Build, rng: Generator, young: bool) -> Build:
    size = rng.uniform(0.42, 0.68) if young else rng.uniform(0.9, 1.1)
    leg, neck, head = (1.18, 0.85, 1.2) if young else (1.0, 1.0, 1.0)
    length, width, depth = build.body
    span, rise, base, tip = build.neck
    body = length * size * rng.uniform(0.94, 1.06), width * size * rng.uniform(0.9, 1.1), depth * size
    necks = span * size * neck, rise + rng.normal(0, 4), base * size, tip * size
    # fmt: off
    return Build(build.leg * size * leg, body, build.slope * size, necks, build.head * size * head, build.tail * size,
                 build.thick * size * rng.uniform(0.9, 1.1), build.ears * size, build.horns, build.mane, build.hump,
                 build.tail_up)
    # fmt: on


def _trunk(build: Build, middle: float) -> tuple[Mesh, ...]:
    """Chest, belly and hindquarters."""
    length, width, depth = build.body
    x = np.linspace(-0.5, 0.5, 7) * length * 0.86
    swell = np.array([0.8, 0.98, 0.93, 0.97, 1.0, 0.98, 0.76])
    line = middle + np.linspace(-0.5, 0.5, 7) * build.slope
    trunk = tube(np.stack([x, 0 * x, line], -1), swell * depth / 2, 14).scaled(1.0, width / depth, 1.0)
    pieces = [trunk]
    if build.hump:
        hump = ellipsoid(0.24 * length, 0.32 * width, 0.42 * depth, rows=8, sides=12)
        pieces.append(hump.moved(-0.02 * length, 0, middle + 0.52 * depth))
    return tuple(piece.painted(COAT) for piece in pieces)


def _front(build: Build, middle: float) -> list[Bone]:
    """Neck and head."""
    length, _, depth = build.body
    span, rise, base, tip = build.neck
    towards = np.array([np.cos(np.radians(rise)), 0.0, np.sin(np.radians(rise))])
    start = np.array([0.4 * length, 0.0, middle + 0.5 * build.slope + 0.16 * depth])
    end = start + span * towards
    along = np.linspace(-0.05, 1.0, 5)[:, None]
    radii = base + (tip - base) * np.linspace(0, 1, 5) ** 0.7
    neck = tube(start + along * span * towards, radii, 10).scaled(1, 0.72, 1).painted(COAT)
    pieces = [neck]
    if build.mane:
        back = np.array([-towards[2], 0.0, towards[0]])
        line = [start + share * span * towards + back * (base + (tip - base) * share**0.7) for share in (0.1, 0.55, 1)]
        pieces.append(tube(line, [0.3 * tip, 0.45 * tip, 0.4 * tip], 6).scaled(1, 0.5, 1).painted(MANE))
    head = join(*_head(build)).turned("y", 28).moved(*end)
    return [
        Bone("neck", "body", tuple(start), tuple(pieces)),
        Bone("head", "neck", tuple(end), (head,)),
    ]


def _head(build: Build) -> list[Mesh]:
    """A head along +x that begins at the origin."""
    size, tip = build.head, build.neck[3]
    high = max(0.2 * size, 0.95 * tip)
    skull = ellipsoid(0.36 * size, 0.72 * high, high, rows=9, sides=12).moved(0.16 * size, 0, 0.02 * size)
    snout = tube([(0.15 * size, 0, 0), (0.8 * size, 0, -0.03 * size)], [0.8 * high, 0.5 * high], 9).scaled(1, 0.8, 1)
    nose = ellipsoid(0.14 * size, 0.44 * high, 0.5 * high, rows=7, sides=9).moved(0.88 * size, 0, -0.04 * size)
    pieces = [skull.painted(COAT), snout.painted(COAT), nose.painted(LIGHT)]
    for side in (-1, 1):
        eye = ellipsoid(0.045 * size, 0.03 * size, 0.045 * size, rows=6, sides=8).painted(DARK)
        pieces.append(eye.moved(0.28 * size, side * 0.66 * high, 0.5 * high))
        ear = lathe([(0, 0), (0.26 * build.ears, 0.4 * build.ears), (0, build.ears)], 8).scaled(0.6, 1, 1)
        pieces.append(ear.turned("x", -side * 38).moved(-0.02 * size, side * 0.5 * high, 0.75 * high).painted(COAT))
        pieces += _horn(build.horns, side, size, high)
    return pieces


def _horn(kind: str, side: int, size: float, high: float) -> list[Mesh]:
    y, z = side * 0.32 * high, 0.85 * high
    far = 0.7 * high + 0.12 * size
    ways = {
        "knobs": ([(0.1, y, z), (0.04, y * 1.1, z + 0.26 * size)], [0.035, 0.04]),
        "short": ([(0, y, z), (0, side * far, z + 0.08 * size), (0.1 * size, 1.05 * side * far, z + 0.25 * size)],
                  [0.05, 0.04, 0.015]),
        "swept": ([(0, y, z), (-0.2 * size, y * 1.3, z + 0.4 * size), (-0.6 * size, y * 1.8, z + 0.5 * size)],
                  [0.07, 0.055, 0.02]),
    }  # fmt: skip
    if not kind:
        return []
    path, radii = ways[kind]
    return [tube(path, np.array(radii) * size, 7).painted(LIGHT if kind != "knobs" else MANE)]


def _tail(build: Build, at: tuple[float, float, float]) -> tuple[Mesh, ...]:
    x, _, z = at
    if build.tail_up:
        path = [(x, 0, z), (x - 0.45 * build.tail, 0, z + 0.35 * build.tail), (x - 0.5 * build.tail, 0, z + build.tail)]
        return (tube(path, [0.09 * build.tail, 0.09 * build.tail, 0.05 * build.tail], 7).painted(COAT),)
    low = z - build.tail
    radius = 0.035 * build.tail + 0.008
    thin = tube(
        [(x + 0.03, 0, z), (x - 0.1 * build.tail, 0, z - 0.2 * build.tail), (x - 0.1 * build.tail, 0, low)], radius, 6
    )
    bushy = 0.1 if build.mane else 0.06
    top = 0.25 if build.mane and build.horns != "knobs" else 0.6
    tuft = tube(
        [(x - 0.1 * build.tail, 0, z - top * build.tail), (x - 0.12 * build.tail, 0, low)],
        [0.6 * bushy * build.tail, bushy * build.tail],
        7,
    )
    return thin.painted(COAT), tuft.painted(MANE)


def _leg(build: Build, name: str, side: int, x: float, middle: float) -> list[Bone]:
    """Upper and lower leg."""
    _, width, depth = build.body
    y = side * (0.5 * width - 1.1 * build.thick)
    top = middle + (0.5 if name == "fore" else -0.5) * build.slope * 0.7 - 0.05 * depth
    knee = 0.52 * build.leg
    back = -0.1 * build.leg if name == "hind" else 0.0
    thigh = (3.0 if name == "hind" else 2.2) * build.thick
    upper = tube(
        [(x, y, top), (x + 0.25 * back, y, 0.8 * build.leg), (x + back, y, knee)],
        [thigh, 1.5 * build.thick, build.thick],
        9,
    )
    lower = tube(
        [(x + back, y, knee), (x + 0.8 * back, y, 0.12 * build.leg)], [1.02 * build.thick, 0.68 * build.thick], 8
    )
    hoof = lathe([(0, 0), (1.1 * build.thick, 0), (0.8 * build.thick, 0.13 * build.leg), (0, 0.13 * build.leg)], 10)
    lower_pieces = (
        lower.painted(SOCKS),
        hoof.scaled(1.15, 1, 1).moved(x + 0.8 * back + 0.15 * build.thick, y).painted(DARK),
    )
    sign = "left" if side > 0 else "right"
    return [
        Bone(f"{name} {sign}", "body", (x, y, top), (upper.painted(COAT),)),
        Bone(f"{name} {sign} low", f"{name} {sign}", (x + back, y, knee), lower_pieces),
    ]


def _gait(moment: Moment, rest: dict[str, float], phases: np.ndarray) -> dict[str, tuple[float, float, float]]:
    """Angles of a walk; standing, the head turns slowly and the tail swings."""
    nod = 3.0 * moment.stride * np.sin(2 * moment.phase)
    slow = 7.0 * np.sin(moment.sway + phases[0])
    angles = {
        "neck": (0.0, rest["neck"] + nod + slow, 0.6 * rest["yaw"] + 10 * np.sin(0.7 * moment.sway + phases[1])),
        "head": (0.0, rest["head"] - 0.5 * slow, 0.4 * rest["yaw"]),
        "tail": (14 * np.sin(2.1 * moment.sway + phases[2]), -6.0, 0.0),
    }
    for (name, side), share in STEPS.items():
        turn = moment.phase + 2 * np.pi * share
        lift = max(0.0, np.cos(turn)) * moment.stride
        sign = "left" if side > 0 else "right"
        angles[f"{name} {sign}"] = (
            0.0,
            -21.0 * moment.stride * np.sin(turn) - (6.0 if name == "fore" else -4.0) * lift,
            0.0,
        )
        angles[f"{name} {sign} low"] = (0.0, (38.0 if name == "fore" else 16.0) * lift, 0.0)
    return angles
