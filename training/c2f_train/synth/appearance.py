"""Random looks: object materials, ground, sky and light. Colours are linear RGB in 0..1."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]

PLAIN_PATTERNS = ("solid", "stripes", "checker", "spots", "marble")
PATTERNS = (*PLAIN_PATTERNS, "net", "patches", "bands", "plaid", "pinstripes", "brick", "grain", "mottled")
"""The plain ones are drawn for any object; the others belong to coats, clothes and stuffs."""
GROUNDS = ("checker", "planks", "tiles", "grass", "sand", "plain", "stripes")
GROUND_HUES = (0.45, 0.2, 0.25, 0.1)
"""Shares of earthen, green, bluish and any ground."""
GROUND_SIDE = 256
GROUND_LEVELS = 7
PANORAMA_ROWS, PANORAMA_COLUMNS = 192, 1024
PANORAMA_LOW, PANORAMA_HIGH = -0.05, 0.95
"""Elevation of the panorama's last and first row, radians."""

# Hue, saturation and value of main, second and accent part where a family has a natural colour.
NATURAL: dict[str, tuple[tuple[float, float, float] | None, ...]] = {
    "tree": ((0.28, 0.65, 0.5), (0.07, 0.6, 0.35), None),
    "pine": ((0.36, 0.6, 0.38), (0.07, 0.6, 0.3), None),
    "cactus": ((0.33, 0.55, 0.5), (0.05, 0.65, 0.65), (0.93, 0.6, 0.95)),
    "mushroom": ((0.01, 0.8, 0.8), (0.1, 0.12, 0.95), None),
    "pumpkin": ((0.07, 0.85, 0.9), (0.25, 0.5, 0.4), None),
    "snowman": ((0.6, 0.04, 0.95), (0.0, 0.0, 0.12), (0.05, 0.85, 0.9)),
    "bear": ((0.07, 0.6, 0.55), (0.1, 0.4, 0.85), None),
    "dog": ((0.08, 0.5, 0.6), (0.06, 0.6, 0.35), None),
    "horse": ((0.06, 0.6, 0.45), (0.05, 0.5, 0.18), None),
    "giraffe": ((0.11, 0.55, 0.85), (0.06, 0.6, 0.4), None),
    "elephant": ((0.6, 0.1, 0.55), (0.12, 0.15, 0.95), None),
    "duck": ((0.14, 0.8, 0.95), (0.07, 0.9, 0.95), None),
    "traffic_cone": ((0.05, 0.9, 0.95), (0.0, 0.0, 0.95), (0.0, 0.0, 0.2)),
    "barrel": ((0.08, 0.6, 0.5), (0.6, 0.1, 0.3), None),
    "carton": ((0.09, 0.42, 0.72), (0.1, 0.2, 0.85), None),
    "house": ((0.1, 0.2, 0.92), (0.02, 0.65, 0.6), (0.08, 0.5, 0.35)),
    "guitar": ((0.07, 0.7, 0.75), (0.06, 0.6, 0.3), (0.0, 0.0, 0.1)),
    "book_stack": (None, None, (0.12, 0.1, 0.9)),
    "arch": ((0.1, 0.15, 0.7), (0.1, 0.2, 0.5), None),
}
DARK_ACCENT = frozenset(
    ("bear dog horse giraffe elephant duck fish car truck bus plane boat guitar rocket shoe sofa").split()
)
SKINNED = frozenset(("person_standing", "person_sitting"))
ANIMAL_PATTERN = {"giraffe": "spots", "horse": "solid", "elephant": "solid"}


@dataclass(frozen=True)
class Materials:
    """The surface of each of N objects.

    colours:  float32 [N, PARTS or more, 3].
    pattern:  int32 [N], index into PATTERNS, on the main part only.
    second:   float32 [N, 3], the other colour of the pattern.
    axis:     float32 [N, 3, 3], frame of the pattern in the object.
    frequency: float32 [N], repeats per object length.
    gloss:    float32 [N], strength of the highlight, 0..1.
    """

    colours: Float32Array
    pattern: NDArray[np.int32]
    second: Float32Array
    axis: Float32Array
    frequency: Float32Array
    gloss: Float32Array


