"""Rasteriser: one z-buffer per object, so that full extents, visible parts and pairwise order come in one pass.

Camera frame: x right, y down, z forward. The centre of pixel (column x, row y) is (x + 0.5, y + 0.5).
Coverage is tested with homogeneous edge functions: the sign of ray . (a x b). They hold for vertices behind the camera too, so
near clipping is a test per pixel, and the two triangles at a shared edge compute exactly opposite values, so no
pixel between them is lost (a pixel centre exactly on the edge belongs to both).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

NEAR = 0.05
"""Nothing nearer to the camera than this is drawn (world units)."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion.

    rotation: float64 [3, 3], rows are the camera's right, down and forward axes in the world.
    position: float64 [3], in the world.
    focal:    focal length in pixels, both axes.
    height, width: of the image; the principal point is its centre.
    """

    rotation: NDArray[np.float64]
    position: NDArray[np.float64]
    focal: float
    height: int
    width: int

    def enlarged(self, factor: int) -> Camera:
        """The same view with factor times as many rows and columns."""
        return Camera(self.rotation, self.position, self.focal * factor, self.height * factor, self.width * factor)

    def see(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """World points [V, 3] in the camera frame, float64 [V, 3]."""
        return (points.astype(np.float64) - self.position) @ self.rotation.T


def look_at(
    position: NDArray[np.float64], target: NDArray[np.float64], focal: float, height: int, width: int
) -> Camera:
    """A level camera at a position that looks at a target."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, np.array([0.0, 0.0, 1.0]))
    right /= np.linalg.norm(right)
    return Camera(np.stack([right, np.cross(forward, right), forward]), position, focal, height, width)


@dataclass(frozen=True)
class Layers:
    """What the rasteriser found for each object.

    depth: float32 [N, H, W], distance along the viewing axis of the nearest surface, inf where the object is not.
    face:  int32 [N, H, W], index of that triangle, -1 where the object is not.
    """

    depth: NDArray[np.float32]
    face: NDArray[np.int32]


def raster_objects(
    camera: Camera, vertices: NDArray[np.float32], triangles: NDArray[np.int32], starts: NDArray[np.int32]
) -> Layers:
    """Layers of the objects; object k owns triangles starts[k] .. starts[k + 1] of the shared list.

    vertices: [V, 3] in the world. triangles: [F, 3]. starts: int32 [N + 1].
    """
    shape = len(starts) - 1, camera.height, camera.width
    depth, face = np.full(shape, np.inf, np.float32), np.full(shape, -1, np.int32)
    _raster_objects(camera.see(vertices), triangles, starts, camera.focal, depth, face)
    return Layers(depth, face)


@njit(cache=True, nogil=True)
def _raster_objects(points, triangles, starts, focal, depth, face):
    for index in range(len(starts) - 1):
        for triangle in range(starts[index], starts[index + 1]):
            a, b, c = triangles[triangle]
            _raster_triangle(points[a], points[b], points[c], triangle, focal, depth[index], face[index])


@njit(cache=True, nogil=True)
def _pixel_bounds(points, focal, centre, axis, size):
    """First and last pixel whose centre the part of a triangle in front of NEAR can cover, along one axis."""
    low, high = np.inf, -np.inf
    for k in range(3):
        here, following = points[k], points[(k + 1) % 3]
        if here[2] >= NEAR:
            value = focal * here[axis] / here[2] + centre
            low, high = min(low, value), max(high, value)
        if (here[2] >= NEAR) != (following[2] >= NEAR):
            t = (NEAR - here[2]) / (following[2] - here[2])
            value = focal * (here[axis] + t * (following[axis] - here[axis])) / NEAR + centre
            low, high = min(low, value), max(high, value)
    if high < low:
        return 0, -1
    low, high = max(low - 0.5, 0.0), min(high - 0.5, size - 1.0)
    return int(np.ceil(low - 1e-6)), int(np.floor(high + 1e-6))


