"""Shading: turns visible triangles into a picture. Deferred: each pixel is lit once, after visibility is known."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
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
from c2f_train.synth.pattern import pattern_share
from c2f_train.synth.raster import Camera
from c2f_train.synth.shadow import Shadows, sunlit

HAZE_START, HAZE_LENGTH = 9.0, 30.0
"""Distance at which the ground starts to fade into the horizon, and how fast, in world units."""


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
        np.stack([light.towards_sun, light.sun, light.sky, light.bounce]),
        around.ground, around.tile_size, around.panorama,
        shadows.to_map, shadows.depth, shadows.contact, shadows.contact_reach, image,
    )
    # fmt: on
    return image


def develop(image: NDArray[np.float32], supersample: int) -> NDArray[np.uint8]:
    """Linear light [H, W, 3] as 8-bit screen values, averaged over supersample x supersample blocks."""
    screen = np.sqrt(np.clip(image, 0.0, 1.0)) * 255.0
    if supersample > 1:
        size = image.shape[1] // supersample, image.shape[0] // supersample
        screen = cv2.resize(screen, size, interpolation=cv2.INTER_AREA)
    return np.round(screen).astype(np.uint8)


@njit(cache=True, nogil=True, error_model="numpy")
def bilinear(image, row, column):
    """The colour between pixels of an image [H, W, 3], edges repeated; row and column count from pixel centres."""
    row = min(max(row, 0.0), image.shape[0] - 1.001)
    column = min(max(column, 0.0), image.shape[1] - 1.001)
    r, c = int(row), int(column)
    v, u = row - r, column - c
    w00, w01, w10, w11 = (1 - v) * (1 - u), (1 - v) * u, v * (1 - u), v * u
    return (
        image[r, c, 0] * w00 + image[r, c + 1, 0] * w01 + image[r + 1, c, 0] * w10 + image[r + 1, c + 1, 0] * w11,
        image[r, c, 1] * w00 + image[r, c + 1, 1] * w01 + image[r + 1, c, 1] * w10 + image[r + 1, c + 1, 1] * w11,
        image[r, c, 2] * w00 + image[r, c + 1, 2] * w01 + image[r + 1, c, 2] * w10 + image[r + 1, c + 1, 2] * w11,
    )


@njit(cache=True, nogil=True, error_model="numpy")
def tile_colour(ground, level, row, column):
    """The colour between pixels of one level of the repeating ground."""
    r0, c0 = int(np.floor(row)), int(np.floor(column))
    v, u = row - r0, column - c0
    r0, c0 = r0 & (GROUND_SIDE - 1), c0 & (GROUND_SIDE - 1)
    r1, c1 = (r0 + 1) & (GROUND_SIDE - 1), (c0 + 1) & (GROUND_SIDE - 1)
    w00, w01, w10, w11 = (1 - v) * (1 - u), (1 - v) * u, v * (1 - u), v * u
    tile = ground[level]
    return (
        tile[r0, c0, 0] * w00 + tile[r0, c1, 0] * w01 + tile[r1, c0, 0] * w10 + tile[r1, c1, 0] * w11,
        tile[r0, c0, 1] * w00 + tile[r0, c1, 1] * w01 + tile[r1, c0, 1] * w10 + tile[r1, c1, 1] * w11,
        tile[r0, c0, 2] * w00 + tile[r0, c1, 2] * w01 + tile[r1, c0, 2] * w10 + tile[r1, c1, 2] * w11,
    )


@njit(cache=True, nogil=True, error_model="numpy")
def sky_colour(x, y, z, panorama):
    """The panorama in the direction (x, y, z)."""
    height, turn = np.arctan2(z, np.sqrt(x * x + y * y)), np.arctan2(y, x)
    row = (PANORAMA_HIGH - height) / (PANORAMA_HIGH - PANORAMA_LOW) * (PANORAMA_ROWS - 1)
    return bilinear(panorama, row, (turn / (2 * np.pi) + 0.5) * PANORAMA_COLUMNS)


@njit(cache=True, nogil=True, error_model="numpy")
def _ground_colour(ray, eye, focal, light, ground, tile_size, panorama, to_map, depth, contact, reach):
    """The ground where a ray [3] meets z = 0, fading into the horizon."""
    distance = -eye[2] / ray[2]
    x, y = eye[0] + ray[0] * distance, eye[1] + ray[1] * distance
    length = np.sqrt(ray[0] ** 2 + ray[1] ** 2 + ray[2] ** 2)
    density = GROUND_SIDE / tile_size
    footprint = distance * length / focal * np.sqrt(length / -ray[2]) * density
    level = min(max(np.log2(footprint), 0.0), GROUND_LEVELS - 1.001)
    fine = int(level)
    red, green, blue = tile_colour(ground, fine, y * density, x * density)
    if level > fine:
        red1, green1, blue1 = tile_colour(ground, fine + 1, y * density, x * density)
        share = level - fine
        red, green, blue = red + (red1 - red) * share, green + (green1 - green) * share, blue + (blue1 - blue) * share
    lit, open_sky = sunlit(x, y, 0.0, to_map, depth, 0.01) * light[0, 2], 1.3
    if abs(x) < reach and abs(y) < reach:
        unit = contact.shape[0] / (2 * reach)
        open_sky *= bilinear(contact, (y + reach) * unit - 0.5, (x + reach) * unit - 0.5)[0]
    red *= light[1, 0] * lit + light[2, 0] * open_sky
    green *= light[1, 1] * lit + light[2, 1] * open_sky
    blue *= light[1, 2] * lit + light[2, 2] * open_sky
    far = distance * length - HAZE_START
    if far <= 0:
        return red, green, blue
    clear = np.exp(-((far / HAZE_LENGTH) ** 2))
    red1, green1, blue1 = sky_colour(ray[0], ray[1], 0.0, panorama)
    return red1 + (red - red1) * clear, green1 + (green - green1) * clear, blue1 + (blue - blue1) * clear


@njit(cache=True, nogil=True, error_model="numpy")
def _shade_surface(ray, point, normal, albedo, gloss, light, to_map, depth, colour):
    """Lambert with a soft highlight at a world point, written to colour [3]."""
    towards, sun, sky, bounce = light[0], light[1], light[2], light[3]
    facing = normal[0] * ray[0] + normal[1] * ray[1] + normal[2] * ray[2]
    flip = -1.0 if facing > 0 else 1.0
    size = flip / np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2 + 1e-20)
    nx, ny, nz = normal[0] * size, normal[1] * size, normal[2] * size
    slope = nx * towards[0] + ny * towards[1] + nz * towards[2]
    lit, shine = 0.0, 0.0
    if slope > 0:
        off = 0.03
        x, y, z = point[0] + nx * off, point[1] + ny * off, point[2] + nz * off
        lit = sunlit(x, y, z, to_map, depth, 0.015)
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


@njit(cache=True, nogil=True, error_model="numpy")
def _shade(
    face, points, rotation, eye, focal, local, triangles, normals, owner, parts, colours, pattern, second, axis,
    frequency, gloss, light, ground, tile_size, panorama, to_map, depth, contact, reach, image,
):  # fmt: skip
    height, width = face.shape
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
                    colour = _ground_colour(
                        ray, eye, focal, light, ground, tile_size, panorama, to_map, depth, contact, reach
                    )
                else:
                    colour = sky_colour(ray[0], ray[1], ray[2], panorama)
                image[row, column, 0], image[row, column, 1], image[row, column, 2] = colour
                continue
            corners = triangles[triangle]
            distance = corner_weights(seen, points[corners[0]], points[corners[1]], points[corners[2]], weight)
            for k in range(3):
                point[k] = eye[k] + ray[k] * distance
                normal[k], place[k] = 0.0, 0.0
                for corner in range(3):
                    normal[k] += weight[corner] * normals[triangle, corner, k]
                    place[k] += weight[corner] * local[corners[corner], k]
            index, part = owner[triangle], parts[triangle]
            share = 0.0
            if part == 0:
                share = pattern_share(pattern[index], place, axis, frequency[index], index)
            for k in range(3):
                albedo[k] = colours[index, part, k] + (second[index, k] - colours[index, part, k]) * share
            _shade_surface(ray, point, normal, albedo, gloss[index], light, to_map, depth, image[row, column])


@njit(cache=True, nogil=True, error_model="numpy")
def _volume(a, b, c):
    """a . (b x c), six times the volume that three corners span with the eye."""
    x, y, z = b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2], b[0] * c[1] - b[1] * c[0]
    return a[0] * x + a[1] * y + a[2] * z


@njit(cache=True, nogil=True, error_model="numpy")
def corner_weights(ray, a, b, c, weight):
    """Shares of the corners where a ray meets a triangle, written to weight [3]; returns the distance along z."""
    weight[0], weight[1], weight[2] = _volume(ray, b, c), _volume(ray, c, a), _volume(ray, a, b)
    total = weight[0] + weight[1] + weight[2]
    if total == 0.0:
        weight[:] = 1.0 / 3.0
        return (a[2] + b[2] + c[2]) / 3.0
    weight[0], weight[1], weight[2] = weight[0] / total, weight[1] / total, weight[2] / total
    return _volume(a, b, c) / total