@dataclass(frozen=True)
class Light:
    """A sun and an even light from above and below.

    towards_sun: float32 [3], unit. sun, sky, bounce: float32 [3], their colours.
    """

    towards_sun: Float32Array
    sun: Float32Array
    sky: Float32Array
    bounce: Float32Array


@dataclass(frozen=True)
class Surroundings:
    """Ground and sky.

    ground:    float32 [GROUND_LEVELS, side, side, 3], a repeating tile, each level half as sharp as the one before.
    tile_size: side of the tile in world units.
    panorama:  float32 [PANORAMA_ROWS, PANORAMA_COLUMNS, 3], all around, top row highest.
    """

    ground: Float32Array
    tile_size: float
    panorama: Float32Array


def linear(hue: float, saturation: float, value: float) -> NDArray[np.float64]:
    """Linear RGB of an HSV colour as it looks on a screen."""
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, np.clip(saturation, 0, 1), np.clip(value, 0, 1))) ** 2.2


def random_colour(rng: Generator) -> NDArray[np.float64]:
    """A lively colour, now and then a grey."""
    if rng.random() < 0.12:
        return linear(0.0, 0.0, rng.uniform(0.2, 0.95))
    return linear(rng.random(), rng.uniform(0.35, 0.85), rng.uniform(0.5, 0.95))


def _part_colours(category: str, rng: Generator) -> list[NDArray[np.float64]]:
    natural = NATURAL.get(category, (None, None, None)) if rng.random() < 0.65 else (None, None, None)
    colours = []
    for choice in natural:
        if choice is None:
            colours.append(random_colour(rng))
        else:
            hue, saturation, value = choice
            colours.append(
                linear(hue + rng.normal(0, 0.02), saturation * rng.uniform(0.8, 1.15), value * rng.uniform(0.85, 1.1))
            )
    if category in DARK_ACCENT:
        colours[2] = linear(0.6, 0.2, rng.uniform(0.1, 0.25))
    if category in SKINNED:
        colours[2] = linear(0.07, rng.uniform(0.3, 0.6), rng.uniform(0.4, 0.95))
    return colours


def random_materials(categories: tuple[str, ...], rng: Generator) -> Materials:
    """A material for each object."""
    count = len(categories)
    colours = np.array([_part_colours(category, rng) for category in categories], np.float32)
    pattern = rng.choice(len(PLAIN_PATTERNS), count, p=[0.42, 0.16, 0.1, 0.16, 0.16]).astype(np.int32)
    for index, category in enumerate(categories):
        if category in ANIMAL_PATTERN and rng.random() < 0.7:
            pattern[index] = PATTERNS.index(ANIMAL_PATTERN[category])
    contrast = rng.uniform(0.25, 0.6, (count, 1))
    other = np.array([random_colour(rng) for _ in range(count)])
    second = np.where(rng.random((count, 1)) < 0.5, colours[:, 0] * contrast, other)
    for index, category in enumerate(categories):
        if category in NATURAL:
            second[index] = colours[index, 0] * contrast[index]
    axes = np.stack(
        [np.linalg.qr(rng.normal(size=(3, 3)) + 4 * np.eye(3)[:, rng.permutation(3)])[0] for _ in range(count)]
    )
    frequency = rng.uniform(4.0, 11.0, count)
    gloss = np.where(rng.random(count) < 0.5, rng.uniform(0.0, 0.1, count), rng.uniform(0.2, 0.6, count))
    return Materials(
        colours,
        pattern,
        second.astype(np.float32),
        axes.astype(np.float32),
        frequency.astype(np.float32),
        gloss.astype(np.float32),
    )


