"""Step 1: read a message. Images and upstream masks become `Frame` and `Instances`, without a copy if possible.

Messages are read by their fields alone, so rclpy's and rosbags' messages both fit; nothing of ROS is imported
but cv_bridge, where it is installed, for encodings this file does not know.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from c2f_ros.contract import InputError
from c2f_ros.crops import TO_RGB
from c2f_ros.geometry import Box, ByteArray, PlacedMask
from c2f_ros.mask_codec import decode
from c2f_ros.records import Frame, Instances, VisibleInstance

CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}
LABEL_TYPES = {"mono8": "u1", "8UC1": "u1", "mono16": "u2", "16UC1": "u2", "32SC1": "i4"}
MOST_BY_BITS = 64
"""Labels whose boxes are found 32 at a time; for more one pass over all pixels is faster."""
STRIP = 1 << 15
"""Pixels looked at in one go, so that what is made of them stays in the processor's cache."""


def stamp_ns(header: Any) -> int:
    """A header's stamp in nanoseconds."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def read_image(message: Any, received_s: float) -> Frame:
    """sensor_msgs/Image -> Frame whose pixels are a view of the message's data (padded rows honoured).

    Raises InputError on an unknown encoding without cv_bridge, or on too few bytes.
    """
    if message.encoding not in TO_RGB:
        return _read_by_cv_bridge(message, received_s)
    channels = CHANNELS[message.encoding]
    shape = (message.height, message.width, channels) if channels > 1 else (message.height, message.width)
    pixels = _view(message, np.dtype(np.uint8), shape)
    return Frame(stamp_ns(message.header), message.header, pixels, message.encoding, received_s)


def read_compressed_image(message: Any, received_s: float) -> Frame:
    """sensor_msgs/CompressedImage (JPEG, PNG, ...) -> Frame in bgr8. Raises InputError if it does not decode."""
    data = np.frombuffer(message.data, np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if pixels is None:
        raise InputError(
            f"compressed image of format {message.format!r} with {data.size} bytes does not decode; send JPEG or PNG"
        )
    return Frame(stamp_ns(message.header), message.header, pixels, "bgr8", received_s)


def read_label_image(message: Any) -> Instances:
    """A label image (0 = background, value = instance id) -> Instances; ids are the values in decimal.

    Encodings: mono8, 8UC1, mono16, 16UC1, 32SC1, either byte order, rows may be padded. Raises InputError on
    another encoding, too few bytes or a negative label.
    """
    if message.encoding not in LABEL_TYPES:
        known = ", ".join(LABEL_TYPES)
        raise InputError(f"label image has encoding {message.encoding!r}, expected one of {known}; convert it upstream")
    dtype = np.dtype(LABEL_TYPES[message.encoding]).newbyteorder(">" if message.is_bigendian else "<")
    return instances_of_labels(stamp_ns(message.header), _view(message, dtype, (message.height, message.width)))


def instances_of_labels(stamp: int, values: NDArray[np.integer]) -> Instances:
    """Instances of a label array [H, W]; classes are unknown and scores 1. Raises InputError on a negative label.

    The array itself is kept where its labels are 1, 2, ... without a gap.
    """
    ids, labels, boxes = _numbered(values.astype(values.dtype.newbyteorder("="), copy=False))
    instances = []
    for index, (number, box) in enumerate(zip(ids, boxes, strict=True)):
        mask = PlacedMask(box, labels[box.slices] == index + 1)
        instances.append(VisibleInstance(str(number), "", 1.0, mask))
    return Instances(stamp, tuple(instances), labels)


def _numbered(values: NDArray[np.integer]) -> tuple[list[int], NDArray[np.integer], list[Box]]:
    """Ids present (ascending, without 0), labels renumbered 1..n in that order, and their boxes."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    if low < 0:
        raise InputError(f"label image holds the negative value {low}; use 0 for background and positive ids")
    if high <= MOST_BY_BITS:
        values = values.astype(np.uint8, copy=False)
        ids, boxes = _boxes_by_bits(values, high)
        return ids, values if len(ids) == high else cv2.LUT(values, _table(ids, 256)), boxes
    if high >= 1 << 16:
        present, inverse = np.unique(values, return_inverse=True)
        ids = present[present > 0].tolist()
        labels = (inverse.reshape(values.shape) + (0 if present[0] == 0 else 1)).astype(np.int32)
    else:
        counts = np.bincount(values.ravel())
        ids = (np.flatnonzero(counts[1:]) + 1).tolist()
        labels = _table(ids, high + 1)[values]
    if len(ids) <= MOST_BY_BITS:
        return ids, labels, _boxes_by_bits(labels.astype(np.uint8, copy=False), len(ids))[1]
    places = ndimage.find_objects(labels, max_label=len(ids))
    return ids, labels, [Box(columns.start, rows.start, columns.stop, rows.stop) for rows, columns in places]


def _table(ids: list[int], size: int) -> NDArray[np.integer]:
    """[size]: k + 1 at the k-th id, 0 elsewhere."""
    table = np.zeros(size, np.uint8 if len(ids) < 256 else np.uint16)
    table[ids] = np.arange(1, len(ids) + 1)
    return table


