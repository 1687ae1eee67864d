"""Shading: turns visible triangles into a picture. Deferred: each pixel is lit once, after visibility is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from c2f_train.synth.appearance import (
    GROUND_LEVELS,
    GROUND_SIDE,
    PANORAMA_COLUMNS,
    PANORAMA_HIGH,
    PANORAMA_LOW,
    PANORAMA_ROWS,
    Light,
    Materials,
    Surroundings,
)
from c2f_train.synth.raster import Camera, raster_parallel

SHADOW_SIDE = 768
CONTACT_SIDE = 256
CONTACT_FADE = 0.25
"""Height above the ground, in world units, at which the soft contact shadow has fallen to 37 %."""


@dataclass(frozen=True)
class Shadows:
    """Where the sun does not reach; made once for a scene that stands still.

    frame:   float64 [3, 3], rows: map column, map row, distance from the sun.
    origin:  float64 [2], scale: pixels of the map per world unit.
    depth:   float32 [SHADOW_SIDE, SHADOW_SIDE], distance of the nearest surface to the sun.
    contact: float32 [CONTACT_SIDE, CONTACT_SIDE], sky light left on the ground, 0..1; covers +-contact_reach.
    """

    frame: NDArray[np.float64]
    origin: NDArray[np.float64]
    scale: float
    depth: NDArray[np.float32]
    contact: NDArray[np.float32]
    contact_reach: float


def cast_shadows(vertices: NDArray[np.float32], triangles: NDArray[np.int32], light: Light) -> Shadows:
    """Shadows of world vertices [V, 3] and triangles [F, 3]."""
    away = -light.towards_sun.astype(np.float64)
    right = np.cross(away, np.array([0.0, 0.0, 1.0]))
    right /= np.linalg.norm(right)
    frame = np.stack([right, np.cross(away, right), away])
    seen = vertices.astype(np.float64) @ frame.T
    low, high = seen[:, :2].min(0) - 0.1, seen[:, :2].max(0) + 0.1
    scale = float(SHADOW_SIDE / (high - low).max())
    points = np.column_stack([(seen[:, :2] - low) * scale, seen[:, 2]])
    depth = raster_parallel(points, triangles, SHADOW_SIDE)
    reach = float(np.abs(vertices[:, :2]).max() + 1.0)
    return Shadows(frame, low, scale, depth, _contact(vertices, triangles, reach), reach)


def _contact(vertices: NDArray[np.float32], triangles: NDArray[np.int32], reach: float) -> NDArray[np.float32]:
    """Sky light left on the ground near what stands on it."""
    import cv2

    points = vertices.astype(np.float64)
    points[:, :2] = (points[:, :2] + reach) * (CONTACT_SIDE / (2 * reach))
    lowest = raster_parallel(points, triangles, CONTACT_SIDE)
    cover = np.exp(-lowest / CONTACT_FADE)
    unit = CONTACT_SIDE / (2 * reach)
    soft = 0.5 * cv2.GaussianBlur(cover, (0, 0), 0.08 * unit) + 0.5 * cv2.GaussianBlur(cover, (0, 0), 0.25 * unit)
    return (1.0 - 0.75 * soft).astype(np.float32)


@dataclass(frozen=True)
class Surface:
    """All triangles of a scene as the shader needs them.

    vertices, local: float32 [V, 3], in the world and in the object's own frame.
    triangles: int32 [F, 3]. normals: float32 [F, 3, 3]. owner: int32 [F], object. parts: uint8 [F].
    """

    vertices: NDArray[np.float32]
    local: NDArray[np.float32]
    triangles: NDArray[np.int32]
    normals: NDArray[np.float32]
    owner: NDArray[np.int32]
    parts: NDArray[np.uint8]


def shade(
    camera: Camera,
    face: NDArray[np.int32],
    surface: Surface,
    materials: Materials,
    light: Light,
    around: Surroundings,
    shadows: Shadows,
) -> NDArray[np.float32]:
    """The picture, float32 [H, W, 3], linear RGB in 0..1; face [H, W] is the visible triangle, -1 for none."""
    image = np.empty((*face.shape, 3), np.float32)
    # fmt: off
    _shade(
        face, camera.see(surface.vertices), camera.rotation, camera.position, camera.focal,
        surface.local, surface.triangles, surface.normals, surface.owner, surface.parts,
        materials.colours, materials.pattern, materials.second, materials.axis, materials.frequency, materials.gloss,
        light.towards_sun, light.sun, light.sky, light.bounce, around.ground, around.tile_size, around.panorama,
        shadows.frame, shadows.origin, shadows.scale, shadows.depth, shadows.contact, shadows.contact_reach, image,
    )
    # fmt: on
    return image


@njit(cache=True, nogil=True)
def _hash(x, y, z):
    """A pseudo-random number in 0..1 for each integer cell."""
    value = (x * 374761393 + y * 668265263 + z * 1440662683) & 0xFFFFFFFF
    value = ((value ^ (value >> 13)) * 1274126177) & 0xFFFFFFFF
    return (value & 0xFFFF) / 65535.0


@njit(cache=True, nogil=True)
def _noise(x, y, z):
    """Smooth noise in 0..1 at a point."""
    fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
    ix, iy, iz = int(fx), int(fy), int(fz)
    u, v, w = x - fx, y - fy, z - fz
    u, v, w = u * u * (3 - 2 * u), v * v * (3 - 2 * v), w * w * (3 - 2 * w)
    total = 0.0
    for k in range(2):
        for j in range(2):
            near = _hash(ix, iy + j, iz + k) * (1 - u) + _hash(ix + 1, iy + j, iz + k) * u
            total += near * (v if j else 1 - v) * (w if k else 1 - w)
    return total


@njit(cache=True, nogil=True)
def _pattern_mix(kind, x, y, z):
    """Share 0..1 of the second colour at a point of the pattern's frame."""
    if kind == 1:
        return 1.0 if np.sin(x * 3.1416) > 0.25 else 0.0
    if kind == 2:
        return float((int(np.floor(x)) + int(np.floor(y)) + int(np.floor(z))) % 2)
    if kind == 3:
        return 1.0 if _noise(x, y, z) > 0.62 else 0.0
    if kind == 4:
        return 0.5 + 0.5 * np.sin(x * 1.5 + 5.0 * _noise(x * 0.7, y * 0.7, z * 0.7))
    return 0.25 * _noise(x, y, z)


