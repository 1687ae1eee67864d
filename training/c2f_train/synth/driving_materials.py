"""Looks of a street scene: paint, cloth, foliage, fronts, and what the road is made of. Colours are linear RGB."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from c2f_train.synth.appearance import (
    GROUND_SIDE,
    Float32Array,
    Light,
    linear,
    noise,
    panorama,
    random_colour,
    random_light,
    sharpness_levels,
)

SLOTS = 8
"""Colour slots of a mesh in a street scene."""

PAINT, GLASS, DARK, METAL, LAMP, RED, PLATE, SECOND = range(SLOTS)
"""Slots of vehicles."""
SHIRT, TROUSERS, SHOES, SKIN, HAIR, BAG, FRAME, TYRE = range(SLOTS)
"""Slots of people and their bicycles."""
FRONT, ROOF, TRUNK, LEAVES, POST, SIGN, BRICK, STONE = range(SLOTS)
"""Slots of everything beside the road."""

PLAIN, LACQUER, PANE, WINDOWS, FOLIAGE, ROUGH, BRICKS, STRIPES = range(8)
"""Kinds of surface that the shader knows."""

STOREY = 3.0
"""Height of a storey, metres: windows repeat with it."""

CAR_COLOURS = (
    ((0.6, 0.02, 0.95), 0.24),
    ((0.6, 0.03, 0.7), 0.2),
    ((0.6, 0.06, 0.4), 0.16),
    ((0.6, 0.1, 0.14), 0.16),
    ((0.61, 0.7, 0.5), 0.09),
    ((0.0, 0.8, 0.65), 0.07),
    ((0.38, 0.5, 0.4), 0.03),
    ((0.1, 0.3, 0.75), 0.03),
    ((0.13, 0.8, 0.85), 0.02),
)
"""Hue, saturation and value of car paints and how common each is."""


@dataclass(frozen=True)
class Paints:
    """The surfaces of N things.

    colours, second: float32 [N, SLOTS, 3], the colour of a slot and the other colour of its pattern.
    kinds: int32 [N, SLOTS], kind of surface. gloss: float32 [N, SLOTS], 0..1. scale: float32 [N, 2], metres.
    """

    colours: Float32Array
    second: Float32Array
    kinds: NDArray[np.int32]
    gloss: Float32Array
    scale: Float32Array


@dataclass(frozen=True)
class Coat:
    """The surface of one thing, the fields as in Paints without N."""

    colours: NDArray[np.float64]
    second: NDArray[np.float64]
    kinds: list[int]
    gloss: list[float]
    scale: tuple[float, float] = (1.0, 1.0)


def stack_coats(coats: list[Coat]) -> Paints:
    """The coats of all things of a scene together."""
    return Paints(
        np.array([coat.colours for coat in coats], np.float32),
        np.array([coat.second for coat in coats], np.float32),
        np.array([coat.kinds for coat in coats], np.int32),
        np.array([coat.gloss for coat in coats], np.float32),
        np.array([coat.scale for coat in coats], np.float32),
    )


def _car_colour(rng: Generator) -> NDArray[np.float64]:
    shares = np.array([share for _, share in CAR_COLOURS])
    hue, saturation, value = CAR_COLOURS[int(rng.choice(len(CAR_COLOURS), p=shares / shares.sum()))][0]
    return linear(hue + rng.normal(0, 0.02), saturation * rng.uniform(0.7, 1.2), value * rng.uniform(0.8, 1.1))


def vehicle_coat(rng: Generator) -> Coat:
    """Paint, glass and trim of a car, van or truck."""
    paint = _car_colour(rng)
    load = linear(rng.random(), rng.uniform(0, 0.5), rng.uniform(0.5, 0.95)) if rng.random() < 0.5 else paint
    dark = linear(0.6, 0.05, rng.uniform(0.1, 0.2))
    metal = linear(0.6, 0.02, rng.uniform(0.5, 0.8))
    lamp, red, plate = linear(0.6, 0.05, 0.93), linear(0.0, 0.9, 0.6), linear(0.13, 0.05, 0.92)
    colours = np.array([paint, linear(0.55, 0.3, 0.16), dark, metal, lamp, red, plate, load])
    kinds = [LACQUER, PANE, PLAIN, LACQUER, PANE, LACQUER, PLAIN, PLAIN]
    gloss = [rng.uniform(0.4, 0.9), 1.0, 0.05, 0.6, 0.5, 0.5, 0.0, 0.15]
    return Coat(colours, colours * 0.7, kinds, gloss)


def person_coat(rng: Generator) -> Coat:
    """Clothes, skin and hair of a person, and the paint of a bicycle."""
    shirt = random_colour(rng) if rng.random() < 0.6 else linear(0.6, 0.15, rng.uniform(0.1, 0.5))
    trousers = linear(rng.choice([0.6, 0.62, 0.08]), rng.uniform(0.05, 0.5), rng.uniform(0.12, 0.55))
    shoes, skin = linear(0.07, 0.3, rng.uniform(0.08, 0.4)), linear(0.06, rng.uniform(0.3, 0.6), rng.uniform(0.35, 0.9))
    hair = linear(0.08, rng.uniform(0.1, 0.7), rng.choice([0.08, 0.15, 0.3, 0.6, 0.75]))
    bag, frame, tyre = random_colour(rng) * 0.6, random_colour(rng), linear(0.0, 0.0, 0.14)
    colours = np.array([shirt, trousers, shoes, skin, hair, bag, frame, tyre])
    second = colours * 0.55
    second[SHIRT] = random_colour(rng)
    kinds = [int(rng.choice([ROUGH, STRIPES], p=[0.8, 0.2])), ROUGH, PLAIN, PLAIN, ROUGH, PLAIN, LACQUER, PLAIN]
    gloss = [0.0, 0.0, 0.1, 0.05, 0.1, 0.1, 0.4, 0.0]
    return Coat(colours, second, kinds, gloss, (0.16, 0.16))


def street_coat(rng: Generator) -> Coat:
    """Plaster, brick, leaves, posts of one thing beside the road."""
    hue = rng.choice([0.1, 0.08, 0.02, 0.13, 0.58])
    front = linear(hue + rng.normal(0, 0.015), rng.uniform(0.05, 0.45), rng.uniform(0.6, 0.92))
    roof = linear(rng.choice([0.02, 0.6, 0.05]), rng.uniform(0.1, 0.6), rng.uniform(0.3, 0.55))
    trunk = linear(0.07, rng.uniform(0.2, 0.45), rng.uniform(0.25, 0.42))
    leaves = linear(rng.uniform(0.2, 0.33), rng.uniform(0.45, 0.75), rng.uniform(0.32, 0.55))
    post = linear(0.6, 0.05, rng.choice([0.25, 0.45, 0.65]))
    sign = linear(rng.choice([0.0, 0.6, 0.13]), rng.choice([0.85, 0.9, 0.0]), rng.uniform(0.6, 0.9))
    brick = linear(rng.uniform(0.0, 0.09), rng.uniform(0.15, 0.55), rng.uniform(0.45, 0.7))
    stone = linear(0.1, 0.08, rng.uniform(0.5, 0.8))
    colours = np.array([front, roof, trunk, leaves, post, sign, brick, stone])
    second = colours * 0.5
    second[FRONT] = linear(0.57, 0.25, rng.uniform(0.2, 0.4))
    second[LEAVES] = leaves * np.array([1.7, 1.5, 1.0])
    second[BRICK] = brick * 0.6 + 0.25
    kinds = [WINDOWS, STRIPES, ROUGH, FOLIAGE, PLAIN, PLAIN, BRICKS, ROUGH]
    scale = (float(rng.uniform(2.2, 3.6)), STOREY)
    return Coat(colours, second, kinds, [0.0, 0.0, 0.0, 0.0, 0.2, 0.2, 0.0, 0.0], scale)


def street_light(rng: Generator) -> Light:
    """Sunshine, or now and then a covered sky."""
    light, exposure = random_light(rng), np.float32(rng.uniform(1.0, 1.45))
    light = Light(light.towards_sun, light.sun * exposure, light.sky * exposure, light.bounce * exposure)
    if rng.random() < 0.7:
        return light
    veil = rng.uniform(0.05, 0.4)
    return Light(light.towards_sun, light.sun * np.float32(veil), light.sky * np.float32(1.6), light.bounce)


@dataclass(frozen=True)
class Grounds:
    """What lies beside one another on the ground, and the sky above it.

    tiles: float32 [3, GROUND_LEVELS, side, side, 3] of asphalt, pavement and verge; sizes: float64 [3], metres.
    panorama: float32 [rows, columns, 3], as in Surroundings.
    """

    tiles: Float32Array
    sizes: NDArray[np.float64]
    panorama: Float32Array


def random_grounds(rng: Generator) -> Grounds:
    """Asphalt, a paved way, and grass or gravel."""
    side = GROUND_SIDE
    row, column = np.mgrid[0:side, 0:side]
    asphalt = linear(rng.uniform(0.05, 0.65), rng.uniform(0.0, 0.08), rng.uniform(0.34, 0.5))
    speckle = (0.78 + 0.3 * noise(rng, side, side, 4) + 0.16 * rng.random((side, side)))[..., None]
    slab = linear(rng.uniform(0.04, 0.12), rng.uniform(0.02, 0.18), rng.uniform(0.5, 0.68))
    rows, columns = int(rng.choice([4, 8])), int(rng.choice([4, 8]))
    shade = rng.uniform(0.88, 1.08, (rows, columns))[row * rows // side, column * columns // side]
    joint = (row % (side // rows) < 3) | (column % (side // columns) < 3)
    paved = (shade * np.where(joint, 0.72, 1.0) * (0.9 + 0.2 * noise(rng, side, side, 8)))[..., None]
    if rng.random() < 0.8:
        verge = linear(rng.uniform(0.2, 0.3), rng.uniform(0.4, 0.65), rng.uniform(0.35, 0.52))
    else:
        verge = linear(0.1, 0.2, rng.uniform(0.45, 0.65))
    grain = (0.5 + 0.6 * noise(rng, side, side, 32, 3) + 0.4 * noise(rng, side, side, 4))[..., None]
    tiles = [asphalt * speckle, slab * paved, verge * grain]
    levels = np.stack([sharpness_levels(tile.astype(np.float32)) for tile in tiles])
    return Grounds(levels, np.array([4.0, rng.uniform(2.0, 4.0), 5.0]), panorama(rng, tiles[2].mean((0, 1))))
