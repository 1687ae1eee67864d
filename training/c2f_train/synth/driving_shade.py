"""Shading of a street scene: road markings, paint, glass, house fronts, leaves, haze. As shade, but in metres."""

from __future__ import annotations

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from c2f_train.synth.appearance import GROUND_LEVELS, GROUND_SIDE, Light
from c2f_train.synth.driving_materials import (
    BRICKS,
    FOLIAGE,
    LACQUER,
    PANE,
    ROUGH,
    STRIPES,
    WINDOWS,
    Grounds,
    Paints,
)
from c2f_train.synth.driving_road import SIDE_ROAD_HALF, Road
from c2f_train.synth.pattern import noise
from c2f_train.synth.raster import Camera, raster_parallel
from c2f_train.synth.shade import Surface, bilinear, corner_weights, sky_colour, tile_colour
from c2f_train.synth.shadow import Shadows, depth_map, sunlit

HAZE_LENGTH = 260.0
"""Distance at which 63 % of a thing's light is replaced by that of the horizon, metres."""
SUN_SIDE, CONTACT_SIDE = 1024, 640
"""Pixels of the shadow maps."""
LIT_AHEAD, LIT_ASIDE, LIT_HEIGHT = 62.0, 16.0, 2.5
"""Shadows are drawn in a box of these sides before the camera, metres."""
CONTACT_FADE, CONTACT_REACH = 0.3, 26.0
"""Height at which the soft shadow under a thing is at 37 %, and half the side of its map, metres."""


def street_shadows(
    camera: Camera, vertices: NDArray[np.float32], triangles: NDArray[np.int32], movers: int, light: Light
) -> tuple[Shadows, NDArray[np.float64]]:
    """Shadows before a camera, and the middle [2] of its contact map; the first movers triangles draw the latter."""
    forward = camera.rotation[2] * np.array([1, 1, 0])
    forward /= np.linalg.norm(forward)
    aside = np.array([-forward[1], forward[0], 0.0])
    ground = camera.position * np.array([1, 1, 0])
    # fmt: off
    corners = np.array([ground + forward * a + aside * b + np.array([0, 0, c])
                        for a in (-3.0, LIT_AHEAD) for b in (-LIT_ASIDE, LIT_ASIDE) for c in (0.0, LIT_HEIGHT)])
    # fmt: on
    to_map, depths = depth_map(vertices, triangles, corners, light, SUN_SIDE)
    middle = (ground + forward * (CONTACT_REACH - 1.0))[:2]
    points = vertices.astype(np.float64)
    unit = CONTACT_SIDE / (2 * CONTACT_REACH)
    points[:, :2] = (points[:, :2] - middle + CONTACT_REACH) * unit
    cover = np.exp(-raster_parallel(points, triangles[:movers], CONTACT_SIDE) / CONTACT_FADE)
    soft = 0.6 * cv2.GaussianBlur(cover, (0, 0), 0.1 * unit) + 0.4 * cv2.GaussianBlur(cover, (0, 0), 0.35 * unit)
    contact = np.repeat((1.0 - 0.85 * soft).astype(np.float32)[..., None], 3, 2)
    return Shadows(to_map, depths, contact, CONTACT_REACH), middle


def shade_street(
    camera: Camera,
    face: NDArray[np.int32],
    surface: Surface,
    paints: Paints,
    light: Light,
    grounds: Grounds,
    road: Road,
    movers: int,
) -> NDArray[np.float32]:
    """The picture, float32 [H, W, 3], linear RGB; face [H, W] is the visible triangle, -1 for none.

    movers: number of triangles, the first ones, that get a soft shadow under them.
    """
    image = np.empty((*face.shape, 3), np.float32)
    shadows, middle = street_shadows(camera, surface.vertices, surface.triangles, movers, light)
    marks = np.nan_to_num([road.crossing, road.side_road], nan=-1e9)
    # fmt: off
    section = np.array([road.curvature, road.handed, road.half_width, road.lane_width, road.kerb(0), road.kerb(1),
                        road.back(0), road.back(1), road.dash, *marks, *grounds.sizes])
    lights = np.stack([light.towards_sun, light.sun, light.sky, light.bounce])
    _shade(
        face, camera.see(surface.vertices), camera.rotation, camera.position, camera.focal, camera.principal,
        surface.local, surface.triangles, surface.normals, surface.owner, surface.parts,
        paints.colours, paints.second, paints.kinds, paints.gloss, paints.scale, lights, section, grounds.tiles,
        grounds.panorama, shadows.to_map, shadows.depth, shadows.contact, middle, image,
    )
    # fmt: on
    return image


