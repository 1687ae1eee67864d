"""Videos in MOViD-A's layout: rgba_full, segmentation_full and segmentation_<object> images, and metadata.json.

`segmentation_full_%05d.png` holds object + 1 where an object is visible, `segmentation_<object>_%05d.png` the same
value over the whole object. A data set has them in `train/<video>/` and `test/<video>/`; `movid_lists.py` says which
objects count.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from c2f_ros.contract import InputError
from c2f_ros.geometry import PlacedMask, place
from c2f_ros.records import SourceFrame, SourceObject
from c2f_ros.sources.files import read_json, read_labels, read_rgb, require, require_size, stamp_at
from c2f_ros.sources.movid_lists import EVERYTHING, Listed, read_lists
from c2f_ros.sources.parts import RATE_HZ, Part, Refuse, natural

SPLITS = ("test", "train")


def is_movid(path: Path) -> bool:
    """Whether `path` is such a video, or a data set of them."""
    return (path / "rgba_full_00000.png").exists() or bool(_videos(path))


def movid_parts(path: Path, split: str, refuse: Refuse) -> list[Part]:
    """The data set's videos, named SPLIT/VIDEO; `path` may be one split or one video too. split: train or test; "":
    all. Videos without a listed object are left out, where there are lists.

    Raises InputError if there is no such split.
    """
    if (path / "rgba_full_00000.png").exists():
        if split:
            raise InputError(f"{path}: this is one video, it has no split {split!r}; name the data set's folder")
        return [_part(path, path.name, EVERYTHING)]
    parts: list[Part] = []
    root, names = _splits(path, split)
    for name in names:
        listed = read_lists(root, name, refuse)
        videos = [p for p in (root / name).iterdir() if p.is_dir() and not p.name.startswith(".")]
        for video in sorted(videos, key=lambda p: natural(p.name)):
            if listed.has_video(video.name):
                parts.append(_part(video, f"{name}/{video.name}", listed.of_video(video.name)))
    return parts


def _splits(path: Path, split: str) -> tuple[Path, list[str]]:
    """The data set's root and the splits to read; `path` may be one split's folder."""
    inside = [name for name in SPLITS if (path / name).is_dir()]
    if not inside and path.name in SPLITS:
        path, inside = path.parent, [path.name]
    if split and split not in inside:
        raise InputError(f"{path}: there is no split {split!r}; found {' and '.join(inside) or 'none'}")
    return path, [split] if split else inside


def _part(path: Path, name: str, listed: Listed) -> Part:
    return Part(name, partial(read_movid, path, RATE_HZ, listed), partial(_image_ids, path, name))


def _image_ids(path: Path, name: str) -> list[str]:
    try:
        return [f"{name}/{index:05d}" for index in range(_frame_count(path))]
    except InputError:  # refused when it is read
        return []


def _frame_count(path: Path) -> int:
    file = path / "metadata.json"
    about = require(read_json(file), "metadata", dict, file, "the file")
    return require(about, "num_frames", int, file, "'metadata'")


def is_movid_set(path: Path) -> bool:
    """Whether `path` is such a video, a data set of them, or one split of it."""
    return is_movid(path) or (path.name in SPLITS and any(path.glob("*/metadata.json")))


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


def read_movid(path: Path, rate_hz: float, listed: Listed = EVERYTHING) -> Iterator[SourceFrame]:
    """The frames of one video with the whole mask of every object, the hidden ones too; ids are object + 1.

    listed: the objects that count; the whole masks of others are not given.
    Raises InputError naming the file that is missing, broken, of another size, or holds an unknown id.
    """
    file = path / "metadata.json"
    count, metadata = _frame_count(path), read_json(file)
    instances = require(metadata, "instances", list, file, "the file")
    if not all(isinstance(item, dict) for item in instances):
        raise InputError(f"{file}: 'instances' holds something else than objects; replace the file")
    classes = [str(item.get("category", "")) for item in instances]
    for index in range(count):
        yield _read_frame(path, index, classes, listed, stamp_at(index, rate_hz))


def _read_frame(path: Path, index: int, classes: list[str], listed: Listed, stamp_ns: int) -> SourceFrame:
    rgb = read_rgb(path / f"rgba_full_{index:05d}.png")
    label_file = path / f"segmentation_full_{index:05d}.png"
    labels = read_labels(label_file)
    require_size(label_file, labels.shape, rgb.shape)
    if labels.max() > len(classes):
        raise InputError(f"{label_file}: it holds id {labels.max()}, metadata.json has {len(classes)} instances")
    objects = {}
    for k, name in enumerate(classes):
        counts = listed.has(path.name, k, index)
        amodal = _read_amodal(path / f"segmentation_{k}_{index:05d}.png", k + 1, labels.shape) if counts else None
        objects[k + 1] = SourceObject(name, amodal)
    return SourceFrame(stamp_ns, rgb, labels, objects)


def _read_amodal(path: Path, value: int, size: tuple[int, ...]) -> PlacedMask:
    values = read_labels(path)
    require_size(path, values.shape, size)
    unknown = [int(v) for v in np.unique(values) if v not in (0, value)]
    if unknown:
        raise InputError(f"{path}: it holds the value {unknown[0]}, expected only 0 and {value} (object + 1)")
    return place(values == value)
