"""A video in MOViD-A's layout: rgba_full, segmentation_full and segmentation_<object> images, and metadata.json.

`segmentation_full_%05d.png` holds object + 1 where an object is visible, `segmentation_<object>_%05d.png` the same
value over the whole object.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from c2f_ros.contract import InputError
from c2f_ros.geometry import PlacedMask, place
from c2f_ros.records import SourceFrame, SourceObject
from c2f_ros.sources.files import read_json, read_labels, read_rgb, require_key, require_size, stamp_at

SPLITS = ("test", "train")


def is_movid(path: Path) -> bool:
    """Whether `path` is such a video, or a data set of them."""
    return (path / "rgba_full_00000.png").exists() or bool(_videos(path))


def movid_video(path: Path, video: str) -> Path:
    """The folder of one video: `path` itself if it is one, else `video` in its test or train split."""
    if (path / "rgba_full_00000.png").exists():
        return path
    videos = _videos(path)
    found = [v for v in videos if v.name == video]
    if not found:
        names = ", ".join(sorted(v.name for v in videos)) or "none"
        raise InputError(f"{path}: there is no video {video!r}; found {names}")
    return found[0]


def _videos(path: Path) -> list[Path]:
    return [p.parent for split in SPLITS for p in sorted((path / split).glob("*/metadata.json"))]


def read_movid(path: Path, rate_hz: float) -> Iterator[SourceFrame]:
    """The frames of one video with the whole mask of every object, the hidden ones too; ids are object + 1.

    Raises InputError naming the file that is missing, broken, of another size, or holds an unknown id.
    """
    metadata = read_json(path / "metadata.json")
    about = require_key(metadata, "metadata", path / "metadata.json", "the file")
    count = int(require_key(about, "num_frames", path / "metadata.json", "'metadata'"))
    instances = require_key(metadata, "instances", path / "metadata.json", "the file")
    classes = [str(item.get("category", "")) for item in instances]
    for index in range(count):
        rgb = read_rgb(path / f"rgba_full_{index:05d}.png")
        label_file = path / f"segmentation_full_{index:05d}.png"
        labels = read_labels(label_file)
        require_size(label_file, labels.shape, rgb.shape)
        if labels.max() > len(classes):
            raise InputError(f"{label_file}: it holds id {labels.max()}, metadata.json has {len(classes)} instances")
        objects = {
            k + 1: SourceObject(name, _read_amodal(path / f"segmentation_{k}_{index:05d}.png", k + 1, labels.shape))
            for k, name in enumerate(classes)
        }
        yield SourceFrame(stamp_at(index, rate_hz), rgb, labels, objects)


def _read_amodal(path: Path, value: int, size: tuple[int, ...]) -> PlacedMask:
    values = read_labels(path)
    require_size(path, values.shape, size)
    unknown = [int(v) for v in np.unique(values) if v not in (0, value)]
    if unknown:
        raise InputError(f"{path}: it holds the value {unknown[0]}, expected only 0 and {value} (object + 1)")
    return place(values == value)
