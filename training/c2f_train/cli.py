"""`c2f-train`: makes the models that c2f_ros runs, from nothing or from the published checkpoints.

The way to a model of your own, each step resumable:

  c2f-train generate --config training/configs/nano.yaml --work runs/nano
  c2f-train prepare  --config training/configs/nano.yaml --work runs/nano
  c2f-train train    --config training/configs/nano.yaml --work runs/nano
  c2f-train export   --config training/configs/nano.yaml --work runs/nano --out models/mine
  c2f-train evaluate --config training/configs/nano.yaml --work runs/nano --out models/mine

or all of it at once: c2f-train all --config training/configs/nano.yaml --work runs/nano --out models/mine
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

MODULES = (
    "generate", "prepare", "train", "export", "evaluate", "all", "engine",
    "import_official", "distill", "parity", "score", "robustness", "ablate", "demo",
)  # fmt: skip
"""Files of `c2f_train.commands`, in the order of use; those that are not there are left out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; 1 and one sentence on the error stream if something is missing or wrong."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = make_parser(words).parse_args(words)
    try:
        options.run(options)
    except (FileNotFoundError, ValueError) as error:
        print(f"c2f-train {options.command}: {error}", file=sys.stderr)
        return 1
    return 0


def make_parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The whole command line, or of the one command that `words` begin with."""
    summary, _, example = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser("c2f-train", description=summary, epilog=example, formatter_class=_Wide)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command", title="commands")
    for module in _modules(words):
        command = commands.add_parser(module.NAME, help=module.HELP, description=module.HELP)
        module.configure(command)
        command.set_defaults(run=module.run)
    return parser


class _Wide(argparse.RawDescriptionHelpFormatter):
    """One line per command."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=24, width=120)


def _modules(words: Sequence[str]) -> list[ModuleType]:
    """The command that is asked for, or all of them; importing the others would only take time."""
    there = [name for name in MODULES if find_spec(f"c2f_train.commands.{name}")]
    asked = words[0].replace("-", "_") if words else ""
    return [import_module(f"c2f_train.commands.{name}") for name in ([asked] if asked in there else there)]


if __name__ == "__main__":
    sys.exit(main())
