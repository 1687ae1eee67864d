"""`c2f-train generate`: the configured sets of clips."""

from __future__ import annotations

import argparse
import inspect

from c2f_train.commands.options import add_work
from c2f_train.config import load_config
from c2f_train.data_config import FRACTIONS, SetConfig

NAME = "generate"
SINGLE = "One set without a configuration, with every knob of the generator: python -m c2f_train.synth.generate --help"
HELP = "Draw the configured sets of clips; those that are there stay."


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_work(parser)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"Keys of a set under `data` in the configuration:\n\n{inspect.getdoc(SetConfig)}\n\n{SINGLE}"


def run(options: argparse.Namespace) -> None:
    """All sets of the configuration."""
    from c2f_train.synth.driving import DriveConfig
    from c2f_train.synth.generate import generate_drive_set, generate_set

    for about in load_config(options.config).data.generated:
        print(f"generating {about.name}: {about.clips} clips of {about.frames} frames", flush=True)
        place = (about.clips, about.frames, about.seed, options.work / about.name, options.threads)
        if about.scene == "driving":
            generate_drive_set(DriveConfig(rate_hz=about.rate_hz), *place)
        else:
            generate_set(scene_config(about), *place)


def scene_config(about: SetConfig):  # type: ignore[no-untyped-def]  # the generator is imported by this command only
    """The generator's configuration of a set of clutter."""
    from c2f_train.synth.scene import SceneConfig

    low, high = about.elevation_degrees
    return SceneConfig(
        families=about.families,
        orbit_degrees_per_frame=about.orbit_degrees,
        elevation_min_degrees=low,
        elevation_max_degrees=high,
        **{name: getattr(about, name) for name in FRACTIONS},
    )
