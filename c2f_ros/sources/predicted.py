"""Predicted visible masks, from a COCO-format results file, in the place of the true ones (paper, Table 4).

A results file is a JSON list of {"image_id", "category_id", "segmentation" (run lengths), "bbox", "score"}. Image ids
are the data set's own; where the layout has none, SEQUENCE/FRAME, as in "test/0/00003".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from c2f_ros.contract import InputError
from c2f_ros.geometry import PlacedMask, count_common, place
from c2f_ros.records import SourceFrame, SourceObject
from c2f_ros.sources.coco_json import compact_masks
from c2f_ros.sources.coco_masks import decode_segmentation
from c2f_ros.sources.files import read_json_value, require_key, require_number
from c2f_ros.sources.parts import Refuse

LEAST_IOU = 0.5
FIRST_UNMATCHED_ID = 1_000_000
"""Predictions that match no object are numbered from here, through a whole sequence."""


@dataclass(frozen=True, eq=False)
class MatchedObject(SourceObject):
    """An object of a frame whose labels are predicted. true_visible: its true visible mask, which the labels no longer
    show; score: of the prediction matched to it, None if there is none."""

    true_visible: PlacedMask
    score: float | None


@dataclass(frozen=True, eq=False)
class Results:
    """A results file. entries: by image id, each with its position in the file, not decoded."""

    path: Path
    entries: Mapping[str, Sequence[tuple[int, dict[str, Any]]]]


@dataclass(frozen=True, eq=False)
class _Prediction:
    class_id: str
    score: float
    mask: PlacedMask


def read_results(path: Path, refuse: Refuse) -> Results:
    """The entries of a results file; one without an image id is refused. Raises InputError if it is no JSON list."""
    content = read_json_value(path, compact_masks)
    if not isinstance(content, list):
        raise InputError(f"{path}: it holds a {type(content).__name__}, expected a list of results; replace the file")
    entries: dict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for index, item in enumerate(content):
        try:
            entries[str(require_key(item, "image_id", path, f"result {index}"))].append((index, item))
        except InputError as error:
            refuse(error)
    return Results(path, entries)


def predicted_frames(
    frames: Iterable[SourceFrame], image_ids: Sequence[str], results: Results
) -> Iterator[SourceFrame]:
    """The frames of one sequence with predicted masks as their labels. image_ids: of the frames, in their order.

    Predictions are matched to objects as `match` does; a matched one takes its object's id, another an id of its own
    that no other frame has, without truth. An object that none matches is not in the labels; its truth is kept.
    Where predictions overlap, the one of higher score is seen.
    Raises InputError naming the result that cannot be used.
    """
    next_id = FIRST_UNMATCHED_ID
    for frame, image_id in zip(frames, image_ids, strict=False):
        predictions = _decode(results, image_id, *frame.labels.shape)
        visible = {k: place(frame.labels == k) for k in frame.objects}
        matches = match([p.mask for p in predictions], visible)
        objects: dict[int, SourceObject] = {
            k: MatchedObject(item.class_id, item.amodal, visible[k], None) for k, item in frame.objects.items()
        }
        identities: list[int] = []
        for prediction, matched in zip(predictions, matches, strict=True):
            if matched is None:
                identities.append(next_id)
                objects[next_id] = SourceObject(prediction.class_id, None)
                next_id += 1
            else:
                identities.append(matched)
                item = frame.objects[matched]
                objects[matched] = MatchedObject(item.class_id, item.amodal, visible[matched], prediction.score)
        labels = np.zeros_like(frame.labels)
        for identity, prediction in reversed(list(zip(identities, predictions, strict=True))):
            labels[prediction.mask.box.slices][prediction.mask.mask] = identity
        yield SourceFrame(frame.stamp_ns, frame.rgb, labels, objects)


def match(predictions: Sequence[PlacedMask], visible: Mapping[int, PlacedMask]) -> list[int | None]:
    """The object of every prediction, None if there is none: predictions in turn, highest score first, each take the
    object of highest IoU of visible masks that none has taken, if that is at least `LEAST_IOU`."""
    taken: list[int | None] = []
    free = {identity: mask for identity, mask in visible.items() if not mask.is_empty}
    areas = {identity: mask.area for identity, mask in free.items()}
    for prediction in predictions:
        area, best, best_iou = prediction.area, None, 0.0
        for identity, mask in free.items():
            common = count_common(prediction, mask)
            iou = common / (area + areas[identity] - common)
            if iou >= LEAST_IOU and iou > best_iou:
                best, best_iou = identity, iou
        if best is not None:
            del free[best]
        taken.append(best)
    return taken


def true_visible(frame: SourceFrame, identity: int) -> PlacedMask:
    """The true visible mask of an object, whether the frame's labels are true or predicted."""
    item = frame.objects[identity]
    return item.true_visible if isinstance(item, MatchedObject) else place(frame.labels == identity)


def _decode(results: Results, image_id: str, height: int, width: int) -> list[_Prediction]:
    """An image's predictions, highest score first."""
    found = []
    for index, item in results.entries.get(image_id, ()):
        where = f"result {index}"
        score = require_number(item, "score", results.path, where)
        segmentation = require_key(item, "segmentation", results.path, where)
        mask = place(decode_segmentation(segmentation, height, width, results.path, where))
        if not mask.is_empty:
            found.append(_Prediction(str(item.get("category_id", "")), score, mask))
    return sorted(found, key=lambda prediction: -prediction.score)
