"""Clips as folders in the layout of KINS: image_2/NNNNNN.png and one COCO-style JSON file, kins.json.

Per annotation a_segm and i_segm (whole and visible mask, uncompressed run lengths), a_bbox and i_bbox
(x, y, width, height), category_id, track_id, oco_id and ico_id. Added here: track_id, an image's "stamp" in seconds.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from c2f_train.synth.clip import PNG_LEVEL, Clip

CATEGORY_IDS = {"cyclist": 1, "pedestrian": 2, "car": 4, "tram": 5, "truck": 6, "van": 7, "misc": 8}
"""The categories of KINS; other names get the numbers after these."""
ANNOTATIONS = "kins.json"


def run_lengths(mask: NDArray[np.bool_]) -> dict:
    """A mask [H, W] as COCO's uncompressed run lengths: down the columns, the first run is of False."""
    flat = np.concatenate([[False], mask.ravel(order="F")])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], changes, [mask.size]]))
    return {"size": [int(side) for side in mask.shape], "counts": [int(count) for count in counts]}


def bounds(mask: NDArray[np.bool_]) -> list[float]:
    """The box (x, y, width, height) around a mask, four zeros if it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return [0.0] * 4
    return [float(v) for v in (columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)]


def occlusion_order(hides: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cluster and place in it of each of N objects, from hides [N, N] as in Clip: KINS's oco_id and ico_id.

    Objects joined by occlusion make a cluster, counted from 1; in it 1 is in front and larger is farther back, each
    object behind all that hide it. Who hides each other in a ring gets the next places by how few others hide them.
    An object that neither hides nor is hidden has 0 and 0.
    """
    count = len(hides)
    cluster, order = np.zeros(count, np.int64), np.zeros(count, np.int64)
    joined = hides | hides.T
    for first in range(count):
        if cluster[first] or not joined[first].any():
            continue
        members = np.zeros(count, np.bool_)
        members[first], reached = True, 0
        while members.sum() > reached:
            reached = int(members.sum())
            members |= joined[members].any(0)
        cluster[members] = cluster.max() + 1
        left, place = members.copy(), 1
        while left.any():
            indices = np.flatnonzero(left)
            hidden_by = hides[np.ix_(indices, indices)].sum(0)
            front = indices[hidden_by == hidden_by.min()]
            order[front] = place
            left[front], place = False, place + 1
    return cluster, order


def write_sequence(clip: Clip, folder: Path) -> None:
    """Write a clip as one sequence folder, without loss; it appears only when it is complete."""
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    (temporary / "image_2").mkdir(parents=True)
    for frame, image in enumerate(clip.rgb):
        path = temporary / "image_2" / f"{frame:06d}.png"
        if not cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL]):
            raise OSError(f"cannot write {path}")
    (temporary / ANNOTATIONS).write_text(json.dumps(_document(clip)) + "\n")
    os.replace(temporary, folder)


def _document(clip: Clip) -> dict:
    """What the JSON file holds."""
    others = sorted(set(clip.categories) - CATEGORY_IDS.keys())
    ids = CATEGORY_IDS | {name: max(CATEGORY_IDS.values()) + 1 + k for k, name in enumerate(others)}
    frames, height, width = clip.labels.shape
    images = [
        {"id": t, "file_name": f"{t:06d}.png", "height": height, "width": width, "stamp": int(stamp) / 1e9}
        for t, stamp in enumerate(clip.stamps_ns)
    ]
    annotations = [item for frame in range(frames) for item in _annotations(clip, frame, ids)]
    for number, item in enumerate(annotations):
        item["id"] = number + 1
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    return {"images": images, "categories": categories, "annotations": annotations}


def _annotations(clip: Clip, frame: int, ids: dict[str, int]) -> list[dict]:
    """The annotations of a frame: every object whose whole extent reaches into the image, hidden or not."""
    cluster, order = occlusion_order(clip.hides[frame])
    items = []
    for index in np.flatnonzero(clip.amodal[frame].any((1, 2))):
        whole, visible = clip.amodal[frame, index], clip.labels[frame] == index + 1
        items.append(
            {
                "image_id": frame,
                "track_id": int(index),
                "category_id": ids[clip.categories[index]],
                "iscrowd": 0,
                "area": int(whole.sum()),
                "a_segm": run_lengths(whole),
                "i_segm": run_lengths(visible),
                "a_bbox": bounds(whole),
                "i_bbox": bounds(visible),
                "oco_id": int(cluster[index]),
                "ico_id": int(order[index]),
            }
        )
    return items
