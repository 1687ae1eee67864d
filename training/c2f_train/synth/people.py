"""People who walk, stand, sit or kneel. Lengths as shares of the standing height; x forward, z up."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from c2f_train.synth.mesh import Mesh, ellipsoid, lathe, tube
from c2f_train.synth.skeleton import Bone, Figure, Moment, figure

SHIRT, TROUSERS, SKIN, HAIR, SHOES, EXTRA = range(6)
HIP, KNEE, ANKLE, SHOULDER, ELBOW, WRIST = 0.51, 0.285, 0.05, 0.81, 0.635, 0.485
"""Heights of the joints."""
SEAT_HEIGHT = KNEE - 0.045
"""Height of what a person sits on."""
Angles = dict[str, tuple[float, float, float]]


def person(rng: Generator, posture: str = "standing") -> Figure:
    """A person of height 1; posture is standing, seated or kneeling."""
    broad = rng.uniform(0.88, 1.2)
    sleeve = SKIN if rng.random() < 0.3 else SHIRT
    bones = [
        Bone("pelvis", "", (0.0, 0.0, HIP), _pelvis(broad, rng, posture)),
        Bone("chest", "pelvis", (0.0, 0.0, 0.55), _chest(broad, rng)),
        Bone("head", "chest", (0.0, 0.0, 0.84), _head(rng)),
    ]
    for side, sign in ((1, "left"), (-1, "right")):
        bones += _arm(side, sign, broad, sleeve) + _leg(side, sign, broad)
    posed = _posture(posture, rng)
    lively, phases = rng.uniform(0.2, 1.0, 3), rng.uniform(0, 2 * np.pi, 4)
    return figure(bones, lambda moment: _gait(moment, posed, lively, phases), 0.82, posture == "standing")


def _pelvis(broad: float, rng: Generator, posture: str) -> tuple[Mesh, ...]:
    hips = ellipsoid(0.075 * broad, 0.098 * broad, 0.085, rows=9, sides=14).moved(z=0.51).painted(TROUSERS)
    if posture == "standing" and rng.random() < 0.2:
        low = rng.uniform(0.24, 0.4)
        skirt = lathe([(0.085 * broad, 0.56), (0.105 * broad, 0.5), (0.15, low), (0.14, low)], 16).scaled(0.85, 1, 1)
        return hips, skirt.painted(TROUSERS)
    return (hips,)


def _chest(broad: float, rng: Generator) -> tuple[Mesh, ...]:
    heights = np.array([0.5, 0.58, 0.68, 0.76, 0.815])
    radii = np.array([0.082, 0.075, 0.084, 0.086, 0.062]) * rng.uniform(0.95, 1.12)
    path = np.stack([0 * heights, 0 * heights, heights], -1)
    torso = tube(path, radii, 14).scaled(0.95, 1.42 * broad, 1.0).painted(SHIRT)
    neck = tube([(0, 0, 0.8), (0.008, 0, 0.87)], 0.036, 9).painted(SKIN)
    pieces = [torso, neck]
    kind = rng.random()
    if kind < 0.22:  # an open waistcoat
        pieces.append(tube(path[:4] - [0.012, 0, 0], radii[:4] * 1.1, 14).scaled(0.95, 1.42 * broad, 1).painted(EXTRA))
    elif kind < 0.36:  # a rucksack
        pieces.append(ellipsoid(0.06, 0.085, 0.12, 0.5, 8, 12).moved(-0.12, 0, 0.69).painted(EXTRA))
    return tuple(pieces)


def _head(rng: Generator) -> tuple[Mesh, ...]:
    face = ellipsoid(0.058, 0.048, 0.07, rows=10, sides=14).moved(0.012, 0, 0.925).painted(SKIN)
    nose = ellipsoid(0.014, 0.01, 0.016, rows=6, sides=7).moved(0.07, 0, 0.918).painted(SKIN)
    low = 0.068 if rng.random() < 0.4 else 0.046
    hair = ellipsoid(0.058, 0.054, low, rows=8, sides=12).moved(-0.006, 0, 0.94 if low > 0.06 else 0.962).painted(HAIR)
    pieces = [face, nose, hair]
    if rng.random() < 0.25:
        pieces.append(ellipsoid(0.036, 0.042, 0.03, rows=7, sides=10).moved(0.032, 0, 0.882).painted(HAIR))
    hat = rng.random()
    if hat < 0.16:
        brim = lathe([(0.0, 0.955), (0.125, 0.965), (0.125, 0.972), (0.066, 0.975), (0.058, 1.03), (0, 1.035)], 16)
        pieces.append(brim.painted(EXTRA))
    elif hat < 0.3:
        pieces.append(ellipsoid(0.064, 0.058, 0.045, rows=7, sides=12).moved(0, 0, 0.972).painted(EXTRA))
        pieces.append(ellipsoid(0.05, 0.045, 0.008, rows=5, sides=10).moved(0.06, 0, 0.962).painted(EXTRA))
    return tuple(pieces)


def _arm(side: int, sign: str, broad: float, sleeve: int) -> list[Bone]:
    y = side * 0.125 * broad
    upper = tube([(0, y * 0.96, SHOULDER - 0.005), (0, y, ELBOW)], [0.042 * broad, 0.033], 9).painted(SHIRT)
    lower = tube([(0, y, ELBOW), (0, y, WRIST)], [0.033, 0.024], 9).painted(sleeve)
    hand = ellipsoid(0.02, 0.016, 0.036, rows=7, sides=8).moved(0.005, y, WRIST - 0.035).painted(SKIN)
    return [
        Bone(f"{sign} arm", "chest", (0.0, y, SHOULDER - 0.01), (upper,)),
        Bone(f"{sign} hand", f"{sign} arm", (0.0, y, ELBOW), (lower, hand)),
    ]


def _leg(side: int, sign: str, broad: float) -> list[Bone]:
    y = side * 0.052 * broad
    upper = tube([(0, y, HIP), (0.004, y, 0.4), (0, y, KNEE)], [0.066 * broad, 0.06 * broad, 0.045], 10)
    lower = tube([(0, y, KNEE), (-0.006, y, 0.2), (0, y, ANKLE)], [0.046, 0.044, 0.03], 9)
    foot = ellipsoid(0.075, 0.03, 0.028, rows=7, sides=10).moved(0.035, y, 0.025).painted(SHOES)
    return [
        Bone(f"{sign} leg", "pelvis", (0.0, y, HIP - 0.01), (upper.painted(TROUSERS),)),
        Bone(f"{sign} foot", f"{sign} leg", (0.0, y, KNEE), (lower.painted(TROUSERS), foot)),
    ]


def _posture(posture: str, rng: Generator) -> Angles:
    """Angles that a person keeps while standing still."""
    angles: Angles = {"head": (0.0, rng.normal(3, 5), rng.normal(0, 25)), "chest": (0.0, rng.normal(2, 3), 0.0)}
    for side, sign in ((1, "left"), (-1, "right")):
        angles |= _arms(side, sign, rng)
        if posture == "seated":
            angles[f"{sign} leg"] = (0.0, -rng.uniform(80, 90), side * rng.uniform(0, 14))
            angles[f"{sign} foot"] = (0.0, rng.uniform(70, 95), 0.0)
            if rng.random() < 0.6:  # a hand on the knee
                angles[f"{sign} arm"] = (side * 6.0, -rng.uniform(20, 35), 0.0)
                angles[f"{sign} hand"] = (0.0, -rng.uniform(35, 60), 0.0)
    if posture == "seated":
        angles["chest"] = (0.0, rng.uniform(-6, 18), rng.normal(0, 8))
    if posture == "kneeling":
        front, back = ("left", "right") if rng.random() < 0.5 else ("right", "left")
        angles |= {f"{front} leg": (0.0, -92.0, 0.0), f"{front} foot": (0.0, 92.0, 0.0)}
        angles |= {f"{back} leg": (0.0, 4.0, 0.0), f"{back} foot": (0.0, 88.0, 0.0)}
        angles["chest"] = (0.0, rng.uniform(5, 25), 0.0)
        angles[f"{front} arm"], angles[f"{front} hand"] = (0.0, -rng.uniform(30, 50), 0.0), (0.0, -35.0, 0.0)
    return angles


def _arms(side: int, sign: str, rng: Generator) -> Angles:
    kind = rng.random()
    if kind < 0.6:
        return {
            f"{sign} arm": (side * rng.uniform(4, 12), rng.normal(0, 6), 0.0),
            f"{sign} hand": (0.0, -rng.uniform(5, 25), 0.0),
        }
    if kind < 0.75:  # a hand on the hip
        return {f"{sign} arm": (side * 38.0, 18.0, 0.0), f"{sign} hand": (-side * 75.0, -30.0, 0.0)}
    if kind < 0.9:  # reaching out ahead
        return {
            f"{sign} arm": (side * 10.0, -rng.uniform(40, 85), side * rng.uniform(-10, 35)),
            f"{sign} hand": (0.0, -rng.uniform(5, 40), 0.0),
        }
    return {f"{sign} arm": (side * rng.uniform(40, 120), -15.0, 0.0), f"{sign} hand": (0.0, -rng.uniform(10, 60), 0.0)}


def _gait(moment: Moment, posed: Angles, lively: np.ndarray, phases: np.ndarray) -> Angles:
    """The posture with a walk on top; standing, head and arms move slowly."""
    stride, slow = moment.stride, np.sin(moment.sway + phases[:3])
    angles = dict(posed)

    def add(name: str, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> None:
        old = angles.get(name, (0.0, 0.0, 0.0))
        angles[name] = (old[0] + x, old[1] + y, old[2] + z)

    add("head", y=4 * slow[0], z=22 * lively[0] * np.sin(0.6 * moment.sway + phases[3]))
    add("chest", y=3 * stride, z=5 * lively[2] * slow[2] + 5 * stride * np.sin(moment.phase))
    for side, sign in ((1, "left"), (-1, "right")):
        turn = moment.phase + (0 if side > 0 else np.pi)
        still = 1 - stride
        add(f"{sign} arm", y=18 * stride * np.sin(turn) - 16 * still * lively[1] * np.sin(1.4 * moment.sway + side))
        add(f"{sign} hand", y=-10 * stride - 14 * still * lively[1] * (1 + np.sin(1.9 * moment.sway + side)))
        if stride > 0:
            add(f"{sign} leg", y=-26 * stride * np.sin(turn))
            add(f"{sign} foot", y=stride * (5 + 46 * max(0.0, np.cos(turn))))
    return angles
