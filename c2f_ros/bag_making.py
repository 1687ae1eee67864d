"""Makes a bag from recorded or generated frames: image, masks and ground truth with equal stamps.

| topic | type | when |
|---|---|---|
| /camera/image | sensor_msgs/Image, rgb8 | unless compressed |
| /camera/image/compressed | sensor_msgs/CompressedImage, jpeg or png | if compressed |
| /segmenter/masks | sensor_msgs/Image, label image mono8, mono16 or 32SC1 | unless as instances |
| /segmenter/instances | c2f_ros/InstanceArray | if as instances |
| /ground_truth/instances | c2f_ros/AmodalInstanceArray, all objects, hidden ones too | where whole masks are known |
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from c2f_ros.bag import (
    AMODAL_TYPE,
    COMPRESSED_TOPIC,
    COMPRESSED_TYPE,
    IMAGE_TOPIC,
    IMAGE_TYPE,
    INSTANCES_TOPIC,
    INSTANCES_TYPE,
    MASKS_TOPIC,
    TRUTH_TOPIC,
    BagWriter,
)
from c2f_ros.geometry import ByteArray
from c2f_ros.messages import RosbagsTypes, rosbags_types
from c2f_ros.records import SourceFrame
from c2f_ros.steps.step1_read import instances_of_labels
from c2f_ros.steps.step8_publish import mask_message, to_message
from c2f_ros.truth import truth_frame

FRAME_ID = "camera"
LABEL_ENCODINGS: tuple[tuple[str, type[np.integer[Any]]], ...] = (
    ("mono8", np.uint8),
    ("mono16", np.uint16),
    ("32SC1", np.int32),
)
JPEG_QUALITY = 95


@dataclass(frozen=True)
class BagOptions:
    """distro: jazzy or humble (metadata version 9 or 8). image: raw (rgb8), jpeg or png. as_instances: masks as
    InstanceArray, with classes, in place of label images."""

    distro: str = "jazzy"
    image: str = "raw"
    as_instances: bool = False


@dataclass(frozen=True)
class BagSummary:
    """What was written. objects: different ids over all frames; with_truth: frames that have ground truth."""

    frames: int
    objects: int
    with_truth: int


def write_bag(path: Path, frames: Iterable[SourceFrame], options: BagOptions) -> BagSummary:
    """Write a bag folder at `path` from frames of rising stamps. Raises InputError if `path` exists.

    A label image is as wide as the ids so far need: mono8 until one is above 255, mono16 until one is above 65535.
    """
    types = rosbags_types(options.distro)
    count, with_truth, depth = 0, 0, 0
    objects: set[int] = set()
    with BagWriter(path, options.distro) as writer:
        for frame in frames:
            header = make_header(frame.stamp_ns, types)
            depth = max(depth, label_depth(frame.labels))
            messages = [_image(frame, header, options, types), _masks(frame, depth, header, options, types)]
            truth = truth_frame(frame, header)
            if truth is not None:
                messages.append((TRUTH_TOPIC, AMODAL_TYPE, to_message(truth, types, "PACKED")))
            for topic, kind, message in messages:
                writer.add(topic, kind, frame.stamp_ns, message)
            count, with_truth = count + 1, with_truth + (truth is not None)
            objects |= frame.objects.keys()
    return BagSummary(count, len(objects), with_truth)


def make_header(stamp_ns: int, types: RosbagsTypes) -> Any:
    """std_msgs/Header of our camera at `stamp_ns`."""
    stamp = types.time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)
    return types.header(stamp=stamp, frame_id=FRAME_ID)


def _image(frame: SourceFrame, header: Any, options: BagOptions, types: RosbagsTypes) -> tuple[str, str, Any]:
    if options.image == "raw":
        return IMAGE_TOPIC, IMAGE_TYPE, image_message(frame.rgb, "rgb8", header, types)
    return COMPRESSED_TOPIC, COMPRESSED_TYPE, compressed_message(frame.rgb, options.image, header, types)


def _masks(
    frame: SourceFrame, depth: int, header: Any, options: BagOptions, types: RosbagsTypes
) -> tuple[str, str, Any]:
    if options.as_instances:
        return INSTANCES_TOPIC, INSTANCES_TYPE, instances_message(frame, header, types)
    encoding, dtype = LABEL_ENCODINGS[depth]
    return MASKS_TOPIC, IMAGE_TYPE, image_message(frame.labels.astype(dtype), encoding, header, types)


def label_depth(labels: NDArray[np.int32]) -> int:
    """Index into `LABEL_ENCODINGS` of the narrowest encoding that holds every id."""
    highest = int(labels.max(initial=0))
    return next(i for i, (_, dtype) in enumerate(LABEL_ENCODINGS) if highest <= np.iinfo(dtype).max)


def image_message(pixels: NDArray[Any], encoding: str, header: Any, types: RosbagsTypes) -> Any:
    """sensor_msgs/Image of pixels [H, W] or [H, W, C], rows not padded, little endian."""
    data = np.ascontiguousarray(pixels)
    height, width = data.shape[:2]
    return types.image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=data.nbytes // height,
        data=data.reshape(-1).view(np.uint8),
    )


def compressed_message(rgb: ByteArray, kind: str, header: Any, types: RosbagsTypes) -> Any:
    """sensor_msgs/CompressedImage. kind: jpeg or png (exact)."""
    suffix, parameters = (".jpg", [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]) if kind == "jpeg" else (".png", [])
    _, data = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), parameters)
    return types.compressed_image(header=header, format=f"rgb8; {kind} compressed bgr8", data=data.reshape(-1))


def instances_message(frame: SourceFrame, header: Any, types: RosbagsTypes) -> Any:
    """c2f_ros/InstanceArray of the visible objects; scores are 1."""
    instances = []
    for item in instances_of_labels(frame.stamp_ns, frame.labels).instances:
        known = frame.objects.get(int(item.upstream_id))
        mask = mask_message(item.visible, types, "PACKED")
        class_id = known.class_id if known else ""
        instances.append(types.instance(track_id=item.upstream_id, class_id=class_id, score=1.0, mask=mask))
    height, width = frame.labels.shape
    return types.instance_array(header=header, image_height=height, image_width=width, instances=instances)
