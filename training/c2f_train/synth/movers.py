"""Objects that move: who does, along which path over the ground, past whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from c2f_train.synth.raster import Camera
from c2f_train.synth.scene import Scene
from c2f_train.synth.scene_config import SceneConfig
from c2f_train.synth.shapes import THIN_FAMILIES
from c2f_train.synth.skeleton import Moment

FloatArray = NDArray[np.float64]

ROAMING = frozenset(
    "bear dog horse giraffe elephant duck person_standing car truck bus plane boat rocket shoe ball".split()
)
"""Families that move more often than others, with their front ahead."""
WAYS = ("before", "close", "behind", "around", "turning")
WAY_SHARES = (0.5, 0.14, 0.2, 0.1, 0.06)
"""Past the near side of an object, right before the camera, past the far side, anywhere, on the spot."""
TRIES = 16
HIDING_WORTH = 0.3
"""An object that is hidden for HIDING_FRAMES and comes back makes up for so deep an obstruction."""
CAMERA_GAP = 0.45
"""Nothing comes nearer to the camera than this, world units."""
HIDING_FRAMES = (2.0, 10.0)
"""For so long an object that is passed by a larger one is to stay hidden."""
PIXELS = (1.5, 9.0)
CLOSE_PIXELS = (8.0, 22.0)
"""Speed across an image 256 wide, per frame."""
STOP_SHARE, RETURN_SHARE, REVERSED_SHARE = 0.35, 0.12, 0.12
"""Of the paths: with a stop, turning back after it, driven backwards."""
STOP_FRAMES = (3, 12)
IDLE_SHARE, IDLE_MAX, IDLE_PACE = 0.6, 5, (0.05, 0.3)
"""Of the figures that stay, those that move head and limbs a little, at most so many; radians of that per frame."""


@dataclass(frozen=True)
class Mover:
    """An object of a scene that moves.

    index: of the object. spots: float64 [T, 2], where the origin of its shape is above the ground. turns: float64 [T],
    degrees that it is turned about the upright axis from its pose in the scene. travelled: float64 [T], length of the
    path so far, negative where it goes backwards.
    """

    index: int
    spots: FloatArray
    turns: FloatArray
    travelled: FloatArray
    moments: tuple[Moment, ...] = ()
    """Of a figure: where its motion stands in each frame."""


@dataclass(frozen=True)
class _Path:
    """Places [T, 2], headings in radians [T] and lengths so far [T] of a way over the ground."""

    spots: FloatArray
    headings: FloatArray
    travelled: FloatArray


def random_movers(scene: Scene, cameras: Sequence[Camera], config: SceneConfig, rng: Generator) -> list[Mover]:
    """The objects that move in a clip with one camera per frame; none in most clips if movers_fraction is small."""
    if not config.movers_fraction or rng.random() >= config.movers_fraction:
        return []
    count = min(int(rng.integers(config.movers_min, config.movers_max + 1)), max(len(scene.categories) - 1, 1))
    liking = np.array([_liking(scene, index) for index in range(len(scene.categories))])
    count = min(count, int((liking > 0).sum()))
    if not count:
        return [*_idling(scene, [], len(cameras), rng)]
    chosen = rng.choice(len(liking), count, replace=False, p=liking / liking.sum())
    movers: list[Mover] = []
    for index in chosen:
        mover = _mover(int(index), [int(other) for other in chosen], scene, cameras, movers, rng)
        if mover is not None:
            movers.append(mover)
    return [*movers, *_idling(scene, [mover.index for mover in movers], len(cameras), rng)]


def _liking(scene: Scene, index: int) -> float:
    """How readily an object is chosen to move; who sits stays, and so does the seat."""
    figure, name = scene.figure(index), scene.categories[index]
    if figure is not None:
        return 4.0 if figure.walks else 0.0
    if any(
        other is not None and not other.walks and _together(scene, index, k) for k, other in enumerate(scene.figures)
    ):
        return 0.0
    return 3.0 if name in ROAMING else (0.3 if name in THIN_FAMILIES else 1.0)


def _together(scene: Scene, first: int, second: int) -> bool:
    return bool(np.linalg.norm(scene.poses[first].offset[:2] - scene.poses[second].offset[:2]) < 0.1)


def _idling(scene: Scene, moving: list[int], frames: int, rng: Generator) -> list[Mover]:
    """Most of the other figures: they turn their heads and move their arms or tails where they are."""
    still = np.zeros(frames)
    figures = [index for index, figure in enumerate(scene.figures) if figure is not None and index not in moving]
    idle = [int(index) for index in rng.permutation(figures) if rng.random() < IDLE_SHARE][:IDLE_MAX]
    return [
        Mover(index, np.repeat(scene.poses[index].offset[None, :2], frames, 0), still, still,
              _moments(scene.moments[index], still, np.zeros(frames), 1.0, rng))
        for index in idle
    ]  # fmt: skip


def _moments(
    start: Moment, travelled: FloatArray, stride: FloatArray, cycle: float, rng: Generator
) -> tuple[Moment, ...]:
    """Where a figure's motion stands in each frame of a path."""
    pace = rng.uniform(*IDLE_PACE)
    phases = start.phase + 2 * np.pi * travelled / cycle
    return tuple(
        Moment(float(phase), float(share), float(start.sway + pace * frame))
        for frame, (phase, share) in enumerate(zip(phases, stride, strict=True))
    )


