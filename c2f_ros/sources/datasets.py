"""Whole data sets in their published layouts: every sequence by name, its frames read when they are iterated.

A broken file is refused, by name and with the reason, and the rest of the set goes on: a photograph is left out, a
video ends before the frame. An object's key for metrics is SEQUENCE/ID.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from c2f_ros.contract import InputError
from c2f_ros.records import SourceFrame
from c2f_ros.sources.cocoa import cocoa_files, cocoa_jsons, cocoa_parts
from c2f_ros.sources.files import read_json_value
from c2f_ros.sources.fishbowl import fishbowl_parts, is_fishbowl
from c2f_ros.sources.folder import folder_parts, is_folder
from c2f_ros.sources.kins import kins_files, kins_parts
from c2f_ros.sources.movid import is_movid_set, movid_parts
from c2f_ros.sources.parts import Part, Refuse, natural
from c2f_ros.sources.predicted import Results, predicted_frames, read_results

DEPTH = 2
"""How many folders down sequences are looked for."""


@dataclass(frozen=True)
class Layout:
    """How one layout is told and opened. text: for messages."""

    text: str
    is_here: Callable[[Path], bool]
    parts: Callable[[Path, str, Refuse], list[Part]]


LAYOUTS = {
    "folder": Layout("rgb/ and label/", is_folder, folder_parts),
    "movid": Layout("rgba_full_00000.png ...", is_movid_set, movid_parts),
    "kins": Layout("JSON with images", lambda path: bool(kins_files(path)), kins_parts),
    "cocoa": Layout("JSON with regions", lambda path: bool(cocoa_files(path) or cocoa_jsons(path)), cocoa_parts),
    "fishbowl": Layout("test_data/test_data.pkl", is_fishbowl, fishbowl_parts),
}


def print_refused(error: InputError) -> None:
    """The `Refuse` of programs for people: one line on stderr."""
    print(f"refused: {error}", file=sys.stderr)


class Refusals:
    """A `Refuse` that hands every error on once: a set may be iterated many times."""

    def __init__(self, on_refused: Refuse) -> None:
        self._on_refused, self._said = on_refused, dict[str, None]()

    def __call__(self, error: InputError) -> None:
        if str(error) not in self._said:
            self._said[str(error)] = None
            self._on_refused(error)

    @property
    def said(self) -> tuple[str, ...]:
        """The errors so far, in order."""
        return tuple(self._said)


class Dataset:
    """Sequences of frames: iterating gives (name, frames), both as often as wanted, one frame decoded at a time."""

    def __init__(self, kind: str, parts: Sequence[Part], refuse: Refusals, results: Results | None = None) -> None:
        """Raises InputError if two sequences have one name, or results do not fit."""
        self.kind, self.parts = kind, tuple(parts)
        self._refuse, self._results = refuse, results
        name, count = Counter(part.name for part in self.parts).most_common(1)[0] if parts else ("", 0)
        if count > 1:
            raise InputError(f"{count} sequences are named {name!r}; name the annotation file or the folder of one")
        if results is not None:
            _require_fit(results, self.parts, refuse)

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[tuple[str, Iterable[SourceFrame]]]:
        for part in self.parts:
            yield part.name, _Frames(part, self._results, self._refuse)

    @property
    def refused(self) -> tuple[str, ...]:
        """What was refused so far, each once: a sentence that names the file."""
        return self._refuse.said

    def describe(self) -> str:
        """Kind, number of sequences, and of frames where that is known without reading them."""
        counts = [part.frames for part in self.parts]
        known = [count for count in counts if count is not None]
        frames = f"{sum(known)} frames" if len(known) == len(counts) else "frames counted when read"
        return f"{self.kind}: {len(counts)} sequences, {frames}"


class _Frames:
    """A sequence's frames up to its first broken file."""

    def __init__(self, part: Part, results: Results | None, refuse: Refuse) -> None:
        self._part, self._results, self._refuse = part, results, refuse

    def __iter__(self) -> Iterator[SourceFrame]:
        part = self._part
        try:
            if self._results is None:
                yield from part.read()
            else:
                yield from predicted_frames(part.read(), part.image_ids(), self._results)
        except InputError as error:
            self._refuse(error)


