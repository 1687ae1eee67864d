"""Driving sequences in the manner of KINS: a street with its road users, seen from a moving car."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from c2f_train.synth.clip import Clip
from c2f_train.synth.driving_road import drive_camera, random_drive, random_road
from c2f_train.synth.driving_shade import shade_street
from c2f_train.synth.driving_street import random_street
from c2f_train.synth.driving_traffic import Density, random_traffic
from c2f_train.synth.driving_view import Street, View, make_street, street_masks, view_street, with_actors
from c2f_train.synth.raster import Camera, raster_objects
from c2f_train.synth.shade import develop

SURVEY_FRAMES, SURVEY_SHRINK = 4, 3
"""Before drawing, so many frames at most are looked at, at an image size smaller by this factor."""


@dataclass(frozen=True)
class DriveConfig:
    """Every knob of the driving generator; lengths in metres, densities per 100 m of street."""

    height: int = 188
    width: int = 621
    supersample: int = 2
    """Colour samples per pixel side, 1 or 2; masks are always taken at pixel centres."""
    rate_hz: float = 10.0
    speed_min: float = 0.0
    speed_max: float = 15.0
    """Of the camera, metres per second."""
    reach: float = 55.0
    """Road users stand up to this far ahead of where the drive ends."""
    parked: float = 0.88
    """Share of parking places taken, where there are any."""
    oncoming: float = 3.5
    leading: float = 3.5
    pedestrians: float = 16.0
    """Groups per side."""
    cyclists: float = 4.0
    crossing: float = 1.5
    """Vehicles on a side road, where there is one."""
    posts: float = 14.0
    trees: float = 8.0
    """Posts and street trees per side."""
    actors_max: int = 40
    height_min: float = 0.064
    """Road users whose mean height is below this share of the image's are left out of the scene."""
    visible_min: float = 0.15
    """So are those of which never more than this share is seen."""
    hidden_max: float = 0.57
    """And those of which on average more than this share is hidden."""

    def __post_init__(self) -> None:
        for name, least, most in (
            ("height", 8, 4096),
            ("width", 8, 4096),
            ("rate_hz", 0.01, 10000),
            ("reach", 5, 300),
            ("parked", 0, 1),
            ("oncoming", 0, 50),
            ("leading", 0, 50),
            ("pedestrians", 0, 200),
            ("cyclists", 0, 50),
            ("crossing", 0, 20),
            ("posts", 0, 100),
            ("trees", 0, 100),
            ("actors_max", 1, 500),
            ("height_min", 0, 1),
            ("visible_min", 0, 1),
            ("hidden_max", 0, 1),
        ):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}, expected {least} to {most}")
        if not 0 <= self.speed_min <= self.speed_max <= 60:
            raise ValueError(f"speed: found {self.speed_min} to {self.speed_max}, expected 0 <= min <= max <= 60")
        if self.supersample not in (1, 2):
            raise ValueError(f"supersample is {self.supersample}, expected 1 or 2")


def generate_drive(config: DriveConfig, frames: int, seed: int) -> Clip:
    """A driving sequence; the same config, frames and seed give the same clip.

    Object k is the same road user in all frames; road users that no frame shows are left out. What hides a road user
    need not be a road user: labels are 0 there.
    """
    if frames < 1:
        raise ValueError(f"frames is {frames}, expected at least 1")
    rng = np.random.default_rng(seed)
    street = thinned(random_drive_street(config, frames, rng), config, frames)
    return render_drive(street, config, frames)


def random_drive_street(config: DriveConfig, frames: int, rng: Generator) -> Street:
    """A street for a sequence of that many frames, drawn from the config."""
    duration = (frames - 1) / config.rate_hz
    road = random_road(rng)
    drive = random_drive(road, config.speed_min, config.speed_max, rng)
    density = Density(**{name: getattr(config, name) for name in Density.__dataclass_fields__})
    actors = random_traffic(road, drive, duration, config.reach, density, rng)
    meshes = random_street(road, drive.s(duration), config.posts, config.trees, rng)
    return make_street(road, drive, actors, meshes, rng)


def thinned(street: Street, config: DriveConfig, frames: int) -> Street:
    """The street without road users that stay tiny or hidden, and with at most actors_max."""
    count = len(street.actors)
    best, shown, heights, times = (np.zeros(count) for _ in range(4))
    for frame in np.unique(np.linspace(0, frames - 1, SURVEY_FRAMES).astype(int)):
        time = frame / config.rate_hz
        size = max(config.height // SURVEY_SHRINK, 40), max(config.width // SURVEY_SHRINK, 132)
        camera = drive_camera(street.road, street.drive, time, *size)
        view = view_street(street, camera, time)
        masks = street_masks(view, camera)
        for slot, index in enumerate(view.seen):
            full = masks.amodal[slot]
            if full.any():
                share = (masks.labels[full] == slot + 1).mean()
                best[index] = max(best[index], share)
                shown[index] += share
                heights[index] += full.any(1).sum() / size[0]
                times[index] += 1
    enough = (heights >= config.height_min * times) & (shown >= (1 - config.hidden_max) * times)
    kept = np.flatnonzero(enough & (best >= config.visible_min) & (times > 0))
    if len(kept) > config.actors_max:
        kept = np.sort(kept[np.argsort(-best[kept], kind="stable")[: config.actors_max]])
    return with_actors(street, [int(index) for index in kept])


def render_drive(street: Street, config: DriveConfig, frames: int) -> Clip:
    """The clip of a street; road users that no frame shows are left out."""
    count, size = len(street.actors), (config.height, config.width)
    rgb = np.zeros((frames, *size, 3), np.uint8)
    labels, hides = np.zeros((frames, *size), np.uint16), np.zeros((frames, count, count), np.bool_)
    amodal = np.zeros((frames, count, *size), np.bool_)
    for frame in range(frames):
        time = frame / config.rate_hz
        camera = drive_camera(street.road, street.drive, time, *size)
        view = view_street(street, camera, time)
        masks = street_masks(view, camera)
        index = np.array(view.seen, int)
        labels[frame] = np.append(0, index + 1).astype(np.uint16)[masks.labels]
        amodal[frame, index] = masks.amodal
        hides[frame][np.ix_(index, index)] = masks.hides
        rgb[frame] = _picture(street, view, camera, masks.face, config.supersample)
    shown = np.unique(labels)
    kept = shown[shown > 0].astype(int) - 1
    renumbered = np.zeros(count + 1, np.uint16)
    renumbered[kept + 1] = np.arange(1, len(kept) + 1)
    categories = tuple(street.actors[k].category for k in kept)
    stamps_ns = np.round(np.arange(frames) * (1e9 / config.rate_hz)).astype(np.int64)
    amodal = amodal if len(kept) == count else amodal[:, kept]
    return Clip(rgb, renumbered[labels], amodal, hides[:, kept][:, :, kept], categories, stamps_ns)


def _picture(street: Street, view: View, camera: Camera, face: NDArray, supersample: int) -> NDArray[np.uint8]:
    """The picture uint8 [H, W, 3]; face [H, W] is the visible triangle at pixel centres."""
    if supersample > 1:
        camera = camera.enlarged(supersample)
        whole = np.array([0, len(view.triangles)], np.int32)
        face = raster_objects(camera, view.vertices, view.triangles, whole).face[0]
    movers, look = view.mover_triangles(), (street.paints, street.light, street.grounds, street.road)
    image = shade_street(camera, face, view.surface(), *look, movers)
    return develop(image, supersample)
