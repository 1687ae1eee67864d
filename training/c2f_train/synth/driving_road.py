"""The road: an arc of constant curvature with lanes, parking strips, pavements, and the way the camera takes on it.

Road coordinates: s along the middle line, d to the left of it, metres. World: x forward at s = 0, y left, z up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from c2f_train.synth.raster import Camera

KITTI_FOCAL, KITTI_CENTRE, KITTI_SIZE = 721.5, (609.6, 172.9), (375, 1242)
"""Focal length and principal point (column, row) in pixels at that (height, width)."""
EYE_HEIGHT = 1.65
SIDE_ROAD_HALF = 3.2
"""Half the width of a side road, metres."""
STRAIGHT = 1e-7
"""Least curvature, so that the formulas of the arc hold for a straight road too, 1/m."""


@dataclass(frozen=True)
class Road:
    """Cross-section and bend of a street.

    curvature: 1/m, positive turns left, never 0. handed: 1 where traffic keeps right, -1 where it keeps left.
    lanes: per direction. lane_width: metres. parking, pavement, setback: metres on the side of driving (index 0) and
    the other side (index 1): parking strip, paved way, and from there to the fronts. dash: period of lane marks.
    crossing, side_road: s of a zebra crossing and of a side road across, or nan.
    """

    curvature: float
    handed: int
    lanes: int
    lane_width: float
    parking: tuple[float, float]
    pavement: tuple[float, float]
    setback: tuple[float, float]
    dash: float
    crossing: float
    side_road: float

    @property
    def half_width(self) -> float:
        """From the middle line to the edge of the outer lane."""
        return self.lanes * self.lane_width

    def is_side_road(self, s: float, margin: float) -> bool:
        """Whether s lies on the side road or nearer than margin to it."""
        return bool(abs(s - self.side_road) < SIDE_ROAD_HALF + margin)

    def kerb(self, side: int) -> float:
        """Distance of the kerb from the middle line; side 0 is that of driving."""
        return self.half_width + self.parking[side]

    def back(self, side: int) -> float:
        """Distance of the far edge of the pavement."""
        return self.kerb(side) + self.pavement[side]

    def front(self, side: int) -> float:
        """Distance of the house fronts."""
        return self.back(side) + self.setback[side]

    def heading(self, s: float) -> float:
        """Direction of the road at s, radians counter-clockwise from the x axis."""
        return self.curvature * s

    def place(self, s: float, d: float) -> NDArray[np.float64]:
        """World position [2] of road coordinates; d is positive on the side of oncoming traffic."""
        k, offset = self.curvature, d * self.handed
        across = np.array([-np.sin(k * s), np.cos(k * s)])
        # 1 - cos as a square: it would cancel on a road that is nearly straight.
        return np.array([np.sin(k * s) / k, 2 * np.sin(k * s / 2) ** 2 / k]) + offset * across


def random_road(rng: Generator) -> Road:
    """A residential or a main street, straight or in a gentle bend."""
    curvature = rng.choice([-1, 1]) * (STRAIGHT if rng.random() < 0.4 else 1 / rng.uniform(120, 500))
    lanes = int(rng.choice([1, 2], p=[0.65, 0.35]))
    parking = tuple(float(rng.choice([0.0, 2.2, 4.8], p=[0.33, 0.5, 0.17])) for _ in range(2))
    return Road(
        curvature=float(curvature),
        handed=int(rng.choice([1, -1], p=[0.8, 0.2])),
        lanes=lanes,
        lane_width=float(rng.uniform(2.7, 3.6)),
        parking=(parking[0], parking[1]),
        pavement=(float(rng.uniform(1.6, 4.0)), float(rng.uniform(1.6, 4.0))),
        setback=(float(rng.uniform(0.2, 7.0)), float(rng.uniform(0.2, 7.0))),
        dash=float(rng.uniform(6, 12)),
        crossing=float(rng.uniform(12, 60)) if rng.random() < 0.25 else float("nan"),
        side_road=float(rng.uniform(14, 50)) if rng.random() < 0.4 else float("nan"),
    )


@dataclass(frozen=True)
class Drive:
    """How the camera moves: speed in m/s, d of its lane, sway in metres, pitch and its bobbing in radians."""

    speed: float
    lane: float
    sway: float
    sway_period: float
    pitch: float
    bob: float
    bob_period: float

    def s(self, time: float) -> float:
        """How far along the road the camera is after some seconds."""
        return self.speed * time

    def d(self, time: float) -> float:
        """Where across the road it is."""
        return self.lane + self.sway * np.sin(2 * np.pi * time / self.sway_period)


def random_drive(road: Road, speed_min: float, speed_max: float, rng: Generator) -> Drive:
    """A drive along one of the lanes of the road; often enough slowly, so that others overtake."""
    lane = -road.lane_width * (int(rng.integers(road.lanes)) + 0.5)
    speed = rng.uniform(speed_min, speed_max)
    if rng.random() < 0.25:
        speed = min(rng.uniform(0, 3), speed_max) if speed_min == 0 else speed_min
    # fmt: off
    return Drive(float(speed), lane, rng.uniform(0, 0.25), rng.uniform(6, 15), np.radians(rng.normal(0, 0.3)),
                 np.radians(rng.uniform(0, 0.25)), rng.uniform(0.7, 1.6))
    # fmt: on


def drive_camera(road: Road, drive: Drive, time: float, height: int, width: int) -> Camera:
    """The view of the KITTI camera, scaled to an image size, at a time in seconds."""
    s, d = drive.s(time), drive.d(time)
    slope = drive.sway * 2 * np.pi / drive.sway_period * np.cos(2 * np.pi * time / drive.sway_period)
    yaw = road.heading(s) + road.handed * np.arctan2(slope, max(drive.speed, 4.0))
    pitch = drive.pitch + drive.bob * np.sin(2 * np.pi * time / drive.bob_period)
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    scale = height / KITTI_SIZE[0], width / KITTI_SIZE[1]
    return Camera(
        np.stack([right, np.cross(forward, right), forward]),
        np.array([*road.place(s, d), EYE_HEIGHT]),
        KITTI_FOCAL * scale[1],
        height,
        width,
        (KITTI_CENTRE[0] * scale[1], KITTI_CENTRE[1] * scale[0]),
    )