@njit(cache=True, nogil=True, error_model="numpy")
def _band(value, middle, half, soft):
    """Share 0..1 of a stripe of that half width around middle in a pixel as wide as soft."""
    return min(max((half + soft * 0.5 - abs(value - middle)) / soft, 0.0), 1.0) * min(1.0, 2 * half / soft)


@njit(cache=True, nogil=True, error_model="numpy")
def _marking(s, d, across, along, section):
    """Share of white paint on the carriageway at road coordinates; across and along are the pixel's sides in metres."""
    half, lane, period = section[2], section[3], section[8]
    lanes = int(half / lane + 0.5)
    dashed = s / period - np.floor(s / period)
    on = min(max((0.2 - abs(dashed - 0.5)) * period / along + 0.5, 0.0), 1.0)
    if along > period:
        on = 0.4
    white = _band(d, 0.0, 0.06, across) * (on if lanes == 1 else 1.0)
    for index in range(1, lanes):
        white += _band(abs(d), index * lane, 0.06, across) * on
    white += _band(abs(d), half - 0.12, 0.05, across) * (1.0 if lanes > 1 else 0.6)
    if abs(s - section[9]) < 1.8 and abs(d) < half:
        bar = d - np.floor(d)
        white = max(white, min(max((0.25 - abs(bar - 0.5)) / across + 0.5, 0.0), 1.0))
    return 0.85 * min(white, 1.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _tile_at(tile, size, x, y, footprint):
    """The colour of a repeating ground at a world place, as sharp as the footprint in metres allows."""
    density = GROUND_SIDE / size
    level = min(max(np.log2(footprint * density), 0.0), GROUND_LEVELS - 1.001)
    fine = int(level)
    red, green, blue = tile_colour(tile, fine, y * density, x * density)
    red1, green1, blue1 = tile_colour(tile, fine + 1, y * density, x * density)
    share = level - fine
    return red + (red1 - red) * share, green + (green1 - green) * share, blue + (blue1 - blue) * share


@njit(cache=True, nogil=True, error_model="numpy")
def _ground(x, y, reach, steep, focal, section, tiles, albedo):
    """Albedo of the ground at a world place, written to albedo [3]; reach: distance, steep: its share downwards."""
    k = section[0]
    along_x, along_y = k * x, 1.0 - k * y
    s = np.arctan2(along_x, along_y) / k
    # 1 - hypot, written without the difference of two numbers near 1.
    d = (2.0 * k * y - k * k * (x * x + y * y)) / (1.0 + np.sqrt(along_x * along_x + along_y * along_y)) / k
    d *= section[1]
    across, along = reach / focal, reach / focal / max(steep, 1e-3)
    side = 0 if d < 0 else 1
    away = abs(d)
    kerb, back = section[4 + side], section[6 + side]
    footprint = np.sqrt(across * along)
    joins = abs(s - section[10]) < SIDE_ROAD_HALF
    kind = 0 if away < kerb or joins else (1 if away < back else 2)
    albedo[0], albedo[1], albedo[2] = _tile_at(tiles[kind], section[11 + kind], x, y, footprint)
    if kind == 0:
        white = _marking(s, d, across, along, section) if away < section[2] else 0.0
        if joins:
            white *= _band(d, 0.0, 0.1, across)
        worn = 1.0 - 0.12 * _band(away, kerb - 0.12, 0.15, across)
        patch = 0.9 + 0.2 * noise(x * 0.15, y * 0.15, 3.0)
        for c in range(3):
            albedo[c] = (albedo[c] + (0.75 - albedo[c]) * white) * worn * patch
    if joins:
        return
    edge = _band(away, kerb + 0.09, 0.09, across)
    gutter = _band(away, kerb - 0.05, 0.05, across)
    for c in range(3):
        albedo[c] = albedo[c] + (0.42 - albedo[c]) * edge
        albedo[c] *= 1.0 - 0.5 * gutter


@njit(cache=True, nogil=True, error_model="numpy")
def _lit_ground(x, y, albedo, light, to_map, depth, contact, middle, colour):
    """Light leaving the ground at a world place, written to colour [3]."""
    lit, open_sky = sunlit(x, y, 0.0, to_map, depth, 0.06) * light[0, 2], 1.25
    u, v = x - middle[0], y - middle[1]
    if abs(u) < CONTACT_REACH and abs(v) < CONTACT_REACH:
        unit = contact.shape[0] / (2 * CONTACT_REACH)
        near = bilinear(contact, (v + CONTACT_REACH) * unit - 0.5, (u + CONTACT_REACH) * unit - 0.5)[0]
        open_sky *= near
        lit *= min(1.0, 0.4 + 0.6 * near)
    for c in range(3):
        colour[c] = albedo[c] * (light[1, c] * lit + light[2, c] * open_sky)


@njit(cache=True, nogil=True, error_model="numpy")
def _pattern(kind, place, scale, normal, footprint, index):
    """Share 0..1 of the second colour at a place [3] of a thing; bends the normal of leaves."""
    x, y, z = place[0], place[1], place[2]
    if kind == WINDOWS:
        u, v = (x + y) / scale[index, 0], z / scale[index, 1]
        du, dv = abs(u - np.floor(u) - 0.5) * scale[index, 0], abs(v - np.floor(v) - 0.52) * scale[index, 1]
        inside = min(0.27 * scale[index, 0] - du, 0.26 * scale[index, 1] - dv)
        return min(max(inside / max(footprint, 0.01) + 0.5, 0.0), 1.0)
    if kind == FOLIAGE:
        for c in range(3):
            normal[c] += 0.9 * (noise(x * 3.1 + 17 * c, y * 3.1, z * 3.1) - 0.5)
        return max(0.0, 1.3 * noise(x * 2.2, y * 2.2, z * 2.2) - 0.3) * noise(x * 9.0, y * 9.0, z * 9.0)
    if kind == BRICKS:
        row = np.floor(z / 0.24)
        u = (x + y) / 0.6 + 0.5 * (row % 2)
        joint = max(abs(u - np.floor(u) - 0.5) - 0.46, abs(z / 0.24 - row - 0.5) - 0.42)
        near = 1.0 if joint > 0 else 0.3 * noise(np.floor(u) * 7.3, row * 3.7, 0.0)
        far = 0.3
        return far + (near - far) * min(1.0, 0.05 / footprint)
    if kind == STRIPES:
        return 0.6 if np.sin(z * 2 * np.pi / 0.25) > 0.2 else 0.0
    if kind == ROUGH:
        return 0.5 * noise(x * 7.0, y * 7.0, z * 7.0)
    return 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _reflection(ray, nx, ny, nz, light, panorama, strength, floor, colour):
    """Adds what a smooth surface mirrors of sky and ground to colour [3]; ray [3] is of unit length."""
    facing = -(nx * ray[0] + ny * ray[1] + nz * ray[2])
    x, y, z = ray[0] + 2 * facing * nx, ray[1] + 2 * facing * ny, ray[2] + 2 * facing * nz
    share = strength * (floor + (1.0 - floor) * (1.0 - max(facing, 0.0)) ** 5)
    red, green, blue = sky_colour(x, y, max(z, 0.02), panorama)
    up = min(max(z * 4.0 + 0.3, 0.0), 1.0)
    ground = 0.16 * (light[1, 0] + light[2, 0])
    colour[0] += share * (ground + (red - ground) * up - colour[0])
    colour[1] += share * (ground + (green - ground) * up - colour[1])
    colour[2] += share * (ground + (blue - ground) * up - colour[2])


@njit(cache=True, nogil=True, error_model="numpy")
def _lit_surface(ray, point, normal, albedo, kind, gloss, light, panorama, to_map, depth, colour):
    """Light leaving a surface at a world point towards the eye, written to colour [3]."""
    facing = normal[0] * ray[0] + normal[1] * ray[1] + normal[2] * ray[2]
    size = (-1.0 if facing > 0 else 1.0) / np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2 + 1e-20)
    nx, ny, nz = normal[0] * size, normal[1] * size, normal[2] * size
    slope = nx * light[0, 0] + ny * light[0, 1] + nz * light[0, 2]
    lit, shine = 0.0, 0.0
    if slope > 0:
        off = 0.1
        lit = sunlit(point[0] + nx * off, point[1] + ny * off, point[2] + nz * off, to_map, depth, 0.08)
        hx, hy, hz = light[0, 0] - ray[0], light[0, 1] - ray[1], light[0, 2] - ray[2]
        half = (nx * hx + ny * hy + nz * hz) / np.sqrt(hx * hx + hy * hy + hz * hz + 1e-20)
        shine = 0.7 * gloss * max(half, 0.0) ** 60 * lit
    upward = 0.5 + 0.5 * nz
    hollow = 0.55 + 0.45 * min(point[2] / 0.9, 1.0)
    for c in range(3):
        even = (light[2, c] * upward + light[3, c] * (1 - upward)) * hollow
        colour[c] = albedo[c] * (even + light[1, c] * max(slope, 0.0) * lit)
    if kind == LACQUER:
        _reflection(ray, nx, ny, nz, light, panorama, gloss, 0.05, colour)
    elif kind == PANE:
        _reflection(ray, nx, ny, nz, light, panorama, gloss, 0.12, colour)
    for c in range(3):
        colour[c] += light[1, c] * shine


