"""Patterns of surfaces, as shares of a second colour at a place of an object."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def _hash(x, y, z):
    """A pseudo-random number in 0..1 for each integer cell."""
    value = (x * 374761393 + y * 668265263 + z * 1440662683) & 0xFFFFFFFF
    value = ((value ^ (value >> 13)) * 1274126177) & 0xFFFFFFFF
    return (value & 0xFFFF) / 65535.0


@njit(cache=True, nogil=True, error_model="numpy")
def noise(x, y, z):
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


@njit(cache=True, nogil=True, error_model="numpy")
def pattern_share(kind, place, axis, frequency, index):
    """Share 0..1 of the second colour at a place [3] of an object; kind counts as PATTERNS does."""
    # A hair off the object's planes of symmetry, where flat faces would flicker between two checks.
    x = frequency * (axis[index, 0, 0] * place[0] + axis[index, 0, 1] * place[1] + axis[index, 0, 2] * place[2]) + 0.01
    y = frequency * (axis[index, 1, 0] * place[0] + axis[index, 1, 1] * place[1] + axis[index, 1, 2] * place[2]) + 0.01
    z = frequency * (axis[index, 2, 0] * place[0] + axis[index, 2, 1] * place[1] + axis[index, 2, 2] * place[2]) + 0.01
    if kind == 1:
        return 1.0 if np.sin(x * np.pi) > 0.25 else 0.0
    if kind == 2:
        return float((int(np.floor(x)) + int(np.floor(y)) + int(np.floor(z))) % 2)
    if kind == 3:
        return 1.0 if noise(x, y, z) > 0.62 else 0.0
    if kind == 4:
        return 0.5 + 0.5 * np.sin(x * 1.5 + 5.0 * noise(x * 0.7, y * 0.7, z * 0.7))
    if kind >= 5:
        return _stuff_share(kind, x, y, z)
    return 0.25 * noise(x, y, z)


@njit(cache=True, nogil=True, error_model="numpy")
def _stuff_share(kind, x, y, z):
    """Share 0..1 of the second colour for coats, clothes and stuffs; kind counts as PATTERNS does."""
    if kind == 5:  # net
        return 1.0 if _gap(x, y, z) < 0.13 else 0.0
    if kind == 6:  # patches
        return min(max((noise(x, y, z) + 0.25 * noise(3 * x, 3 * y, 3 * z) - 0.66) * 30.0, 0.0), 1.0)
    if kind == 7:  # bands
        return 1.0 if np.sin(np.pi * (x + 0.35 * z + 1.3 * noise(0.35 * x, 0.35 * y, 0.35 * z))) > 0.1 else 0.0
    if kind == 8:  # plaid
        return 0.5 * (np.sin(np.pi * (y + x)) > 0.45) + 0.5 * (np.sin(np.pi * z) > 0.45)
    if kind == 9:  # pinstripes
        return 1.0 if np.sin(np.pi * (y + 0.6 * x)) > 0.75 else 0.0
    if kind == 10:  # brick
        row = np.floor(z)
        along = 0.5 * (x + y) + 0.5 * (row % 2)
        return 1.0 if z - row < 0.16 or along - np.floor(along) < 0.08 else 0.25 * noise(row, np.floor(along), 0.5)
    if kind == 11:  # grain
        return 0.5 + 0.5 * np.sin(4.0 * y + 4.0 * x + 6.0 * noise(0.6 * x, 0.6 * y, 0.12 * z))
    return 0.8 * noise(x, y, z) * noise(0.3 * x, 0.3 * y, 0.3 * z)


@njit(cache=True, nogil=True, error_model="numpy")
def _gap(x, y, z):
    """How much farther the second nearest of some scattered points is than the nearest."""
    ix, iy, iz = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    first, second = 9.0, 9.0
    for k in range(-1, 2):
        for j in range(-1, 2):
            for i in range(-1, 2):
                cx, cy, cz = ix + i, iy + j, iz + k
                dx = cx + 0.1 + 0.8 * _hash(cx, cy, cz) - x
                dy = cy + 0.1 + 0.8 * _hash(cx + 57, cy, cz) - y
                dz = cz + 0.1 + 0.8 * _hash(cx, cy + 91, cz) - z
                away = np.sqrt(dx * dx + dy * dy + dz * dz)
                if away < first:
                    first, second = away, first
                elif away < second:
                    second = away
    return second - first
