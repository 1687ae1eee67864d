"""Jointed figures: a mesh whose pieces hang on bones, and the bones' angles at a moment of its gait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit
from numpy.typing import NDArray

from c2f_train.synth.mesh import Mesh, corner_normals, join

FloatArray = NDArray[np.float64]
CREASE_COSINE = 0.5


@dataclass(frozen=True)
class Moment:
    """Where a figure is in its motion.

    phase: of the gait, radians. stride: 0 stands, 1 walks. sway: of slow idle motion, radians.
    """

    phase: float = 0.0
    stride: float = 0.0
    sway: float = 0.0


Gait = Callable[[Moment], FloatArray]
"""Angles [B, 3] of the bones in degrees about x, y and z; a hanging limb swings back where y is positive."""


@dataclass(frozen=True)
class Figure:
    """A mesh in its neutral posture and what moves it.

    bones: int64 [V], the bone of each vertex. parents: B indices, each below its own; the first is -1, the root.
    pivots: [B, 3], where each bone turns. cycle: length of two steps in the mesh's units. walks: it can leave its spot.
    """

    mesh: Mesh
    bones: NDArray[np.int64]
    parents: tuple[int, ...]
    pivots: FloatArray
    gait: Gait
    cycle: float
    walks: bool = True

    @cached_property
    def _normals(self) -> NDArray[np.float32]:
        return corner_normals(self.mesh.vertices, self.mesh.triangles, CREASE_COSINE)

    def posed(self, moment: Moment) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Vertices [V, 3], the lowest at height 0, and normals of the triangles' corners [F, 3, 3] at a moment."""
        turns, shifts = _placed_bones(self.parents, self.pivots, self.gait(moment))
        vertices = _moved(self.mesh.vertices, self.bones, turns, shifts)
        vertices[:, 2] -= vertices[:, 2].min()
        return vertices, _leaned(self._normals, self._face_bones, turns)

    @cached_property
    def _face_bones(self) -> NDArray[np.int64]:
        return self.bones[self.mesh.triangles[:, 0]]


@njit(cache=True, nogil=True, error_model="numpy")
def _moved(points, bones, turns, shifts):
    """Points [V, 3] turned and shifted as their bones are."""
    moved = np.empty((len(points), 3), np.float32)
    for k in range(len(points)):
        bone = bones[k]
        for row in range(3):
            turn = turns[bone, row]
            total = turn[0] * points[k, 0] + turn[1] * points[k, 1] + turn[2] * points[k, 2]
            moved[k, row] = total + shifts[bone, row]
    return moved


@njit(cache=True, nogil=True, error_model="numpy")
def _leaned(normals, bones, turns):
    """Normals [F, 3, 3] of triangles turned as their bones are."""
    leaned = np.empty(normals.shape, np.float32)
    for face in range(len(normals)):
        turn = turns[bones[face]]
        for corner in range(3):
            x, y, z = normals[face, corner, 0], normals[face, corner, 1], normals[face, corner, 2]
            for row in range(3):
                leaned[face, corner, row] = turn[row, 0] * x + turn[row, 1] * y + turn[row, 2] * z
    return leaned


def _turns(angles: FloatArray) -> FloatArray:
    """Rotations [B, 3, 3] about x, then y, then z by angles [B, 3] in degrees."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians(angles)).T, np.sin(np.radians(angles)).T
    # fmt: off
    rows = [[cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
            [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
            [-sy, cy * sx, cy * cx]]
    # fmt: on
    return np.array(rows).transpose(2, 0, 1)


def _placed_bones(parents: Sequence[int], pivots: FloatArray, angles: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Rotation [B, 3, 3] and shift [B, 3] of each bone from the neutral posture."""
    own = _turns(angles)
    turns, shifts = np.empty((len(parents), 3, 3)), np.empty((len(parents), 3))
    for bone, parent in enumerate(parents):
        turns[bone] = own[bone] if parent < 0 else turns[parent] @ own[bone]
        place = pivots[bone] if parent < 0 else turns[parent] @ pivots[bone] + shifts[parent]
        shifts[bone] = place - turns[bone] @ pivots[bone]
    return turns, shifts


@dataclass(frozen=True)
class Bone:
    """A bone by name: what it hangs on, where it turns, and the pieces fixed to it."""

    name: str
    parent: str
    pivot: tuple[float, float, float]
    pieces: tuple[Mesh, ...]


def figure(bones: Sequence[Bone], gait: Callable[[Moment], dict], cycle: float, walks: bool = True) -> Figure:
    """A figure of bones, parents first; gait names only the bones that are not straight, angles (x, y, z)."""
    names = [bone.name for bone in bones]
    pieces = [(piece, index) for index, bone in enumerate(bones) for piece in bone.pieces]
    owners = np.repeat([index for _, index in pieces], [len(piece.vertices) for piece, _ in pieces])
    parents = tuple(names.index(bone.parent) if bone.parent else -1 for bone in bones)

    def angles(moment: Moment) -> FloatArray:
        result = np.zeros((len(names), 3))
        for name, turn in gait(moment).items():
            result[names.index(name)] = turn
        return result

    mesh = join(*(piece for piece, _ in pieces))
    return Figure(mesh, owners, parents, np.array([bone.pivot for bone in bones], np.float64), angles, cycle, walks)
