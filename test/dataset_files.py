"""The recording of `recordings.py` in the published layouts of whole data sets, file by file, and reading it back."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
from recordings import (
    CLASSES,
    FRAMES,
    HEIGHT,
    WIDTH,
    amodal_masks,
    labels_of,
    polygon,
    rgb_of,
    rle,
    write_movid,
    write_png,
)

from c2f_ros.sources.datasets import open_dataset

SIZE = {"height": HEIGHT, "width": WIDTH}
WRONG_SIZE = {"size": [5, 5], "counts": [25]}
"""A mask for another image size."""
CATEGORIES = [{"id": k, "name": name} for k, name in CLASSES.items()]


def uncompressed(mask: np.ndarray) -> dict:
    """Run lengths as a list, made with a loop."""
    counts, value = [0], False
    for pixel in mask.T.ravel():
        if bool(pixel) != value:
            counts.append(0)
            value = not value
        counts[-1] += 1
    return {"size": list(mask.shape), "counts": counts}


def write_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_kins_set(root: Path, split: str = "train", whole=polygon, seen=rle, first_release: bool = False) -> Path:
    """Photographs 000000.png ... of `training` or `testing`, and the split's JSON in the root."""
    folder = {"train": "training", "test": "testing", "val": "testing"}[split]
    images, annotations = [], []
    for index in range(FRAMES):
        write_png(root / folder / "image_2" / f"{index:06d}.png", rgb_of(index))
        images.append({"id": index, "file_name": f"{index:06d}.png", **SIZE})
        for identity, mask in amodal_masks(index).items():
            visible = labels_of(index) == identity
            amodal = [polygon(mask)] if whole is polygon else whole(mask)
            keys = ("segmentation", "inmodal_seg") if first_release else ("a_segm", "i_segm")
            item = {"id": len(annotations), "image_id": index, "category_id": identity, "iscrowd": 0}
            item |= {keys[0]: amodal, keys[1]: seen(visible)}
            if not first_release:
                item |= {"oco_id": 1, "ico_id": identity - 1, "a_bbox": [0, 0, 1, 1], "i_bbox": [0, 0, 1, 1]}
            annotations.append(item)
    name = f"instances_{split}.json" if first_release else f"update_{split}_2020.json"
    return write_json(root / name, {"images": images, "annotations": annotations, "categories": CATEGORIES})


def cocoa_images(root: Path, split: str) -> list[dict]:
    images = []
    for index in range(2):
        name = f"COCO_{split}2014_{index + 7:012d}.png"
        write_png(root / f"{split}2014" / name, rgb_of(index))
        images.append({"id": index + 7, "file_name": name, **SIZE})
    return images


def write_cocoa_coco(root: Path, split: str = "val") -> Path:
    """COCO style: object 1 is wholly visible and has no visible_mask; a wall is stuff."""
    annotations = []
    for image in cocoa_images(root, split):
        masks, labels = amodal_masks(image["id"] - 7), labels_of(image["id"] - 7)
        base = {"image_id": image["id"], "isStuff": 0}
        front = {"segmentation": [polygon(masks[1])], "category_id": 1, "occlude_rate": 0.0}
        hidden = {"visible_mask": rle(labels == 2), "invisible_mask": rle(masks[2] & (labels != 2))}
        back = {"segmentation": rle(masks[2]), "category_id": 2, "occlude_rate": 0.4, **hidden}
        wall = {"segmentation": rle(np.ones((HEIGHT, WIDTH), bool)), "name": "wall", "isStuff": 1}
        annotations += [{**base, "id": len(annotations) + k, **item} for k, item in enumerate((front, back, wall))]
    content = {"images": cocoa_images(root, split), "annotations": annotations, "categories": CATEGORIES}
    return write_json(root / "annotations" / f"COCO_amodal_{split}2014_with_classes.json", content)


def cocoa_regions(index: int) -> list[dict]:
    masks, labels = amodal_masks(index), labels_of(index)
    wall = {"segmentation": [0, 0, WIDTH, 0, WIDTH, HEIGHT, 0, HEIGHT], "name": "wall", "isStuff": 1, "order": 3}
    front = {"segmentation": polygon(masks[1]), "name": "box", "isStuff": 0, "occlude_rate": 0, "order": 1}
    back = {"segmentation": polygon(masks[2]), "name": "plate ", "isStuff": 0, "order": 2}
    return [wall, {**back, "visible_mask": rle(labels == 2)}, front]


def write_cocoa_original(root: Path, split: str = "train") -> Path:
    """The original file of a split: one annotation with regions per photograph, two for the first."""
    images = cocoa_images(root, split)
    annotations = [
        {"id": k, "image_id": images[index]["id"], "author": "a", "url": "", "regions": cocoa_regions(index)}
        for k, index in enumerate((0, 1, 0))
    ]
    return write_json(root / f"COCO_amodal_{split}2014.json", {"images": images, "annotations": annotations})


def fishbowl_entries(video: str) -> dict:
    """Objects 0 and 1; the hidden one has no entry in the last frame."""
    entries: dict = {f"{video}_{identity - 1}": {} for identity in CLASSES}
    for index in range(FRAMES):
        for identity, mask in amodal_masks(index).items():
            visible = labels_of(index) == identity
            if visible.any():
                box = tuple(np.int64(v) for v in (0, HEIGHT, 0, WIDTH))
                lengths = [{**r, "counts": r["counts"].encode()} for r in (rle(visible), rle(mask))]
                entry = {"VM": [lengths[0]], "FM": [lengths[1]], "VM_bx": box}
                entries[f"{video}_{identity - 1}"][index] = entry
    return entries


def write_fishbowl(root: Path, videos: tuple[str, ...] = ("4", "fish_10"), split: str = "test") -> Path:
    folder = root / f"{split}_data"
    entries: dict = {}
    for video in videos:
        for index in range(FRAMES):
            write_png(folder / f"{split}_frames" / video / f"{index:05d}.png", rgb_of(index))
        entries |= fishbowl_entries(video)
    (folder / f"{split}_data.pkl").write_bytes(pickle.dumps(entries))
    return folder / f"{split}_data.pkl"


def write_movid_set(root: Path, videos: tuple[str, ...] = ("0", "2", "10")) -> Path:
    for video in videos:
        write_movid(root, video)
    return root


def result(image_id: object, mask: np.ndarray, score: float, category: int = 1) -> dict:
    """An entry of a COCO-format results file."""
    return {"image_id": image_id, "category_id": category, "segmentation": rle(mask), "bbox": [], "score": score}


def read(path: Path, **options: object) -> tuple[dict[str, int], tuple[str, ...]]:
    """Number of frames by sequence, and what was refused."""
    refused = []
    dataset = open_dataset(path, on_refused=refused.append, **options)
    counts = {name: len(list(frames)) for name, frames in dataset}
    assert tuple(map(str, refused)) == dataset.refused
    return counts, dataset.refused
