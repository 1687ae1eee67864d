"""The shape families: each builds a mesh with random proportions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from numpy.random import Generator

from c2f_train.synth.mesh import Mesh
from c2f_train.synth.shapes import creatures, furniture, nature, things, vehicles, vessels

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

FAMILY_SETS = ("train", "held_out", "all")


def family_names(families: str) -> tuple[str, ...]:
    """Names of a family set: train, held_out or all. Raises ValueError for another word."""
    if families not in FAMILY_SETS:
        raise ValueError(f"families is {families!r}, expected one of {', '.join(FAMILY_SETS)}")
    if families == "all":
        return tuple(FAMILIES)
    wanted = families == "held_out"
    return tuple(name for name in FAMILIES if (name in HELD_OUT_FAMILIES) == wanted)
