"""Triangle meshes and the primitives that the shape families are assembled from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
PARTS = 3
"""Colour slots of most meshes: 0 main, 1 second, 2 accent; figures have more."""


@dataclass(frozen=True)
class Mesh:
    """A surface of triangles; z points up, the front of an object points along +x.

    vertices:  float32 [V, 3].
    triangles: int32 [F, 3], indices into vertices.
    parts:     uint8 [F], the colour slot of each triangle.
    """

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    parts: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.vertices.ndim != 2 or self.vertices.shape[1] != 3:
            raise ValueError(f"vertices have shape {self.vertices.shape}, expected [V, 3]")
        if self.triangles.ndim != 2 or self.triangles.shape[1] != 3:
            raise ValueError(f"triangles have shape {self.triangles.shape}, expected [F, 3]")
        if self.parts.shape != (len(self.triangles),):
            raise ValueError(f"parts have shape {self.parts.shape}, expected [{len(self.triangles)}]")

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Mesh:
        """The mesh shifted by (x, y, z)."""
        return replace(self, vertices=self.vertices + np.array([x, y, z], np.float32))

    def scaled(self, x: float, y: float | None = None, z: float | None = None) -> Mesh:
        """The mesh stretched per axis; one argument scales all three."""
        factors = np.array([x, x if y is None else y, x if z is None else z], np.float32)
        return replace(self, vertices=self.vertices * factors)

    def turned(self, axis: str, degrees: float) -> Mesh:
        """The mesh rotated about the x, y or z axis, counter-clockwise seen from its tip."""
        return self.transformed(rotation(axis, degrees))

    def transformed(self, matrix: FloatArray) -> Mesh:
        """The mesh with every vertex multiplied by a [3, 3] matrix."""
        return replace(self, vertices=(self.vertices @ matrix.T).astype(np.float32))

    def painted(self, part: int) -> Mesh:
        """The mesh with all triangles in one colour slot."""
        return replace(self, parts=np.full(len(self.triangles), part, np.uint8))


def rotation(axis: str, degrees: float) -> NDArray[np.float64]:
    """The [3, 3] rotation about a coordinate axis."""
    index = "xyz".index(axis)
    first, second = (index + 1) % 3, (index + 2) % 3
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = cosine
    matrix[first, second], matrix[second, first] = -sine, sine
    return matrix


def make(vertices: FloatArray, triangles: FloatArray | list) -> Mesh:
    """A mesh in colour slot 0 from anything array-like."""
    faces = np.asarray(triangles, np.int32).reshape(-1, 3)
    return Mesh(np.asarray(vertices, np.float32), faces, np.zeros(len(faces), np.uint8))


def join(*meshes: Mesh) -> Mesh:
    """One mesh holding all the given ones; they may overlap."""
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.triangles + np.int32(offset) for mesh, offset in zip(meshes, offsets, strict=True)]),
        np.concatenate([mesh.parts for mesh in meshes]),
    )


def normalized(mesh: Mesh) -> Mesh:
    """The mesh standing on z = 0, centred on the z axis, its longest side 1."""
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    centre = (low + high) / 2
    shift = np.array([centre[0], centre[1], low[2]], np.float32)
    return replace(mesh, vertices=(mesh.vertices - shift) / np.float32((high - low).max()))


def _grid_faces(rows: int, columns: int, wrap: bool) -> NDArray[np.int32]:
    """Two triangles for each cell of a vertex grid [rows, columns]; wrap joins last column to first."""
    row, column = np.mgrid[0 : rows - 1, 0 : columns if wrap else columns - 1]
    following = (column + 1) % columns
    a, b = row * columns + column, row * columns + following
    c, d = (row + 1) * columns + following, (row + 1) * columns + column
    return np.stack([a, b, c, a, c, d], -1).reshape(-1, 3).astype(np.int32)


def lathe(profile: FloatArray | list, sides: int = 24) -> Mesh:
    """A profile [K, 2] of (radius, height) turned about the z axis; a radius of 0 closes it."""
    profile = np.asarray(profile, np.float64)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], -1)
    vertices = np.empty((len(profile), sides, 3))
    vertices[..., :2] = profile[:, None, :1] * ring[None]
    vertices[..., 2] = profile[:, None, 1]
    return make(vertices.reshape(-1, 3), _grid_faces(len(profile), sides, wrap=True))


def smooth_profile(points: list, steps: int = 4) -> NDArray[np.float64]:
    """A Catmull-Rom curve [K, D] through the given points, ends included."""
    points = np.asarray(points, np.float64)
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    p0, p1, p2, p3 = (padded[i : len(padded) - 3 + i, None] for i in range(4))
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    return np.concatenate([curve.reshape(-1, points.shape[1]), points[-1:]])


def box(length: float, width: float, height: float, taper: float = 1.0) -> Mesh:
    """A box centred on the z axis, standing on z = 0; its top is taper times its bottom."""
    x, y = length / 2, width / 2
    corners = [(-x, -y), (x, -y), (x, y), (-x, y)]
    vertices = [(u, v, 0) for u, v in corners] + [(u * taper, v * taper, height) for u, v in corners]
    quads = [(0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]
    return make(np.array(vertices), [t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])


def ellipsoid(x: float, y: float, z: float, squareness: float = 1.0, rows: int = 11, sides: int = 18) -> Mesh:
    """A superquadric of half axes (x, y, z) about the origin: 1 is an ellipsoid, towards 0 a box."""
    latitude = np.linspace(-np.pi / 2, np.pi / 2, rows)[:, None]
    longitude = np.linspace(0, 2 * np.pi, sides, endpoint=False)[None]

    def power(value: FloatArray) -> FloatArray:
        return np.sign(value) * np.abs(value) ** squareness

    unit = [
        power(np.cos(latitude)) * power(np.cos(longitude)),
        power(np.cos(latitude)) * power(np.sin(longitude)),
        power(np.sin(latitude)) * np.ones_like(longitude),
    ]
    vertices = np.stack(unit, -1) * np.array([x, y, z])
    return make(vertices.reshape(-1, 3), _grid_faces(rows, sides, wrap=True))


def tube(points: list | FloatArray, radii: float | list, sides: int = 10, closed: bool = False) -> Mesh:
    """A round tube along points [K, 3]; radii is one number or one per point; closed makes a loop."""
    path = np.asarray(points, np.float64)
    radius = np.broadcast_to(np.asarray(radii, np.float64), (len(path),))
    if not closed:
        path, radius = _rounded_ends(path, radius)
    tangent = np.gradient(path, axis=0)
    if closed:
        tangent = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-12
    side = _carried_normals(tangent)
    other = np.cross(tangent, side)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = side[:, None] * np.cos(angle)[None, :, None] + other[:, None] * np.sin(angle)[None, :, None]
    vertices = path[:, None] + ring * radius[:, None, None]
    if closed:
        vertices = np.concatenate([vertices, vertices[:1]])
    return make(vertices.reshape(-1, 3), _grid_faces(len(vertices), sides, wrap=True))


def _rounded_ends(path: FloatArray, radius: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The path and radii with a half sphere of three rings added at each end."""
    start = path[0] - path[1]
    end = path[-1] - path[-2]
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    angle = np.radians([35.0, 65.0, 90.0])
    head = path[0] + start * (radius[0] * np.sin(angle[::-1]))[:, None]
    tail = path[-1] + end * (radius[-1] * np.sin(angle))[:, None]
    around = [radius[0] * np.cos(angle[::-1]), radius, radius[-1] * np.cos(angle)]
    return np.concatenate([head, path, tail]), np.concatenate(around)


