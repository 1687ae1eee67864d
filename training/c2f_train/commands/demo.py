"""`c2f-train demo`: the whole way in a few minutes, from drawing clips to a replayed bag."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "demo"
HELP = "Generate, train a tiny model, score, export, run it on a bag; a few minutes on two cores."


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Runs every step by the command a user would type, and prints it. The model is far too small and too briefly "
        "trained to be of use; everything else is real. Run again, it goes on where it was stopped."
    )
    parser.add_argument("--out", type=Path, default=Path("runs/train_demo"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="processes for data, threads for training (default: 2)")


def run(options: argparse.Namespace) -> None:
    """Run the demo and print what it made. Raises ContractError if a step fails."""
    from c2f_train.demo import demo_config, run_demo, summary

    result = run_demo(demo_config(), options.out, options.threads)
    print("\n" + summary(result, options.out))