@njit(cache=True, nogil=True)
def _sunlit(point_x, point_y, point_z, frame, origin, scale, depth, bias):
    """Share 0..1 of nine map pixels around a world point in which the sun reaches it."""
    side = depth.shape[0]
    column = (frame[0, 0] * point_x + frame[0, 1] * point_y + frame[0, 2] * point_z - origin[0]) * scale
    row = (frame[1, 0] * point_x + frame[1, 1] * point_y + frame[1, 2] * point_z - origin[1]) * scale
    distance = frame[2, 0] * point_x + frame[2, 1] * point_y + frame[2, 2] * point_z - bias
    first_column, first_row = int(np.floor(column)), int(np.floor(row))
    if first_column < 2 or first_row < 2 or first_column >= side - 2 or first_row >= side - 2:
        return 1.0
    u, v = column - first_column, row - first_row
    lit = 0.0
    for j in range(-1, 3):
        weight_row = 1 - v if j == -1 else (v if j == 2 else 1.0)
        for i in range(-1, 3):
            weight = weight_row * (1 - u if i == -1 else (u if i == 2 else 1.0))
            if depth[first_row + j, first_column + i] >= distance:
                lit += weight
    return lit / 9.0


@njit(cache=True, nogil=True)
def _bilinear(image, row, column, channel):
    """A value between pixels, edges repeated; row and column count from pixel centres."""
    height, width = image.shape[0], image.shape[1]
    row = min(max(row, 0.0), height - 1.001)
    column = min(max(column, 0.0), width - 1.001)
    r, c = int(row), int(column)
    v, u = row - r, column - c
    top = image[r, c, channel] * (1 - u) + image[r, c + 1, channel] * u
    bottom = image[r + 1, c, channel] * (1 - u) + image[r + 1, c + 1, channel] * u
    return top * (1 - v) + bottom * v


