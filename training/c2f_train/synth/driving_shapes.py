"""Road vehicles in metres: x forward, z up, wheels on z = 0, the middle of the wheelbase near the origin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from c2f_train.synth.driving_materials import DARK, GLASS, LAMP, METAL, PAINT, PLATE, RED, SECOND
from c2f_train.synth.mesh import Mesh, box, ellipsoid, extrude, join, lathe, make

CARS = ("sedan", "hatchback", "suv", "estate")
"""Body styles of the category car."""


@dataclass(frozen=True)
class Body:
    """Measures of a car body in metres; the x positions run from the front bumper to the tail.

    cowl, roof_front, roof_rear, deck: where windscreen, roof, rear window and boot lid begin or end.
    """

    length: float
    width: float
    height: float
    cowl: float
    roof_front: float
    roof_rear: float
    deck: float
    belt: float
    nose: float
    tail: float
    wheel: float
    clearance: float
    pillars: tuple[float, ...]
    glass_to: float
    """x behind which the sides have no windows."""

    def top(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Height of the middle line at x."""
        half = self.length / 2
        keys = [-half, -half + 0.06, self.deck, self.roof_rear, (self.roof_front + self.roof_rear) / 2]
        keys += [self.roof_front, self.cowl, half - 0.12, half]
        values = [self.tail - 0.15, self.tail, self.tail + 0.02, self.height - 0.04, self.height]
        values += [self.height - 0.05, self.belt + 0.03, self.nose, self.nose - 0.12]
        return np.interp(x, keys, values)

    def waist(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Height of the lower window edge at x, never above the middle line."""
        half = self.length / 2
        line = np.interp(x, [-half, self.cowl, half - 0.12, half], [self.belt + 0.06, self.belt, self.nose, self.nose])
        return np.minimum(line, self.top(x) - 0.02)

    def half_width(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Half the width at x."""
        half = self.length / 2
        keys = [-half, -half + 0.12, -half + 0.5, half - 0.7, half - 0.2, half]
        return self.width / 2 * np.interp(x, keys, [0.86, 0.93, 1.0, 1.0, 0.9, 0.74])


def _body_mesh(body: Body, roof_share: float) -> Mesh:
    """The skin of a body; roof_share is the width of the roof over that of the sides."""
    half = body.length / 2
    marks = [body.cowl, body.roof_front, body.roof_rear, body.deck, body.glass_to, half, half - 0.06, half - 0.2]
    marks += [-half, -half + 0.06, -half + 0.2, half - 0.7, -half + 0.5, *np.linspace(-half + 0.8, half - 0.9, 5)]
    marks += [edge for pillar in body.pillars for edge in (pillar - 0.05, pillar + 0.05)]
    x = np.unique(np.round(np.clip(marks, -half, half), 3))[::-1]
    top, waist, wide = body.top(x), body.waist(x), body.half_width(x)
    low = np.interp(x, [-half, -half + 0.4, half - 0.4, half], np.array([0.12, 0.0, 0.0, 0.06]) + body.clearance)
    cabin = np.clip((top - waist) / 0.35, 0, 1)
    roof = wide * (1 - cabin * (1 - roof_share))
    zero = np.zeros_like(x)
    y = [zero, wide * 0.86, wide * 0.97, wide, wide * 0.985, wide * 0.95, roof * 0.97, roof * 0.86, zero]
    rise = top - waist
    middle = low + 0.55 * (waist - low)
    z = [low, low, low + 0.12, middle, waist - 0.05, waist, waist + rise * 0.86, waist + rise * 0.97, top + 0.015]
    ring_y, ring_z = [*y, *[-v for v in y[-2:0:-1]]], [*z, *z[-2:0:-1]]
    count = len(ring_y)
    points = np.stack([np.broadcast_to(x, (count, len(x))), ring_y, ring_z], -1).transpose(1, 0, 2)
    vertices = np.concatenate([points.reshape(-1, 3), points[[0, -1]].mean(1)])
    faces, parts = [], []
    for k in range(len(x) - 1):
        for m in range(count):
            a, b = k * count + m, k * count + (m + 1) % count
            faces += [(a, a + count, b + count), (a, b + count, b)]
            parts += [_strip_part(body, (x[k] + x[k + 1]) / 2, min(m, count - 1 - m))] * 2
    for m in range(count):
        after, last = (m + 1) % count, (len(x) - 1) * count
        faces += [(len(vertices) - 2, m, after), (len(vertices) - 1, last + after, last + m)]
        parts += [PAINT] * 2
    mesh = make(vertices, faces)
    return Mesh(mesh.vertices, mesh.triangles, np.array(parts, np.uint8))


def _strip_part(body: Body, x: float, strip: int) -> int:
    """Colour slot of the skin at x; strips count from the underside to the middle of the roof."""
    if strip < 2:
        return DARK
    in_cabin = min(body.deck, body.roof_rear) < x < body.cowl
    if strip == 5 and in_cabin and x > body.glass_to:
        return DARK if any(abs(x - pillar) < 0.05 for pillar in body.pillars) else GLASS
    if strip == 7 and in_cabin and not body.roof_rear < x < body.roof_front:
        return GLASS
    return PAINT


def _wheel(radius: float, width: float) -> Mesh:
    """A wheel about the y axis, centred on the origin."""
    half = width / 2
    profile = [(0, -half), (radius * 0.93, -half), (radius, -half * 0.6), (radius, half * 0.6), (radius * 0.93, half)]
    tyre = lathe([*profile, (0, half)], 20).painted(DARK)
    rim = lathe([(0, -half * 1.06), (radius * 0.62, -half * 1.06), (radius * 0.62, half * 1.06), (0, half * 1.06)], 12)
    hole = [
        box(radius * 0.14, radius * 0.14, width * 1.1)
        .moved(radius * 0.42, 0, -width * 0.55)
        .turned("z", 72 * k)
        .painted(DARK)
        for k in range(5)
    ]
    return join(tyre, rim.painted(METAL), *hole).turned("x", 90)


def wheels(places: list[float], half_width: float, radius: float) -> list[Mesh]:
    """Wheels with dark arches at the given x on both sides of a body of that half width."""
    angle = np.linspace(0, np.pi, 9)
    arch = np.stack([np.cos(angle), np.sin(angle)], -1) * radius * 1.14
    flat = extrude(arch, 2 * half_width + 0.012).painted(DARK)
    wheel = _wheel(radius, 0.22)
    both = [wheel.moved(x, side * (half_width - 0.09), radius) for x in places for side in (-1, 1)]
    return [*both, *[flat.moved(x, 0, radius) for x in places]]


def _fittings(body: Body) -> list[Mesh]:
    """Lights, grille, plates, mirrors and door seams."""
    half, wide, pieces = body.length / 2, body.width / 2, []
    for side in (-1, 1):
        lamp = ellipsoid(0.16, 0.17, 0.075, 0.7, 7, 10).turned("z", -side * 25).painted(LAMP)
        pieces.append(lamp.moved(half - 0.17, side * wide * 0.7, body.nose - 0.14))
        tall = 0.34 if body.roof_rear < -half + 0.7 else 0.15
        light = box(0.12, 0.17 if tall > 0.2 else 0.36, tall).painted(RED)
        pieces.append(light.moved(-half + 0.05, side * wide * (0.77 if tall > 0.2 else 0.67), body.tail - 0.12 - tall))
        mirror = ellipsoid(0.07, 0.11, 0.075, 0.7, 6, 8)
        pieces.append(mirror.moved(body.cowl - 0.35, side * (wide + 0.07), body.belt + 0.1))
    bonnet = body.nose - 0.12
    pieces.append(box(0.06, wide * 0.9, 0.11).moved(half - 0.02, 0, bonnet - 0.14).painted(DARK))
    pieces.append(box(0.06, wide * 1.2, 0.1).moved(half - 0.02, 0, body.clearance + 0.12).painted(DARK))
    pieces.append(box(0.02, 0.5, 0.11).moved(half + 0.015, 0, body.clearance + 0.24).painted(PLATE))
    pieces.append(box(0.02, 0.5, 0.11).moved(-half - 0.005, 0, body.clearance + 0.35).painted(PLATE))
    pieces.append(box(0.06, wide * 1.3, 0.1).moved(-half + 0.01, 0, body.clearance + 0.16).painted(DARK))
    for x in (body.cowl - 0.15, *body.pillars[:1]):
        high = body.belt - body.clearance - 0.16
        pieces.append(box(0.014, body.width * 1.002, high).moved(x, 0, body.clearance + 0.12).painted(DARK))
    return pieces


def car(rng: Generator, style: str) -> Mesh:
    """A car of one of CARS."""
    low, high, tall = {
        "sedan": (4.4, 4.9, (1.4, 1.5)),
        "hatchback": (3.7, 4.25, (1.45, 1.55)),
        "suv": (4.2, 4.75, (1.6, 1.8)),
        "estate": (4.45, 4.8, (1.45, 1.53)),
    }[style]
    length, height = rng.uniform(low, high), rng.uniform(*tall)
    half = length / 2
    cowl = half - rng.uniform(0.95, 1.2) * (0.9 if style == "hatchback" else 1.0)
    front = cowl - rng.uniform(0.6, 0.85)
    belt = height * rng.uniform(0.6, 0.65)
    if style == "sedan":
        deck = -half + rng.uniform(0.45, 0.75)
        rear, tail = deck + rng.uniform(0.55, 0.8), belt + rng.uniform(0.0, 0.06)
    else:
        deck = -half + rng.uniform(0.07, 0.15)
        rear = deck + rng.uniform(0.15, 0.5)
        tail = belt + rng.uniform(0.0, 0.08)
    middle = (front + rear) / 2 + rng.uniform(-0.15, 0.1)
    pillars = (middle, max(rear + 0.2, middle - 1.0)) if style in ("suv", "estate") else (middle,)
    radius, clear = (rng.uniform(0.34, 0.38), 0.27) if style == "suv" else (rng.uniform(0.29, 0.33), 0.2)
    # fmt: off
    body = Body(length, rng.uniform(1.7, 1.88), height, cowl, front, rear, deck, belt, belt * rng.uniform(0.78, 0.88),
                tail, radius, clear, pillars, rear - 0.35)
    # fmt: on
    axles = [half - rng.uniform(0.78, 0.9), -half + rng.uniform(0.75, 0.95)]
    skin = _body_mesh(body, rng.uniform(0.74, 0.82))
    return join(skin, *_fittings(body), *wheels(axles, body.width / 2, radius))


def van(rng: Generator) -> Mesh:
    """A delivery van or a people carrier."""
    length, height = rng.uniform(4.6, 5.9), rng.uniform(1.85, 2.5)
    half, cowl = length / 2, length / 2 - rng.uniform(0.55, 0.9)
    front = cowl - rng.uniform(0.6, 0.85)
    closed = rng.random() < 0.6
    belt, door = rng.uniform(1.1, 1.25), front - 0.95
    glass_to = door if closed else -half + 0.4
    pillars = (door + 0.05,) if closed else (door + 0.05, (door - half) / 2)
    # fmt: off
    body = Body(length, rng.uniform(1.85, 2.02), height, cowl, front, -half + 0.12, -half + 0.05, belt,
                belt * rng.uniform(0.85, 0.92), belt + 0.12, 0.34, 0.24, pillars, glass_to)
    # fmt: on
    skin, lines = _body_mesh(body, rng.uniform(0.88, 0.94)), []
    if closed:
        lines.append(box(0.02, 0.012, height - 0.6).moved(-half - 0.01, 0, 0.4).painted(DARK))
    return join(skin, *_fittings(body), *lines, *wheels([half - 0.85, -half + 0.95], body.width / 2, 0.34))


def truck(rng: Generator) -> Mesh:
    """A lorry with a box, a tarpaulin or an open bed."""
    length, width = rng.uniform(6.0, 9.0), rng.uniform(2.25, 2.5)
    half, cab_top, back = length / 2, rng.uniform(2.4, 2.9), length / 2 - rng.uniform(1.6, 2.0)
    outline = [(back, 0.5), (half, 0.5), (half + 0.04, 1.2), (half - 0.22, cab_top - 0.1), (half - 0.4, cab_top)]
    cab = extrude([*outline, (back, cab_top)], width * 0.96)
    high = cab_top - 0.22
    screen = extrude([(half - 0.02, 1.42), (half + 0.02, 1.42), (half - 0.2, high), (half - 0.3, high)], width * 0.86)
    door = [(back + 0.45, 1.42), (half - 0.2, 1.42), (half - 0.38, cab_top - 0.28), (back + 0.45, cab_top - 0.28)]
    glass = [screen.painted(GLASS), extrude(door, width * 0.975).painted(GLASS)]
    chassis = box(length * 0.96, width * 0.7, 0.45).moved(z=0.5).painted(DARK)
    high = rng.uniform(1.9, 2.5) if rng.random() < 0.75 else rng.uniform(0.35, 0.6)
    load_length = length - (half - back) - 0.12
    load = box(load_length, width, high).moved(-half + load_length / 2, 0, 0.95).painted(SECOND)
    skirt = box(load_length * 0.5, width * 0.96, 0.45).moved(-0.2, 0, 0.5).painted(DARK)
    bumper = box(0.25, width * 0.97, 0.4).moved(half - 0.08, 0, 0.3).painted(DARK)
    small = [bumper, box(0.06, 0.5, 0.12).moved(half + 0.03, 0, 0.5).painted(PLATE)]
    for side in (-1, 1):
        small.append(box(0.1, 0.34, 0.18).moved(half + 0.02, side * width * 0.36, 0.72).painted(LAMP))
        small.append(box(0.08, 0.3, 0.16).moved(-half + 0.02, side * width * 0.36, 0.75).painted(RED))
        small.append(box(0.1, 0.22, 0.4).moved(half - 0.25, side * (width / 2 + 0.16), 1.6).painted(DARK))
    rear = [-half + 1.3, -half + 2.4] if length > 7.4 else [-half + 1.4]
    tyre = _wheel(0.48, 0.32)
    round_ones = [tyre.moved(x, side * (width / 2 - 0.18), 0.48) for x in [half - 0.95, *rear] for side in (-1, 1)]
    return join(cab, *glass, chassis, load, skirt, *small, *round_ones)