def random_light(rng: Generator) -> Light:
    """A sun 25 to 70 degrees high, warm or neutral, and a bluish sky."""
    height, around = np.radians(rng.uniform(25, 70)), rng.uniform(0, 2 * np.pi)
    towards = [np.cos(height) * np.cos(around), np.cos(height) * np.sin(around), np.sin(height)]
    warmth = rng.uniform(0, 1)
    sun = np.array([1.0, 0.97 - 0.09 * warmth, 0.93 - 0.25 * warmth]) * rng.uniform(0.9, 1.2)
    sky = np.array([0.8, 0.9, 1.05]) * rng.uniform(0.35, 0.5)
    bounce = np.array([0.9, 0.85, 0.75]) * rng.uniform(0.12, 0.22)
    return Light(*(np.array(value, np.float32) for value in (towards, sun, sky, bounce)))


def noise(rng: Generator, rows: int, columns: int, cells: int, octaves: int = 4) -> Float32Array:
    """Smooth noise [rows, columns] in 0..1 that repeats at the right and lower edge; cells is its coarsest grid."""
    total, weight = np.zeros((rows, columns), np.float32), 1.0
    for octave in range(octaves):
        across = min(cells * 2**octave, columns)
        down = min(max(2, round(across * rows / columns)), rows)
        grid = np.pad(rng.random((down, across), np.float32), 2, mode="wrap")
        scale_rows, scale_columns = rows / down, columns / across
        size = (round((across + 4) * scale_columns), round((down + 4) * scale_rows))
        fine = cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC)
        top, left = round(2 * scale_rows), round(2 * scale_columns)
        total += weight * fine[top : top + rows, left : left + columns]
        weight *= 0.5
    low, high = total.min(), total.max()
    return (total - low) / (high - low + 1e-9)


def random_surroundings(rng: Generator) -> Surroundings:
    """A ground and a sky that go together."""
    kind = str(rng.choice(GROUNDS))
    ground, tile_size = _ground_tile(kind, rng)
    return Surroundings(sharpness_levels(ground), tile_size, panorama(rng, ground.mean((0, 1))))


def sharpness_levels(tile: Float32Array) -> Float32Array:
    """A repeating tile [side, side, 3] at GROUND_LEVELS levels, each half as sharp: [GROUND_LEVELS, side, side, 3]."""
    levels = [tile]
    for level in range(1, GROUND_LEVELS):
        side = GROUND_SIDE >> level
        small = cv2.resize(tile, (side, side), interpolation=cv2.INTER_AREA)
        wide = cv2.resize(np.pad(small, ((1, 1), (1, 1), (0, 0)), mode="wrap"), None, fx=1 << level, fy=1 << level)
        edge = 1 << level
        levels.append(np.ascontiguousarray(wide[edge : edge + GROUND_SIDE, edge : edge + GROUND_SIDE]))
    return np.stack(levels).astype(np.float32)


