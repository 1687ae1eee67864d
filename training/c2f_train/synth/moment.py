"""A scene with moving objects as it is at one frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from c2f_train.synth.mesh import rotation
from c2f_train.synth.movers import Mover
from c2f_train.synth.scene import Scene
from c2f_train.synth.shade import Surface
from c2f_train.synth.shadow import MovingShadows, Shadows

SHADOW_REACH = 7.0
"""Movers farther than this from the middle of the cluster throw no shadow, world units."""


class Moments:
    """The scene frame by frame; what stands still is prepared once."""

    def __init__(self, scene: Scene, movers: Sequence[Mover]) -> None:
        self._scene, self._movers = scene, tuple(movers)
        self._shadows = self._prepared_shadows() if movers else None

    def at(self, frame: int) -> tuple[Surface, Shadows]:
        """Surface and shadows of a frame."""
        scene = self._scene
        if self._shadows is None:
            return scene.surface, scene.shadows
        vertices, normals = scene.surface.vertices.copy(), scene.surface.normals.copy()
        for mover in self._movers:
            own = slice(*scene.corners[mover.index : mover.index + 2])
            faces = slice(*scene.starts[mover.index : mover.index + 2])
            turn, pose, figure = rotation("z", mover.turns[frame]), scene.poses[mover.index], scene.figure(mover.index)
            if figure is None:
                points, leaning = vertices[own] - pose.offset, normals[faces]
            else:
                shape, leaning = figure.posed(mover.moments[frame])
                points = shape @ pose.matrix.T
                turn_there = pose.matrix / np.linalg.norm(pose.matrix[:, 0])
                leaning = _turned(leaning, turn_there)
            vertices[own] = points @ turn.T + [*mover.spots[frame], pose.offset[2]]
            normals[faces] = _turned(leaning, turn)
        surface = replace(scene.surface, vertices=vertices, normals=normals)
        return surface, self._shadows.with_movers(vertices, self._triangles)

    def _prepared_shadows(self) -> MovingShadows:
        scene, surface = self._scene, self._scene.surface
        moves = np.isin(surface.owner, [mover.index for mover in self._movers])
        self._triangles = np.ascontiguousarray(surface.triangles[moves])
        still = np.ascontiguousarray(surface.triangles[~moves])
        return MovingShadows(surface.vertices, still, self._cover(), scene.light)

    def _cover(self) -> NDArray[np.float64]:
        """World points [K, 3] around everything that throws a shadow."""
        moving = np.repeat(np.arange(len(self._scene.poses)), np.diff(self._scene.corners))
        still = ~np.isin(moving, [mover.index for mover in self._movers])
        return np.concatenate([self._scene.surface.vertices[still], *map(self._swept, self._movers)])

    def _swept(self, mover: Mover) -> NDArray[np.float64]:
        """Corners [K, 3] of upright boxes around a mover wherever it casts a shadow."""
        scene = self._scene
        shift = scene.poses[mover.index].offset
        own = scene.surface.vertices[slice(*scene.corners[mover.index : mover.index + 2])]
        reach = float(np.linalg.norm(own[:, :2] - shift[:2], axis=1).max())
        spots = mover.spots[np.linalg.norm(mover.spots, axis=1) < SHADOW_REACH]
        boxes = [spots + reach * np.array(corner) for corner in ((-1, -1), (-1, 1), (1, -1), (1, 1))]
        flat = np.concatenate(boxes)
        return np.concatenate([np.column_stack([flat, np.full(len(flat), z)]) for z in (0.0, own[:, 2].max())])


def _turned(normals: NDArray[np.float32], turn: NDArray[np.float64]) -> NDArray[np.float32]:
    """Normals [F, 3, 3] turned by a rotation; one product of two matrices is much faster than F small ones."""
    return (normals.reshape(-1, 3) @ turn.T.astype(np.float32)).reshape(normals.shape)
