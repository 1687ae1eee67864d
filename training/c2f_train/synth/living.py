"""Scenes with animals and people: herds with young, people beside animals, people on seats, and thin things."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from c2f_train.synth.animals import BUILDS, animal
from c2f_train.synth.coats import Coat, animal_coat, person_coat, thing_coat
from c2f_train.synth.mesh import Mesh, normalized, rotation
from c2f_train.synth.people import SEAT_HEIGHT, person
from c2f_train.synth.scene_config import SceneConfig
from c2f_train.synth.shapes import FAMILIES, THIN_FAMILIES, family_names, living_names, thin_names
from c2f_train.synth.skeleton import Figure, Moment

UNIT = 0.6
"""World units per metre in these scenes: an object of a clutter scene is as large as a person."""
PERSON_HEIGHT = (1.5, 1.92)
GROUPS = ("herd", "pair", "seated", "people", "thin", "thing")
GROUP_SHARES = (0.26, 0.16, 0.14, 0.18, 0.14, 0.12)
NEAR_SHARE = 0.35
"""Of these clips, the camera stands near few of them."""
NEAR_COUNT = (2, 6)
SEATS = ("chair", "bench", "bar_stool", "stool", "carton")
"""Families that people sit on."""


@dataclass(frozen=True)
class Member:
    """An object of a group: what it is and how it stands in the group.

    mesh: in its own frame, on the ground. figure: what moves it. scale: world units per unit of the mesh.
    """

    category: str
    mesh: Mesh
    coat: Coat | None
    scale: float
    x: float
    y: float
    heading: float
    figure: Figure | None = None
    moment: Moment = Moment()

    def radius(self) -> float:
        """Of a circle about as large, seen from above."""
        return self.scale * float(np.percentile(np.hypot(self.mesh.vertices[:, 0], self.mesh.vertices[:, 1]), 85))

    def placed(self, x: float, y: float) -> tuple[Mesh, np.ndarray, np.ndarray]:
        """Mesh in the world with the group's origin at a place, and the matrix and the offset of its pose."""
        matrix = rotation("z", self.heading) * self.scale
        offset = np.array([self.x + x, self.y + y, 0.0])
        mesh = self.mesh if self.figure is None else replace(self.mesh, vertices=self.figure.posed(self.moment)[0])
        return mesh.transformed(matrix).moved(*offset), matrix, offset


def random_groups(config: SceneConfig, near: bool, rng: Generator) -> list[list[Member]]:
    """Groups of members, each around its own origin; at least one with an animal or a person."""
    low, high = NEAR_COUNT if near else (config.objects_min, config.objects_max)
    count = int(rng.integers(low, high + 1))
    groups: list[list[Member]] = []
    while sum(map(len, groups)) < count:
        kind = str(rng.choice(GROUPS[:4] if not groups else GROUPS, p=None if not groups else GROUP_SHARES))
        groups.append(_group(kind, config.families, rng))
    return groups


def _group(kind: str, families: str, rng: Generator) -> list[Member]:
    if kind == "herd":
        return _herd(families, rng)
    if kind == "pair":
        return _pair(families, rng)
    if kind == "seated":
        return _seated(families, rng)
    if kind == "people":
        apart = rng.uniform(0.3, 0.6)
        turn = rng.uniform(0, 360)
        step = apart * np.array([np.cos(np.radians(turn)), np.sin(np.radians(turn))])
        count = int(rng.integers(1, 4))
        return [_person(families, rng, *(step * k + rng.normal(0, 0.08, 2)), rng.uniform(0, 360)) for k in range(count)]
    names = thin_names(families) if kind == "thin" else family_names(families)
    return [_thing(str(rng.choice(names)), rng)]


def _moment(rng: Generator) -> Moment:
    return Moment(rng.uniform(0, 2 * np.pi), float(rng.random() < 0.4), rng.uniform(0, 2 * np.pi))


def _animal(kind: str, rng: Generator, young: bool, x: float, y: float, heading: float) -> Member:
    figure = animal(kind, rng, young)
    coat = animal_coat(kind, 0.55 if young else 1.0, rng)
    return Member(kind, figure.mesh, coat, UNIT, x, y, heading, figure, _moment(rng))


def _herd(families: str, rng: Generator) -> list[Member]:
    """One to four of a kind, close together and side by side, the young before or behind the old."""
    kind = str(rng.choice([name for name in living_names(families) if name in BUILDS]))
    length, width, _ = (UNIT * value for value in BUILDS[kind].body)
    heading = rng.uniform(0, 360)
    side = np.array([-np.sin(np.radians(heading)), np.cos(np.radians(heading))])
    ahead = np.array([side[1], -side[0]])
    members, across = [], 0.0
    for k in range(int(rng.choice([1, 2, 3, 4], p=[0.2, 0.4, 0.28, 0.12]))):
        young = k > 0 and rng.random() < 0.55
        across += (0.75 if young else 1.05) * width * rng.uniform(0.85, 1.4) if k else 0.0
        place = side * across + ahead * rng.uniform(-0.55, 0.55) * length
        turn = heading + rng.normal(0, 14) + (180 if rng.random() < 0.12 else 0)
        members.append(_animal(kind, rng, young, *place, turn))
    return members


