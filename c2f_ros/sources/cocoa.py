"""COCOA: photographs of COCO with the whole outline of every object, in three forms.

- `NAME.json` beside `NAME.jpg` (or .png): `regions`, one photograph per file;
- the original file of a split: `images`, and `annotations` that each hold one photograph's `regions`;
- COCO style: `images`, and one of `annotations` per object.

Per region or object `segmentation` (the whole object), `visible_mask` where it is occluded (or only `invisible_mask`),
`order` (1 = in front; without it, as listed), `isStuff`, `name` or `category_id`. Stuff (sky, grass) is left out: it is
no object.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from c2f_ros.contract import InputError
from c2f_ros.geometry import BoolArray, place
from c2f_ros.records import SourceFrame, SourceObject
from c2f_ros.sources.coco_json import CocoFile, json_layout, load_coco, split_of
from c2f_ros.sources.coco_masks import decode_segmentation
from c2f_ros.sources.files import (
    FIRST_STAMP_NS,
    IMAGE_SUFFIXES,
    find_image,
    read_json,
    read_rgb,
    require,
    require_key,
    require_number,
    require_size,
    stamp_at,
)
from c2f_ros.sources.parts import Part, Refuse, raise_refused, split_word

Region = tuple[str, dict[str, Any]]
"""What to call a region or annotation in a message, and its fields."""


def cocoa_jsons(path: Path) -> list[Path]:
    """The JSON files of a photograph each: `path` itself or those in it, sorted by name; empty if there is none."""
    files = [path] if path.is_file() else sorted(path.glob("*.json"))
    return [f for f in files if f.suffix == ".json" and json_layout(f) == "photograph"]


def cocoa_files(path: Path) -> list[Path]:
    """The files of a whole split, original or COCO style: `path` itself, or those in it or its `annotations` folder."""
    files = [path] if path.is_file() else [*sorted(path.glob("*.json")), *sorted(path.glob("annotations/*.json"))]
    return [f for f in files if f.suffix == ".json" and json_layout(f) == "cocoa"]


def cocoa_parts(path: Path, split: str, refuse: Refuse) -> list[Part]:
    """The data set's photographs, each a sequence of one frame. split: train, val or test; "": all.

    Raises InputError if there is no such split.
    """
    files = cocoa_files(path)
    if split and files:
        found = ", ".join(str(file) for file in files)
        files = [file for file in files if split_of(file) == split]
        if not files:
            raise InputError(f"{path}: there is no annotation file of the split {split!r}; found {found}")
    if split and not files:
        raise InputError(f"{path}: single photographs have no split {split!r}; name their folder alone")
    parts: list[Part] = []
    for file in files:
        try:
            parts += _file_parts(load_coco(file, refuse), refuse)
        except InputError as error:
            refuse(error)
    if files:
        return parts
    return [Part(f.stem, partial(_read_alone, f), partial(_image_ids, f), 1) for f in _photographs(path)]


def _photographs(path: Path) -> list[Path]:
    """The photographs' JSON files, and files that seem to be such and are broken: they have a picture beside them."""
    if path.is_file():
        return [path]
    files = sorted(path.glob("*.json"))
    return [
        f for f in files if json_layout(f) == "photograph" or any(f.with_suffix(s).exists() for s in IMAGE_SUFFIXES)
    ]


def _image_ids(path: Path) -> list[str]:
    try:
        return [str(read_json(path).get("image_id", path.stem))]
    except InputError:  # refused when it is read
        return []


def read_cocoa(paths: Sequence[Path], rate_hz: float) -> Iterator[SourceFrame]:
    """One frame per photograph; ids go on counting, so that no object seems to be in two photographs.

    paths: `cocoa_jsons` or `cocoa_files`. A region without `visible_mask` is wholly visible; where regions overlap,
    the one in front is seen. A whole mask is joined with its visible mask: annotators' outlines differ by a pixel or
    two. Raises InputError naming the file that is missing or broken, and the region.
    """
    first_id = 1
    for index, (path, image, regions, names) in enumerate(_all_photographs(paths)):
        yield _read_photograph(path, image, regions, names, first_id, stamp_at(index, rate_hz))
        first_id += len(regions)


Photograph = tuple[Path, Path, list[Region], Mapping[Any, str]]


def _all_photographs(paths: Sequence[Path]) -> Iterator[Photograph]:
    for path in paths:
        if json_layout(path) != "cocoa":
            yield path, _image_beside(path), _regions(read_json(path), path, ""), {}
            continue
        content = load_coco(path, raise_refused)
        folders = _image_folders(path)
        for identity, image in content.images.items():
            for _, regions in _groups(content, identity):
                yield path, find_image(path, image["file_name"], folders), regions, content.names


def _read_alone(path: Path) -> Iterator[SourceFrame]:
    yield _read_photograph(path, _image_beside(path), _regions(read_json(path), path, ""), {}, 1, FIRST_STAMP_NS)


