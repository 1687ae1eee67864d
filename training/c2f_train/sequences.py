"""Sequences to evaluate on: generated clips, or any layout that `c2f_ros.sources` reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from c2f_ros.geometry import place
from c2f_ros.records import SourceFrame, SourceObject
from c2f_ros.sources.opening import open_source
from c2f_train.evaluate import Sequences
from c2f_train.synth.clip import Clip

RATE_HZ = 10.0
"""Frame rate given to recordings without stamps; accuracy does not depend on it."""


def clip_frames(clip: Clip) -> Iterator[SourceFrame]:
    """A generated clip's frames; object ids are its indices plus one."""
    for frame, labels in enumerate(clip.labels):
        objects = {
            index + 1: SourceObject(category, place(clip.amodal[frame, index]))
            for index, category in enumerate(clip.categories)
        }
        yield SourceFrame(int(clip.stamps_ns[frame]), clip.rgb[frame], labels.astype(np.int32), objects)


def generated_sequences(folder: Path) -> Sequences:
    """Every clip_*.npz of a folder. Raises FileNotFoundError if there is none."""
    files = sorted(folder.glob("clip_*.npz"))
    if not files:
        raise FileNotFoundError(f"{folder} holds no clip_*.npz; run `c2f-train prepare` first")
    return [(file.stem, _Lazy(file)) for file in files]


class _Lazy:
    """Frames of a clip file, loaded when iterated."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __iter__(self) -> Iterator[SourceFrame]:
        return clip_frames(Clip.load(self._file))


def recorded_sequences(path: Path) -> Sequences:
    """A recorded data set in any layout that `c2f_ros.sources` reads, or a folder of such sequences."""
    videos = sorted(p.parent for p in path.glob("*/*/metadata.json"))
    if videos:
        parts = videos
    elif any(path.glob("*.json")) or (path / "rgb").is_dir():
        parts = [path]
    else:
        parts = sorted(p for p in path.iterdir() if p.is_dir())
    return [(str(part.relative_to(path.parent)), open_source(part, "auto", "", RATE_HZ).frames) for part in parts]
