"""Looks of animals, people and thin things: coats, clothes, wood, metal, brick. Colours are linear RGB."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from c2f_train.synth.appearance import PATTERNS, Materials, linear, random_colour

SLOTS = 6
"""Colour slots of figures."""


@dataclass(frozen=True)
class Coat:
    """The surface of an object: as a row of Materials, with SLOTS colours, or fewer for things."""

    colours: np.ndarray
    pattern: str
    second: np.ndarray
    frequency: float
    gloss: float
    upright: bool = True
    """The pattern follows the object's axes, else it is turned at random."""


def with_coats(materials: Materials, coats: Mapping[int, Coat], rng: Generator) -> Materials:
    """The materials with some objects' replaced, colours padded to SLOTS."""
    count = len(materials.pattern)
    colours = np.zeros((count, SLOTS, 3), np.float32)
    colours[:, : materials.colours.shape[1]] = materials.colours
    pattern, second, axis = materials.pattern.copy(), materials.second.copy(), materials.axis.copy()
    frequency, gloss = materials.frequency.copy(), materials.gloss.copy()
    for index, coat in coats.items():
        colours[index, : len(coat.colours)] = coat.colours
        pattern[index], second[index] = PATTERNS.index(coat.pattern), coat.second
        frequency[index], gloss[index] = coat.frequency, coat.gloss
        axis[index] = np.eye(3) if coat.upright else np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return replace(
        materials, colours=colours, pattern=pattern, second=second, axis=axis, frequency=frequency, gloss=gloss
    )


def _near(rng: Generator, hue: float, saturation: float, value: float) -> np.ndarray:
    """A colour near one given by hue, saturation and value."""
    return linear(hue + rng.normal(0, 0.012), saturation * rng.uniform(0.8, 1.2), value * rng.uniform(0.85, 1.15))


FURS = {
    "horse_walking": ((0.03, 0.7, 0.42), (0.05, 0.65, 0.55), (0.07, 0.5, 0.7), (0.06, 0.4, 0.16), (0.1, 0.1, 0.75)),
    "cow_walking": ((0.04, 0.65, 0.45), (0.08, 0.05, 0.13), (0.09, 0.35, 0.75), (0.1, 0.06, 0.9)),
    "goat_walking": ((0.1, 0.08, 0.88), (0.08, 0.4, 0.5), (0.08, 0.1, 0.4), (0.07, 0.3, 0.2)),
    "camel_walking": ((0.09, 0.45, 0.72), (0.08, 0.5, 0.55)),
    "dog_walking": ((0.08, 0.5, 0.6), (0.06, 0.4, 0.18), (0.1, 0.15, 0.85), (0.07, 0.6, 0.4), (0.09, 0.05, 0.3)),
}
"""Natural coats, hue, saturation and value."""


def animal_coat(kind: str, size: float, rng: Generator) -> Coat:
    """A coat for an animal of a kind; size 1 is a grown one, the pattern grows with it."""
    white, black = _near(rng, 0.1, 0.06, 0.9), _near(rng, 0.07, 0.2, 0.12)
    if kind == "giraffe_walking":
        cream, brown = _near(rng, 0.1, 0.32, 0.88), _near(rng, 0.055, 0.65, 0.52)
        colours = [brown, brown * 0.6, black, cream, cream, cream]
        return Coat(np.array(colours), "net", cream, rng.uniform(3.6, 5.5) / size, 0.05)
    if kind == "zebra_walking":
        colours = [white, black, black, black, white, white]
        return Coat(np.array(colours), "bands", black, rng.uniform(6.5, 10.0) / size, 0.05)
    fur = FURS[kind]
    main = _near(rng, *fur[rng.integers(len(fur))]) if rng.random() < 0.92 else random_colour(rng)
    other = white if main.mean() < 0.45 else _near(rng, *fur[rng.integers(len(fur))])
    spotted = {"horse_walking": 0.35, "cow_walking": 0.65, "goat_walking": 0.35, "dog_walking": 0.4}.get(kind, 0.0)
    pattern = "patches" if rng.random() < spotted else "mottled"
    if kind == "dog_walking" and rng.random() < 0.2:
        pattern, main, other = "spots", white, black
    second = other if pattern != "mottled" else main * 0.7
    socks = [main, black, white][rng.choice(3, p=[0.5, 0.25, 0.25])]
    mane = [main * 0.8, black, white][rng.choice(3, p=[0.3, 0.5, 0.2])]
    muzzle = main * rng.uniform(0.4, 1.1)
    frequency = rng.uniform(1.3, 2.6) if pattern == "patches" else rng.uniform(5, 9)
    colours = [main, mane, black, np.clip(muzzle, 0, 1), socks, main]
    return Coat(np.array(colours), pattern, second, frequency / size, rng.uniform(0.02, 0.15), upright=False)


