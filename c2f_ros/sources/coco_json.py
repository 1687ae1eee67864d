"""COCO-style annotation files: `images` and `annotations` in one JSON, grouped by image, no mask decoded.

A file of a whole data set has 15,000 images: its polygons are kept as arrays, a sixth of what lists of numbers take.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from c2f_ros.contract import InputError
from c2f_ros.sources.files import read_json, require, require_key
from c2f_ros.sources.parts import Refuse, split_word

MASK_KEYS = ("a_segm", "i_segm", "segmentation", "inmodal_seg", "visible_mask", "invisible_mask", "counts")
KINS_KEYS = ("i_segm", "inmodal_seg")
COCOA_KEYS = ("visible_mask", "invisible_mask", "isStuff", "occlude_rate")
SPLIT_FOLDERS = ("train", "training", "val", "test", "testing")


@dataclass(frozen=True, eq=False)
class CocoFile:
    """The content of `path`. images: by their ids, in the file's order; annotations: by image id, each with its
    position in the file; names: of categories, by id."""

    path: Path
    images: Mapping[Any, dict[str, Any]]
    annotations: Mapping[Any, Sequence[tuple[int, dict[str, Any]]]]
    names: Mapping[Any, str]


def load_coco(path: Path, refuse: Refuse) -> CocoFile:
    """The content of a COCO-style file. An image without id or file name, and an annotation of no listed image, are
    refused one by one. Raises InputError if the whole file cannot be used."""
    content = read_json(path, compact_masks)
    images: dict[Any, dict[str, Any]] = {}
    for index, item in enumerate(require(content, "images", list, path, "the file")):
        try:
            identity = _identity(item, "id", path, f"image {index}")
            require(item, "file_name", str, path, f"image {identity}")
            if identity in images:
                raise InputError(f"{path}: image id {identity} is there twice; make the ids unique")
            images[identity] = item
        except InputError as error:
            refuse(error)
    annotations: dict[Any, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for index, item in enumerate(require(content, "annotations", list, path, "the file")):
        try:
            identity = _identity(item, "image_id", path, f"annotation {index}")
            if identity not in images:
                raise InputError(f"{path}: annotation {index} is of image {identity}, which is not listed; add it")
            annotations[identity].append((index, item))
        except InputError as error:
            refuse(error)
    return CocoFile(path, images, annotations, _names(content, path))


def json_layout(path: Path) -> str:
    """What a JSON file looks to be, from the keys in its text, without reading it all into objects: kins, cocoa (COCO
    style or whole original file), photograph (COCOA regions of one image), or "" for anything else."""
    text = path.read_bytes()

    def has(*keys: str) -> bool:
        return any(f'"{key}"'.encode() in text for key in keys)

    if has("images") and has("annotations"):
        if has(*KINS_KEYS):
            return "kins"
        return "cocoa" if has("regions", *COCOA_KEYS) else ""
    return "photograph" if has("regions") else ""


def split_of(path: Path) -> str:
    """The split that an annotation file is of, by its name, else by the folder it lies in; "" if neither tells."""
    if word := split_word(path.stem):
        return word
    folders = [folder.name for folder in path.parents[:2] if folder.name in SPLIT_FOLDERS]
    return split_word(folders[0]) if folders else ""


def _identity(item: dict[str, Any], key: str, path: Path, where: str) -> int | str:
    value = require_key(item, key, path, where)
    if not isinstance(value, (int, str)):
        raise InputError(f"{path}: {key!r} of {where} is {value!r:.60}, expected a number or a name; correct the file")
    return value


def _names(content: dict[str, Any], path: Path) -> dict[Any, str]:
    categories = content.get("categories", [])
    if not isinstance(categories, list) or not all(isinstance(c, dict) for c in categories):
        raise InputError(f"{path}: 'categories' is not a list of objects; correct the file")
    known = [c for c in categories if "name" in c and isinstance(c.get("id"), (int, str))]
    return {c["id"]: str(c["name"]) for c in known}


def compact_masks(item: dict[str, Any]) -> dict[str, Any]:
    """`item` with the number lists of its masks as arrays."""
    for key in MASK_KEYS:
        value = item.get(key)
        if isinstance(value, list):
            item[key] = [_array(part) for part in value] if value and isinstance(value[0], list) else _array(value)
    return item


def _array(value: Any) -> Any:
    """A list of numbers as an array; anything else as it is, to be refused when its image is read."""
    if isinstance(value, list) and value and all(type(number) in (int, float) for number in value):
        array = np.asarray(value)
        return array if array.dtype.kind in "if" else value
    return value