def _mover(
    index: int, moving: list[int], scene: Scene, cameras: Sequence[Camera], before: list[Mover], rng: Generator
) -> Mover | None:
    """The least obstructed of some random ways of an object, or nothing if all of them hit the camera."""
    still = [k for k in range(len(scene.poses)) if k not in moving] or [k for k in moving if k != index] or [index]
    best, least, chosen_way = None, np.inf, ""
    for _ in range(TRIES):
        way = str(rng.choice(WAYS, p=WAY_SHARES))
        target = int(rng.choice(still))
        if way == "turning":
            path = _turning(scene, index, len(cameras))
        else:
            path = _passing(way, index, target, scene, cameras, rng)
        cost = _obstruction(path, index, still, scene, cameras, before)
        if way != "turning" and np.isfinite(cost):
            cost -= HIDING_WORTH * min(_hidings(path, index, still, scene, cameras), 2)
        if cost < least:
            best, least, chosen_way = path, cost, way
    if best is None:
        return None
    turns, figure = _turns(best, chosen_way, index, scene, rng), scene.figure(index)
    if figure is None:
        return Mover(index, best.spots, turns, best.travelled)
    steps = np.abs(np.diff(best.travelled, append=2 * best.travelled[-1] - best.travelled[-2:-1].sum()))
    stride = np.clip(steps / max(steps.max(), 1e-9), 0, 1) if chosen_way != "turning" else np.zeros(len(steps))
    scale = float(np.linalg.norm(scene.poses[index].matrix[:, 0]))
    moments = _moments(scene.moments[index], best.travelled, stride, figure.cycle * scale, rng)
    return Mover(index, best.spots, turns, best.travelled, moments)


def _turning(scene: Scene, index: int, frames: int) -> _Path:
    """No way at all: the object stays where it is."""
    spots = np.repeat(scene.poses[index].offset[None, :2], frames, 0)
    return _Path(spots, np.zeros(frames), np.zeros(frames))


def _passing(way: str, index: int, target: int, scene: Scene, cameras: Sequence[Camera], rng: Generator) -> _Path:
    """A straight or curved way that crosses the line of sight to a still object at some time in the clip."""
    frames = len(cameras)
    crossing = rng.uniform(0.12, 0.88) * (frames - 1)
    camera = cameras[int(round(crossing))]
    eye, goal = camera.position[:2], scene.poses[target].offset[:2]
    sight = goal - eye
    distance = float(np.linalg.norm(sight))
    sight = sight / distance
    radius, other = scene.poses[index].radius, scene.poses[target].radius
    away, pixels = _distance_and_speed(way, radius, other, distance, camera, rng)
    if way == "around":
        place = rng.normal(0, 1.2, 2)
        away = float(np.linalg.norm(place - eye))
    else:
        place = eye + away * sight
    across = np.arctan2(sight[1], sight[0]) + np.pi / 2 * rng.choice([-1, 1]) + np.radians(rng.uniform(-35, 35))
    speed = pixels * away / camera.focal
    steps = speed * _pace(frames, crossing, rng)
    travelled = np.concatenate([[0.0], np.cumsum(steps)[:-1]])
    along = travelled - np.interp(crossing, np.arange(frames), travelled)
    bend = rng.uniform(-0.4, 0.4) if rng.random() < 0.6 else 0.0
    headings = across + bend * along
    return _Path(place + _arc(along, across, bend), headings, travelled)


def _distance_and_speed(
    way: str, radius: float, other: float, distance: float, camera: Camera, rng: Generator
) -> tuple[float, float]:
    """Distance from the camera at which an object crosses the line of sight, and its pixels per frame there."""
    scale = max(camera.height, camera.width) / 256
    pixels = scale * np.exp(rng.uniform(*np.log(PIXELS)))
    nearest = radius + CAMERA_GAP + 0.2
    touching = distance - radius - other
    if way == "close":
        return nearest + rng.uniform(0.0, 0.7), scale * np.exp(rng.uniform(*np.log(CLOSE_PIXELS)))
    if way == "behind":
        away = distance + (radius + other) * rng.uniform(1.05, 1.6)
    else:
        away = max(touching * rng.uniform(0.9, 1.0), nearest)
        # Near enough to look larger than what it passes, most of the time.
        if rng.random() < 0.7:
            away = max(min(away, distance * radius / other / rng.uniform(1.2, 2.0)), nearest)
    spare = camera.focal * 2 * abs(radius / away - other / distance)
    if rng.random() < 0.6:
        pixels = float(np.clip(spare / rng.uniform(*HIDING_FRAMES), PIXELS[0] * scale, 1.5 * PIXELS[1] * scale))
    return float(away), float(pixels)


