"""Photographs with COCOA annotations: `NAME.json` beside `NAME.jpg` (or .png), one frame each.

Per region `segmentation` (polygon of the whole object), `order` (1 = in front), `isStuff`, and on occluded regions
`visible_mask` (run lengths). Stuff (sky, grass) is left out: it is no object.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from c2f_ros.contract import InputError
from c2f_ros.geometry import place
from c2f_ros.records import SourceFrame, SourceObject
from c2f_ros.sources.coco_masks import decode_segmentation
from c2f_ros.sources.files import IMAGE_SUFFIXES, read_json, read_rgb, require_key, stamp_at


def cocoa_jsons(path: Path) -> list[Path]:
    """The photographs' JSON files: `path` itself or those in it, sorted by name; empty if none is of this layout."""
    files = [path] if path.is_file() else sorted(path.glob("*.json"))
    return [f for f in files if f.suffix == ".json" and "regions" in read_json(f)]


def read_cocoa(paths: Sequence[Path], rate_hz: float) -> Iterator[SourceFrame]:
    """One frame per photograph; ids go on counting, so that no object seems to be in two photographs.

    A region without `visible_mask` is wholly visible; where regions overlap, the one in front is seen. A whole mask is
    joined with its visible mask: annotators' outlines differ by a pixel or two.
    Raises InputError naming the file that is missing or broken, and the region.
    """
    first_id = 1
    for index, path in enumerate(paths):
        regions = [
            (number, region)
            for number, region in enumerate(require_key(read_json(path), "regions", path, "the file"), start=1)
            if not region.get("isStuff")
        ]
        yield _read_photograph(path, regions, first_id, stamp_at(index, rate_hz))
        first_id += len(regions)


def _read_photograph(
    path: Path, regions: Sequence[tuple[int, dict[str, Any]]], first_id: int, stamp_ns: int
) -> SourceFrame:
    rgb = read_rgb(_image_file(path))
    height, width = rgb.shape[:2]
    labels = np.zeros((height, width), np.int32)
    objects: dict[int, SourceObject] = {}
    front_first = sorted(regions, key=lambda pair: pair[1].get("order", pair[0]))
    identities = {number: first_id + k for k, (number, _) in enumerate(front_first)}
    for number, region in reversed(front_first):
        where = f"region {number}"
        polygon = require_key(region, "segmentation", path, where)
        amodal = decode_segmentation(polygon, height, width, path, where)
        visible = amodal
        if "visible_mask" in region:
            visible = decode_segmentation(region["visible_mask"], height, width, path, where)
        labels[visible] = identities[number]
        objects[identities[number]] = SourceObject(str(region.get("name", "")).strip(), place(amodal | visible))
    return SourceFrame(stamp_ns, rgb, labels, dict(sorted(objects.items())))


def _image_file(path: Path) -> Path:
    for suffix in IMAGE_SUFFIXES:
        if path.with_suffix(suffix).is_file():
            return path.with_suffix(suffix)
    raise InputError(f"{path}: there is no photograph {path.stem}{' or '.join(IMAGE_SUFFIXES)} beside it; add it")
