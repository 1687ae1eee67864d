"""Sequences to evaluate on: generated clips, or any data set that `c2f_ros.sources` reads."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from c2f_ros.contract import InputError
from c2f_ros.geometry import BoolArray, place
from c2f_ros.records import SourceFrame, SourceObject
from c2f_ros.sources.datasets import Dataset, Refusals, open_dataset, print_refused
from c2f_ros.sources.parts import Part, Refuse, natural
from c2f_ros.sources.predicted import read_results
from c2f_train.synth.clip import Clip

GENERATED = "generated"
BROKEN = (OSError, EOFError, LookupError, TypeError, ValueError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged clip raises."""


@dataclass(frozen=True, eq=False)
class KnownFrame(SourceFrame):
    """A frame of which more is known than recordings say. nearer: bool [N, N] of objects 1 to N: the row's is nearer
    than the column's at some pixel that both cover; None: unknown. tracks: what upstream calls an object, by its id,
    where that is not the id itself."""

    nearer: BoolArray | None = None
    tracks: Mapping[int, str] = field(default_factory=dict)


def track_name(frame: SourceFrame, identity: int) -> str:
    """What upstream calls an object in this frame."""
    known = frame.tracks if isinstance(frame, KnownFrame) else {}
    return known.get(identity, str(identity))


def open_sequences(
    path: Path, split: str = "", kind: str = "auto", results: Path | None = None, on_refused: Refuse = print_refused
) -> Dataset:
    """The sequences of a folder of generated `clip_*.npz`, or of whatever `open_dataset` reads.

    split: of generated clips, a folder in `path`. kind: "generated", or as in `open_dataset`. results: predicted
    visible masks in COCO format; a clip's image ids are CLIP/FRAME, as in "clip_00001/00003". Refused files are printed
    on stderr and the rest goes on. Raises InputError as `open_dataset` does.
    """
    folder = path / split if split and (path / split).is_dir() else path
    is_clips = any(folder.glob("clip_*.npz"))
    if kind == GENERATED and not is_clips:
        raise InputError(f"{folder} holds no clip_*.npz; run `c2f-train prepare` first")
    if kind == GENERATED or (kind == "auto" and is_clips):
        refuse = Refusals(on_refused)
        read = None if results is None else read_results(results, refuse)
        return Dataset(GENERATED, _clip_parts(folder), refuse, read)
    return open_dataset(path, split, kind, results, on_refused)


def generated_sequences(folder: Path) -> Dataset:
    """Every clip_*.npz of a folder. Raises FileNotFoundError if there is none."""
    if not any(folder.glob("clip_*.npz")):
        raise FileNotFoundError(f"{folder} holds no clip_*.npz; run `c2f-train prepare` first")
    return open_sequences(folder, kind=GENERATED)


def recorded_sequences(path: Path) -> Dataset:
    """A recorded data set in any layout that `c2f_ros.sources` reads, or a folder of such sequences."""
    return open_dataset(path)


def clip_frames(clip: Clip) -> Iterator[SourceFrame]:
    """A generated clip's frames; object ids are its indices plus one."""
    for frame, labels in enumerate(clip.labels):
        objects = {
            index + 1: SourceObject(category, place(clip.amodal[frame, index]))
            for index, category in enumerate(clip.categories)
        }
        stamp_ns = int(clip.stamps_ns[frame])
        yield KnownFrame(stamp_ns, clip.rgb[frame], labels.astype(np.int32), objects, clip.hides[frame])


def _clip_parts(folder: Path) -> list[Part]:
    files = sorted(folder.glob("clip_*.npz"), key=lambda file: natural(file.name))
    return [Part(file.stem, partial(_read_clip, file), partial(_image_ids, file)) for file in files]


def _read_clip(file: Path) -> Iterator[SourceFrame]:
    yield from clip_frames(_load(file))


def _load(file: Path) -> Clip:
    try:
        return Clip.load(file)
    except BROKEN as error:
        raise InputError(f"{file}: this is not a generated clip ({error}); generate it again") from error


def _image_ids(file: Path) -> list[str]:
    try:
        with np.load(file, allow_pickle=False) as content:
            return [f"{file.stem}/{index:05d}" for index in range(len(content["stamps_ns"]))]
    except BROKEN:  # refused when it is read
        return []
