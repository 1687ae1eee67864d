"""`c2f-train all`: the whole way, from nothing to a scored bundle."""

from __future__ import annotations

import argparse
import subprocess
import sys

from c2f_train.commands import evaluate, export, generate, prepare, train
from c2f_train.commands.options import add_devices, add_other_data, add_out, add_work

NAME = "all"
HELP = "All of the above, with the U-Net as a rival; resumes."


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_work(parser)
    add_devices(parser)
    add_out(parser)
    add_other_data(parser)
    parser.add_argument("--no-ap", action="store_true", help="leave out AP and AR")
    parser.set_defaults(sampled=[], beside=[])


def run(options: argparse.Namespace) -> None:
    """Every step in turn; each skips what is done. The bundle is exported again with its numbers."""
    generate.run(options)
    prepare.run(options)
    options.completion = False
    for options.unet in (False, True):
        _train(options)
    export.run(options)
    evaluate.run(options)
    export.run(options)


def _train(options: argparse.Namespace) -> None:
    """Several ranks are a program of their own, which is started again for each of them."""
    if options.devices == 1:
        train.run(options)
        return
    words = [sys.executable, "-m", "c2f_train.cli", train.NAME, *(["--unet"] if options.unet else [])]
    for name in ("config", "work", "threads", "accelerator", "devices", "precision"):
        words += [f"--{name}", str(getattr(options, name))]
    if subprocess.run(words, check=False).returncode:
        raise ValueError("training failed, as said above")