@njit(cache=True, nogil=True)
def _tile(ground, level, row, column, channel):
    """A value of the repeating ground tile between pixels."""
    side = GROUND_SIDE
    r, c = int(np.floor(row)), int(np.floor(column))
    v, u = row - r, column - c
    r0, c0, r1, c1 = r % side, c % side, (r + 1) % side, (c + 1) % side
    top = ground[level, r0, c0, channel] * (1 - u) + ground[level, r0, c1, channel] * u
    return top * (1 - v) + (ground[level, r1, c0, channel] * (1 - u) + ground[level, r1, c1, channel] * u) * v


@njit(cache=True, nogil=True)
def _shade_sky(ray, panorama, colour):
    """The panorama in the direction of a ray [3], written to colour [3]."""
    flat = np.sqrt(ray[0] ** 2 + ray[1] ** 2)
    height, turn = np.arctan2(ray[2], flat), np.arctan2(ray[1], ray[0])
    row = (PANORAMA_HIGH - height) / (PANORAMA_HIGH - PANORAMA_LOW) * (PANORAMA_ROWS - 1)
    column = (turn / (2 * np.pi) + 0.5) * PANORAMA_COLUMNS
    for channel in range(3):
        colour[channel] = _bilinear(panorama, row, column, channel)


@njit(cache=True, nogil=True)
def _shade_ground(ray, eye, focal, ground, tile_size, panorama, sun, sky, slope, lit_map, colour):
    """The ground where a ray [3] meets z = 0, fading into the horizon, written to colour [3]."""
    frame, origin, scale, depth, contact, reach = lit_map
    distance = -eye[2] / ray[2]
    x, y = eye[0] + ray[0] * distance, eye[1] + ray[1] * distance
    length = np.sqrt(ray[0] ** 2 + ray[1] ** 2 + ray[2] ** 2)
    footprint = distance * length / focal * np.sqrt(length / -ray[2]) * GROUND_SIDE / tile_size
    level = min(max(np.log2(footprint + 1e-9), 0.0), GROUND_LEVELS - 1.001)
    fine = int(level)
    share = level - fine
    row, column = y / tile_size * GROUND_SIDE, x / tile_size * GROUND_SIDE
    lit = _sunlit(x, y, 0.0, frame, origin, scale, depth, 0.01)
    open_sky = 1.0
    if abs(x) < reach and abs(y) < reach:
        unit = contact.shape[0] / (2 * reach)
        open_sky = _bilinear(contact, (y + reach) * unit - 0.5, (x + reach) * unit - 0.5, 0)
    _shade_sky(np.array([ray[0], ray[1], 0.0]), panorama, colour)
    haze = 1.0 - np.exp(-((distance * length / 45.0) ** 1.5))
    for channel in range(3):
        near = _tile(ground, fine, row, column, channel)
        albedo = near + (_tile(ground, fine + 1, row, column, channel) - near) * share
        bright = albedo * (sun[channel] * slope * lit + sky[channel] * open_sky * 1.3)
        colour[channel] = bright + (colour[channel] - bright) * haze


@njit(cache=True, nogil=True)
def _shade_surface(ray, eye, point, normal, albedo, gloss, towards, sun, sky, bounce, lit_map, colour):
    """Lambert with a soft highlight at a world point, written to colour [3]."""
    frame, origin, scale, depth, _, _ = lit_map
    facing = normal[0] * ray[0] + normal[1] * ray[1] + normal[2] * ray[2]
    flip = -1.0 if facing > 0 else 1.0
    size = flip / np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2 + 1e-20)
    nx, ny, nz = normal[0] * size, normal[1] * size, normal[2] * size
    slope = nx * towards[0] + ny * towards[1] + nz * towards[2]
    lit, shine = 0.0, 0.0
    if slope > 0:
        off = 0.03
        lit = _sunlit(point[0] + nx * off, point[1] + ny * off, point[2] + nz * off, frame, origin, scale, depth, 0.015)
        length = np.sqrt(ray[0] ** 2 + ray[1] ** 2 + ray[2] ** 2)
        hx, hy, hz = towards[0] - ray[0] / length, towards[1] - ray[1] / length, towards[2] - ray[2] / length
        half = (nx * hx + ny * hy + nz * hz) / np.sqrt(hx * hx + hy * hy + hz * hz + 1e-20)
        shine = gloss * max(half, 0.0) ** 40 * lit
    upward = 0.5 + 0.5 * nz
    hollow = 0.5 + 0.5 * min(point[2] / 0.5, 1.0)
    for channel in range(3):
        even = (sky[channel] * upward + bounce[channel] * (1 - upward)) * hollow
        direct = sun[channel] * max(slope, 0.0) * lit
        colour[channel] = albedo[channel] * (even + direct) + sun[channel] * shine


