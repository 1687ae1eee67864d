"""Shadows of a scene that stands still: a depth map from the sun, and a soft contact shadow on the ground."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from c2f_train.synth.appearance import Light
from c2f_train.synth.raster import raster_parallel

SHADOW_SIDE = 768
CONTACT_SIDE = 256
CONTACT_FADE = 0.25
"""Height above the ground, in world units, at which the soft contact shadow has fallen to 37 %."""


@dataclass(frozen=True)
class Shadows:
    """Where the sun does not reach; made once for a scene that stands still.

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
    return Shadows(to_map, depths, _contact(vertices, triangles, reach), reach)


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
    # Anchored so that the block of pixel p is p - 1 .. p + 2.
    block = np.ones((4, 4), np.uint8)
    return to_map, np.stack([depth, cv2.erode(depth, block, anchor=(1, 1)), cv2.dilate(depth, block, anchor=(1, 1))])


def _contact(vertices: NDArray[np.float32], triangles: NDArray[np.int32], reach: float) -> NDArray[np.float32]:
    """Sky light left on the ground near what stands on it."""
    points = vertices.astype(np.float64)
    points[:, :2] = (points[:, :2] + reach) * (CONTACT_SIDE / (2 * reach))
    lowest = raster_parallel(points, triangles, CONTACT_SIDE)
    cover = np.exp(-lowest / CONTACT_FADE)
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