def _ground_tile(kind: str, rng: Generator) -> tuple[Float32Array, float]:
    """A repeating tile [side, side, 3] and its side in world units."""
    side = GROUND_SIDE
    row, column = np.mgrid[0:side, 0:side]
    hue = rng.choice(
        [rng.uniform(0.04, 0.16), rng.uniform(0.25, 0.45), rng.uniform(0.5, 0.65), rng.random()], p=GROUND_HUES
    )
    base = linear(hue, rng.uniform(0.03, 0.3), rng.uniform(0.5, 0.85))
    other = base * rng.uniform(0.4, 0.75)
    grain = 0.75 + 0.5 * noise(rng, side, side, 8)
    size = rng.uniform(2.5, 4.5)
    if kind == "checker":
        mix = ((row * 4 // side + column * 4 // side) % 2).astype(np.float32)
    elif kind == "planks":
        base = linear(rng.uniform(0.05, 0.1), rng.uniform(0.35, 0.6), rng.uniform(0.45, 0.75))
        other, board = base * 0.35, row * 8 // side
        shades = rng.uniform(0.8, 1.15, 8)[board]
        grain = shades * (0.8 + 0.4 * cv2.blur(rng.random((side, side)), (41, 1), borderType=cv2.BORDER_REFLECT))
        joint = (column - rng.integers(0, side, 8)[board]) % (side // 2) < 2
        mix = ((row % (side // 8) < 2) | joint).astype(np.float32)
    elif kind == "tiles":
        grain = rng.uniform(0.85, 1.1, (4, 4))[row * 4 // side, column * 4 // side] * (
            0.9 + 0.2 * noise(rng, side, side, 8)
        )
        mix = ((row % (side // 4) < 3) | (column % (side // 4) < 3)).astype(np.float32)
    elif kind == "grass":
        base = linear(rng.uniform(0.2, 0.32), rng.uniform(0.4, 0.65), rng.uniform(0.4, 0.6))
        other, mix = base * np.array([1.2, 0.8, 0.6]), noise(rng, side, side, 4)
        grain = 0.55 + 0.9 * noise(rng, side, side, 32, 3)
    elif kind == "sand":
        base = linear(rng.uniform(0.08, 0.12), rng.uniform(0.2, 0.4), rng.uniform(0.7, 0.85))
        other, mix = base * 0.7, noise(rng, side, side, 6)
        grain = 0.8 + 0.4 * rng.random((side, side))
    elif kind == "stripes":
        mix = (column * 8 // side % 2).astype(np.float32)
    else:
        mix = noise(rng, side, side, 4)
        other = base * 0.8
    tile = (base + (other - base) * mix[..., None]) * grain[..., None]
    return tile.astype(np.float32), float(size)


def panorama(rng: Generator, ground_colour: Float32Array) -> Float32Array:
    """A sky [rows, columns, 3] with clouds and perhaps hills, or a plain studio backdrop."""
    height = np.linspace(PANORAMA_HIGH, PANORAMA_LOW, PANORAMA_ROWS)[:, None]
    up = np.clip(height / PANORAMA_HIGH, 0, 1)[..., None] ** 0.6
    if rng.random() < 0.85:
        hue, saturation = rng.uniform(0.53, 0.62), rng.uniform(0.2, 0.65)
    else:
        hue, saturation = rng.random(), rng.uniform(0.05, 0.2)
    horizon = linear(rng.choice([hue, 0.09]), rng.uniform(0.03, 0.15), rng.uniform(0.85, 0.98))
    zenith = linear(hue, saturation, rng.uniform(0.6, 0.9))
    sky = np.broadcast_to(horizon + (zenith - horizon) * up, (PANORAMA_ROWS, PANORAMA_COLUMNS, 3)).copy()
    if rng.random() < 0.25:
        return sky.astype(np.float32)
    clouds = noise(rng, PANORAMA_ROWS, PANORAMA_COLUMNS, 16)
    cover = np.clip((clouds - rng.uniform(0.45, 0.65)) * 3.0, 0, 1)[..., None] * 0.75
    sky += (np.array([0.92, 0.93, 0.95]) - sky) * cover
    if rng.random() < 0.65:
        for distance in (0.75, 0.45):
            ridge = 0.02 + rng.uniform(0.05, 0.2) * distance * noise(rng, 8, PANORAMA_COLUMNS, 12, 5)[0]
            colour = ground_colour * 0.3 + linear(rng.uniform(0.2, 0.65), 0.35, 0.4) * 0.5
            hill = horizon * distance + colour * (1 - distance)
            inside = np.clip((ridge[None] - height) / (PANORAMA_HIGH / PANORAMA_ROWS), 0, 1)[..., None]
            sky += (hill * (0.9 + 0.2 * clouds[..., None]) - sky) * inside
    return sky.astype(np.float32)
