"""The build backend of `pip install`: setuptools, with build requirements that depend on the machine.

Where a ROS 2 is sourced (apt on a robot), the messages are generated with it and nothing of ROS comes from pip.
Elsewhere Jazzy's build tools come as PyPI wheels. Everything else is setuptools' own backend and our setup.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403  (the hooks that are not replaced below)

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "cmake"))

from ros_underlay import read_requirements, sourced_underlays  # noqa: E402


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    """What pip must put into the isolated environment in which the wheel is built."""
    return build_meta.get_requires_for_build_wheel(config_settings) + _build_requirements()


def get_requires_for_build_editable(config_settings: dict[str, Any] | None = None) -> list[str]:
    """Refuses: what lies under share/ and lib/ could not be linked, and would silently go stale."""
    raise SystemExit(
        "c2f_ros has no editable install: run from the checkout after `pip install .`, where Python's modules are read "
        "from it, or use `colcon build --symlink-install`"
    )


def _build_requirements() -> list[str]:
    source = "build-underlay.txt" if sourced_underlays() else "build-jazzy.txt"
    return read_requirements("build.txt") + read_requirements(source)
