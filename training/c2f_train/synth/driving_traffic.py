"""Road users: what they are, where they are at each moment, and their meshes in the world."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.random import Generator

from c2f_train.synth.driving_materials import Coat, person_coat, vehicle_coat
from c2f_train.synth.driving_people import STRIDE, Person, cyclist, pedestrian, random_person
from c2f_train.synth.driving_road import Drive, Road
from c2f_train.synth.driving_shapes import CARS, car, truck, van
from c2f_train.synth.mesh import Mesh

CATEGORIES = ("cyclist", "pedestrian", "car", "truck", "van")
GAP = 0.5
"""Least free distance between two road users, metres."""
BEHIND = 24.0
"""Vehicles start up to this far behind the camera, cyclists and pedestrians less, metres."""
PEDAL_METRES = 4.5
"""Way of a bicycle in one turn of the pedals."""


@dataclass(frozen=True)
class Actor:
    """A road user.

    start, velocity: (s, d) in metres and metres per second. turn: heading against that of the road, radians.
    phase: of the gait at time 0, radians. shape: the mesh of a vehicle, or the build of a person.
    """

    category: str
    start: tuple[float, float]
    velocity: tuple[float, float]
    turn: float
    phase: float
    shape: Mesh | Person
    coat: Coat

    def place(self, time: float) -> tuple[float, float]:
        """(s, d) at a time in seconds."""
        return self.start[0] + self.velocity[0] * time, self.start[1] + self.velocity[1] * time

    def mesh(self, time: float) -> Mesh:
        """The shape at a time, in its own frame."""
        if isinstance(self.shape, Mesh):
            return self.shape
        way = float(np.hypot(*self.velocity)) * time
        if self.category == "cyclist":
            return cyclist(self.shape, self.phase + 2 * np.pi * way / PEDAL_METRES)
        stride = min(float(np.hypot(*self.velocity)), 1.0)
        return pedestrian(self.shape, self.phase + 2 * np.pi * way / (STRIDE * self.shape.height), stride)

    @cached_property
    def half_size(self) -> tuple[float, float]:
        """Half of what it takes up along and across the road, metres."""
        if isinstance(self.shape, Mesh):
            x, y = (float(np.abs(self.shape.vertices[:, k]).max()) for k in (0, 1))
        else:
            x, y = (0.95, 0.35) if self.category == "cyclist" else (0.3, 0.35)
        cosine, sine = abs(np.cos(self.turn)), abs(np.sin(self.turn))
        return x * cosine + y * sine, x * sine + y * cosine


@dataclass(frozen=True)
class Density:
    """How busy a street is: share of parking places taken, and numbers per 100 m of street."""

    parked: float
    oncoming: float
    leading: float
    pedestrians: float
    cyclists: float
    crossing: float
    """Vehicles on the side road, where there is one."""


def _vehicle(rng: Generator) -> tuple[str, Mesh]:
    """A category and its shape, cars most often."""
    category = str(rng.choice(("car", "van", "truck"), p=(0.86, 0.1, 0.04)))
    if category == "car":
        return category, car(rng, str(rng.choice(CARS, p=(0.3, 0.3, 0.22, 0.18))))
    return category, van(rng) if category == "van" else truck(rng)


def _driven(rng: Generator, s: float, d: float, speed: float, turn: float = 0.0) -> Actor:
    category, shape = _vehicle(rng)
    heading = turn + (np.pi if speed < 0 else 0.0)
    return Actor(category, (s, d), (speed, 0.0), heading, 0.0, shape, vehicle_coat(rng))


def _person(rng: Generator, category: str, s: float, d: float, velocity: tuple[float, float]) -> Actor:
    moving = np.hypot(*velocity) > 0.05
    turn = float(np.arctan2(velocity[1], velocity[0])) if moving else rng.uniform(0, 2 * np.pi)
    return Actor(category, (s, d), velocity, turn, rng.uniform(0, 2 * np.pi), random_person(rng), person_coat(rng))


def _parked(road: Road, side: int, last: float, density: Density, rng: Generator) -> list[Actor]:
    """Vehicles on the parking strip of a side, in stretches with gaps between."""
    width, sign = road.parking[side], -1 if side == 0 else 1
    if width == 0:
        return []
    across = width > 3
    step, actors = (2.7 if across else 6.2), []
    taken = density.parked * rng.uniform(0.5, 1.4)
    for s in np.arange(-3 + rng.uniform(0, step), last, step):
        if rng.random() > taken or road.is_side_road(s, 2.5):
            continue
        if across:
            turn = sign * np.pi / 2 * rng.choice([-1, 1]) + rng.normal(0, 0.04)
        else:
            turn = (0.0 if rng.random() < 0.8 else np.pi) + (np.pi if side == 1 else 0.0) + rng.normal(0, 0.02)
        d = sign * (road.half_width + width / 2 + rng.normal(0.05, 0.08))
        actor = _driven(rng, s + rng.normal(0, 0.15), d, 0.0, float(turn))
        if not (across and actor.half_size[1] > 2.7):
            actors.append(actor)
    return actors


def _moving(road: Road, drive: Drive, duration: float, reach: float, density: Density, rng: Generator) -> list[Actor]:
    """Vehicles in the lanes of both directions."""
    actors, end = [], drive.s(duration)
    for lane in range(road.lanes):
        middle = road.lane_width * (lane + 0.5)
        speed = -rng.uniform(3, 14)
        low, high = 4.0, end - speed * duration + reach
        for s in rng.uniform(low, high, rng.poisson(density.oncoming * (high - low) / 100)):
            actors.append(_driven(rng, s, middle + rng.normal(0, 0.15), speed))
        # In the camera's lane nobody comes from behind; in another one they overtake, or are overtaken.
        own = -middle == drive.lane
        speed = max(drive.speed + (rng.normal(0, 1.5) if own else rng.normal(1.5, 3.0)), 0.0)
        low, high = (7.0 if own else -BEHIND), 7.0 + reach
        for s in rng.uniform(low, high, rng.poisson(density.leading * (high - low) / 100)):
            actors.append(_driven(rng, s, -middle + rng.normal(0, 0.15), speed))
    return actors


def _across(road: Road, duration: float, density: Density, rng: Generator) -> list[Actor]:
    """Vehicles on the side road, that cross the road some time."""
    actors = []
    for _ in range(rng.poisson(density.crossing) if np.isfinite(road.side_road) else 0):
        sign, speed = int(rng.choice([-1, 1])), rng.uniform(3, 9)
        way = speed * rng.uniform(-0.6, duration + 1.5)
        s = road.side_road - sign * rng.uniform(1.3, 1.7)
        category, shape = _vehicle(rng)
        turn = -sign * np.pi / 2
        actors.append(Actor(category, (s, sign * way), (0.0, -sign * speed), turn, 0.0, shape, vehicle_coat(rng)))
    return actors


def _on_foot(road: Road, side: int, last: float, density: Density, rng: Generator) -> list[Actor]:
    """Pedestrians on the pavement of a side, some in company, some standing, some crossing."""
    actors, sign = [], -1 if side == 0 else 1
    busy = density.pedestrians * rng.gamma(1.5, 1 / 1.5)
    for s in rng.uniform(-BEHIND / 4, last, rng.poisson(busy * last / 100)):
        d = sign * rng.uniform(road.kerb(side) + 0.8, road.back(side) - 0.3)
        kind = rng.random()
        if kind < 0.12:
            velocity = (rng.normal(0, 0.1), -sign * rng.uniform(0.9, 1.5))
            d = sign * rng.uniform(-road.half_width, road.half_width)
        else:
            velocity = (0.0, 0.0) if kind < 0.25 else (rng.choice([-1, 1]) * rng.uniform(0.9, 1.7), 0.0)
        actors.append(_person(rng, "pedestrian", s, d, velocity))
        if kind >= 0.12 and rng.random() < 0.35:
            actors.append(
                _person(rng, "pedestrian", s + rng.normal(0, 0.2), d - sign * rng.uniform(0.6, 0.8), velocity)
            )
    return actors


def _riding(road: Road, drive: Drive, last: float, density: Density, rng: Generator) -> list[Actor]:
    actors = []
    for s in rng.uniform(-BEHIND / 2, last, rng.poisson(density.cyclists * last / 100)):
        sign = -1 if rng.random() < 0.6 else 1
        d = sign * (road.half_width - rng.uniform(0.3, 0.8))
        actors.append(_person(rng, "cyclist", s, d, (-sign * rng.uniform(2.5, 6.0), 0.0)))
    return actors


def random_traffic(
    road: Road, drive: Drive, duration: float, reach: float, density: Density, rng: Generator
) -> list[Actor]:
    """Road users of a drive of that many seconds, up to reach metres ahead of the camera, none through another."""
    last = drive.s(duration) + reach
    # fmt: off
    wanted = [
        *_across(road, duration, density, rng), *_moving(road, drive, duration, reach, density, rng),
        *_riding(road, drive, last, density, rng),
        *_parked(road, 0, last, density, rng), *_parked(road, 1, last, density, rng),
        *_on_foot(road, 0, last, density, rng), *_on_foot(road, 1, last, density, rng),
    ]
    # fmt: on
    times = np.linspace(0, duration, max(2, int(duration / 0.1) + 1))
    tracks = [np.stack([drive.s(times), np.full(len(times), drive.lane)], -1)]
    sizes, actors = [np.array([2.6, 1.1])], []
    for actor in wanted:
        track = np.array(actor.start) + times[:, None] * np.array(actor.velocity)
        size = np.array(actor.half_size)
        if all(
            (np.abs(track - t) > size + other + (GAP, 0.05)).any(1).all()
            for t, other in zip(tracks, sizes, strict=True)
        ):
            actors.append(actor)
            tracks.append(track)
            sizes.append(size)
    return actors
