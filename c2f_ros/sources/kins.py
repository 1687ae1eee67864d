"""KINS: COCO-style JSON files and the images that they name.

Per annotation `a_segm` and `i_segm` (whole and visible mask), or the first release's `segmentation` and
`inmodal_seg`; `category_id`; optionally `ico_id` (0 = hides and is hidden by nobody, larger = further back). In the
published files every image is a photograph of its own and every annotation an object of its own. With `track_id` the
file is one sequence; its images may have a `stamp` in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from c2f_ros.contract import InputError
from c2f_ros.geometry import place
from c2f_ros.records import SourceFrame, SourceObject
from c2f_ros.sources.coco_json import CocoFile, json_layout, load_coco, split_of
from c2f_ros.sources.coco_masks import decode_segmentation
from c2f_ros.sources.files import FIRST_STAMP_NS, find_image, read_rgb, require, require_number, require_size, stamp_at
from c2f_ros.sources.parts import RATE_HZ, Part, Refuse, raise_refused

VISIBLE_KEYS, AMODAL_KEYS = ("i_segm", "inmodal_seg"), ("a_segm", "segmentation")
IMAGE_FOLDERS = ("rgb", "image_2", ".")
SPLIT_FOLDERS = {"train": "training", "val": "testing", "test": "testing"}
"""The first release calls val what the update calls test: both are KITTI's testing images."""
JSON_FOLDERS = (".", "annotations", "training", "testing", "training/image_2", "testing/image_2")


def kins_json(path: Path) -> Path | None:
    """The sequence's JSON file: `path` itself or the only one in it; None if it is not of this layout."""
    files = [path] if path.is_file() else sorted(path.glob("*.json"))
    found = [f for f in files if f.suffix == ".json" and json_layout(f) == "kins"]
    return found[0] if len(found) == 1 else None


def kins_files(path: Path) -> list[Path]:
    """The annotation files of a data set: `path` itself, or those in its root or beside its images."""
    if path.is_file():
        return [path] if path.suffix == ".json" and json_layout(path) == "kins" else []
    files = (file for folder in JSON_FOLDERS for file in sorted((path / folder).glob("*.json")))
    return [file for file in files if json_layout(file) == "kins"]


def kins_parts(path: Path, split: str, refuse: Refuse) -> list[Part]:
    """The data set's photographs, named SPLIT/IMAGE, or its sequence. split: train, or test or val (the same); "": all.

    Raises InputError if there is no such split, or two files for one.
    """
    by_split: dict[str, Path] = {}
    for file in kins_files(path):
        name = SPLIT_FOLDERS.get(split_of(file), "")
        if name in by_split:
            raise InputError(f"{path}: {by_split[name]} and {file} are of one split; name the file to read")
        by_split[name] = file
    if split:
        asked = SPLIT_FOLDERS.get(split, split)
        if asked not in by_split:
            found = ", ".join(str(file) for file in by_split.values()) or "none"
            raise InputError(f"{path}: there is no annotation file of the split {split!r}; found {found}")
        by_split = {asked: by_split[asked]}
    parts: list[Part] = []
    for file in by_split.values():
        try:
            alone = path.name if path.is_dir() and len(by_split) == 1 else file.stem
            parts += _file_parts(load_coco(file, refuse), alone)
        except InputError as error:
            refuse(error)
    return parts


def _file_parts(content: CocoFile, sequence: str) -> list[Part]:
    """sequence: what to call the whole file if it is one."""
    if _has_tracks(content):
        read = partial(_read_sequence, content, RATE_HZ)
        ids = [str(identity) for identity in content.images]
        return [Part(sequence, read, partial(list, ids), len(ids))]
    prefix = split_of(content.path) or content.path.stem
    return [
        Part(
            f"{prefix}/{PurePosixPath(image['file_name']).with_suffix('')}",
            partial(_read_photograph, content, identity),
            partial(list, [str(identity)]),
            1,
        )
        for identity, image in content.images.items()
    ]