def _boxes_by_bits(labels: NDArray[np.uint8], most: int) -> tuple[list[int], list[Box]]:
    """Which of 1..most `labels` [H, W] hold, and their boxes.

    Every label is a bit: two reductions by OR tell in which columns and rows each of 32 labels is.
    """
    ids, boxes = [], []
    for first in range(1, most + 1, 32):
        numbers = np.arange(first, min(first + 32, most + 1))
        table = np.zeros(256, np.uint32)
        table[numbers] = np.uint32(1) << (numbers - first).astype(np.uint32)
        columns, rows = (_are_set(bits, len(numbers)) for bits in _bits(labels, table.view(np.int32)))
        present = np.flatnonzero(rows.any(1))
        edges = zip(*_span(columns[present]), *_span(rows[present]), strict=True)
        ids += (present + first).tolist()
        boxes += [Box(x0, y0, x1, y1) for x0, x1, y0, y1 in edges]
    return ids, boxes


def _bits(labels: NDArray[np.uint8], table: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """What `table` [256] has for the labels [H, W], joined by OR: of every column [W], and of every row [H]."""
    height, width = labels.shape
    columns, rows = np.zeros(width, np.int32), np.empty(height, np.int32)
    step = max(1, STRIP // width)
    for top in range(0, height, step):
        bits = cv2.LUT(labels[top : top + step], table)
        np.bitwise_or.reduce(bits, 1, out=rows[top : top + step])
        columns |= np.bitwise_or.reduce(bits, 0)
    return columns, rows


def _are_set(bits: NDArray[np.int32], count: int) -> NDArray[np.bool_]:
    """[count, n]: whether each of the lowest `count` bits is set in each of `bits` [n]."""
    masks = np.uint32(1) << np.arange(count, dtype=np.uint32)
    return (bits.view(np.uint32)[None] & masks[:, None]) != 0


def _span(is_set: NDArray[np.bool_]) -> tuple[list[int], list[int]]:
    """First index at which each row of [k, n] is set, and one past the last."""
    return is_set.argmax(1).tolist(), (is_set.shape[1] - is_set[:, ::-1].argmax(1)).tolist()


def read_instance_array(message: Any) -> Instances:
    """c2f_ros/InstanceArray -> Instances, in the same order. An instance without any pixel is left out.

    Raises InputError on a mask that does not fit the image or its own length, or on a track id used twice.
    """
    height, width = int(message.image_height), int(message.image_width)
    named = [i.track_id for i in message.instances if i.track_id]
    twice = sorted({name for name in named if named.count(name) > 1}) if len(set(named)) < len(named) else []
    if twice:
        raise InputError(f"track id {', '.join(twice)} is used by several instances of one image; make ids unique")
    instances = []
    for item in message.instances:
        visible = read_mask(item.mask, height, width)
        if not visible.is_empty:
            instances.append(VisibleInstance(item.track_id, item.class_id, float(item.score), visible))
    labels = np.zeros((height, width), np.uint8 if len(instances) < 256 else np.uint16)
    for index, instance in enumerate(instances):
        labels[instance.visible.box.slices][instance.visible.mask] = index + 1
    return Instances(stamp_ns(message.header), tuple(instances), labels)


def read_mask(message: Any, height: int, width: int) -> PlacedMask:
    """c2f_ros/InstanceMask -> PlacedMask. Raises InputError as `mask_codec.decode` does."""
    roi = message.roi
    box = Box(roi.x_offset, roi.y_offset, roi.x_offset + roi.width, roi.y_offset + roi.height)
    return decode(box, message.encoding, np.frombuffer(message.data, np.uint8), height, width)


def _view(message: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    row = shape[1] * dtype.itemsize * (shape[2] if len(shape) > 2 else 1)
    data = np.frombuffer(message.data, np.uint8)
    if min(shape) < 1 or message.step < row or len(data) < message.step * (shape[0] - 1) + row:
        raise InputError(
            f"{message.encoding} image of {shape[0]} rows and {shape[1]} columns has step {message.step} and "
            f"{len(data)} bytes, expected a step of at least {row} and {row * shape[0]} bytes; check the sender"
        )
    strides = (message.step, row // shape[1], dtype.itemsize)[: len(shape)]
    return np.ndarray(shape, dtype, data, strides=strides)


def _read_by_cv_bridge(message: Any, received_s: float) -> Frame:
    if importlib.util.find_spec("cv_bridge") is None:
        known = ", ".join(TO_RGB)
        raise InputError(
            f"image has encoding {message.encoding!r}, expected one of {known}; convert it or install cv_bridge"
        )
    bridge = importlib.import_module("cv_bridge").CvBridge()
    try:
        pixels: ByteArray = bridge.imgmsg_to_cv2(message, "rgb8")
    except Exception as error:  # cv_bridge raises types of its own, which exist only where it is installed
        raise InputError(
            f"cv_bridge cannot turn {message.encoding!r} into rgb8: {error}; convert it upstream"
        ) from error
    return Frame(stamp_ns(message.header), message.header, pixels, "rgb8", received_s)