def open_dataset(
    path: Path, split: str = "", kind: str = "auto", results: Path | None = None, on_refused: Refuse = print_refused
) -> Dataset:
    """The sequences of a data set, one of its files, or a folder of such sequences; no image or mask is read yet.

    split: train, val or test; "": all. kind: one of `LAYOUTS`, or "auto". results: a COCO-format results file, whose
    masks take the place of the true visible ones (see `predicted.py`). on_refused: is told of every broken file once.
    Raises InputError if there is no data set of that kind, no such split, nothing that can be read, or if the
    results cannot be used.
    """
    if kind != "auto" and kind not in LAYOUTS:
        raise InputError(f"kind is {kind!r}, expected one of auto, {', '.join(LAYOUTS)}")
    if not path.exists():
        raise InputError(f"{path}: the data set does not exist; name a folder or an annotation file")
    refuse = Refusals(on_refused)
    read = None if results is None else read_results(results, refuse)
    found, parts = _find(path.absolute(), split, kind, refuse, DEPTH)
    if not found:
        raise InputError(_unknown(path, kind))
    if not parts:
        raise InputError(f"{path}: it holds no sequence that can be read ({found}); check its files")
    return Dataset(found, parts, refuse, read)


def layout_of(path: Path) -> str:
    """Which of `LAYOUTS` the file or folder `path` is; "" if none."""
    return next((name for name, layout in LAYOUTS.items() if layout.is_here(path)), "")


def layout_names() -> str:
    """The layouts that are read, for messages."""
    return ", ".join(f"{name} ({layout.text})" for name, layout in LAYOUTS.items())


def _find(path: Path, split: str, kind: str, refuse: Refuse, depth: int) -> tuple[str, list[Part]]:
    """The kind and the parts of `path`, or of the folders in it; "" if there are none."""
    found = layout_of(path) if kind == "auto" else kind if LAYOUTS[kind].is_here(path) else ""
    if found:
        return found, LAYOUTS[found].parts(path, split, refuse)
    if depth == 0 or not path.is_dir():
        return "", []
    if split and (path / split).is_dir():
        return _find(path / split, "", kind, refuse, depth)
    kinds: dict[str, None] = {}
    parts: list[Part] = []
    unknown = []
    for child in sorted(path.iterdir(), key=lambda p: natural(p.name)):
        if not child.is_dir() or child.name.startswith("."):
            continue
        child_kind, inside = _find(child, split, kind, refuse, depth - 1)
        parts += [_inside(part, child.name) for part in inside]
        if child_kind:
            kinds[child_kind] = None
        else:
            unknown.append(child)
    if kinds:
        for child in unknown:
            refuse(InputError(_unknown(child, kind)))
    return " and ".join(kinds), parts


def _inside(part: Part, folder: str) -> Part:
    """`part` as a part of the set that holds `folder`: its name and its image ids begin with the folder's name."""
    name = part.name if part.name == folder else f"{folder}/{part.name}"
    return replace(part, name=name, image_ids=partial(_ids_inside, part, folder))


def _ids_inside(part: Part, folder: str) -> list[str]:
    return [i if i.startswith(f"{folder}/") else f"{folder}/{i}" for i in part.image_ids()]


def _unknown(path: Path, kind: str) -> str:
    if path.suffix == ".json" and path.is_file():
        try:
            read_json_value(path)
        except InputError as error:
            return str(error)
    if kind != "auto":
        return f"{path}: no {kind} data set, expected {LAYOUTS[kind].text}; check the path and the kind"
    return f"{path}: no known layout; expected one of {layout_names()}"


def _require_fit(results: Results, parts: Sequence[Part], refuse: Refuse) -> None:
    """Raises InputError if an image id names different images, or if no result is of an image of the set; results of
    some other images are refused in one sentence."""
    owners: dict[str, str] = {}
    for part in parts:
        photograph = part.name.partition("@")[0]  # several people may have annotated one
        for image_id in part.image_ids():
            owner = owners.setdefault(image_id, photograph)
            if owner != photograph:
                raise InputError(f"{results.path}: image {image_id} is in {owner} and in {photograph}; choose a split")
    strange = [image_id for image_id in results.entries if image_id not in owners]
    if strange and len(strange) == len(results.entries):
        example = next(iter(owners), "none")
        raise InputError(f"{results.path}: none of its images is in the data set, which has {example!r:.60}, not "
                         f"{strange[0]!r:.60}; name the results of this set")  # fmt: skip
    if strange:
        refuse(InputError(f"{results.path}: {len(strange)} of its {len(results.entries)} images are not in the data "
                          f"set, such as {strange[0]!r:.60}; their results are left out"))  # fmt: skip