def read_kins(path: Path, rate_hz: float) -> Iterator[SourceFrame]:
    """The frames of the JSON file `path` in its order; an object's id is its track id + 1, so that 0 stays background.

    Without track ids, ids go on counting. A whole mask is joined with its visible mask: annotators' outlines differ by
    a pixel or two. Raises InputError naming the file that is missing or broken, and the annotation.
    """
    yield from _read_sequence(load_coco(path, raise_refused), rate_hz)


def _has_tracks(content: CocoFile) -> bool:
    return any("track_id" in item for items in content.annotations.values() for _, item in items)


def _read_sequence(content: CocoFile, rate_hz: float) -> Iterator[SourceFrame]:
    for index, (identity, image) in enumerate(content.images.items()):
        stamp = stamp_at(index, rate_hz)
        if "stamp" in image:
            stamp = FIRST_STAMP_NS + round(require_number(image, "stamp", content.path, f"image {identity}") * 1e9)
        items = [(_track(item, k, content.path) + 1, item) for k, item in content.annotations.get(identity, ())]
        yield _read_image(content, image, items, stamp)


def _track(item: dict[str, Any], index: int, path: Path) -> int:
    return require(item, "track_id", int, path, f"annotation {index}") if "track_id" in item else index


def _read_photograph(content: CocoFile, identity: Any) -> Iterator[SourceFrame]:
    items = [(k, item) for k, (_, item) in enumerate(content.annotations.get(identity, ()), start=1)]
    yield _read_image(content, content.images[identity], items, FIRST_STAMP_NS)


def _read_image(
    content: CocoFile, image: dict[str, Any], annotations: Sequence[tuple[int, dict[str, Any]]], stamp_ns: int
) -> SourceFrame:
    path = content.path
    file = find_image(path, image["file_name"], _image_folders(path))
    rgb = read_rgb(file)
    height, width = rgb.shape[:2]
    require_size(file, rgb.shape, (image.get("height", height), image.get("width", width)))
    labels = np.zeros((height, width), np.int32)
    objects: dict[int, SourceObject] = {}
    for identity, item in sorted(annotations, key=lambda pair: -_depth(pair[1], path)):
        where = f"annotation {item.get('id', identity)}"
        if identity in objects:
            raise InputError(f"{path}: track id {identity - 1} is twice in image {image['id']}; make ids unique")
        visible = decode_segmentation(_either(item, VISIBLE_KEYS, path, where), height, width, path, where)
        amodal = decode_segmentation(_either(item, AMODAL_KEYS, path, where), height, width, path, where)
        labels[visible] = identity
        category = item.get("category_id", "")
        name = content.names.get(category, str(category)) if isinstance(category, (int, str)) else str(category)
        objects[identity] = SourceObject(name, place(amodal | visible))
    return SourceFrame(stamp_ns, rgb, labels, dict(sorted(objects.items())))


def _depth(item: dict[str, Any], path: Path) -> float:
    return require_number(item, "ico_id", path, f"annotation {item.get('id')}") if "ico_id" in item else 0


def _either(item: Mapping[str, Any], keys: Sequence[str], path: Path, where: str) -> Any:
    for key in keys:
        if key in item:
            return item[key]
    raise InputError(f"{path}: {where} has neither {' nor '.join(keys)}; check the layout")


def _image_folders(path: Path) -> list[Path]:
    """Where the images of the annotation file `path` may lie: beside it, or in its split's folder of the data set."""
    splits = [SPLIT_FOLDERS[split_of(path)]] if split_of(path) else ["training", "testing"]
    roots = [path.parent, path.parent.parent] if path.parent.name == "annotations" else [path.parent]
    names = [*IMAGE_FOLDERS, *(f"{split}/image_2" for split in splits)]
    return [root / name for root in roots for name in names]
