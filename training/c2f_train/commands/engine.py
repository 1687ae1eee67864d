"""`c2f-train engine`: a bundle's TensorRT plans, as `c2f-build-engine` builds them on the robot."""

from __future__ import annotations

import argparse

NAME = "engine"
HELP = "Build the TensorRT plans of a bundle for this machine's GPU; the same as c2f-build-engine."


def configure(parser: argparse.ArgumentParser) -> None:
    """The same options as `c2f-build-engine`."""
    from c2f_ros.build_engine_cli import add_arguments

    add_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Build, and say what was built. Raises ContractError in one sentence."""
    from c2f_ros.build_engine_cli import build_engine

    print("\n".join(build_engine(options)))
