"""A KINS-style sequence: one COCO-style JSON file and the images it names.

Per annotation `a_segm` and `i_segm` (whole and visible mask), or the first release's `segmentation` and
`inmodal_seg`; `category_id`; optionally `track_id` (without it every annotation is an object of its own) and `ico_id`
(0 = hides and is hidden by nobody, larger = further back). Images may have a `stamp` in seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from c2f_ros.contract import InputError
from c2f_ros.geometry import place
from c2f_ros.records import SourceFrame, SourceObject
from c2f_ros.sources.coco_masks import decode_segmentation
from c2f_ros.sources.files import FIRST_STAMP_NS, read_json, read_rgb, require_key, require_size, stamp_at

VISIBLE_KEYS, AMODAL_KEYS = ("i_segm", "inmodal_seg"), ("a_segm", "segmentation")
IMAGE_FOLDERS = ("rgb", "image_2", "training/image_2", "testing/image_2", ".")


def kins_json(path: Path) -> Path | None:
    """The sequence's JSON file: `path` itself or the only one in it; None if it is not of this layout."""
    files = [path] if path.is_file() else sorted(path.glob("*.json"))
    found = [f for f in files if f.suffix == ".json" and {"images", "annotations"} <= read_json(f).keys()]
    return found[0] if len(found) == 1 else None


def read_kins(path: Path, rate_hz: float) -> Iterator[SourceFrame]:
    """The frames of the JSON file `path` in its order; an object's id is its track id + 1, so that 0 stays background.

    A whole mask is joined with its visible mask: annotators' outlines differ by a pixel or two.
    Raises InputError naming the file that is missing or broken, and the annotation.
    """
    content = read_json(path)
    images = require_key(content, "images", path, "the file")
    names = {c["id"]: str(c["name"]) for c in content.get("categories", []) if "id" in c and "name" in c}
    by_image: dict[Any, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for index, item in enumerate(require_key(content, "annotations", path, "the file")):
        identity = int(item["track_id"]) if "track_id" in item else index
        by_image[require_key(item, "image_id", path, f"annotation {index}")].append((identity + 1, item))
    for index, image in enumerate(images):
        stamp = FIRST_STAMP_NS + round(image["stamp"] * 1e9) if "stamp" in image else stamp_at(index, rate_hz)
        yield _read_image(path, image, by_image[require_key(image, "id", path, f"image {index}")], names, stamp)


def _read_image(
    path: Path,
    image: Mapping[str, Any],
    annotations: Sequence[tuple[int, dict[str, Any]]],
    names: Mapping[Any, str],
    stamp_ns: int,
) -> SourceFrame:
    file = _image_file(path, str(require_key(dict(image), "file_name", path, f"image {image['id']}")))
    rgb = read_rgb(file)
    height, width = rgb.shape[:2]
    require_size(file, rgb.shape, (image.get("height", height), image.get("width", width)))
    labels = np.zeros((height, width), np.int32)
    objects: dict[int, SourceObject] = {}
    for identity, item in sorted(annotations, key=lambda pair: -pair[1].get("ico_id", 0)):
        where = f"annotation {item.get('id', identity)}"
        if identity in objects:
            raise InputError(f"{path}: track id {identity - 1} is twice in image {image['id']}; make ids unique")
        visible = decode_segmentation(_either(item, VISIBLE_KEYS, path, where), height, width, path, where)
        amodal = decode_segmentation(_either(item, AMODAL_KEYS, path, where), height, width, path, where)
        labels[visible] = identity
        category = item.get("category_id", "")
        objects[identity] = SourceObject(names.get(category, str(category)), place(amodal | visible))
    return SourceFrame(stamp_ns, rgb, labels, dict(sorted(objects.items())))


def _either(item: Mapping[str, Any], keys: Sequence[str], path: Path, where: str) -> Any:
    for key in keys:
        if key in item:
            return item[key]
    raise InputError(f"{path}: {where} has neither {' nor '.join(keys)}; check the layout")


def _image_file(path: Path, name: str) -> Path:
    for folder in IMAGE_FOLDERS:
        if (path.parent / folder / name).is_file():
            return path.parent / folder / name
    raise InputError(f"{path}: its image {name} is in none of the folders {', '.join(IMAGE_FOLDERS)} beside it")