@njit(cache=True, nogil=True)
def _raster_triangle(a, b, c, triangle, focal, depth, face):
    height, width = depth.shape
    points = (a, b, c)
    first_row, last_row = _pixel_bounds(points, focal, height * 0.5, 1, height)
    first_column, last_column = _pixel_bounds(points, focal, width * 0.5, 0, width)
    if last_row < first_row or last_column < first_column:
        return
    e0x, e0y, e0z = b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2], b[0] * c[1] - b[1] * c[0]
    e1x, e1y, e1z = c[1] * a[2] - c[2] * a[1], c[2] * a[0] - c[0] * a[2], c[0] * a[1] - c[1] * a[0]
    e2x, e2y, e2z = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
    volume = a[0] * e0x + a[1] * e0y + a[2] * e0z
    if volume == 0.0:
        return
    sign = 1.0 if volume > 0.0 else -1.0
    volume *= sign
    for row in range(first_row, last_row + 1):
        y = (row + 0.5 - height * 0.5) / focal
        base0, base1, base2 = sign * (e0y * y + e0z), sign * (e1y * y + e1z), sign * (e2y * y + e2z)
        for column in range(first_column, last_column + 1):
            x = (column + 0.5 - width * 0.5) / focal
            w0, w1, w2 = base0 + sign * e0x * x, base1 + sign * e1x * x, base2 + sign * e2x * x
            total = w0 + w1 + w2
            if w0 >= 0.0 and w1 >= 0.0 and w2 >= 0.0 and total > 0.0:
                distance = volume / total
                if distance >= NEAR and distance < depth[row, column]:
                    depth[row, column] = distance
                    face[row, column] = triangle


@dataclass(frozen=True)
class Masks:
    """Who is where, and who hides whom.

    labels: uint16 [H, W], k + 1 where object k is nearest, 0 where there is none.
    amodal: bool [N, H, W], full extent of each object inside the image.
    hides:  bool [N, N], hides[i, j]: at some pixel both cover, i is nearer than j. Both directions can hold.
    face:   int32 [H, W], visible triangle, -1 for the background.
    """

    labels: NDArray[np.uint16]
    amodal: NDArray[np.bool_]
    hides: NDArray[np.bool_]
    face: NDArray[np.int32]


def resolve(layers: Layers) -> Masks:
    """Masks of a frame; of two objects at equal depth the one with the lower index is in front."""
    count, height, width = layers.depth.shape
    labels, face = np.zeros((height, width), np.uint16), np.full((height, width), -1, np.int32)
    hides = np.zeros((count, count), np.bool_)
    amodal = np.zeros(layers.depth.shape, np.bool_)
    _resolve(layers.depth, layers.face, labels, amodal, hides, face)
    return Masks(labels, amodal, hides, face)


@njit(cache=True, nogil=True)
def _resolve(depth, faces, labels, amodal, hides, face):
    count, height, width = depth.shape
    here = np.empty((width, count), np.int32)
    found = np.empty(width, np.int32)
    for row in range(height):
        found[:] = 0
        for index in range(count):
            for column in range(width):
                if depth[index, row, column] < np.inf:
                    amodal[index, row, column] = True
                    here[column, found[column]] = index
                    found[column] += 1
        for column in range(width):
            nearest = -1
            for i in range(found[column]):
                first = here[column, i]
                for j in range(i + 1, found[column]):
                    second = here[column, j]
                    if depth[first, row, column] <= depth[second, row, column]:
                        hides[first, second] = True
                    else:
                        hides[second, first] = True
                if nearest < 0 or depth[first, row, column] < depth[nearest, row, column]:
                    nearest = first
            if nearest >= 0:
                labels[row, column] = nearest + 1
                face[row, column] = faces[nearest, row, column]


@njit(cache=True, nogil=True)
def raster_parallel(points, triangles, size):
    """Nearest depth float32 [size, size] of triangles seen without perspective, inf where there is none.

    points: float64 [V, 3], (column, row) in pixels and depth.
    """
    depth = np.full((size, size), np.inf, np.float32)
    for triangle in range(len(triangles)):
        a, b, c = points[triangles[triangle, 0]], points[triangles[triangle, 1]], points[triangles[triangle, 2]]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if area == 0.0:
            continue
        first_column = max(int(np.ceil(min(a[0], b[0], c[0]) - 0.5)), 0)
        last_column = min(int(np.floor(max(a[0], b[0], c[0]) - 0.5)), size - 1)
        first_row = max(int(np.ceil(min(a[1], b[1], c[1]) - 0.5)), 0)
        last_row = min(int(np.floor(max(a[1], b[1], c[1]) - 0.5)), size - 1)
        for row in range(first_row, last_row + 1):
            for column in range(first_column, last_column + 1):
                x, y = column + 0.5, row + 0.5
                w0 = ((b[0] - x) * (c[1] - y) - (b[1] - y) * (c[0] - x)) / area
                w1 = ((c[0] - x) * (a[1] - y) - (c[1] - y) * (a[0] - x)) / area
                w2 = 1.0 - w0 - w1
                if w0 >= 0.0 and w1 >= 0.0 and w2 >= 0.0:
                    value = w0 * a[2] + w1 * b[2] + w2 * c[2]
                    if value < depth[row, column]:
                        depth[row, column] = value
    return depth
