"""A street as the rasteriser and the shader see it at one moment: who is in sight, and the masks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from c2f_train.synth.appearance import Light
from c2f_train.synth.driving_materials import Grounds, Paints, random_grounds, stack_coats, street_coat, street_light
from c2f_train.synth.driving_road import Drive, Road
from c2f_train.synth.driving_traffic import Actor
from c2f_train.synth.mesh import Mesh, corner_normals
from c2f_train.synth.raster import Camera, Masks, raster_objects, resolve
from c2f_train.synth.scene import CREASE_COSINE
from c2f_train.synth.shade import Surface

SHADOW_REACH = 75.0
"""Road users farther from the camera than this, and out of its sight, cast no shadow into the picture, metres."""


@dataclass(frozen=True)
class Placed:
    """A mesh in the world, the same mesh in its own frame, and whose coat it wears."""

    mesh: Mesh
    local: Mesh
    owner: int


@dataclass(frozen=True)
class Street:
    """A street with its road users, and the drive through it.

    things: all that is no labelled object. paints: of the actors, then of the things.
    """

    road: Road
    drive: Drive
    actors: tuple[Actor, ...]
    things: tuple[Mesh, ...]
    paints: Paints
    light: Light
    grounds: Grounds


def make_street(road: Road, drive: Drive, actors: list[Actor], things: list[Mesh], rng: Generator) -> Street:
    """A street of given road users and things, the latter in the world; coats of things, light and grounds drawn."""
    paints = stack_coats([actor.coat for actor in actors] + [street_coat(rng) for _ in things])
    return Street(road, drive, tuple(actors), tuple(things), paints, street_light(rng), random_grounds(rng))


def with_actors(street: Street, kept: list[int]) -> Street:
    """The same street with only the road users of those indices, in that order."""
    rows = np.array([*kept, *range(len(street.actors), len(street.paints.kinds))], int)
    paints = Paints(*(getattr(street.paints, name)[rows] for name in street.paints.__dataclass_fields__))
    return replace(street, actors=tuple(street.actors[k] for k in kept), paints=paints)


def actor_mesh(road: Road, actor: Actor, time: float) -> tuple[Mesh, Mesh]:
    """A road user in the world and in its own frame at a time in seconds."""
    mesh = actor.mesh(time)
    s, d = actor.place(time)
    heading = np.degrees(road.heading(s) + road.handed * actor.turn)
    return mesh.turned("z", heading).moved(*road.place(s, d)), mesh


def _in_sight(camera: Camera, mesh: Mesh) -> bool:
    """Whether a box around the mesh reaches into the image."""
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    corners = [(x, y, z) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]
    seen = camera.see(np.array(corners))
    if (seen[:, 2] < 0.1).all():
        return False
    if (seen[:, 2] < 0.1).any():
        return True
    pixels = camera.focal * seen[:, :2] / seen[:, 2:] + np.array(camera.principal)
    return bool((pixels.max(0) > 0).all() and (pixels.min(0) < (camera.width, camera.height)).all())


@dataclass(frozen=True)
class View:
    """What a frame is drawn from.

    placed: road users in sight, then those near that only cast shadows, then the things. seen: actors in sight, by
    index. movers: how many of placed are road users. vertices float32 [V, 3], triangles int32 [F, 3]: all of placed.
    starts: int32, z-buffer slots: one for each actor in sight, one for all the rest.
    """

    placed: list[Placed]
    seen: list[int]
    movers: int
    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    starts: NDArray[np.int32]

    def surface(self) -> Surface:
        """The triangles as the shader needs them."""
        counts = [len(one.mesh.triangles) for one in self.placed]
        normals = [corner_normals(one.mesh.vertices, one.mesh.triangles, CREASE_COSINE) for one in self.placed]
        return Surface(
            vertices=self.vertices,
            local=np.concatenate([one.local.vertices for one in self.placed]),
            triangles=self.triangles,
            normals=np.concatenate(normals),
            owner=np.repeat(np.array([one.owner for one in self.placed], np.int32), counts),
            parts=np.concatenate([one.mesh.parts for one in self.placed]),
        )

    def mover_triangles(self) -> int:
        """How many triangles, the first ones, are of road users."""
        return sum(len(one.mesh.triangles) for one in self.placed[: self.movers])


def view_street(street: Street, camera: Camera, time: float) -> View:
    """What a camera sees of a street at a time in seconds."""
    seen, inside, near = [], [], []
    for index, actor in enumerate(street.actors):
        placed = Placed(*actor_mesh(street.road, actor, time), index)
        if _in_sight(camera, placed.mesh):
            seen.append(index)
            inside.append(placed)
        elif np.linalg.norm(placed.mesh.vertices.mean(0) - camera.position) < SHADOW_REACH:
            near.append(placed)
    count = len(street.actors)
    placed = [*inside, *near, *(Placed(mesh, mesh, count + k) for k, mesh in enumerate(street.things))]
    meshes = [one.mesh for one in placed] or [Mesh(*_NOTHING)]
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    triangles = np.concatenate([m.triangles + np.int32(o) for m, o in zip(meshes, offsets, strict=True)])
    ends = np.cumsum([0, *[len(one.mesh.triangles) for one in inside]])
    starts = np.append(ends, len(triangles)).astype(np.int32)
    vertices = np.concatenate([mesh.vertices for mesh in meshes])
    return View(placed, seen, len(inside) + len(near), vertices, triangles, starts)


_NOTHING = np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), np.zeros(0, np.uint8)


def street_masks(view: View, camera: Camera) -> Masks:
    """Masks of the actors in sight, in the order of view.seen; where a thing is nearest, labels are 0."""
    masks = resolve(raster_objects(camera, view.vertices, view.triangles, view.starts))
    count = len(view.seen)
    labels = np.where(masks.labels > count, 0, masks.labels).astype(np.uint16)
    return Masks(labels, masks.amodal[:count], masks.hides[:count, :count], masks.face)
