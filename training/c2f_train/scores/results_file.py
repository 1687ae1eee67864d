"""Results of any system in COCO's results format: a JSON list with one entry per predicted mask.

Per entry `image_id`, `segmentation` (whole mask: polygons or run lengths at the image's size) and `score`; optionally
`visible_segmentation`, `object_id` (the data's own number of the object), `category_id`. Other keys, as `bbox` or a
system's own `track_id`, are not read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from c2f_ros.contract import InputError
from c2f_ros.geometry import PlacedMask, place
from c2f_ros.sources.coco_json import compact_masks
from c2f_ros.sources.coco_masks import decode_segmentation
from c2f_ros.sources.files import read_json_value


@dataclass(frozen=True, eq=False)
class ResultEntry:
    """One predicted mask, not decoded. number: its position in the file, from 0. object_id, visible: None if the
    entry has none; category: "" if it has none."""

    number: int
    image_id: str
    segmentation: Any
    visible: Any
    score: float
    object_id: int | None
    category: str


@dataclass(frozen=True, eq=False)
class DecodedEntry:
    """An entry with its masks in the image; visible: None if the entry has none."""

    entry: ResultEntry
    amodal: PlacedMask
    visible: PlacedMask | None


@dataclass(frozen=True, eq=False)
class ResultsFile:
    """The entries of `path`, by image id, in the file's order."""

    path: Path
    by_image: Mapping[str, Sequence[ResultEntry]]

    @property
    def count(self) -> int:
        """Entries in the file."""
        return sum(len(entries) for entries in self.by_image.values())

    def decoded(self, image_ids: Sequence[str], height: int, width: int) -> list[DecodedEntry]:
        """The entries of an image that goes by any of these ids. Raises InputError with the number of a broken one."""
        return [self._decode(entry, height, width) for entry in self.of_image(image_ids)]

    def of_image(self, image_ids: Sequence[str]) -> list[ResultEntry]:
        """The entries of an image that goes by any of these ids, in the file's order."""
        return sorted((e for key in {*image_ids} for e in self.by_image.get(key, ())), key=lambda e: e.number)

    def _decode(self, entry: ResultEntry, height: int, width: int) -> DecodedEntry:
        def mask(value: Any, key: str) -> PlacedMask:
            where = f"{key!r} of entry {entry.number}"
            return place(decode_segmentation(value, height, width, self.path, where))

        visible = None if entry.visible is None else mask(entry.visible, "visible_segmentation")
        return DecodedEntry(entry, mask(entry.segmentation, "segmentation"), visible)


def read_results_file(path: Path, classes: Mapping[str, str] | None = None) -> ResultsFile:
    """The entries of a results file, masks not decoded yet. classes: names by category id; None: ids are their names.

    Raises InputError naming the file, the entry's number, and what is wrong with it.
    """
    content = read_json_value(path, compact_masks)
    if not isinstance(content, list):
        raise InputError(f"{path}: it holds {type(content).__name__}, expected COCO results, a list of entries")
    by_image: dict[str, list[ResultEntry]] = {}
    for number, item in enumerate(content):
        entry = _entry(item, number, path, classes)
        by_image.setdefault(entry.image_id, []).append(entry)
    return ResultsFile(path, by_image)


def read_classes(path: Path) -> dict[str, str]:
    """Names by category id, from the `categories` of a COCO-style file. Raises InputError if it has none."""
    content = read_json_value(path)
    try:
        return {str(item["id"]): str(item["name"]) for item in content["categories"]}
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: no categories with id and name can be read ({error!r}); name a COCO-style JSON file"
        ) from error


def _entry(item: Any, number: int, path: Path, classes: Mapping[str, str] | None) -> ResultEntry:
    def wrong(what: str) -> InputError:
        return InputError(f"{path}: entry {number} {what}")

    if not isinstance(item, dict):
        raise wrong(f"is {type(item).__name__}, expected an object with image_id, segmentation and score")
    for key in ("image_id", "segmentation", "score"):
        if item.get(key) is None:
            raise wrong(f"has no {key!r}; add it")
    image_id, score, object_id = item["image_id"], item["score"], item.get("object_id")
    if isinstance(image_id, bool) or not isinstance(image_id, (int, str)):
        raise wrong(f"has the image_id {image_id!r:.60}, expected a number or a name")
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not math.isfinite(score):
        raise wrong(f"has the score {score!r:.60}, expected a finite number")
    if object_id is not None and (isinstance(object_id, bool) or not isinstance(object_id, int)):
        raise wrong(f"has the object_id {object_id!r:.60}, expected a whole number")
    category = str(item.get("category_id", ""))
    if classes is not None:
        if category not in classes:
            raise wrong(f"has the category_id {category!r:.60}, expected one of {', '.join(sorted(classes))}")
        category = classes[category]
    return ResultEntry(
        number, str(image_id), item["segmentation"], item.get("visible_segmentation"), float(score), object_id, category
    )
