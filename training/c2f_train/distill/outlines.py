"""Random objects as masks: drawn outlines, silhouettes of the generator's meshes, and masks of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from c2f_ros.contract import InputError
from c2f_ros.geometry import BoolArray
from c2f_train.synth.mesh import rotation
from c2f_train.synth.raster import look_at, raster_objects
from c2f_train.synth.shapes import FAMILIES

Points = NDArray[np.float64]
"""Corners [P, 2] of a polygon, (x, y) in -0.5 to 0.5."""
SILHOUETTE = 192
"""Largest side of a kept mask, pixels."""
VIEWS = 6
"""Silhouettes per family of shapes."""
MASK_FILES = (".png", ".bmp", ".tif", ".tiff", ".pgm")
LEAST_PIXELS = 24
"""Of a mask of one's own; smaller ones are left out."""
BITS = 4
"""Fractional bits of polygon corners in OpenCV."""


def draw_object(rng: Generator, side: int, pool: Sequence[BoolArray]) -> BoolArray:
    """One object [side, side]: half of the times one of the pool, if there is one, turned and bent; else some outlines
    joined, some cut away. It may touch the borders; it may, rarely, be empty."""
    if pool and rng.random() < 0.5:
        return _bent(rng, pool[int(rng.integers(len(pool)))], side)
    canvas = np.zeros((side, side), np.uint8)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3, 4]))):
        _fill(canvas, _placed(rng, _outline(rng), 0.35, 1.0), 1)
    for _ in range(int(rng.choice([0, 0, 0, 1, 2]))):
        _fill(canvas, _placed(rng, _outline(rng), 0.1, 0.4), 0)
    return canvas.astype(bool)


def draw_blob(rng: Generator, side: int, least: float, most: float) -> BoolArray:
    """One outline [side, side] anywhere, its size a share `least` to `most` of the side."""
    canvas = np.zeros((side, side), np.uint8)
    _fill(canvas, _placed(rng, _outline(rng), least, most, reach=0.5), 1)
    return canvas.astype(bool)


def _outline(rng: Generator) -> Points:
    kind = rng.choice(["ellipse", "polygon", "wavy", "box", "limb"], p=[0.25, 0.2, 0.25, 0.15, 0.15])
    angles = np.sort(rng.uniform(0, 2 * np.pi, 10)) if kind == "polygon" else np.linspace(0, 2 * np.pi, 48, False)
    circle = np.stack([np.cos(angles), np.sin(angles)], 1) * 0.5
    if kind == "polygon":
        return circle * rng.uniform(0.4, 1.0, (len(circle), 1))
    if kind == "wavy":
        waves = sum(rng.normal(0, 0.25 / n) * np.sin(n * angles + rng.uniform(0, 6.3)) for n in range(2, 8))
        return circle * np.clip(0.75 + waves, 0.15, 1.0)[:, None]
    if kind == "box":
        return np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]) * (1.0, rng.uniform(0.2, 1.0))
    if kind == "limb":
        return _limb(rng)
    return circle * (1.0, rng.uniform(0.25, 1.0))


def _limb(rng: Generator) -> Points:
    """A band along a bent line."""
    x = np.linspace(-0.5, 0.5, 16)
    y = rng.normal(0, 0.12) * np.sin(rng.uniform(1, 6) * x + rng.uniform(0, 6.3))
    half = rng.uniform(0.02, 0.1)
    return np.concatenate([np.stack([x, y - half], 1), np.stack([x, y + half], 1)[::-1]])


def _placed(rng: Generator, points: Points, least: float, most: float, reach: float = 0.25) -> Points:
    """Turned, stretched and moved."""
    turn = rng.uniform(0, 2 * np.pi)
    size = rng.uniform(least, most) * np.array([1.0, rng.uniform(0.5, 1.0)])
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * size[:, None]
    return points @ matrix.T + rng.uniform(-reach, reach, 2)


def _fill(canvas: NDArray[np.uint8], points: Points, value: int) -> None:
    corners = np.rint((points + 0.5) * len(canvas) * (1 << BITS)).astype(np.int32)
    cv2.fillPoly(canvas, [corners], value, lineType=cv2.LINE_8, shift=BITS)


def _bent(rng: Generator, mask: BoolArray, side: int) -> BoolArray:
    """A mask of the pool, mirrored, turned a little, stretched, in the middle of [side, side]."""
    height, width = mask.shape
    turn = np.radians(rng.normal(0, 12))
    scale = side / max(height, width) * rng.uniform(0.7, 1.05) * rng.uniform(0.75, 1.0, 2)
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * scale
    if rng.random() < 0.5:
        turned[:, 0] *= -1
    middle = np.array([width, height]) / 2 - 0.5
    matrix = np.concatenate([turned, (side / 2 - 0.5 - turned @ middle)[:, None]], 1)
    grown = cv2.warpAffine(mask.astype(np.uint8) * 255, matrix, (side, side), flags=cv2.INTER_LINEAR)
    return grown > 127


def silhouettes(seed: int) -> list[BoolArray]:
    """Masks of every family of the scene generator from some sides, each as small as its object is."""
    rng = np.random.default_rng(seed)
    found = []
    for build in FAMILIES.values():
        mesh = build(rng)
        for _ in range(VIEWS):
            around = rotation("z", rng.uniform(0, 360)) @ np.array([2.2, 0.0, rng.uniform(0.0, 1.2)])
            camera = look_at(np.array([0.0, 0.0, 0.4]) + around, np.array([0.0, 0.0, 0.4]), SILHOUETTE, 256, 256)
            whole = np.array([0, len(mesh.triangles)], np.int32)
            found.append(_tight(raster_objects(camera, mesh.vertices, mesh.triangles, whole).face[0] >= 0))
    return [mask for mask in found if mask.size]


def own_masks(folder: Path, most: int = 20000) -> list[BoolArray]:
    """The masks in a folder of images (and its folders): every value but 0 of an image is one object.

    Raises InputError, one sentence: no folder, no file, or an image that is no mask.
    """
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in MASK_FILES) if folder.is_dir() else []
    if not files:
        raise InputError(f"{folder} holds no mask ({', '.join(MASK_FILES)}); give a folder of label images or masks")
    found: list[BoolArray] = []
    for file in files:
        labels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        if labels is None or labels.ndim != 2:
            shape = "nothing that can be read" if labels is None else f"{labels.shape[2]} channels"
            raise InputError(f"{file} has {shape}, expected one channel of labels; convert it or take it out")
        values = [value for value in np.unique(labels) if value != 0]
        if len(values) > 256:
            raise InputError(f"{file} has {len(values)} values, a mask or label image has few; take it out")
        found += [_small(_tight(labels == value)) for value in values]
        if len(found) >= most:
            break
    found = [mask for mask in found if mask.sum() >= LEAST_PIXELS]
    if not found:
        raise InputError(f"{folder} holds no mask of {LEAST_PIXELS} pixels or more; give larger ones")
    return found[:most]


def _tight(mask: BoolArray) -> BoolArray:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else mask[:0, :0]


def _small(mask: BoolArray) -> BoolArray:
    share = SILHOUETTE / max(1, *mask.shape)
    if share >= 1 or not mask.size:
        return mask
    size = max(1, round(mask.shape[1] * share)), max(1, round(mask.shape[0] * share))
    return cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 127
