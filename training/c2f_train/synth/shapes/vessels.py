"""Vessels and other turned things: lathe profiles with handles and spouts."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from c2f_train.synth.mesh import Mesh, ellipsoid, join, lathe, smooth_profile, tube


def bottle(rng: Generator) -> Mesh:
    """A bottle with a cap and a label."""
    radius, neck = rng.uniform(0.15, 0.24), rng.uniform(0.05, 0.08)
    shoulder = rng.uniform(0.45, 0.65)
    curve = smooth_profile([(radius, shoulder), (radius * 0.85, shoulder + 0.09), (neck * 1.15, 0.8), (neck, 0.9)])
    body = lathe([(0, 0), (radius * 0.9, 0), (radius, 0.03), *curve, (neck, 0.93)])
    cap = lathe([(0, 0.93), (neck * 1.25, 0.93), (neck * 1.25, 1.0), (0, 1.0)]).painted(2)
    label = lathe([(radius * 1.01, shoulder * 0.25), (radius * 1.01, shoulder * 0.8)]).painted(1)
    return join(body, cap, label)


def mug(rng: Generator) -> Mesh:
    """A mug, open at the top, with an ear."""
    radius, height, flare = rng.uniform(0.32, 0.42), rng.uniform(0.7, 1.0), rng.uniform(0.9, 1.15)
    top = radius * flare
    cup = lathe([(0, 0), (radius, 0), (top, height), (top * 0.9, height), (radius * 0.88, 0.06), (0, 0.06)])
    angle = np.linspace(-np.pi / 2, np.pi / 2, 9)
    reach, half = rng.uniform(0.2, 0.3), height * rng.uniform(0.24, 0.34)
    middle = (radius + top) / 2 * 0.97
    ear = np.stack([middle + np.cos(angle) * reach, 0 * angle, height * 0.5 + np.sin(angle) * half], -1)
    return join(cup, tube(ear, 0.05).painted(1))


def bowl(rng: Generator) -> Mesh:
    """A bowl on a foot."""
    height, foot = rng.uniform(0.3, 0.5), rng.uniform(0.18, 0.26)
    outside = smooth_profile([(foot, 0.05), (0.4, height * 0.45), (0.5, height)])
    inside = outside[::-1] * np.array([0.93, 1.0]) + np.array([0.0, 0.02])
    return join(lathe([(0, 0), (foot, 0), *outside, *inside, (0, 0.07)]))


def vase(rng: Generator) -> Mesh:
    """A vase with a belly, a neck and a lip."""
    belly, neck, lip = rng.uniform(0.22, 0.36), rng.uniform(0.08, 0.14), rng.uniform(0.13, 0.22)
    low = rng.uniform(0.3, 0.5)
    outside = smooth_profile([(0.14, 0.0), (belly, low), (neck, 0.8), (lip, 1.0)], 6)
    body = lathe([(0, 0), *outside, (lip * 0.85, 1.0), (neck * 0.8, 0.8), (0, 0.7)])
    band = lathe([(belly * 1.01, low - 0.03), (belly * 1.02, low + 0.03)]).painted(1)
    return join(body, band)


def goblet(rng: Generator) -> Mesh:
    """A drinking glass on a stem."""
    cup, stem = rng.uniform(0.22, 0.3), rng.uniform(0.35, 0.5)
    outside = smooth_profile([(0.03, stem), (cup * 0.85, stem + 0.14), (cup, stem + 0.3), (cup * 0.85, 1.0)])
    foot = [(0, 0), (0.24, 0), (0.22, 0.03), (0.035, 0.08), (0.03, stem)]
    return join(lathe([*foot, *outside[1:], (cup * 0.78, 1.0), (cup * 0.7, stem + 0.16), (0, stem + 0.08)]))


def teapot(rng: Generator) -> Mesh:
    """A round pot with a lid, a spout and a handle."""
    height = rng.uniform(0.32, 0.45)
    body = ellipsoid(0.42, 0.42, height).moved(z=height * 0.95)
    top = height * 1.85
    lid = lathe([(0.24, top - 0.06), (0.22, top), (0.05, top + 0.06), (0.07, top + 0.12), (0, top + 0.15)]).painted(1)
    spout_path = smooth_profile([(0.32, 0, height * 0.7), (0.56, 0, height * 0.95), (0.72, 0, height * 1.75)])
    spout = tube(spout_path, np.linspace(0.12, 0.05, len(spout_path)))
    handle = smooth_profile(
        [(-0.3, 0, height * 1.5), (-0.64, 0, height * 1.45), (-0.62, 0, height * 0.7), (-0.36, 0, height * 0.6)]
    )
    return join(body, lid, spout, tube(handle, 0.045).painted(1))


def watering_can(rng: Generator) -> Mesh:
    """A can with a long spout ending in a rose, and a bow."""
    radius, height = rng.uniform(0.26, 0.34), rng.uniform(0.5, 0.65)
    can = lathe([(0, 0), (radius, 0), (radius * 0.95, height), (radius * 0.85, height), (radius * 0.85, 0.3), (0, 0.3)])
    reach, rise = rng.uniform(0.75, 0.9), height * rng.uniform(1.05, 1.3)
    spout = tube([(radius * 0.8, 0, 0.12), (radius + 0.15, 0, 0.22), (reach, 0, rise)], [0.07, 0.06, 0.035])
    rose = lathe([(0.03, 0), (0.11, 0.12), (0, 0.14)], 16).turned("y", 50).moved(reach, 0, rise).painted(1)
    bow = [
        (-radius * 0.9, 0, 0.12),
        (-radius - 0.28, 0, height * 0.55),
        (-radius - 0.1, 0, height + 0.15),
        (radius * 0.7, 0, height),
    ]
    return join(can, spout, rose, tube(smooth_profile(bow), 0.04).painted(1))


def barrel(rng: Generator) -> Mesh:
    """A barrel with hoops."""
    end, belly = rng.uniform(0.28, 0.34), rng.uniform(0.36, 0.44)
    side = smooth_profile([(end, 0), (belly, 0.5), (end, 1.0)], 8)
    hoops = []
    for height in (0.1, 0.32, 0.68, 0.9):
        radius = np.interp(height, side[:, 1], side[:, 0]) + 0.015
        hoops.append(lathe([(radius, height - 0.03), (radius, height + 0.03)]).painted(1))
    return join(lathe([(0, 0), *side, (end * 0.9, 1.0), (end * 0.9, 0.95), (0, 0.95)]), *hoops)


def traffic_cone(rng: Generator) -> Mesh:
    """A cone with two bands on a round or square plate."""
    bottom, top = rng.uniform(0.24, 0.3), 0.04

    def ring(low: float, high: float, part: int) -> Mesh:
        radii = [bottom + (top - bottom) * (z - 0.05) / 0.95 for z in (low, high)]
        return lathe([(radii[0], low), (radii[1], high)]).painted(part)

    bands = [ring(0.05, 0.3, 0), ring(0.3, 0.5, 1), ring(0.5, 0.65, 0), ring(0.65, 0.8, 1), ring(0.8, 1.0, 0)]
    sides = 4 if rng.random() < 0.6 else 24
    return join(lathe([(0, 0), (0.42, 0), (0.4, 0.05), (0, 0.05)], sides).painted(2), *bands)


def lamp(rng: Generator) -> Mesh:
    """A table lamp with a wide shade."""
    foot, low, high = rng.uniform(0.16, 0.24), rng.uniform(0.26, 0.36), rng.uniform(0.13, 0.22)
    start = rng.uniform(0.52, 0.62)
    stand = lathe([(0, 0), (foot, 0), (foot, 0.03), (0.05, 0.08), (0.03, 0.2), (0.03, 0.95), (0, 0.95)]).painted(1)
    knob = ellipsoid(0.09, 0.09, 0.11).moved(z=0.24).painted(1)
    return join(stand, knob, lathe([(low, start), (high, 1.0), (high * 0.95, 1.0), (low * 0.95, start)]))
