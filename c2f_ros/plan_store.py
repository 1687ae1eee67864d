"""Built plans on disk: each in a file that says what it is, so that no other is ever run.

A file is one line that names the format, eight bytes with the length of what follows, a JSON object about the plan, and
the plan. The object holds the plan's key and the SHA-256 of all. They guard against mistakes (another card,
another version, half a file), not against malice: a plan is a program, and the folder is as trusted as the user's own.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from c2f_ros.contract import ContractError

MAGIC = b"c2f_ros plan 1\n"
LENGTH_BYTES = 8
MOST_ABOUT_BYTES = 1 << 20
MOST_BYTES = 8 << 30
"""What a folder may hold; beyond it, the plans that were not used for longest go."""

About = Mapping[str, Any]
"""What is known of a plan: plain JSON."""


class StalePlan(ContractError):
    """A file that is there but is not the plan that is looked for, or not whole: it is never run."""


def default_folder() -> Path:
    """The user's cache folder for plans: $XDG_CACHE_HOME/c2f_ros, or ~/.cache/c2f_ros."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "c2f_ros"


class PlanStore:
    """Plans, and the caches of the libraries that build and run them, in one folder, by key."""

    def __init__(self, folder: Path | None = None, most_bytes: int = MOST_BYTES) -> None:
        """folder: None for the user's cache folder; it is made by the first `save`."""
        self.folder = (folder or default_folder()).expanduser()
        self._most_bytes = most_bytes

    def path(self, key: str) -> Path:
        """Where the plan of this key lies, if it was built."""
        return self.folder / f"{key}.plan"

    def load(self, key: str) -> bytes | None:
        """The plan of this key, or None if there is none. Raises StalePlan if its file holds anything else."""
        path = self.path(key)
        try:
            with open(path, "rb") as file:
                about, plan = _read_about(file, path), file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StalePlan(f"{path} cannot be read ({error}); delete it and build the engine again") from error
        if about.get("key") != key:
            raise StalePlan(f"{path} was built for something else; delete it and build the engine again")
        if about.get("sha256") != _sha256(about, plan):
            raise StalePlan(f"{path} is damaged or cut; delete it and build the engine again")
        os.utime(path)  # what is used stays when the folder is full
        return plan

    def about(self, key: str) -> About:
        """What was saved with the plan. Raises StalePlan if there is none, or the file is not one of ours."""
        path = self.path(key)
        try:
            with open(path, "rb") as file:
                return _read_about(file, path)
        except OSError as error:
            raise StalePlan(f"{path} cannot be read ({error}); build the engine") from error

    def save(self, key: str, plan: bytes, about: About) -> Path:
        """The file written: wholly or not at all, whoever else writes or reads the same key."""
        whole = {**about, "key": key}
        header = json.dumps({**whole, "sha256": _sha256(whole, plan)}).encode()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".part", delete=False) as file:
            part = Path(file.name)
            try:
                for piece in (MAGIC, len(header).to_bytes(LENGTH_BYTES, "little"), header, plan):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
                os.replace(part, self.path(key))
            except BaseException:
                part.unlink(missing_ok=True)
                raise
        self._drop_old(self.path(key))
        return self.path(key)

    def _drop_old(self, newest: Path) -> None:
        """Keep the folder within its bound, the file just written in any case."""
        files = sorted((p for p in self.folder.glob("*.plan") if p != newest), key=lambda p: -p.stat().st_mtime)
        used = newest.stat().st_size
        for path in files:
            used += path.stat().st_size
            if used > self._most_bytes:
                path.unlink(missing_ok=True)


def _read_about(file: BinaryIO, path: Path) -> About:
    """The JSON object; the plan is what is left to read. Raises StalePlan if this is no file of ours."""
    try:
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError("it begins otherwise")
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if length > MOST_ABOUT_BYTES:
            raise ValueError("its head is too long")
        about = json.loads(file.read(length))
        if not isinstance(about, dict):
            raise ValueError("its head is no object")
    except ValueError as error:
        raise StalePlan(f"{path} is no plan of this package ({error}); delete it and build the engine again") from error
    return about


def _sha256(about: About, plan: bytes) -> str:
    """Of the object, but for this sum itself, and the plan."""
    counted = {name: value for name, value in about.items() if name != "sha256"}
    digest = hashlib.sha256(json.dumps(counted, sort_keys=True).encode())
    digest.update(plan)
    return digest.hexdigest()
