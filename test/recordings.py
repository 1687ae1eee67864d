"""A tiny recording, in memory and in every layout that is read, for the tests of sources, bags, replay and report.

Two objects on an image that is not square: 1 lies in front and moves to the right, 2 stands still behind it. In the
third frame 1 hides 2 wholly.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco

from c2f_ros.geometry import place
from c2f_ros.records import SourceFrame, SourceObject
from c2f_ros.sources.files import stamp_at

HEIGHT, WIDTH = 36, 60
FRAMES = 3
RATE_HZ = 10.0
CLASSES = {1: "box", 2: "plate"}


def amodal_masks(index: int) -> dict[int, np.ndarray]:
    front, back = np.zeros((HEIGHT, WIDTH), bool), np.zeros((HEIGHT, WIDTH), bool)
    left = 4 + 10 * index
    front[6:30, left : left + 24] = True
    back[10:24, 26:44] = True
    return {1: front, 2: back}


def labels_of(index: int) -> np.ndarray:
    masks = amodal_masks(index)
    labels = np.zeros((HEIGHT, WIDTH), np.int32)
    labels[masks[2]] = 2
    labels[masks[1]] = 1
    return labels


def rgb_of(index: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def recorded(frames: int = FRAMES, ids: dict[int, int] | None = None, is_truth_known: bool = True) -> list[SourceFrame]:
    """The recording; `ids` renames objects 1 and 2."""
    names = ids or {1: 1, 2: 2}
    out = []
    for index in range(frames):
        labels = labels_of(index)
        renamed = np.zeros_like(labels)
        for old, new in names.items():
            renamed[labels == old] = new
        masks = amodal_masks(index)
        objects = {
            new: SourceObject(CLASSES[old], place(masks[old]) if is_truth_known else None) for old, new in names.items()
        }
        out.append(SourceFrame(stamp_at(index, RATE_HZ), rgb_of(index), renamed, objects))
    return out


def write_png(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)


def write_folder(root: Path) -> Path:
    for index in range(FRAMES):
        write_png(root / "rgb" / f"{index:05d}.png", rgb_of(index))
        write_png(root / "label" / f"{index:05d}.png", labels_of(index).astype(np.uint8))
    (root / "classes.json").write_text(json.dumps({str(k): v for k, v in CLASSES.items()}))
    return root


def write_movid(root: Path, video: str = "0") -> Path:
    folder = root / "test" / video
    for index in range(FRAMES):
        opaque = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
        folder.mkdir(parents=True, exist_ok=True)
        rgba = np.dstack([rgb_of(index)[..., ::-1], opaque])
        assert cv2.imwrite(str(folder / f"rgba_full_{index:05d}.png"), rgba)
        write_png(folder / f"segmentation_full_{index:05d}.png", labels_of(index).astype(np.uint8))
        for identity, mask in amodal_masks(index).items():
            pixels = mask.astype(np.uint8) * identity
            write_png(folder / f"segmentation_{identity - 1}_{index:05d}.png", pixels)
    size = {"num_frames": FRAMES, "height": HEIGHT, "width": WIDTH}
    instances = [{"category": name, "bbox_frames": [], "bboxes": []} for name in CLASSES.values()]
    (folder / "metadata.json").write_text(json.dumps({"metadata": size, "instances": instances}))
    return folder


def rle(mask: np.ndarray) -> dict:
    lengths = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(lengths["size"]), "counts": lengths["counts"].decode()}


def write_kins(root: Path) -> Path:
    """Track ids count from 0; stamps are a tenth of a second apart."""
    images, annotations = [], []
    for index in range(FRAMES):
        write_png(root / "rgb" / f"{index:05d}.png", rgb_of(index))
        size = {"height": HEIGHT, "width": WIDTH}
        images.append({"id": index, "file_name": f"{index:05d}.png", "stamp": index / RATE_HZ, **size})
        labels = labels_of(index)
        for identity, mask in amodal_masks(index).items():
            masks = {"a_segm": rle(mask), "i_segm": rle(labels == identity)}
            whose = {"id": len(annotations), "image_id": index, "track_id": identity - 1, "category_id": identity}
            annotations.append({**whose, **masks})
    categories = [{"id": k, "name": name} for k, name in CLASSES.items()]
    path = root / "kins.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def write_cocoa(root: Path, name: str = "photo") -> Path:
    """One photograph: frame 0, and a region of stuff."""
    write_png(root / f"{name}.png", rgb_of(0))
    masks, labels = amodal_masks(0), labels_of(0)
    regions = [
        {"segmentation": [0, 0, WIDTH, 0, WIDTH, HEIGHT, 0, HEIGHT], "name": "wall", "isStuff": 1, "order": 3},
        {
            "segmentation": polygon(masks[2]),
            "name": "plate ",
            "isStuff": 0,
            "order": 2,
            "visible_mask": rle(labels == 2),
        },
        {"segmentation": polygon(masks[1]), "name": "box", "isStuff": 0, "order": 1},
    ]
    path = root / f"{name}.json"
    path.write_text(json.dumps({"regions": regions}))
    return path


def polygon(mask: np.ndarray) -> list[float]:
    """The flat x, y outline of a rectangular mask, as COCO counts: corners of pixels."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x0, x1, y0, y1 = int(columns[0]), int(columns[-1]) + 1, int(rows[0]), int(rows[-1]) + 1
    return [x0, y0, x1, y0, x1, y1, x0, y1]
