"""Where ROS 2 is on this machine, for whoever builds the package. Imports the standard library only."""

from __future__ import annotations

import os
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements"
INDEX = Path("share/ament_index/resource_index/packages")  # ament writes one file per package there


def sourced_underlays() -> list[Path]:
    """The prefixes of the ROS 2 that is sourced (AMENT_PREFIX_PATH), if it can generate messages; else none."""
    prefixes = [Path(entry) for entry in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if entry]
    prefixes = [prefix for prefix in prefixes if (prefix / INDEX).is_dir()]
    can_generate = any((prefix / INDEX / "rosidl_default_generators").is_file() for prefix in prefixes)
    return prefixes if can_generate else []


def wheel_underlays() -> list[Path]:
    """The prefixes of the ROS 2 that was installed as wheels for this interpreter; none where there is none.

    In an isolated build these are not under sys.prefix but in pip's temporary overlay, where `ament_package` is.
    """
    prefixes = [Path(sys.prefix)]
    for entry in sys.path:
        if (Path(entry) / "ament_package" / "__init__.py").is_file():
            prefixes.append(Path(entry).resolve().parents[2])  # <prefix>/lib/python3.x/site-packages
    unique = list(dict.fromkeys(prefixes))
    return [prefix for prefix in unique if (prefix / INDEX / "rosidl_default_generators").is_file()]


def python_folders(prefix: Path) -> list[str]:
    """The folders under `prefix` that hold Python packages for this interpreter."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    candidates = [
        prefix / "lib" / version / "site-packages",
        prefix / "local" / "lib" / version / "dist-packages",
    ]
    return [str(folder) for folder in candidates if folder.is_dir()]


def read_requirements(name: str) -> list[str]:
    """The requirements in requirements/`name`, one per line, without comments."""
    lines = (line.partition("#")[0].strip() for line in (REQUIREMENTS / name).read_text().splitlines())
    return [line for line in lines if line]