def _carried_normals(tangent: FloatArray) -> FloatArray:
    """A unit normal for each tangent [K, 3], turning as little as possible along the path."""
    reference = np.eye(3)[np.argmin(np.abs(tangent[0]))]
    normals = np.empty_like(tangent)
    for index, direction in enumerate(tangent):
        reference = reference - direction * (reference @ direction)
        reference = reference / (np.linalg.norm(reference) + 1e-12)
        normals[index] = reference
    return normals


def torus(radius: float, thickness: float, sides: int = 28) -> Mesh:
    """A ring about the z axis, centred on the origin."""
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    circle = np.stack([np.cos(angle) * radius, np.sin(angle) * radius, np.zeros_like(angle)], -1)
    return tube(circle, thickness, sides=12, closed=True)


def extrude(outline: list | FloatArray, width: float) -> Mesh:
    """A simple polygon [K, 2] in the x-z plane given a width along y, centred on y = 0."""
    outline = np.asarray(outline, np.float64)
    count = len(outline)
    faces = triangulate(outline)
    vertices = np.zeros((2, count, 3))
    vertices[:, :, [0, 2]] = outline
    vertices[0, :, 1], vertices[1, :, 1] = -width / 2, width / 2
    side = [(i, (i + 1) % count) for i in range(count)]
    walls = [t for a, b in side for t in ((a, b, b + count), (a, b + count, a + count))]
    area = np.sum(outline[:, 0] * np.roll(outline[:, 1], -1) - outline[:, 1] * np.roll(outline[:, 0], -1))
    walls = walls if area < 0 else [(a, c, b) for a, b, c in walls]
    return make(vertices.reshape(-1, 3), np.concatenate([faces, faces[:, ::-1] + count, np.array(walls)]))


