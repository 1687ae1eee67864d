"""How the camera of a clip moves: around the cluster, nearer and farther, and turning on its way as a robot's does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from c2f_train.synth.mesh import rotation
from c2f_train.synth.raster import Camera, look_at
from c2f_train.synth.scene import Scene
from c2f_train.synth.scene_config import SceneConfig

FAR_GAP, NEAR_GAP = 1.2, (0.45, 1.5)
"""Room between the camera and the objects of a living scene seen from afar and from near, world units."""
NEAR_ELEVATION, NEAR_HEIGHT = 12.0, 0.75
"""A near camera stands at most so high above the horizon, degrees, and looks at most so high, world units."""
PERIODS = (24.0, 90.0)
"""A pan or an approach goes there and back within so many frames."""
PAN_REACH_DEGREES = 11.0
"""A pan turns at most this far away from the cluster, so that some of it stays in the image."""
APPROACH_REACH = 0.22
"""Greatest change of the distance, as a share of it."""
PITCH_SHARE, ROLL_SHARE = 0.4, 0.4
"""Of the turn up and down, and of the roll, over the turn to the side."""
SHAKE_MEMORY = 0.45
"""How much of a shake is left in the next frame."""


def view_of(scene: Scene, config: SceneConfig) -> tuple[SceneConfig, float]:
    """The config with distances that fit the scene, and the height of the point that cameras look at."""
    top = float(scene.surface.vertices[:, 2].max())
    if not scene.figures:
        return config, 0.35 * top
    reach = max(float(np.linalg.norm(pose.offset[:2])) + pose.radius for pose in scene.poses)
    if not scene.near:
        low = max(config.distance_min, reach + FAR_GAP)
        return replace(config, distance_min=low, distance_max=max(config.distance_max, low + 0.5)), 0.35 * top
    low, high = reach + NEAR_GAP[0], reach + NEAR_GAP[1]
    least = min(config.elevation_min_degrees, NEAR_ELEVATION)
    most = min(config.elevation_max_degrees, NEAR_ELEVATION)
    near = replace(config, distance_min=low, distance_max=high)
    return replace(near, elevation_min_degrees=least, elevation_max_degrees=most), min(0.55 * top, NEAR_HEIGHT)


def random_cameras(config: SceneConfig, frames: int, middle_height: float, rng: Generator) -> list[Camera]:
    """One camera per frame on a circle around the origin, looking at a point above it, or near it where it pans."""
    elevation = np.radians(rng.uniform(config.elevation_min_degrees, config.elevation_max_degrees))
    distance = rng.uniform(config.distance_min, config.distance_max)
    start, turn = rng.uniform(0, 360), _orbit_degrees(config, rng) * rng.choice([-1, 1])
    still = bool(config.still_fraction) and rng.random() < config.still_fraction
    distances = np.full(frames, distance)
    if not still and config.approach_fraction and rng.random() < config.approach_fraction:
        distances = distance * (1 + _there_and_back(frames, config.approach_share, APPROACH_REACH, rng))
    focal = max(config.height, config.width) / 2 / np.tan(np.radians(config.field_of_view_degrees) / 2)
    target = np.array([0.0, 0.0, middle_height])
    cameras = []
    for frame in range(frames):
        angle = np.radians(start + (0.0 if still else turn) * frame)
        away = np.array([np.cos(elevation) * np.cos(angle), np.cos(elevation) * np.sin(angle), np.sin(elevation)])
        position = target + distances[frame] * away
        cameras.append(look_at(position, target, float(focal), config.height, config.width))
    turns = np.zeros((frames, 3)) if still else _turns(config, frames, rng)
    return [turned(camera, *one) if one.any() else camera for camera, one in zip(cameras, turns, strict=True)]


def _orbit_degrees(config: SceneConfig, rng: Generator) -> float:
    """Degrees per frame of this clip; nothing is drawn for a fixed number."""
    if isinstance(config.orbit_degrees_per_frame, tuple):
        return float(rng.uniform(*config.orbit_degrees_per_frame))
    return config.orbit_degrees_per_frame


def turned(camera: Camera, yaw_degrees: float, pitch_degrees: float, roll_degrees: float) -> Camera:
    """The camera looking more to its right, farther down, and leaning to its right; its position stays."""
    turn = rotation("z", -roll_degrees) @ rotation("x", pitch_degrees) @ rotation("y", -yaw_degrees)
    return replace(camera, rotation=turn @ camera.rotation)


def _turns(config: SceneConfig, frames: int, rng: Generator) -> NDArray[np.float64]:
    """Yaw, pitch and roll in degrees for each frame [T, 3] away from the middle of the cluster."""
    turns = np.zeros((frames, 3))
    if config.pan_fraction and rng.random() < config.pan_fraction:
        turns[:, 0] += _there_and_back(frames, config.pan_degrees, PAN_REACH_DEGREES, rng)
        turns[:, 1] += PITCH_SHARE * _there_and_back(frames, config.pan_degrees, PAN_REACH_DEGREES, rng)
    if config.shake_fraction and rng.random() < config.shake_fraction:
        turns += rng.uniform(*config.shake_degrees) * _shake(frames, rng) * np.array([1.0, 1.0, ROLL_SHARE])
    return turns


def _there_and_back(frames: int, speeds: tuple[float, float], reach: float, rng: Generator) -> NDArray[np.float64]:
    """A slow wave [T] whose greatest step per frame is drawn from speeds (small ones as likely as large ones)."""
    low, high = speeds
    speed = np.exp(rng.uniform(np.log(low), np.log(high)))
    pace = 2 * np.pi / rng.uniform(*PERIODS)
    pace = max(pace, speed / reach)
    return speed / pace * np.sin(pace * np.arange(frames) + rng.uniform(0, 2 * np.pi))


def _shake(frames: int, rng: Generator) -> NDArray[np.float64]:
    """Noise [T, 3] of standard deviation 1 that partly lasts from frame to frame."""
    shocks = rng.normal(size=(frames, 3)) * np.sqrt(1 - SHAKE_MEMORY**2)
    shaken = np.empty((frames, 3))
    last = rng.normal(size=3)
    for frame in range(frames):
        last = SHAKE_MEMORY * last + shocks[frame]
        shaken[frame] = last
    return shaken
