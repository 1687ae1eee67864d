"""Random scenes: a tight cluster of objects on a plane, seen from a low camera that circles it."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
from c2f_train.synth.backdrop import with_backdrop
from c2f_train.synth.coats import with_coats
from c2f_train.synth.living import NEAR_SHARE, random_groups
from c2f_train.synth.mesh import Mesh, corner_normals, normalized, rotation
from c2f_train.synth.scene_config import SceneConfig
from c2f_train.synth.shade import Surface
from c2f_train.synth.shadow import Shadows, cast_shadows
from c2f_train.synth.shapes import FAMILIES, family_names
from c2f_train.synth.skeleton import Figure, Moment

CREASE_COSINE = 0.7
"""Edges sharper than this between two triangles are shaded as edges, others as round."""

GROUP_SPACING = 0.72
"""Groups stand closer than single objects: circles around them are mostly empty."""
BACKDROP_SHARE = 0.75
"""Of living scenes, those with walls, hedges and trees in the distance."""

SPARSE_SPREAD = 1.5
"""Objects of a sparse clip stand this many times farther apart."""


@dataclass(frozen=True)
class Pose:
    """How a shape stands in the world: a vertex v of the shape lies at matrix v + offset.

    matrix: float64 [3, 3], scale included. offset: float64 [3]. radius: of a circle about as large, seen from above.
    """

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]
    radius: float


@dataclass(frozen=True)
class Scene:
    """A scene that stands still.

    surface: triangles of all objects. starts: int32 [N + 1], object k owns triangles starts[k] .. starts[k + 1].
    corners: int32 [N + 1], and vertices corners[k] .. corners[k + 1]. categories: N family names. poses: of N objects.
    """

    surface: Surface
    starts: NDArray[np.int32]
    corners: NDArray[np.int32]
    categories: tuple[str, ...]
    poses: tuple[Pose, ...]
    materials: Materials
    light: Light
    surroundings: Surroundings
    figures: tuple[Figure | None, ...] = ()
    """Of each object, or empty: what moves its limbs."""
    moments: tuple[Moment, ...] = ()
    """Where the figures' motion stands in the scene."""
    near: bool = False
    """The camera stands near."""

    def figure(self, index: int) -> Figure | None:
        """The figure of an object, if it is one."""
        return self.figures[index] if self.figures else None

    @cached_property
    def shadows(self) -> Shadows:
        """Cast shadows; they do not depend on the camera."""
        return cast_shadows(self.surface.vertices, self.surface.triangles, self.light)


def random_scene(config: SceneConfig, rng: Generator) -> Scene:
    """A scene drawn from the config."""
    if config.living_fraction and rng.random() < config.living_fraction:
        return _living_scene(config, rng)
    sparse = rng.random() < config.sparse_fraction
    low, high = (config.sparse_min, config.sparse_max) if sparse else (config.objects_min, config.objects_max)
    count = int(rng.integers(low, high + 1))
    categories = tuple(str(name) for name in rng.choice(family_names(config.families), count))
    shapes = [normalized(FAMILIES[category](rng)) for category in categories]
    standing = [_posed(shape, config, rng) for shape in shapes]
    radii = [_footprint(mesh) for mesh, _, _ in standing]
    spots = _cluster(radii, config.spacing * (SPARSE_SPREAD if sparse else 1.0), rng)
    placed, poses = [], []
    for (mesh, matrix, shift), (x, y), radius in zip(standing, spots, radii, strict=True):
        placed.append(mesh.moved(x, y))
        poses.append(Pose(matrix, shift + np.array([x, y, 0.0]), radius))
    return assemble(placed, shapes, poses, categories, rng)


def _living_scene(config: SceneConfig, rng: Generator) -> Scene:
    """A scene of animals, people, thin things and others, in groups."""
    near = bool(rng.random() < NEAR_SHARE)
    groups = random_groups(config, near, rng)
    radii = [max(np.hypot(one.x, one.y) + one.radius() for one in group) for group in groups]
    spots = _cluster(radii, GROUP_SPACING * config.spacing, rng)
    members = [(one, spot) for group, spot in zip(groups, spots, strict=True) for one in group]
    placed, poses = [], []
    for one, spot in members:
        mesh, matrix, offset = one.placed(*spot)
        placed.append(mesh)
        poses.append(Pose(matrix, offset, one.radius()))
    categories = tuple(one.category for one, _ in members)
    scene = assemble(placed, [one.mesh for one, _ in members], poses, categories, rng)
    coats = {index: one.coat for index, (one, _) in enumerate(members) if one.coat is not None}
    surroundings = scene.surroundings
    if rng.random() < BACKDROP_SHARE:
        surroundings = with_backdrop(surroundings, rng)
    return replace(
        scene,
        materials=with_coats(scene.materials, coats, rng),
        surroundings=surroundings,
        figures=tuple(one.figure for one, _ in members),
        moments=tuple(one.moment for one, _ in members),
        near=near,
    )


def assemble(
    placed: list[Mesh], shapes: list[Mesh], poses: list[Pose], categories: tuple[str, ...], rng: Generator
) -> Scene:
    """A scene of meshes in the world; shapes are the same meshes in their own frames, textures are fixed to those."""
    counts = [len(mesh.triangles) for mesh in placed]
    corners = np.cumsum([0] + [len(mesh.vertices) for mesh in placed]).astype(np.int32)
    normals = [corner_normals(mesh.vertices, mesh.triangles, CREASE_COSINE) for mesh in placed]
    surface = Surface(
        vertices=np.concatenate([mesh.vertices for mesh in placed]),
        local=np.concatenate([mesh.vertices for mesh in shapes]),
        triangles=np.concatenate([mesh.triangles + start for mesh, start in zip(placed, corners[:-1], strict=True)]),
        normals=np.concatenate(normals),
        owner=np.repeat(np.arange(len(placed), dtype=np.int32), counts),
        parts=np.concatenate([mesh.parts for mesh in placed]),
    )
    starts = np.cumsum([0, *counts]).astype(np.int32)
    materials, light = random_materials(categories, rng), random_light(rng)
    return Scene(surface, starts, corners, categories, tuple(poses), materials, light, random_surroundings(rng))


def _posed(shape: Mesh, config: SceneConfig, rng: Generator) -> tuple[Mesh, NDArray[np.float64], NDArray[np.float64]]:
    """The shape scaled, turned, perhaps tipped over, and put on the ground; the matrix and the shift that do it."""
    matrix = rotation("z", rng.uniform(0, 360))
    if rng.random() < config.tumbled_fraction:
        tilt = rng.choice([90.0, 180.0, rng.uniform(15, 75)], p=[0.7, 0.2, 0.1])
        matrix = matrix @ rotation("x", tilt) @ rotation("z", rng.uniform(0, 360))
    scale = np.exp(rng.uniform(np.log(config.scale_min), np.log(config.scale_max)))
    mesh = shape.transformed(matrix * scale)
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    shift = -(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2]
    return mesh.moved(*shift), matrix * scale, np.array(shift, np.float64)


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
