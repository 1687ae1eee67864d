"""Animals and people: limbs and ellipsoids."""

from __future__ import annotations

from numpy.random import Generator

from c2f_train.synth.mesh import Mesh, ellipsoid, join, lathe, smooth_profile, torus, tube


def _ball(size: float | tuple, x: float, y: float, z: float, part: int = 0, small: bool = False) -> Mesh:
    axes = size if isinstance(size, tuple) else (size, size, size)
    rows, sides = (7, 10) if small else (11, 16)
    return ellipsoid(*axes, rows=rows, sides=sides).moved(x, y, z).painted(part)


def _eyes(x: float, y: float, z: float, size: float = 0.022) -> list[Mesh]:
    return [_ball(size, x, side * y, z, 2, small=True) for side in (-1, 1)]


def _walking_legs(rng: Generator, body: tuple, middle: float, thick: float) -> list[Mesh]:
    """Four legs in a walking pose under a body of half axes (length, width, depth) at a height."""
    length, wide, deep = body
    knee, pieces = (middle - deep * 0.7) * 0.55, []
    for front in (-1, 1):
        for side in (-1, 1):
            swing = rng.uniform(-0.13, 0.13) * knee * 3.3
            x, y = front * length * 0.68, side * wide * 0.6
            path = [(x, y, middle), (x + swing * 0.3 - 0.02 * front, y, knee), (x + swing, y, thick * 0.6)]
            pieces.append(tube(path, [thick * 1.5, thick, thick * 0.75]))
            pieces.append(_ball((thick * 1.15, thick, thick * 0.7), x + swing + thick * 0.3, y, thick * 0.6, 1, True))
    return pieces


def _quadruped(rng: Generator, leg: float, body: tuple, neck: tuple, head: tuple, thick: float) -> Mesh:
    """A body on four legs with a neck and a head, without ears.

    leg: height of the belly line. body, head: half axes. neck: (reach, rise, radius). thick: radius of a leg.
    """
    length, wide, deep = body
    middle = leg + deep * 0.7
    reach, rise, radius = neck
    base, top = (length * 0.75, 0, middle + deep * 0.3), (length * 0.75 + reach, 0, middle + deep * 0.3 + rise)
    return join(
        ellipsoid(length, wide, deep, 0.85).moved(z=middle),
        *_walking_legs(rng, body, middle, thick),
        tube([base, top], [radius * 1.6, radius]),
        ellipsoid(*head).turned("y", 22).moved(top[0] + head[0] * 0.6, 0, top[2]),
        *_eyes(top[0] + head[0] * 0.5, head[1] * 0.85, top[2] + head[2] * 0.5, head[2] * 0.22),
    )


def _pointed_ears(x: float, y: float, z: float, size: float) -> list[Mesh]:
    """Two cones on top of a head."""
    ear = lathe([(size * 0.4, 0), (0, size * 1.2)], 8).painted(1)
    return [ear.moved(x, side * y, z) for side in (-1, 1)]


def bear(rng: Generator) -> Mesh:
    """A sitting teddy bear."""
    belly, head = rng.uniform(0.22, 0.27), rng.uniform(0.17, 0.21)
    top = belly * 1.9 + head * 0.75
    pieces = [_ball((belly, belly, belly * 1.12), 0, 0, belly * 1.05), _ball(head, 0.02, 0, top)]
    pieces.append(_ball((0.1, belly * 0.62, belly * 0.7), belly * 0.72, 0, belly, 1))
    pieces.append(_ball((0.1, 0.085, 0.07), head * 0.85, 0, top - 0.04, 1))
    pieces.append(_ball(0.03, head * 0.85 + 0.1, 0, top - 0.01, 2, small=True))
    pieces += _eyes(head * 0.87, 0.075, top + 0.06)
    lift = rng.uniform(0.0, 0.3)
    for side in (-1, 1):
        pieces.append(_ball((0.05, 0.08, 0.08), 0, side * head * 0.8, top + head * 0.8))
        shoulder = (0, side * belly * 0.75, belly * 1.75)
        hand = (0.14, side * (belly + 0.16), belly * 1.1 + lift)
        pieces.append(tube([shoulder, hand], [0.085, 0.075]))
        pieces.append(tube([(0.05, side * belly * 0.6, 0.11), (0.36, side * belly * 0.95, 0.1)], [0.11, 0.09]))
        pieces.append(_ball((0.05, 0.08, 0.08), 0.43, side * belly * 1.0, 0.11, 1))
    return join(*pieces)


