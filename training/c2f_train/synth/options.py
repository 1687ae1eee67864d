"""The generator's knobs on the command line."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from c2f_train.synth.driving import DriveConfig
from c2f_train.synth.scene_config import SceneConfig
from c2f_train.synth.shapes import FAMILY_SETS


@dataclass(frozen=True)
class Knob:
    """An option and the fields of the config that it sets: one value each, or all values in one field."""

    option: str
    fields: tuple[str, ...]
    about: str
    kind: type = float
    count: int | str | None = None
    choices: tuple | None = None

    def chosen(self, given: object) -> dict[str, object]:
        """Values of the fields from what the command line gave."""
        values = given if isinstance(given, list) else [given]
        if len(self.fields) == 1:
            return {self.fields[0]: tuple(values) if len(values) > 1 else values[0]}
        return dict(zip(self.fields, values, strict=True))


COMMON = (
    Knob("size", ("height", "width"), "height width", int, 2),
    Knob("supersample", ("supersample",), "colour samples per pixel side", int, choices=(1, 2)),
)
CLUTTER = (
    Knob("families", ("families",), "which families of objects", str, choices=FAMILY_SETS),
    Knob("objects", ("objects_min", "objects_max"), "fewest and most", int, 2),
    Knob("sparse-fraction", ("sparse_fraction",), "share of clips with few objects, spread out"),
    Knob("living-fraction", ("living_fraction",), "share of clips with animals, people and thin things"),
    Knob("movers-fraction", ("movers_fraction",), "share of clips in which objects move"),
    Knob("movers", ("movers_min", "movers_max"), "fewest and most of those objects", int, 2),
    Knob("elevation", ("elevation_min_degrees", "elevation_max_degrees"), "of the camera, degrees", float, 2),
    Knob("orbit-degrees", ("orbit_degrees_per_frame",), "per frame; two numbers: drawn per clip", float, "+"),
    Knob("still-fraction", ("still_fraction",), "share of clips whose camera stands still"),
    Knob("pan-fraction", ("pan_fraction",), "share of clips in which the camera turns back and forth"),
    Knob("pan-degrees", ("pan_degrees",), "least and greatest top speed of that, per frame", float, 2),
    Knob("shake-fraction", ("shake_fraction",), "share of clips with a shaky camera"),
    Knob("shake-degrees", ("shake_degrees",), "least and greatest standard deviation of that", float, 2),
    Knob("approach-fraction", ("approach_fraction",), "share of clips in which the camera comes nearer or backs off"),
    Knob("approach-share", ("approach_share",), "least and greatest change of its distance per frame", float, 2),
)
DRIVING = (
    Knob("rate-hz", ("rate_hz",), "frames per second"),
    Knob("speed", ("speed_min", "speed_max"), "of the camera, m/s", float, 2),
)


def add_knobs(parser: argparse.ArgumentParser) -> None:
    """Declare every knob of both scenes; what is not given is absent from the result."""
    scene, drive = SceneConfig(), DriveConfig()
    clutter = parser.add_argument_group("clutter", "a cluster of objects on the ground")
    driving = parser.add_argument_group("driving", "a street seen from a moving car")
    for group, knobs, config in ((parser, COMMON, scene), (clutter, CLUTTER, scene), (driving, DRIVING, drive)):
        for knob in knobs:
            defaults = _default(knob, config)
            if knobs is COMMON:
                defaults += f", driving {_default(knob, drive)}"
            about = f"{knob.about}; {defaults} unless given"
            group.add_argument(
                f"--{knob.option}",
                type=knob.kind,
                nargs=knob.count,
                choices=knob.choices,
                help=about,
                default=argparse.SUPPRESS,
            )


def _default(knob: Knob, config: SceneConfig | DriveConfig) -> str:
    values = [getattr(config, field) for field in knob.fields]
    flat = [item for value in values for item in (value if isinstance(value, tuple) else (value,))]
    return " ".join(map(str, flat))


def chosen_config(parser: argparse.ArgumentParser, options: argparse.Namespace) -> SceneConfig | DriveConfig:
    """The config that the options ask for; ends the program if one of them is for the other scene."""
    driving, given = options.scene == "driving", vars(options)
    for knob in CLUTTER if driving else DRIVING:
        if _key(knob) in given:
            parser.error(f"--{knob.option} is not for --scene {options.scene}; leave it out")
    chosen: dict[str, object] = {}
    for knob in COMMON + (DRIVING if driving else CLUTTER):
        if _key(knob) in given:
            chosen |= knob.chosen(given[_key(knob)])
    return DriveConfig(**chosen) if driving else SceneConfig(**chosen)


def _key(knob: Knob) -> str:
    return knob.option.replace("-", "_")
