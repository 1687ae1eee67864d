"""Vehicles: extruded outlines on wheels, hulls and wings."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from c2f_train.synth.mesh import Mesh, box, ellipsoid, extrude, join, lathe, make, smooth_profile, tube


def _wheel(radius: float, width: float) -> Mesh:
    """A wheel about the y axis with a bright hub."""
    tyre = lathe(
        [(0, -width / 2), (radius * 0.9, -width / 2), (radius, 0), (radius * 0.9, width / 2), (0, width / 2)], 18
    )
    hub = lathe(
        [(0, -width * 0.53), (radius * 0.5, -width * 0.53), (radius * 0.5, width * 0.53), (0, width * 0.53)], 12
    )
    return join(tyre.painted(2), hub.painted(1)).turned("x", 90)


def _wheels(places: list[float], track: float, radius: float) -> list[Mesh]:
    """Pairs of wheels at the given x."""
    return [_wheel(radius, 0.09).moved(x, side * track / 2, radius) for x in places for side in (-1, 1)]


def car(rng: Generator) -> Mesh:
    """A car: body, cabin with dark windows, four wheels, lights."""
    width, wheel = rng.uniform(0.38, 0.46), rng.uniform(0.085, 0.11)
    low, belt, top = 0.07, rng.uniform(0.2, 0.24), rng.uniform(0.34, 0.42)
    tail = rng.uniform(-0.46, -0.3)
    body = extrude(
        [(-0.5, low), (0.48, low), (0.5, belt * 0.8), (0.26, belt), (-0.48, belt + 0.02), (-0.5, belt * 0.8)], width
    )
    glass = extrude(
        [(0.26, belt - 0.01), (0.1, top - 0.02), (tail + 0.08, top - 0.02), (tail - 0.02, belt)], width * 0.86
    ).painted(2)
    roof = extrude([(0.12, top - 0.03), (0.09, top), (tail + 0.09, top), (tail + 0.06, top - 0.03)], width * 0.88)
    posts = [box(0.03, width * 0.87, top - belt).moved(x, 0, belt) for x in (-0.06, tail + 0.1)]
    lights = [box(0.02, 0.07, 0.05).moved(0.49, s * width * 0.36, belt * 0.62).painted(1) for s in (-1, 1)]
    return join(body, glass, roof, *posts, *lights, *_wheels([-0.3, 0.3], width, wheel))


def truck(rng: Generator) -> Mesh:
    """A lorry: cab and a box or an open bed."""
    width, wheel = rng.uniform(0.3, 0.36), rng.uniform(0.07, 0.085)
    cab_top = rng.uniform(0.36, 0.44)
    cab = extrude([(0.24, 0.09), (0.5, 0.09), (0.5, 0.24), (0.45, cab_top), (0.24, cab_top)], width * 0.95)
    glass = extrude([(0.34, 0.25), (0.49, 0.25), (0.46, cab_top - 0.04), (0.34, cab_top - 0.04)], width * 0.97).painted(
        2
    )
    frame = box(0.9, width * 0.6, 0.06).moved(0, 0, 0.08).painted(2)
    high = rng.uniform(0.4, 0.5) if rng.random() < 0.65 else 0.12
    load = box(0.7, width, high).moved(-0.15, 0, 0.13).painted(1)
    return join(cab, glass, frame, load, *_wheels([-0.38, -0.2, 0.34], width * 0.92, wheel))


def bus(rng: Generator) -> Mesh:
    """A long bus with a row of windows."""
    width, top = rng.uniform(0.26, 0.32), rng.uniform(0.34, 0.42)
    hull = ellipsoid(0.5, width / 2, (top - 0.06) / 2, 0.22, 9, 20).moved(z=0.06 + (top - 0.06) / 2)
    count, low, high = int(rng.integers(4, 7)), top * 0.52, top * 0.8
    step = 0.8 / count
    panes = [
        box(step * 0.75, width * 1.01, high - low).moved(-0.4 + step * (k + 0.5), 0, low).painted(2)
        for k in range(count)
    ]
    front = box(0.03, width * 0.85, high - low).moved(0.495, 0, low).painted(2)
    stripe = box(0.97, width * 1.008, 0.03).moved(0, 0, low - 0.06).painted(1)
    return join(hull, stripe, front, *panes, *_wheels([-0.3, 0.3], width * 0.9, 0.075))


def plane(rng: Generator) -> Mesh:
    """An aeroplane on its wheels."""
    span, radius = rng.uniform(0.42, 0.55), rng.uniform(0.07, 0.09)
    height = 0.2
    fuselage = smooth_profile([(-0.5, 0, height + 0.05), (-0.2, 0, height), (0.3, 0, height), (0.48, 0, height - 0.01)])
    body = tube(fuselage, np.interp(fuselage[:, 0], [-0.5, -0.1, 0.3, 0.5], [0.025, radius, radius, 0.04]), 14)
    sweep = rng.uniform(0.0, 0.2)
    chord = [
        (0.14, 0),
        (0.14 - sweep, span),
        (0.04 - sweep, span),
        (-0.08, 0),
        (0.04 - sweep, -span),
        (0.14 - sweep, -span),
    ]
    wing = extrude(chord, 0.025).turned("x", -90).moved(z=height - 0.01).painted(1)
    small = (
        extrude([(x * 0.4 - 0.42, y * 0.38) for x, y in chord], 0.02).turned("x", -90).moved(z=height + 0.06).painted(1)
    )
    fin = extrude([(-0.33, height), (-0.44, height + 0.22), (-0.52, height + 0.22), (-0.49, height)], 0.025).painted(1)
    canopy = ellipsoid(0.1, radius * 0.7, 0.06).moved(0.24, 0, height + radius * 0.75).painted(2)
    engines = [
        tube([(0.1, s * span * 0.45, height - 0.06), (0.22, s * span * 0.45, height - 0.06)], 0.035) for s in (-1, 1)
    ]
    legs = [
        tube([(x, y, height), (x, y, 0.04)], 0.014, 6).painted(2) for x, y in ((0.32, 0), (-0.02, 0.1), (-0.02, -0.1))
    ]
    wheels = [_wheel(0.035, 0.03).moved(x, y, 0.035) for x, y in ((0.32, 0), (-0.02, 0.1), (-0.02, -0.1))]
    return join(body, wing, small, fin, canopy, *engines, *legs, *wheels)


def boat(rng: Generator) -> Mesh:
    """A sailing boat or a boat with a cabin, on its keel."""
    wide, deep = rng.uniform(0.13, 0.18), 0.2
    station = np.linspace(-0.5, 0.5, 9)
    shape = np.clip(1 - np.maximum(station, 0) ** 2 * 4, 0.02, 1) * np.where(station < -0.4, 0.85, 1.0)
    ring = np.array(
        [
            (-1, 1.0),
            (-0.92, 0.5),
            (-0.5, 0.1),
            (0, 0.0),
            (0.5, 0.1),
            (0.92, 0.5),
            (1, 1.0),
            (0.85, 0.85),
            (0, 0.8),
            (-0.85, 0.85),
        ]
    )
    rise = deep + 0.08 * np.maximum(station, 0) * 2
    hull = _loft(station, ring[None, :, 0] * (shape * wide)[:, None], ring[None, :, 1] * rise[:, None])
    if rng.random() < 0.6:
        mast = tube([(0.05, 0, 0.1), (0.05, 0, 1.0)], 0.015, 8).painted(2)
        main = extrude([(0.03, 0.28), (-0.45, 0.28), (0.03, 0.97)], 0.012).painted(1)
        fore = extrude([(0.08, 0.28), (0.44, 0.3), (0.08, 0.85)], 0.012).painted(1)
        return join(hull, mast, main, fore)
    cabin = box(0.36, wide * 1.2, 0.2, 0.85).moved(-0.08, 0, deep * 0.8).painted(1)
    glass = box(0.3, wide * 1.22, 0.07, 0.95).moved(-0.08, 0, deep * 0.8 + 0.08).painted(2)
    funnel = lathe([(0.05, 0.3), (0.05, 0.55), (0, 0.55)], 14).moved(-0.16).painted(2)
    return join(hull, cabin, glass, funnel)


def _loft(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> Mesh:
    """A skin through closed sections at x [K], with y and z [K, M], both ends closed by fans."""
    count, size = y.shape
    ring = np.stack([np.broadcast_to(x[:, None], y.shape), y, z], -1).reshape(-1, 3)
    ends = np.array([ring[:size].mean(0), ring[-size:].mean(0)])
    faces = []
    for k in range(count - 1):
        for m in range(size):
            a, b = k * size + m, k * size + (m + 1) % size
            faces += [(a, a + size, b + size), (a, b + size, b)]
    last = (count - 1) * size
    for m in range(size):
        after = (m + 1) % size
        faces += [(count * size, m, after), (count * size + 1, last + after, last + m)]
    return make(np.concatenate([ring, ends]), faces)


def rocket(rng: Generator) -> Mesh:
    """A rocket on three fins."""
    radius, fins = rng.uniform(0.13, 0.18), int(rng.integers(3, 5))
    side = smooth_profile([(radius * 0.7, 0.12), (radius, 0.4), (radius * 0.8, 0.72), (0.0, 1.0)], 6)
    tip = [point for point in side if point[1] > 0.74]
    body = lathe([(0, 0.12), *[point for point in side if point[1] <= 0.76]])
    nozzle = lathe([(radius * 0.5, 0.14), (radius * 0.62, 0.04), (0, 0.06)], 16).painted(2)
    fin = extrude(
        [(radius * 0.7, 0.42), (radius * 2.1, 0.14), (radius * 2.1, 0.0), (radius * 0.6, 0.15)], 0.03
    ).painted(1)
    window = ellipsoid(0.03, 0.06, 0.06, rows=7, sides=12).moved(radius * 0.93, 0, 0.56).painted(2)
    return join(
        body, lathe(tip).painted(1), nozzle, window, *[fin.turned("z", 60 + 360 * k / fins) for k in range(fins)]
    )