def dog(rng: Generator) -> Mesh:
    """A dog with a raised tail and hanging ears."""
    leg, length = rng.uniform(0.2, 0.36), rng.uniform(0.34, 0.44)
    body = _quadruped(rng, leg, (length, 0.15, 0.16), (0.1, 0.16, 0.09), (0.17, 0.1, 0.1), 0.05)
    back = leg + 0.2
    tail = tube(
        smooth_profile([(-length, 0, back), (-length - 0.14, 0, back + 0.08), (-length - 0.16, 0, back + 0.26)]), 0.035
    )
    head_x, head_z = length * 0.75 + 0.1, leg + 0.32
    ears = [_ball((0.06, 0.025, 0.12), head_x - 0.01, s * 0.11, head_z - 0.01, 1) for s in (-1, 1)]
    nose = _ball(0.03, head_x + 0.28, 0, head_z - 0.04, 2, small=True)
    return join(body, tail, nose, *ears)


def horse(rng: Generator) -> Mesh:
    """A horse with a mane and a long tail."""
    leg, rise = rng.uniform(0.42, 0.5), rng.uniform(0.28, 0.36)
    body = _quadruped(rng, leg, (0.42, 0.15, 0.18), (0.2, rise, 0.085), (0.19, 0.075, 0.085), 0.048)
    back = leg + 0.18
    mane = (
        tube([(0.25, 0, back + 0.14), (0.42, 0, back + rise + 0.1)], [0.05, 0.06], sides=8).scaled(1, 0.6, 1).painted(1)
    )
    tail = tube(smooth_profile([(-0.4, 0, back), (-0.54, 0, back - 0.06), (-0.56, 0, back - 0.4)]), 0.05).painted(1)
    return join(body, mane, tail, *_pointed_ears(0.5, 0.045, back + rise + 0.055, 0.08))


def giraffe(rng: Generator) -> Mesh:
    """A giraffe: long legs, sloping neck, two horns."""
    leg, rise = rng.uniform(0.5, 0.62), rng.uniform(0.55, 0.75)
    body = _quadruped(rng, leg, (0.27, 0.12, 0.15), (0.16, rise, 0.05), (0.13, 0.06, 0.06), 0.036)
    head_x, head_z = 0.27 * 0.75 + 0.16, leg + 0.15 + rise
    horns = [
        tube([(head_x, s * 0.03, head_z), (head_x - 0.01, s * 0.035, head_z + 0.13)], 0.014).painted(1) for s in (-1, 1)
    ]
    tail = tube([(-0.26, 0, leg + 0.15), (-0.34, 0, leg - 0.12)], [0.016, 0.026]).painted(1)
    return join(body, tail, *horns, *_pointed_ears(head_x - 0.02, 0.055, head_z + 0.03, 0.06))


def elephant(rng: Generator) -> Mesh:
    """An elephant with trunk, tusks and large ears."""
    leg = rng.uniform(0.22, 0.32)
    body = _quadruped(rng, leg, (0.4, 0.22, 0.25), (0.06, 0.06, 0.14), (0.17, 0.15, 0.17), 0.085)
    x, z = 0.36, leg + 0.31
    trunk = smooth_profile([(x + 0.2, 0, z), (x + 0.33, 0, z - 0.15), (x + 0.33, 0, z - 0.34), (x + 0.42, 0, z - 0.44)])
    ear_size = rng.uniform(0.14, 0.19)
    ears = [_ball((0.03, ear_size, ear_size * 1.1), x - 0.04, s * (0.14 + ear_size * 0.6), z + 0.02) for s in (-1, 1)]
    tusks = [
        tube([(x + 0.2, s * 0.08, z - 0.08), (x + 0.38, s * 0.1, z - 0.16)], [0.03, 0.012], 8).painted(1)
        for s in (-1, 1)
    ]
    radii = [0.08 - 0.045 * k / (len(trunk) - 1) for k in range(len(trunk))]
    return join(body, tube(trunk, radii), *ears, *tusks)


def duck(rng: Generator) -> Mesh:
    """A toy duck."""
    length, head = rng.uniform(0.38, 0.45), rng.uniform(0.16, 0.2)
    body = ellipsoid(length, 0.28, 0.24).moved(z=0.22)
    tail = (
        lathe([(0.14, 0), (0.06, 0.15), (0, 0.22)], 12)
        .scaled(1, 1.3, 1)
        .turned("y", -55)
        .moved(-length * 0.75, 0, 0.28)
    )
    x, z = length * 0.5, 0.44 + head * 0.6
    beak = _ball((0.13, 0.09, 0.035), x + head * 0.95, 0, z - 0.02, 1)
    wings = [_ball((0.2, 0.04, 0.12), -0.06, s * 0.26, 0.26) for s in (-1, 1)]
    return join(body, tail, _ball(head, x, 0, z), beak, *wings, *_eyes(x + head * 0.7, head * 0.6, z + 0.06, 0.028))


