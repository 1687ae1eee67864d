"""Rasteriser: one z-buffer per object, so that full extents, visible parts and pairwise order come in one pass.

Camera frame: x right, y down, z forward. The centre of pixel (column x, row y) is (x + 0.5, y + 0.5).
Coverage is tested with homogeneous edge functions: the sign of ray . (a x b). They hold for vertices behind the
camera too, so near clipping is a test per pixel, and the two triangles at a shared edge compute exactly opposite
values, so no pixel between them is lost (a pixel centre exactly on the edge belongs to both).
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
    height, width: of the image.
    centre:   principal point (column, row) in pixels from the image's corner; None is the middle of the image.
    """

    rotation: NDArray[np.float64]
    position: NDArray[np.float64]
    focal: float
    height: int
    width: int
    centre: tuple[float, float] | None = None

    @property
    def principal(self) -> tuple[float, float]:
        """The principal point (column, row)."""
        return self.centre or (self.width * 0.5, self.height * 0.5)

    def enlarged(self, factor: int) -> Camera:
        """The same view with factor times as many rows and columns."""
        centre = self.centre and (self.centre[0] * factor, self.centre[1] * factor)
        size = self.height * factor, self.width * factor
        return Camera(self.rotation, self.position, self.focal * factor, *size, centre)

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
    _raster_objects(camera.see(vertices), triangles, starts, camera.focal, camera.principal, depth, face)
    return Layers(depth, face)


@njit(cache=True, nogil=True, error_model="numpy")
def _raster_objects(points, triangles, starts, focal, principal, depth, face):
    height, width = depth.shape[1:]
    pixels = _project(points, focal, principal)
    for index in range(len(starts) - 1):
        layer_depth, layer_face = depth[index], face[index]
        for triangle in range(starts[index], starts[index + 1]):
            a, b, c = triangles[triangle, 0], triangles[triangle, 1], triangles[triangle, 2]
            if points[a, 2] >= NEAR and points[b, 2] >= NEAR and points[c, 2] >= NEAR:
                first_column, last_column = _between(pixels[a, 0], pixels[b, 0], pixels[c, 0], width)
                first_row, last_row = _between(pixels[a, 1], pixels[b, 1], pixels[c, 1], height)
            else:
                first_column, last_column = _clipped(points[a], points[b], points[c], focal, principal, 0, width)
                first_row, last_row = _clipped(points[a], points[b], points[c], focal, principal, 1, height)
            if first_row <= last_row and first_column <= last_column:
                bounds = (first_row, last_row, first_column, last_column)
                _raster_triangle(points, a, b, c, triangle, focal, principal, bounds, layer_depth, layer_face)


@njit(cache=True, nogil=True, error_model="numpy")
def _project(points, focal, principal):
    """Pixel coordinates (column, row) [V, 2] of camera points; 0 where they are not in front of NEAR."""
    pixels = np.zeros((len(points), 2))
    for k in range(len(points)):
        if points[k, 2] >= NEAR:
            scale = focal / points[k, 2]
            pixels[k, 0] = points[k, 0] * scale + principal[0]
            pixels[k, 1] = points[k, 1] * scale + principal[1]
    return pixels


@njit(cache=True, nogil=True, error_model="numpy")
def _between(a, b, c, size):
    """First and last pixel below size whose centre lies between the least and the greatest of three numbers."""
    low, high = max(min(a, b, c) - 0.5, 0.0), min(max(a, b, c) - 0.5, size - 1.0)
    return int(np.ceil(low - 1e-6)), int(np.floor(high + 1e-6))


@njit(cache=True, nogil=True, error_model="numpy")
def _clipped(a, b, c, focal, principal, axis, size):
    """As _between, along one axis, for the part of a triangle of camera points that is in front of NEAR."""
    low, high = np.inf, -np.inf
    for here, following in ((a, b), (b, c), (c, a)):
        if here[2] >= NEAR:
            value = focal * here[axis] / here[2] + principal[axis]
            low, high = min(low, value), max(high, value)
        if (here[2] >= NEAR) != (following[2] >= NEAR):
            t = (NEAR - here[2]) / (following[2] - here[2])
            value = focal * (here[axis] + t * (following[axis] - here[axis])) / NEAR + principal[axis]
            low, high = min(low, value), max(high, value)
    if high < low:
        return 0, -1
    return _between(low, low, high, size)


@njit(cache=True, nogil=True, error_model="numpy")
def _raster_triangle(points, first, second, third, triangle, focal, principal, bounds, depth, face):
    """Draw one triangle inside its bounds (first and last row, first and last column)."""
    a, b, c = points[first], points[second], points[third]
    e0x, e0y, e0z = b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2], b[0] * c[1] - b[1] * c[0]
    e1x, e1y, e1z = c[1] * a[2] - c[2] * a[1], c[2] * a[0] - c[0] * a[2], c[0] * a[1] - c[1] * a[0]
    e2x, e2y, e2z = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
    volume = a[0] * e0x + a[1] * e0y + a[2] * e0z
    if volume == 0.0:
        return
    sign = 1.0 if volume > 0.0 else -1.0
    volume *= sign
    for row in range(bounds[0], bounds[1] + 1):
        y = (row + 0.5 - principal[1]) / focal
        base0, base1, base2 = sign * (e0y * y + e0z), sign * (e1y * y + e1z), sign * (e2y * y + e2z)
        for column in range(bounds[2], bounds[3] + 1):
            x = (column + 0.5 - principal[0]) / focal
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


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
def raster_parallel(points, triangles, size):
    """Nearest depth float32 [size, size] of triangles seen without perspective, inf where there is none.

    points: float64 [V, 3], (column, row) in pixels and depth.
    """
    depth = np.full((size, size), np.inf, np.float32)
    draw_parallel(points, triangles, depth)
    return depth


@njit(cache=True, nogil=True, error_model="numpy")
def draw_parallel(points, triangles, depth):
    """As raster_parallel, into a depth map [size, size] that holds something already."""
    size = len(depth)
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
