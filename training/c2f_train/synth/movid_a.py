"""Clips as a folder in the layout of the MOViD-A data set.

<split>/<video>/rgba_full_%05d.png, segmentation_full_%05d.png (visible, value object + 1),
segmentation_<object>_%05d.png (full extent, value object + 1) and metadata.json; beside them
<split>_instance.txt with lines video_object_value and <split>_frame_list.txt with lines video_object_frame.
Added here: "category" of each instance and "stamps_ns" in the metadata.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from c2f_train.synth.clip import PNG_LEVEL, Clip

OBJECTS_MAX = 255
"""Masks are 8-bit images, so that no value above 255 can be written."""


def write_video(clip: Clip, folder: Path) -> None:
    """Write a clip as one video folder; the folder appears only when it is complete.

    Raises ValueError for more than 255 objects.
    """
    if len(clip.categories) > OBJECTS_MAX:
        raise ValueError(f"found {len(clip.categories)} objects, the layout holds at most {OBJECTS_MAX} in a video")
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for frame in range(len(clip.rgb)):
        opaque = np.full((*clip.rgb.shape[1:3], 1), 255, np.uint8)
        _write(temporary / f"rgba_full_{frame:05d}.png", np.dstack([clip.rgb[frame, ..., ::-1], opaque]))
        _write(temporary / f"segmentation_full_{frame:05d}.png", clip.labels[frame].astype(np.uint8))
        for index, mask in enumerate(clip.amodal[frame]):
            _write(temporary / f"segmentation_{index}_{frame:05d}.png", mask * np.uint8(index + 1))
    (temporary / "metadata.json").write_text(json.dumps(_metadata(clip)) + "\n")
    os.replace(temporary, folder)


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL]):
        raise OSError(f"cannot write {path}")


def _metadata(clip: Clip) -> dict:
    """What metadata.json holds; boxes [ymin, xmin, ymax, xmax] of visible parts over the image size, ends excluded."""
    frames, height, width = clip.labels.shape
    instances = []
    for index, category in enumerate(clip.categories):
        boxes = {}
        for frame in range(frames):
            visible = clip.labels[frame] == index + 1
            rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
            if len(rows):
                low, high = (rows[0] / height, columns[0] / width), ((rows[-1] + 1) / height, (columns[-1] + 1) / width)
                boxes[frame] = [float(value) for value in (*low, *high)]
        instances.append({"bbox_frames": list(boxes), "bboxes": list(boxes.values()), "category": category})
    size = {"num_frames": frames, "height": height, "width": width}
    return {"metadata": {**size, "stamps_ns": clip.stamps_ns.tolist()}, "instances": instances}


def write_lists(root: Path, split: str, videos: Iterable[str]) -> None:
    """Write <split>_instance.txt and <split>_frame_list.txt for complete video folders.

    An object that is never visible is left out; of the others every frame is listed, seen or not.
    """
    instances, frames = [], []
    for video in videos:
        metadata = json.loads((root / split / video / "metadata.json").read_text())
        for index, instance in enumerate(metadata["instances"]):
            if instance["bbox_frames"]:
                instances.append(f"{video}_{index}_{index + 1}")
                frames += [f"{video}_{index}_{frame}" for frame in range(metadata["metadata"]["num_frames"])]
    (root / f"{split}_instance.txt").write_text("".join(f"{line}\n" for line in instances))
    (root / f"{split}_frame_list.txt").write_text("".join(f"{line}\n" for line in frames))


def read_video(folder: Path) -> Clip:
    """The clip in a video folder that write_video wrote; who hides whom is not in the layout and read as False."""
    document = json.loads((folder / "metadata.json").read_text())
    metadata, instances = document["metadata"], document["instances"]
    frames, count = metadata["num_frames"], len(instances)
    rgb = [_read(folder / f"rgba_full_{t:05d}.png")[..., 2::-1] for t in range(frames)]
    labels = [_read(folder / f"segmentation_full_{t:05d}.png") for t in range(frames)]
    amodal = [[_read(folder / f"segmentation_{k}_{t:05d}.png") == k + 1 for k in range(count)] for t in range(frames)]
    return Clip(
        rgb=np.ascontiguousarray(rgb),
        labels=np.stack(labels).astype(np.uint16),
        amodal=np.array(amodal, np.bool_),
        hides=np.zeros((frames, count, count), np.bool_),
        categories=tuple(instance["category"] for instance in instances),
        stamps_ns=np.array(metadata["stamps_ns"], np.int64),
    )


def _read(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise OSError(f"cannot read {path}")
    return image