@njit(cache=True, nogil=True, error_model="numpy")
def _shade(
    face, points, rotation, eye, focal, principal, local, triangles, normals, owner, parts, colours, second, kinds,
    gloss, scale, light, section, tiles, panorama, to_map, depth, contact, middle, image,
):  # fmt: skip
    height, width = face.shape
    ray, seen, point, normal = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    place, albedo, weight = np.empty(3), np.empty(3), np.empty(3)
    for row in range(height):
        for column in range(width):
            seen[0], seen[1], seen[2] = (column + 0.5 - principal[0]) / focal, (row + 0.5 - principal[1]) / focal, 1.0
            length = np.sqrt(seen[0] ** 2 + seen[1] ** 2 + 1.0)
            for k in range(3):
                ray[k] = (rotation[0, k] * seen[0] + rotation[1, k] * seen[1] + rotation[2, k]) / length
            triangle, colour = face[row, column], image[row, column]
            if triangle < 0 and ray[2] > -1e-4:
                colour[0], colour[1], colour[2] = sky_colour(ray[0], ray[1], ray[2], panorama)
                continue
            if triangle < 0:
                reach = -eye[2] / ray[2]
                x, y = eye[0] + ray[0] * reach, eye[1] + ray[1] * reach
                _ground(x, y, reach, -ray[2], focal, section, tiles, albedo)
                _lit_ground(x, y, albedo, light, to_map, depth, contact, middle, colour)
            else:
                a, b, c = triangles[triangle]
                reach = corner_weights(seen, points[a], points[b], points[c], weight) * length
                for k in range(3):
                    point[k] = eye[k] + ray[k] * reach
                    normal[k] = 0.0
                    for corner in range(3):
                        normal[k] += weight[corner] * normals[triangle, corner, k]
                    place[k] = weight[0] * local[a, k] + weight[1] * local[b, k] + weight[2] * local[c, k]
                index, part = owner[triangle], parts[triangle]
                kind, shine = kinds[index, part], gloss[index, part]
                share = _pattern(kind, place, scale, normal, reach / focal, index)
                for k in range(3):
                    albedo[k] = colours[index, part, k] + (second[index, part, k] - colours[index, part, k]) * share
                if kind == WINDOWS and share > 0.5:
                    kind, shine = PANE, 0.7
                _lit_surface(ray, point, normal, albedo, kind, shine, light, panorama, to_map, depth, colour)
            red, green, blue = sky_colour(ray[0], ray[1], 0.02, panorama)
            clear = np.exp(-reach / HAZE_LENGTH * min(1.0, reach / 60.0))
            colour[0] = red + (colour[0] - red) * clear
            colour[1] = green + (colour[1] - green) * clear
            colour[2] = blue + (colour[2] - blue) * clear