@njit(cache=True, nogil=True)
def _shade(
    face, points, rotation, eye, focal, local, triangles, normals, owner, parts, colours, pattern, second, axis,
    frequency, gloss, towards, sun, sky, bounce, ground, tile_size, panorama, frame, origin, scale, depth, contact,
    reach, image,
):  # fmt: skip
    height, width = face.shape
    lit_map = (frame, origin, scale, depth, contact.reshape(contact.shape[0], contact.shape[1], 1), reach)
    ray, seen, point, normal = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    place, albedo, weight = np.empty(3), np.empty(3), np.empty(3)
    for row in range(height):
        for column in range(width):
            seen[0], seen[1], seen[2] = (column + 0.5 - width * 0.5) / focal, (row + 0.5 - height * 0.5) / focal, 1.0
            for k in range(3):
                ray[k] = rotation[0, k] * seen[0] + rotation[1, k] * seen[1] + rotation[2, k]
            triangle = face[row, column]
            if triangle < 0:
                if ray[2] < -1e-4:
                    _shade_ground(ray, eye, focal, ground, tile_size, panorama, sun, sky, towards[2], lit_map, image[row, column])
                else:
                    _shade_sky(ray, panorama, image[row, column])
                continue
            corners = triangles[triangle]
            distance = _weights(seen, points[corners[0]], points[corners[1]], points[corners[2]], weight)
            for k in range(3):
                point[k] = eye[k] + ray[k] * distance
                normal[k], place[k] = 0.0, 0.0
                for corner in range(3):
                    normal[k] += weight[corner] * normals[triangle, corner, k]
                    place[k] += weight[corner] * local[corners[corner], k]
            index, part = owner[triangle], parts[triangle]
            mix = 0.0
            if part == 0:
                f, m = frequency[index], axis[index]
                mix = _pattern_mix(
                    pattern[index],
                    f * (m[0, 0] * place[0] + m[0, 1] * place[1] + m[0, 2] * place[2]) + 0.01,
                    f * (m[1, 0] * place[0] + m[1, 1] * place[1] + m[1, 2] * place[2]) + 0.01,
                    f * (m[2, 0] * place[0] + m[2, 1] * place[1] + m[2, 2] * place[2]) + 0.01,
                )
            for k in range(3):
                albedo[k] = colours[index, part, k] + (second[index, k] - colours[index, part, k]) * mix
            _shade_surface(ray, eye, point, normal, albedo, gloss[index], towards, sun, sky, bounce, lit_map, image[row, column])


@njit(cache=True, nogil=True)
def _weights(ray, a, b, c, weight):
    """Shares of the corners where a ray meets a triangle, written to weight [3]; returns the distance along z."""
    e0 = ray[0] * (b[1] * c[2] - b[2] * c[1]) + ray[1] * (b[2] * c[0] - b[0] * c[2]) + ray[2] * (b[0] * c[1] - b[1] * c[0])
    e1 = ray[0] * (c[1] * a[2] - c[2] * a[1]) + ray[1] * (c[2] * a[0] - c[0] * a[2]) + ray[2] * (c[0] * a[1] - c[1] * a[0])
    e2 = ray[0] * (a[1] * b[2] - a[2] * b[1]) + ray[1] * (a[2] * b[0] - a[0] * b[2]) + ray[2] * (a[0] * b[1] - a[1] * b[0])
    total = e0 + e1 + e2
    if total == 0.0:
        weight[:] = 1.0 / 3.0
        return (a[2] + b[2] + c[2]) / 3.0
    volume = a[0] * (b[1] * c[2] - b[2] * c[1]) + a[1] * (b[2] * c[0] - b[0] * c[2]) + a[2] * (b[0] * c[1] - b[1] * c[0])
    distance = volume / total
    # The point is the sum of e_k / total times corner k, each corner scaled to the ray's own depth.
    weight[0], weight[1], weight[2] = e0 / total, e1 / total, e2 / total
    return distance