def _person(families: str, rng: Generator, x: float, y: float, heading: float, posture: str = "") -> Member:
    """A person; in a group of the held-out families one who kneels."""
    category = {"seated": "person_on_seat"}.get(posture, "")
    if not category:
        category = str(
            rng.choice([name for name in living_names(families) if name in ("person_on_foot", "person_kneeling")])
        )
    figure = person(rng, {"person_on_seat": "seated", "person_kneeling": "kneeling"}.get(category, "standing"))
    scale = UNIT * rng.uniform(*PERSON_HEIGHT) * (rng.uniform(0.55, 0.8) if rng.random() < 0.1 else 1.0)
    return Member(category, figure.mesh, person_coat(rng), scale, x, y, heading, figure, _moment(rng))


def _pair(families: str, rng: Generator) -> list[Member]:
    """An animal and one or two people right beside it."""
    kinds = [name for name in living_names(families) if name in BUILDS]
    large = [name for name in kinds if BUILDS[name].leg > 0.6]
    kind = str(rng.choice(large or kinds))
    length, width, _ = (UNIT * value for value in BUILDS[kind].body)
    heading = rng.uniform(0, 360)
    members = [_animal(kind, rng, False, 0.0, 0.0, heading)]
    for _ in range(1 if rng.random() < 0.75 else 2):
        along, aside = rng.uniform(-0.4, 0.75) * length, (0.5 * width + rng.uniform(0.17, 0.35)) * rng.choice([-1, 1])
        x, y = rotation("z", heading)[:2, :2] @ np.array([along, aside])
        members.append(_person(families, rng, float(x), float(y), heading + rng.normal(90, 60) * np.sign(aside)))
    return members


def _seated(families: str, rng: Generator) -> list[Member]:
    """A seat with a person on it, now and then someone standing close by."""
    if "person_on_seat" not in living_names(families):
        return [_person(families, rng, 0.0, 0.0, rng.uniform(0, 360))]
    heading = rng.uniform(0, 360)
    sitter = _person(families, rng, 0.0, 0.0, heading, "seated")
    choices = [name for name in SEATS if name in (*family_names(families), *thin_names(families))]
    seat = _seat(str(rng.choice(choices)), SEAT_HEIGHT * sitter.scale, heading, rng)
    back = rotation("z", heading)[:2, 0] * -0.03
    members = [replace(seat, x=float(back[0]), y=float(back[1])), sitter]
    if rng.random() < 0.35:
        turn = np.radians(rng.uniform(0, 360))
        members.append(_person(families, rng, 0.5 * np.cos(turn), 0.5 * np.sin(turn), rng.uniform(0, 360)))
    return members


def _seat(category: str, height: float, heading: float, rng: Generator) -> Member:
    """A seat whose sitting height is the given one; its front looks ahead."""
    mesh = normalized((THIN_FAMILIES.get(category) or FAMILIES[category])(rng))
    top = _sitting_height(mesh) if category in ("chair", "bench") else float(mesh.vertices[:, 2].max())
    low = np.array([1.0, 1.0, 1.0])
    scale = height / top
    wide = scale * float(np.ptp(mesh.vertices[:, :2], axis=0).max())
    if wide > 1.3:  # a low, wide thing: keep it as wide as a bench
        low[:2] = 1.3 / wide
    stretched = mesh.scaled(*low)
    return Member(category, stretched, thing_coat(category, rng), scale, 0.0, 0.0, heading)


def _sitting_height(mesh: Mesh) -> float:
    """Height of the largest level surface."""
    corners = mesh.vertices[mesh.triangles]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    level = np.abs(across[:, 2]) > 0.95 * np.linalg.norm(across, axis=1)
    heights = np.round(corners[level, :, 2].mean(1), 2)
    values = np.unique(heights)
    areas = [np.abs(across[level, 2])[heights == value].sum() for value in values]
    return float(values[int(np.argmax(areas))]) if len(values) else float(mesh.vertices[:, 2].max())


def _thing(category: str, rng: Generator) -> Member:
    mesh = normalized((THIN_FAMILIES.get(category) or FAMILIES[category])(rng))
    low, high = SIZES.get(category, (0.35, 1.3))
    return Member(category, mesh, thing_coat(category, rng), rng.uniform(low, high), 0.0, 0.0, rng.uniform(0, 360))


SIZES = {
    "pole": (1.2, 2.4),
    "signpost": (1.0, 1.6),
    "railing": (1.2, 2.4),
    "picket_fence": (1.2, 2.2),
    "bare_tree": (1.6, 3.0),
    "bicycle": (0.9, 1.15),
    "bar_stool": (0.4, 0.5),
    "bench": (0.8, 1.2),
    "ladder": (0.9, 1.8),
    "trellis": (0.8, 1.4),
    "chair": (0.5, 0.65),
    "stool": (0.3, 0.5),
    "tree": (1.2, 2.4),
    "pine": (1.2, 2.4),
    "car": (1.8, 2.4),
    "bus": (2.4, 3.2),
    "truck": (2.2, 3.0),
    "house": (1.6, 2.8),
}
"""Longest side of things whose size beside people is known, world units."""