def _pace(frames: int, crossing: float, rng: Generator) -> FloatArray:
    """Share [T] of the full speed at each step: 1, but for a stop with soft ends; negative on the way back."""
    time = np.arange(frames, dtype=np.float64)
    if rng.random() >= STOP_SHARE:
        return np.ones(frames)
    length = rng.integers(*STOP_FRAMES, endpoint=True)
    middle = crossing + rng.normal(0, 6)
    pace = np.clip(np.abs(time - middle) - length / 2, 0, 3) / 3
    if rng.random() < RETURN_SHARE / STOP_SHARE:
        pace = np.where(time > middle, -pace, pace)
    return pace


def _arc(along: FloatArray, heading: float, bend: float) -> FloatArray:
    """Points [T, 2] at lengths along a circle of curvature bend through the origin."""
    if abs(bend) < 1e-6:
        return along[:, None] * np.array([np.cos(heading), np.sin(heading)])
    turned = heading + bend * along
    return np.stack([np.sin(turned) - np.sin(heading), np.cos(heading) - np.cos(turned)], -1) / bend


def _obstruction(
    path: _Path, index: int, still: list[int], scene: Scene, cameras: Sequence[Camera], before: list[Mover]
) -> float:
    """How deep the way leads through other objects; infinite where it hits the camera."""
    radius = scene.poses[index].radius
    eyes = np.array([camera.position[:2] for camera in cameras])
    if (np.linalg.norm(path.spots - eyes, axis=1) < radius + CAMERA_GAP).any():
        return np.inf
    others = [(scene.poses[k].offset[None, :2], scene.poses[k].radius) for k in still if k != index]
    others += [(mover.spots, scene.poses[mover.index].radius) for mover in before]
    depth = 0.0
    for spots, reach in others:
        gaps = np.linalg.norm(path.spots - spots, axis=1)
        depth += float(np.maximum(0.9 * (radius + reach) - gaps, 0).sum()) / len(cameras)
    return depth


def _hidings(path: _Path, index: int, still: list[int], scene: Scene, cameras: Sequence[Camera]) -> int:
    """About how many still objects the way hides for HIDING_FRAMES and then shows again, and the other way round."""
    eyes = np.array([camera.position for camera in cameras])
    others = [k for k in still if k != index]
    spots = np.concatenate(
        [path.spots[:, None], np.array([[scene.poses[k].offset[:2] for k in others]] * len(eyes))], 1
    )
    radii = np.array([scene.poses[k].radius for k in (index, *others)])
    tops = np.array([_top(scene, k) for k in (index, *others)])
    away = spots - eyes[:, None, :2]
    distance = np.maximum(np.linalg.norm(away, axis=-1), 1e-6)
    bearing, half = np.arctan2(away[..., 1], away[..., 0]), np.arctan(radii / distance)
    top = (tops - eyes[:, None, 2]) / distance
    apart = np.abs((bearing[:, 1:] - bearing[:, :1] + np.pi) % (2 * np.pi) - np.pi)
    ahead = np.array([camera.rotation[2, :2] for camera in cameras])
    in_view = (away[:, 1:] @ ahead[:, :, None])[..., 0] > 0.88 * distance[:, 1:]
    count = 0
    for sign in (1, -1):
        covered = (sign * (half[:, :1] - half[:, 1:]) > apart) & (sign * (top[:, :1] - top[:, 1:]) > 0)
        covered &= (sign * (distance[:, 1:] - distance[:, :1]) > 0) & in_view
        frames = covered.sum(0)
        ends = covered[0] | covered[-1]
        count += int(((frames >= HIDING_FRAMES[0]) & (frames <= HIDING_FRAMES[1]) & ~ends).sum())
    return count


def _top(scene: Scene, index: int) -> float:
    """Height of an object."""
    return float(scene.surface.vertices[slice(*scene.corners[index : index + 2]), 2].max())


def _turns(path: _Path, way: str, index: int, scene: Scene, rng: Generator) -> FloatArray:
    """Degrees [T] from the pose in the scene: along the way, not at all, or spinning."""
    frames = len(path.headings)
    spin = rng.uniform(1.5, 7.0) * rng.choice([-1, 1]) * np.arange(frames)
    if way == "turning":
        return spin
    front = scene.poses[index].matrix[:2, 0]
    facing = np.degrees(path.headings - np.arctan2(front[1], front[0]))
    if scene.figure(index) is not None:
        return facing
    if scene.categories[index] in ROAMING:
        return facing + (180.0 if rng.random() < REVERSED_SHARE else 0.0)
    kind = rng.random()
    return facing if kind < 0.3 else (np.zeros(frames) if kind < 0.75 else spin)
