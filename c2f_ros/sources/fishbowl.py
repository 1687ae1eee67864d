"""FISHBOWL: `SPLIT_data/SPLIT_frames/<video>/%05d.png` and `SPLIT_data/SPLIT_data.pkl`, SPLIT being train or test.

The pickle holds {"video_object": {frame: {"VM": [run lengths], "FM": [run lengths], ...}}}: visible and whole mask of
every object in the frames in which it is. Masks are joined if there are several.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from c2f_ros.contract import InputError
from c2f_ros.geometry import BoolArray, place
from c2f_ros.records import SourceFrame, SourceObject
from c2f_ros.sources.coco_masks import decode_segmentation
from c2f_ros.sources.files import read_rgb, require_key, stamp_at
from c2f_ros.sources.parts import RATE_HZ, Part, Refuse, natural, raise_refused

SPLITS = ("train", "test")
VISIBLE_KEY, AMODAL_KEY = "VM", "FM"

Video = Mapping[int, Mapping[int, dict[str, Any]]]
"""By object, by frame: its entry in the pickle."""


def is_fishbowl(path: Path) -> bool:
    """Whether `path` is such a data set, or the folder of one split."""
    return bool(_folders(path))


def fishbowl_parts(path: Path, split: str, refuse: Refuse) -> list[Part]:
    """The data set's videos, named SPLIT/VIDEO; `path` may be one split's folder. split: train or test; "": all.

    Raises InputError if there is no such split.
    """
    folders = _folders(path)
    if split and split not in folders:
        raise InputError(f"{path}: there is no {split}_data folder; found {', '.join(folders) or 'none'}")
    parts: list[Part] = []
    for name in [split] if split else folders:
        file = folders[name] / f"{name}_data.pkl"
        try:
            videos = _read_videos(file, refuse)
        except InputError as error:
            refuse(error)
            continue
        for video in sorted(videos, key=natural):
            images = folders[name] / f"{name}_frames" / video
            parts.append(_part(file, images, f"{name}/{video}", videos[video]))
    return parts


def read_fishbowl(path: Path, video: str, rate_hz: float) -> Iterator[SourceFrame]:
    """The frames of one video; ids are object + 1. video: its name, in whichever split it is first found.

    Frames are those from the first to the last in which an object is. A whole mask is joined with its visible mask.
    Raises InputError naming the file that is missing or broken, and the entry.
    """
    found = []
    for name, folder in _folders(path).items():
        file = folder / f"{name}_data.pkl"
        videos = _read_videos(file, raise_refused)
        if video in videos:
            yield from _read_video(file, folder / f"{name}_frames" / video, videos[video], rate_hz)
            return
        found += sorted(videos, key=natural)
    raise InputError(f"{path}: there is no video {video!r}; found {', '.join(found[:10]) or 'none'}")


def _folders(path: Path) -> dict[str, Path]:
    """The folder of every split that is there, in which `SPLIT_data.pkl` and `SPLIT_frames` lie."""
    folders = {name: folder for name in SPLITS for folder in (path / f"{name}_data", path) if _is_split(folder, name)}
    return {name: folders[name] for name in SPLITS if name in folders}


def _is_split(folder: Path, name: str) -> bool:
    return (folder / f"{name}_frames").is_dir() or (folder / f"{name}_data.pkl").is_file()


def _part(file: Path, images: Path, name: str, video: Video) -> Part:
    numbers = _frame_numbers(video)
    ids = partial(_image_ids, name, numbers)
    return Part(name, partial(_read_video, file, images, video, RATE_HZ), ids, len(numbers))


def _image_ids(name: str, numbers: range) -> list[str]:
    return [f"{name}/{number:05d}" for number in numbers]


def _frame_numbers(video: Video) -> range:
    numbers = [number for frames in video.values() for number in frames]
    return range(min(numbers), max(numbers) + 1) if numbers else range(0)


def _read_videos(path: Path, refuse: Refuse) -> dict[str, Video]:
    """The entries of the pickle by video and object; one whose key or frames are not of the form is refused."""
    from c2f_ros.sources.plain_pickle import read_plain_pickle

    content = read_plain_pickle(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: it holds a {type(content).__name__}, expected a dict of objects; replace the file")
    videos: dict[str, dict[int, Mapping[int, dict[str, Any]]]] = defaultdict(dict)
    for key, frames in content.items():
        video, _, number = str(key).rpartition("_")
        if not video or not number.isdecimal():
            refuse(InputError(f"{path}: the key {key!r:.60} is not of the form video_object; correct it"))
        elif not isinstance(frames, dict) or not all(_is_frame_number(frame) for frame in frames):
            refuse(InputError(f"{path}: the entry {key} is no dict by frame number; correct it"))
        elif int(number) in videos[video]:
            refuse(InputError(f"{path}: the object {key} is there twice; make the keys unique"))
        else:
            videos[video][int(number)] = {int(frame): entry for frame, entry in frames.items()}
    return {name: video for name, video in videos.items() if video}


def _is_frame_number(value: Any) -> bool:
    return (type(value) is int and value >= 0) or (isinstance(value, str) and value.isdecimal())


def _read_video(path: Path, images: Path, video: Video, rate_hz: float) -> Iterator[SourceFrame]:
    for number in _frame_numbers(video):
        rgb = read_rgb(images / f"{number:05d}.png")
        height, width = rgb.shape[:2]
        labels = np.zeros((height, width), np.int32)
        objects: dict[int, SourceObject] = {}
        for item in sorted(video):
            if number not in video[item]:
                continue
            where = f"frame {number} of {images.name}_{item}"
            visible, amodal = (
                _decode(require_key(video[item][number], key, path, where), height, width, path, f"{key} of {where}")
                for key in (VISIBLE_KEY, AMODAL_KEY)
            )
            labels[visible] = item + 1
            objects[item + 1] = SourceObject("", place(amodal | visible))
        yield SourceFrame(stamp_at(number, rate_hz), rgb, labels, objects)


def _decode(masks: Any, height: int, width: int, path: Path, where: str) -> BoolArray:
    out = np.zeros((height, width), bool)
    for mask in [masks] if isinstance(masks, dict) else _sequence(masks, path, where):
        out |= decode_segmentation(mask, height, width, path, where)
    return out


def _sequence(masks: Any, path: Path, where: str) -> list[Any]:
    if not isinstance(masks, (list, tuple)) or not all(isinstance(mask, dict) for mask in masks):
        raise InputError(f"{path}: {where} is no list of run-length masks; correct the entry")
    return list(masks)