def person_coat(rng: Generator) -> Coat:
    """Clothes, skin and hair."""
    shirt = random_colour(rng) if rng.random() < 0.75 else _near(rng, 0.6, 0.1, rng.uniform(0.1, 0.95))
    jeans = [
        (0.6, 0.5, 0.55),
        (0.62, 0.45, 0.3),
        (0.1, 0.3, 0.6),
        (0.6, 0.05, 0.18),
        (0.09, 0.1, 0.8),
        (0.3, 0.25, 0.4),
    ]
    trousers = _near(rng, *jeans[rng.integers(len(jeans))]) if rng.random() < 0.85 else random_colour(rng)
    skin = linear(rng.uniform(0.045, 0.08), rng.uniform(0.35, 0.6), rng.choice([0.95, 0.85, 0.7, 0.5, 0.36]))
    hairs = [(0.07, 0.5, 0.12), (0.07, 0.55, 0.28), (0.1, 0.5, 0.7), (0.1, 0.05, 0.65), (0.03, 0.6, 0.45)]
    hair = _near(rng, *hairs[rng.integers(len(hairs))])
    shoes = _near(rng, 0.07, 0.4, rng.choice([0.12, 0.3, 0.9]))
    kind = str(
        rng.choice(["solid", "plaid", "pinstripes", "stripes", "spots", "mottled"], p=[0.4, 0.2, 0.14, 0.1, 0.06, 0.1])
    )
    frequency = {"plaid": rng.uniform(14, 30), "pinstripes": rng.uniform(18, 40), "stripes": rng.uniform(14, 34)}.get(
        kind, 16.0
    )
    second = random_colour(rng) if rng.random() < 0.5 else linear(0.1, 0.05, rng.choice([0.1, 0.92]))
    extra = _near(rng, 0.08, 0.3, rng.choice([0.12, 0.35])) if rng.random() < 0.5 else random_colour(rng)
    colours = [shirt, trousers, skin, hair, shoes, extra]
    return Coat(np.array(colours), kind, second, frequency, rng.uniform(0.0, 0.06))


def thing_coat(category: str, rng: Generator) -> Coat | None:
    """Wood, metal or brick for a thing often made of it, or nothing: its looks are then drawn as others' are."""
    if category == "house" and rng.random() < 0.6:
        wall = _near(rng, *((0.03, 0.6, 0.6) if rng.random() < 0.6 else (0.1, 0.15, 0.75)))
        mortar = _near(rng, 0.1, 0.1, 0.75)
        return Coat(np.array([wall, _near(rng, 0.03, 0.6, 0.5)]), "brick", mortar, rng.uniform(12, 24), 0.02)
    made_of = rng.random()
    wooden = {"picket_fence": 0.5, "bench": 0.6, "bare_tree": 1.0, "ladder": 0.5, "trellis": 0.5, "bar_stool": 0.5}
    if made_of < wooden.get(category, 0.0):
        wood = _near(rng, 0.075, 0.5, rng.uniform(0.25, 0.7))
        return Coat(np.array([wood, wood * 0.6]), "grain", wood * 0.55, rng.uniform(8, 18), 0.05)
    if made_of < 0.85 and category in THIN_METAL:
        metals = ((0.6, 0.05, 0.6), (0.6, 0.05, 0.14), (0.4, 0.5, 0.3), (0.06, 0.6, 0.35), (0.1, 0.03, 0.9))
        metal = _near(rng, *metals[rng.integers(len(metals))])
        return Coat(np.array([metal]), "mottled", metal * 0.7, rng.uniform(6, 14), rng.uniform(0.1, 0.4))
    return None


THIN_METAL = frozenset("pole signpost railing picket_fence bar_stool bench ladder trellis".split())