def _file_parts(content: CocoFile, refuse: Refuse) -> list[Part]:
    """A photograph that several people annotated is one part per annotation."""
    parts, folders = [], _image_folders(content.path)
    prefix = split_of(content.path) or content.path.stem
    for identity, image in content.images.items():
        try:
            groups = _groups(content, identity)
        except InputError as error:
            refuse(error)
            continue
        for name, regions in groups:
            read = partial(_read_listed, content, image, folders, regions)
            part_name = f"{prefix}/{Path(image['file_name']).stem}{name}"
            parts.append(Part(part_name, read, partial(list, [str(identity)]), 1))
    return parts


def _groups(content: CocoFile, identity: Any) -> list[tuple[str, list[Region]]]:
    """A photograph's objects: one group, or in the original form one per annotator, told apart by a suffix."""
    items = content.annotations.get(identity, ())
    if not any("regions" in item for _, item in items):
        return [("", _objects([(f"annotation {item.get('id', k)}", item) for k, item in items]))]
    groups = [_regions(item, content.path, f" of annotation {item.get('id', k)}") for k, item in items]
    return [("" if k == 0 else f"@{k}", group) for k, group in enumerate(groups)]


def _read_listed(
    content: CocoFile, image: Mapping[str, Any], folders: Sequence[Path], regions: Sequence[Region]
) -> Iterator[SourceFrame]:
    file = find_image(content.path, image["file_name"], folders)
    frame = _read_photograph(content.path, file, regions, content.names, 1, FIRST_STAMP_NS)
    height, width = frame.labels.shape
    require_size(file, frame.labels.shape, (image.get("height", height), image.get("width", width)))
    yield frame


def _regions(item: dict[str, Any], path: Path, where: str) -> list[Region]:
    regions = require(item, "regions", list, path, f"the file{where}")
    return _objects([(f"region {k}{where}", region) for k, region in enumerate(regions, start=1)])


def _objects(regions: Sequence[Region]) -> list[Region]:
    return [r for r in regions if not (isinstance(r[1], dict) and r[1].get("isStuff"))]


def _read_photograph(
    path: Path, image: Path, regions: Sequence[Region], names: Mapping[Any, str], first_id: int, stamp_ns: int
) -> SourceFrame:
    rgb = read_rgb(image)
    height, width = rgb.shape[:2]
    labels = np.zeros((height, width), np.int32)
    objects: dict[int, SourceObject] = {}
    front_first = [regions[k] for k in sorted(range(len(regions)), key=lambda k: _depth(*regions[k], k, path))]
    for identity, (where, region) in reversed(list(enumerate(front_first, start=first_id))):
        amodal = decode_segmentation(region["segmentation"], height, width, path, where)
        visible = _visible(region, amodal, path, where)
        labels[visible] = identity
        objects[identity] = SourceObject(_class_name(region, names), place(amodal | visible))
    return SourceFrame(stamp_ns, rgb, labels, dict(sorted(objects.items())))


def _visible(region: Mapping[str, Any], amodal: BoolArray, path: Path, where: str) -> BoolArray:
    height, width = amodal.shape
    if region.get("visible_mask") is not None:
        return decode_segmentation(region["visible_mask"], height, width, path, f"visible_mask of {where}")
    if region.get("invisible_mask") is not None:
        hidden = decode_segmentation(region["invisible_mask"], height, width, path, f"invisible_mask of {where}")
        return amodal & ~hidden
    return amodal


def _depth(where: str, region: dict[str, Any], position: int, path: Path) -> tuple[float, int]:
    require_key(region, "segmentation", path, where)
    order = require_number(region, "order", path, where) if "order" in region else position
    return order, position


def _class_name(region: Mapping[str, Any], names: Mapping[Any, str]) -> str:
    if "name" in region:
        return str(region["name"]).strip()
    category = region.get("category_id", "")
    return names.get(category, str(category)) if isinstance(category, (int, str)) else str(category)


def _image_beside(path: Path) -> Path:
    for suffix in IMAGE_SUFFIXES:
        if path.with_suffix(suffix).is_file():
            return path.with_suffix(suffix)
    raise InputError(f"{path}: there is no photograph {path.stem}{' or '.join(IMAGE_SUFFIXES)} beside it; add it")


def _image_folders(path: Path) -> list[Path]:
    """Where the images of a whole split may lie: beside the file, or in a folder there, of its split if one is named
    so."""
    roots = [path.parent, path.parent.parent] if path.parent.name == "annotations" else [path.parent]
    inside = [Path(entry.path) for root in roots for entry in os.scandir(root) if entry.is_dir()]
    ours = [folder for folder in inside if split_of(path) and split_word(folder.name) == split_of(path)]
    return [*roots, *sorted(ours or inside)]