def triangulate(outline: FloatArray) -> NDArray[np.int32]:
    """Triangles [K - 2, 3], counter-clockwise, that fill a simple polygon [K, 2] (ear clipping)."""
    points = np.asarray(outline, np.float64)
    area = np.sum(points[:, 0] * np.roll(points[:, 1], -1) - points[:, 1] * np.roll(points[:, 0], -1))
    order = list(range(len(points))) if area > 0 else list(range(len(points)))[::-1]
    triangles = []
    while len(order) > 3:
        ear = next((i for i in range(len(order)) if _is_ear(points, order, i)), 0)
        triangles.append((order[ear - 1], order[ear], order[(ear + 1) % len(order)]))
        del order[ear]
    return np.array([*triangles, order], np.int32)


def _is_ear(points: FloatArray, order: list[int], index: int) -> bool:
    """Whether the corner can be cut off: convex, and no other corner lies in its triangle."""
    corners = order[index - 1], order[index], order[(index + 1) % len(order)]
    a, b, c = points[list(corners)]
    if _cross(b - a, c - b) <= 0:
        return False
    others = points[[k for k in order if k not in corners]]
    inside = (_cross(b - a, others - a) >= 0) & (_cross(c - b, others - b) >= 0) & (_cross(a - c, others - c) >= 0)
    return not inside.any()


def _cross(a: FloatArray, b: FloatArray) -> FloatArray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


@njit(cache=True, nogil=True)
def corner_normals(vertices: FloatArray, triangles: NDArray[np.int32], crease_cosine: float) -> NDArray[np.float32]:
    """Unit normals [F, 3, 3] of each triangle corner: neighbours within the crease angle are averaged."""
    count = len(triangles)
    normals, lengths = np.empty((count, 3), np.float64), np.empty(count, np.float64)
    for face in range(count):
        a, b, c = vertices[triangles[face, 0]], vertices[triangles[face, 1]], vertices[triangles[face, 2]]
        ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        normals[face, 0], normals[face, 1], normals[face, 2] = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        x, y, z = normals[face, 0], normals[face, 1], normals[face, 2]
        lengths[face] = np.sqrt(x * x + y * y + z * z) + 1e-20
    start = np.zeros(len(vertices) + 1, np.int32)
    for face in range(count):
        for corner in range(3):
            start[triangles[face, corner] + 1] += 1
    start = np.cumsum(start)
    fill = start[:-1].copy()
    users = np.empty(3 * count, np.int32)
    for face in range(count):
        for corner in range(3):
            vertex = triangles[face, corner]
            users[fill[vertex]] = face
            fill[vertex] += 1
    result = np.empty((count, 3, 3), np.float32)
    for face in range(count):
        for corner in range(3):
            vertex = triangles[face, corner]
            x, y, z = 0.0, 0.0, 0.0
            for slot in range(start[vertex], start[vertex + 1]):
                other = users[slot]
                along = normals[face, 0] * normals[other, 0] + normals[face, 1] * normals[other, 1]
                along += normals[face, 2] * normals[other, 2]
                if other == face or along >= crease_cosine * lengths[face] * lengths[other]:
                    x, y, z = x + normals[other, 0], y + normals[other, 1], z + normals[other, 2]
            size = np.sqrt(x * x + y * y + z * z) + 1e-20
            result[face, corner, 0], result[face, corner, 1], result[face, corner, 2] = x / size, y / size, z / size
    return result
