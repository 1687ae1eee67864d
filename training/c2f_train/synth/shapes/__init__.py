"""The shape families: each builds a mesh with random proportions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from numpy.random import Generator

from c2f_train.synth.mesh import Mesh
from c2f_train.synth.shapes import creatures, furniture, nature, thin, things, vehicles, vessels

Builder = Callable[[Generator], Mesh]

FAMILIES: Mapping[str, Builder] = MappingProxyType(
    {
        "bottle": vessels.bottle,
        "mug": vessels.mug,
        "bowl": vessels.bowl,
        "vase": vessels.vase,
        "goblet": vessels.goblet,
        "teapot": vessels.teapot,
        "watering_can": vessels.watering_can,
        "barrel": vessels.barrel,
        "traffic_cone": vessels.traffic_cone,
        "lamp": vessels.lamp,
        "chair": furniture.chair,
        "table": furniture.table,
        "stool": furniture.stool,
        "sofa": furniture.sofa,
        "shelf": furniture.shelf,
        "carton": furniture.box_carton,
        "house": furniture.house,
        "arch": furniture.arch,
        "tree": nature.tree,
        "pine": nature.pine,
        "cactus": nature.cactus,
        "mushroom": nature.mushroom,
        "pumpkin": nature.pumpkin,
        "snowman": nature.snowman,
        "bear": creatures.bear,
        "dog": creatures.dog,
        "horse": creatures.horse,
        "giraffe": creatures.giraffe,
        "elephant": creatures.elephant,
        "duck": creatures.duck,
        "fish": creatures.fish,
        "person_standing": creatures.person_standing,
        "person_sitting": creatures.person_sitting,
        "car": vehicles.car,
        "truck": vehicles.truck,
        "bus": vehicles.bus,
        "plane": vehicles.plane,
        "boat": vehicles.boat,
        "rocket": vehicles.rocket,
        "shoe": things.shoe,
        "ring": things.ring,
        "book_stack": things.book_stack,
        "hat": things.hat,
        "guitar": things.guitar,
        "umbrella": things.umbrella,
        "ball": things.ball,
    }
)
"""Every family by name, in a fixed order."""

HELD_OUT_FAMILIES = ("teapot", "sofa", "cactus", "dog", "truck", "shoe")
"""One or two of each kind, never in a training set: they measure generalization to new categories."""

THIN_FAMILIES: Mapping[str, Builder] = MappingProxyType(
    {
        "pole": thin.pole,
        "signpost": thin.signpost,
        "railing": thin.railing,
        "picket_fence": thin.picket_fence,
        "bar_stool": thin.bar_stool,
        "bench": thin.bench,
        "bare_tree": thin.bare_tree,
        "bicycle": thin.bicycle,
        "ladder": thin.ladder,
        "trellis": thin.trellis,
    }
)
"""Thin things by name; they stand in living scenes, among animals and people."""

LIVING_FAMILIES = (
    "giraffe_walking",
    "horse_walking",
    "zebra_walking",
    "cow_walking",
    "goat_walking",
    "camel_walking",
    "dog_walking",
    "person_on_foot",
    "person_on_seat",
    "person_kneeling",
)
"""Animals and people of living scenes."""

HELD_OUT_LIVING = ("camel_walking", "dog_walking", "person_kneeling")
HELD_OUT_THIN = ("ladder", "trellis")
"""Held out as HELD_OUT_FAMILIES are."""

FAMILY_SETS = ("train", "held_out", "all")


def family_names(families: str) -> tuple[str, ...]:
    """Names of a family set: train, held_out or all. Raises ValueError for another word."""
    return _chosen(families, tuple(FAMILIES), HELD_OUT_FAMILIES)


def living_names(families: str) -> tuple[str, ...]:
    """As family_names, of animals and people."""
    return _chosen(families, LIVING_FAMILIES, HELD_OUT_LIVING)


def thin_names(families: str) -> tuple[str, ...]:
    """As family_names, of thin things."""
    return _chosen(families, tuple(THIN_FAMILIES), HELD_OUT_THIN)


def _chosen(families: str, names: tuple[str, ...], held_out: tuple[str, ...]) -> tuple[str, ...]:
    if families not in FAMILY_SETS:
        raise ValueError(f"families is {families!r}, expected one of {', '.join(FAMILY_SETS)}")
    if families == "all":
        return names
    wanted = families == "held_out"
    return tuple(name for name in names if (name in held_out) == wanted)