def fish(rng: Generator) -> Mesh:
    """A fish standing on its fins."""
    length, tall, thick = 0.4, rng.uniform(0.17, 0.26), rng.uniform(0.09, 0.13)
    z = tall + 0.05
    body = ellipsoid(length, thick, tall).moved(z=z)
    tail = _ball((0.06, 0.02, 0.2), -length - 0.06, 0, z, 1)
    root = lathe([(0.1, 0), (0.04, 0.16)], 12).scaled(1, 0.5, 1).turned("y", -90).moved(-length * 0.8, 0, z)
    top = _ball((0.18, 0.02, 0.12), -0.03, 0, z + tall * 0.9, 1)
    fins = [_ball((0.1, 0.03, 0.08), 0.08, s * thick, z - tall * 0.6, 1) for s in (-1, 1)]
    bottom = _ball((0.1, 0.05, 0.1), -0.1, 0, 0.1, 1)
    return join(body, root, tail, top, bottom, *fins, *_eyes(length * 0.65, thick * 0.68, z + tall * 0.25, 0.035))


def _upper_body(rng: Generator, hip: float) -> list[Mesh]:
    """Torso, head, hair and arms of a person whose hips are at a height."""
    wide = rng.uniform(0.085, 0.115)
    neck = hip + 0.3
    pieces = [
        ellipsoid(0.07, wide, 0.18, 0.7).moved(z=hip + 0.14),
        tube([(0, 0, neck - 0.02), (0, 0, neck + 0.06)], 0.03).painted(2),
    ]
    pieces.append(_ball((0.07, 0.06, 0.08), 0.01, 0, neck + 0.1, 2))
    pieces.append(_ball((0.07, 0.066, 0.065), -0.012, 0, neck + 0.13, 1))
    if rng.random() < 0.25:
        pieces.append(torus(0.07, 0.02).scaled(1.3, 1.2, 0.6).moved(z=neck + 0.15).painted(1))
    for side in (-1, 1):
        swing, out = rng.uniform(-0.14, 0.2), rng.uniform(0.02, 0.1)
        shoulder = (0, side * wide * 0.95, neck - 0.04)
        elbow = (swing * 0.4, side * (wide + 0.03 + out * 0.5), neck - 0.19)
        hand = (swing + 0.04, side * (wide + 0.03 + out), neck - 0.19 - 0.15 * (1 - abs(swing) * 2))
        pieces += [tube([shoulder, elbow, hand], [0.038, 0.032, 0.026], 8), _ball(0.032, *hand, 2, small=True)]
    return pieces


def person_standing(rng: Generator) -> Mesh:
    """A person standing or in mid-stride."""
    hip, stride = 0.48, rng.uniform(0.0, 0.16)
    pieces = _upper_body(rng, hip)
    for side in (-1, 1):
        x = side * stride
        knee = (x * 0.4 + 0.03, side * 0.052, hip * 0.52)
        pieces.append(
            tube([(0, side * 0.045, hip + 0.02), knee, (x, side * 0.055, 0.06)], [0.06, 0.045, 0.034], 8).painted(1)
        )
        pieces.append(_ball((0.075, 0.036, 0.03), x + 0.03, side * 0.055, 0.03, 2))
    return join(*pieces)


def person_sitting(rng: Generator) -> Mesh:
    """A person sitting on a block."""
    hip = rng.uniform(0.24, 0.3)
    pieces = [
        *_upper_body(rng, hip),
        ellipsoid(0.13, 0.15, hip / 2 - 0.02, 0.25).moved(-0.03, 0, hip / 2 - 0.02).painted(1),
    ]
    for side in (-1, 1):
        apart = 0.055 + rng.uniform(0, 0.03)
        knee, foot = (0.24, side * apart, hip + 0.01), (0.24 + rng.uniform(-0.04, 0.08), side * apart, 0.05)
        pieces.append(tube([(0, side * 0.05, hip + 0.01), knee], [0.062, 0.048], 8).painted(1))
        pieces += [
            tube([knee, foot], [0.048, 0.034], 8).painted(1),
            _ball((0.075, 0.036, 0.03), foot[0] + 0.03, foot[1], 0.03, 2),
        ]
    return join(*pieces)
