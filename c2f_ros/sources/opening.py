"""Which reader a SOURCE needs, and its frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from c2f_ros.contract import InputError
from c2f_ros.records import SourceFrame
from c2f_ros.sources.cocoa import cocoa_files, cocoa_jsons, read_cocoa
from c2f_ros.sources.datasets import LAYOUTS as DATASET_LAYOUTS
from c2f_ros.sources.datasets import layout_names, layout_of
from c2f_ros.sources.fishbowl import is_fishbowl, read_fishbowl
from c2f_ros.sources.folder import is_folder, read_folder
from c2f_ros.sources.generated import ClipRequest, generated_clip
from c2f_ros.sources.kins import kins_json, read_kins
from c2f_ros.sources.movid import movid_video, read_movid

KINDS = tuple(DATASET_LAYOUTS)
LAYOUTS = layout_names()


@dataclass(frozen=True)
class OpenSource:
    """A source ready to be read once. kind: one of `KINDS`, or "generator"."""

    kind: str
    frames: Iterable[SourceFrame]


def detect_kind(path: Path) -> str:
    """Which of `KINDS` the file or folder `path` is. Raises InputError if it is none of them."""
    if not path.exists():
        raise InputError(f"{path}: the source does not exist; name a folder, a JSON file or generator:SEED")
    if kind := layout_of(path):
        return kind
    raise InputError(f"{path}: no known layout; expected one of {LAYOUTS}")


def open_source(source: Path, kind: str, video: str, rate_hz: float) -> OpenSource:
    """The frames of a file or folder. kind: one of `KINDS` or "auto"; video: which one of a MOViD-A or FISHBOWL data
    set.

    Raises InputError if the layout is not what `kind` says; so does reading on, at the first broken file.
    """
    found = detect_kind(source) if kind == "auto" else kind
    return OpenSource(found, _read(source, found, video, rate_hz))


def _read(source: Path, kind: str, video: str, rate_hz: float) -> Iterator[SourceFrame]:
    if kind == "folder":
        if not is_folder(source):
            raise InputError(f"{source}: it has no rgb/ and label/ folders; expected this layout of a folder")
        return read_folder(source, rate_hz)
    if kind == "movid":
        return read_movid(movid_video(source, video), rate_hz)
    if kind == "kins":
        path = kins_json(source)
        if path is None:
            raise InputError(f"{source}: there is not exactly one JSON file with images and annotations; name the file")
        return read_kins(path, rate_hz)
    if kind == "cocoa":
        paths = cocoa_files(source) or cocoa_jsons(source)
        if not paths:
            raise InputError(f"{source}: there is no JSON file with regions; name a COCOA annotation or its folder")
        return read_cocoa(paths, rate_hz)
    if kind == "fishbowl":
        if not is_fishbowl(source):
            raise InputError(f"{source}: there is no test_data or train_data in it; name a FISHBOWL data set")
        return read_fishbowl(source, video, rate_hz)
    raise InputError(f"kind is {kind!r}, expected one of auto, {', '.join(KINDS)}")


@contextmanager
def open_generator(request: ClipRequest, rate_hz: float) -> Iterator[OpenSource]:
    """The frames of a clip drawn for `request`. Raises ContractError if the generator is missing or fails."""
    with generated_clip(request) as folder:
        yield OpenSource("generator", read_movid(folder, rate_hz))
