"""Random scenes: a tight cluster of objects on a plane, seen from a low camera that circles it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from c2f_train.synth.appearance import (
    Light,
    Materials,
    Surroundings,
    random_light,
    random_materials,
    random_surroundings,
)
from c2f_train.synth.mesh import Mesh, corner_normals, normalized, rotation
from c2f_train.synth.raster import Camera, look_at
from c2f_train.synth.shade import Surface
from c2f_train.synth.shadow import Shadows, cast_shadows
from c2f_train.synth.shapes import FAMILIES, family_names

CREASE_COSINE = 0.7
"""Edges sharper than this between two triangles are shaded as edges, others as round."""

SPARSE_SPREAD = 1.5
"""Objects of a sparse clip stand this many times farther apart."""


@dataclass(frozen=True)
class SceneConfig:
    """Every knob of the generator; lengths in world units, in which an object of scale 1 has longest side 1."""

    height: int = 256
    width: int = 256
    families: str = "train"
    objects_min: int = 10
    objects_max: int = 20
    sparse_fraction: float = 0.1
    """Share of clips with few objects, sparse_min to sparse_max, spread out."""
    sparse_min: int = 3
    sparse_max: int = 8
    scale_min: float = 0.6
    scale_max: float = 1.6
    spacing: float = 1.1
    """Distance of neighbours over the sum of their radii; below 1 they may touch."""
    tumbled_fraction: float = 0.15
    """Share of objects lying on their side or leaning."""
    elevation_min_degrees: float = 3.0
    elevation_max_degrees: float = 15.0
    orbit_degrees_per_frame: float = 15.0
    """How far the camera travels around the cluster between frames; its sign is drawn for each clip."""
    distance_min: float = 4.4
    distance_max: float = 6.2
    """Of the camera from the middle of the cluster."""
    field_of_view_degrees: float = 50.0
    """Of the longer image side."""
    supersample: int = 1
    """Colour samples per pixel side, 1 or 2; masks are always taken at pixel centres."""
    fps: float = 12.0

    def __post_init__(self) -> None:
        family_names(self.families)
        self._check_range("objects", self.objects_min, self.objects_max, 1, 60)
        self._check_range("sparse", self.sparse_min, self.sparse_max, 1, 60)
        self._check_range("scale", self.scale_min, self.scale_max, 0.05, 20)
        self._check_range("elevation degrees", self.elevation_min_degrees, self.elevation_max_degrees, 0.5, 89)
        self._check_range("distance", self.distance_min, self.distance_max, 0.5, 100)
        for name in ("sparse_fraction", "tumbled_fraction"):
            self._check_range(name, getattr(self, name), getattr(self, name), 0, 1)
        self._check_range("spacing", self.spacing, self.spacing, 0.1, 10)
        self._check_range("field_of_view_degrees", self.field_of_view_degrees, self.field_of_view_degrees, 5, 150)
        self._check_range("height and width", min(self.height, self.width), max(self.height, self.width), 8, 4096)
        self._check_range("fps", self.fps, self.fps, 0.01, 10000)
        if self.supersample not in (1, 2):
            raise ValueError(f"supersample is {self.supersample}, expected 1 or 2")

    @staticmethod
    def _check_range(name: str, low: float, high: float, least: float, most: float) -> None:
        if not least <= low <= high <= most:
            raise ValueError(f"{name}: found {low} to {high}, expected {least} <= min <= max <= {most}")


@dataclass(frozen=True)
class Scene:
    """A scene that stands still.

    surface: triangles of all objects. starts: int32 [N + 1], object k owns triangles starts[k] .. starts[k + 1].
    categories: N family names.
    """

    surface: Surface
    starts: NDArray[np.int32]
    categories: tuple[str, ...]
    materials: Materials
    light: Light
    surroundings: Surroundings

    @cached_property
    def shadows(self) -> Shadows:
        """Cast shadows; they do not depend on the camera."""
        return cast_shadows(self.surface.vertices, self.surface.triangles, self.light)


def random_scene(config: SceneConfig, rng: Generator) -> Scene:
    """A scene drawn from the config."""
    sparse = rng.random() < config.sparse_fraction
    low, high = (config.sparse_min, config.sparse_max) if sparse else (config.objects_min, config.objects_max)
    count = int(rng.integers(low, high + 1))
    categories = tuple(str(name) for name in rng.choice(family_names(config.families), count))
    shapes = [normalized(FAMILIES[category](rng)) for category in categories]
    placed = [_posed(shape, config, rng) for shape in shapes]
    spots = _cluster([_footprint(mesh) for mesh in placed], config.spacing * (SPARSE_SPREAD if sparse else 1.0), rng)
    placed = [mesh.moved(x, y) for mesh, (x, y) in zip(placed, spots, strict=True)]
    return assemble(placed, shapes, categories, rng)


def assemble(placed: list[Mesh], shapes: list[Mesh], categories: tuple[str, ...], rng: Generator) -> Scene:
    """A scene of meshes in the world; shapes are the same meshes in their own frames, textures are fixed to those."""
    counts = [len(mesh.triangles) for mesh in placed]
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in placed[:-1]])
    normals = [corner_normals(mesh.vertices, mesh.triangles, CREASE_COSINE) for mesh in placed]
    surface = Surface(
        vertices=np.concatenate([mesh.vertices for mesh in placed]),
        local=np.concatenate([mesh.vertices for mesh in shapes]),
        triangles=np.concatenate(
            [mesh.triangles + np.int32(start) for mesh, start in zip(placed, offsets, strict=True)]
        ),
        normals=np.concatenate(normals),
        owner=np.repeat(np.arange(len(placed), dtype=np.int32), counts),
        parts=np.concatenate([mesh.parts for mesh in placed]),
    )
    starts = np.cumsum([0, *counts]).astype(np.int32)
    materials, light = random_materials(categories, rng), random_light(rng)
    return Scene(surface, starts, categories, materials, light, random_surroundings(rng))


def _posed(shape: Mesh, config: SceneConfig, rng: Generator) -> Mesh:
    """The shape scaled, turned, perhaps tipped over, and put on the ground."""
    matrix = rotation("z", rng.uniform(0, 360))
    if rng.random() < config.tumbled_fraction:
        tilt = rng.choice([90.0, 180.0, rng.uniform(15, 75)], p=[0.7, 0.2, 0.1])
        matrix = matrix @ rotation("x", tilt) @ rotation("z", rng.uniform(0, 360))
    scale = np.exp(rng.uniform(np.log(config.scale_min), np.log(config.scale_max)))
    mesh = shape.transformed(matrix * scale)
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    return mesh.moved(-(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2])


def _footprint(mesh: Mesh) -> float:
    """Radius of a circle about as large as the mesh seen from above."""
    return float(np.percentile(np.hypot(mesh.vertices[:, 0], mesh.vertices[:, 1]), 85))


def _cluster(radii: list[float], spacing: float, rng: Generator) -> NDArray[np.float64]:
    """Positions [N, 2] of circles pushed towards the middle one after another until they touch."""
    spots = np.zeros((len(radii), 2))
    for index in range(1, len(radii)):
        gap = spacing * (np.array(radii[:index]) + radii[index])
        around = rng.uniform(0, 2 * np.pi, 3)
        directions = np.stack([np.cos(around), np.sin(around)], -1)
        choices = [direction * _free_distance(direction, spots[:index], gap) for direction in directions]
        spots[index] = min(choices, key=lambda spot: float(spot @ spot))
    return spots - spots.mean(0)


def _free_distance(direction: NDArray[np.float64], others: NDArray[np.float64], gap: NDArray[np.float64]) -> float:
    """The least distance from the origin along a direction from which all others are at least gap [K] away."""
    along = others @ direction
    across = (others**2).sum(1) - along**2
    reach = np.sqrt(np.maximum(gap**2 - across, 0.0))
    blocked = sorted(zip(along - reach, along + reach, strict=True))
    distance = 0.0
    for start, end in blocked:
        if start < distance < end:
            distance = float(end)
    return distance


def random_cameras(config: SceneConfig, frames: int, middle_height: float, rng: Generator) -> list[Camera]:
    """One camera per frame on a circle around the origin, looking at a point above it."""
    elevation = np.radians(rng.uniform(config.elevation_min_degrees, config.elevation_max_degrees))
    distance = rng.uniform(config.distance_min, config.distance_max)
    start, turn = rng.uniform(0, 360), config.orbit_degrees_per_frame * rng.choice([-1, 1])
    focal = max(config.height, config.width) / 2 / np.tan(np.radians(config.field_of_view_degrees) / 2)
    target = np.array([0.0, 0.0, middle_height])
    cameras = []
    for frame in range(frames):
        angle = np.radians(start + turn * frame)
        away = np.array([np.cos(elevation) * np.cos(angle), np.cos(elevation) * np.sin(angle), np.sin(elevation)])
        cameras.append(look_at(target + distance * away, target, float(focal), config.height, config.width))
    return cameras
