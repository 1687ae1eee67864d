"""Where the package's data lies: models, default parameters, message texts, the Fast DDS profile."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def share_folders() -> list[Path]:
    """Folders to look in, first hit wins: the checkout this file lies in, then every installed share/c2f_ros."""
    checkout = Path(__file__).resolve().parent.parent
    found = [checkout] if (checkout / "package.xml").is_file() else []
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    for prefix in [*prefixes, Path(sys.prefix)]:
        folder = prefix / "share" / "c2f_ros"
        if folder.is_dir() and folder not in found:
            found.append(folder)
    return found


def share_file(relative: str) -> Path:
    """The first existing `relative` path. Raises FileNotFoundError naming it and where it was looked for."""
    for folder in share_folders():
        if (folder / relative).exists():
            return folder / relative
    looked = ", ".join(str(folder) for folder in share_folders()) or "no share folder"
    raise FileNotFoundError(f"{relative} was not found (looked in {looked}); install c2f_ros again")
