"""Shadows of a scene: a depth map from the sun, and a soft contact shadow on the ground."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from c2f_train.synth.appearance import Light
from c2f_train.synth.raster import draw_parallel, raster_parallel

SHADOW_SIDE = 768
CONTACT_SIDE = 256
CONTACT_FADE = 0.25
"""Height above the ground, in world units, at which the soft contact shadow has fallen to 37 %."""
BLOCK, BLOCK_ANCHOR = np.ones((4, 4), np.uint8), (1, 1)
"""Anchored so that the block of pixel p is p - 1 .. p + 2."""


@dataclass(frozen=True)
class Shadows:
    """Where the sun does not reach.

    to_map:  float64 [3, 4], world point and 1 to map column, map row, distance from the sun.
    depth:   float32 [3, SHADOW_SIDE, SHADOW_SIDE], distance of the nearest surface to the sun, then the least and
             the greatest of it over the 4 x 4 pixels that a look-up blends.
    contact: float32 [CONTACT_SIDE, CONTACT_SIDE, 3], sky light left on the ground, 0..1; covers +-contact_reach.
    """

    to_map: NDArray[np.float64]
    depth: NDArray[np.float32]
    contact: NDArray[np.float32]
    contact_reach: float


def cast_shadows(vertices: NDArray[np.float32], triangles: NDArray[np.int32], light: Light) -> Shadows:
    """Shadows of world vertices [V, 3] and triangles [F, 3]."""
    to_map, depths = depth_map(vertices, triangles, vertices, light, SHADOW_SIDE)
    reach = float(np.abs(vertices[:, :2]).max() + 1.0)
    return Shadows(to_map, depths, _contact(_lowest(vertices, triangles, reach), reach), reach)


class MovingShadows:
    """Shadows of a scene in which some things move: what stands still is drawn once, the rest for each frame."""

    def __init__(
        self,
        vertices: NDArray[np.float32],
        triangles: NDArray[np.int32],
        cover: NDArray[np.floating],
        light: Light,
    ) -> None:
        """vertices [V, 3], triangles [F, 3]: what stands still. cover [K, 3]: world points that the maps must hold."""
        self._to_map, self._still = depth_map(vertices, triangles, cover, light, SHADOW_SIDE)
        self._reach = float(np.abs(cover[:, :2]).max() + 1.0)
        self._lowest = _lowest(vertices, triangles, self._reach)

    def with_movers(self, vertices: NDArray[np.float32], triangles: NDArray[np.int32]) -> Shadows:
        """Shadows of a frame: of what stands still, and of movers where they are now, vertices [V, 3]."""
        depth, lowest = self._still.copy(), self._lowest.copy()
        points = vertices @ self._to_map[:, :3].T + self._to_map[:, 3]
        draw_parallel(points, triangles, depth[0])
        low, high = np.floor(points[:, :2].min(0)).astype(int), np.ceil(points[:, :2].max(0)).astype(int)
        # The blocks of pixels up to 3 away hold something that moved; theirs reach 3 farther.
        (left, top), (right, end) = np.maximum(low - 3, 0), np.maximum(high + 4, 0)
        up, before = max(top - 3, 0), max(left - 3, 0)
        around = depth[0, up : end + 3, before : right + 3]
        if around.size:
            inside = slice(top - up, end - up), slice(left - before, right - before)
            for index, extreme in ((1, cv2.erode), (2, cv2.dilate)):
                depth[index, top:end, left:right] = extreme(around, BLOCK, anchor=BLOCK_ANCHOR)[inside]
        draw_parallel(_on_ground(vertices, self._reach), triangles, lowest)
        return Shadows(self._to_map, depth, _contact(lowest, self._reach), self._reach)


def depth_map(
    vertices: NDArray[np.float32],
    triangles: NDArray[np.int32],
    cover: NDArray[np.floating],
    light: Light,
    side: int,
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """The sun's view, to_map and depth as in Shadows, on side x side pixels that hold the world points cover [K, 3]."""
    away = -light.towards_sun.astype(np.float64)
    right = np.cross(away, np.array([0.0, 0.0, 1.0]))
    right /= np.linalg.norm(right)
    frame = np.stack([right, np.cross(away, right), away])
    seen = cover.astype(np.float64) @ frame.T
    low, high = seen[:, :2].min(0) - 0.1, seen[:, :2].max(0) + 0.1
    scale = side / (high - low).max()
    to_map = np.column_stack([frame * np.array([[scale], [scale], [1.0]]), [-low[0] * scale, -low[1] * scale, 0.0]])
    depth = raster_parallel(vertices @ to_map[:, :3].T + to_map[:, 3], triangles, side)
    extremes = [extreme(depth, BLOCK, anchor=BLOCK_ANCHOR) for extreme in (cv2.erode, cv2.dilate)]
    return to_map, np.stack([depth, *extremes])


def _on_ground(vertices: NDArray[np.float32], reach: float) -> NDArray[np.float64]:
    """Vertices [V, 3] as columns and rows of the contact map, and their height."""
    points = vertices.astype(np.float64)
    points[:, :2] = (points[:, :2] + reach) * (CONTACT_SIDE / (2 * reach))
    return points


def _lowest(vertices: NDArray[np.float32], triangles: NDArray[np.int32], reach: float) -> NDArray[np.float32]:
    """Height of the lowest surface above each place on the ground, inf where there is none."""
    return raster_parallel(_on_ground(vertices, reach), triangles, CONTACT_SIDE)


def _contact(lowest: NDArray[np.float32], reach: float) -> NDArray[np.float32]:
    """Sky light left on the ground under and near surfaces of these heights."""
    cover = np.exp(-lowest.astype(np.float32) / CONTACT_FADE)
    unit = CONTACT_SIDE / (2 * reach)
    soft = 0.5 * cv2.GaussianBlur(cover, (0, 0), 0.08 * unit) + 0.5 * cv2.GaussianBlur(cover, (0, 0), 0.25 * unit)
    return np.repeat((1.0 - 0.75 * soft).astype(np.float32)[..., None], 3, 2)


@njit(cache=True, nogil=True, error_model="numpy")
def sunlit(x, y, z, to_map, depth, bias):
    """Share 0..1 of nine map pixels around a world point in which the sun reaches it."""
    side = depth.shape[1]
    column = to_map[0, 0] * x + to_map[0, 1] * y + to_map[0, 2] * z + to_map[0, 3]
    row = to_map[1, 0] * x + to_map[1, 1] * y + to_map[1, 2] * z + to_map[1, 3]
    distance = to_map[2, 0] * x + to_map[2, 1] * y + to_map[2, 2] * z + to_map[2, 3] - bias
    first_column, first_row = int(np.floor(column)), int(np.floor(row))
    if first_column < 2 or first_row < 2 or first_column >= side - 2 or first_row >= side - 2:
        return 1.0
    if depth[1, first_row, first_column] >= distance:
        return 1.0
    if depth[2, first_row, first_column] < distance:
        return 0.0
    u, v = column - first_column, row - first_row
    lit = 0.0
    for j in range(-1, 3):
        weight_row = 1 - v if j == -1 else (v if j == 2 else 1.0)
        for i in range(-1, 3):
            weight = weight_row * (1 - u if i == -1 else (u if i == 2 else 1.0))
            if depth[0, first_row + j, first_column + i] >= distance:
                lit += weight
    return lit / 9.0
