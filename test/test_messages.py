"""The .msg files: documented, read alike by rosbags and by ROS 2, and their masks exact in both encodings."""

from __future__ import annotations

import array
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

MESSAGES = sorted((Path(__file__).resolve().parent.parent / "msg").glob("*.msg"))
NAMES = [path.stem for path in MESSAGES]

# Not square, and 15 pixels: the last byte of PACKED is not full.
MASK = np.array([[1, 0, 1], [1, 1, 0], [0, 0, 0], [0, 1, 1], [1, 0, 0]], bool)
ENCODED = {
    "MONO8": bytes([255, 0, 255, 255, 255, 0, 0, 0, 0, 0, 255, 255, 255, 0, 0]),
    "PACKED": bytes([0b10111000, 0b00111000]),
}


@pytest.fixture(scope="module")
def store() -> Typestore:
    """rosbags' types of Jazzy, and ours from the text of the .msg files."""
    types: dict[str, Any] = {}
    for path in MESSAGES:
        types.update(get_types_from_msg(path.read_text(), f"c2f_ros/msg/{path.stem}"))
    result = get_typestore(Stores.ROS2_JAZZY)
    result.register(types)
    return result


def test_the_messages_are_there() -> None:
    assert NAMES == [
        "AmodalInstance", "AmodalInstanceArray", "Instance", "InstanceArray", "InstanceMask", "OcclusionCycle",
    ]  # fmt: skip


@pytest.mark.parametrize("path", MESSAGES, ids=NAMES)
def test_every_field_and_constant_has_a_comment_above_it(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# "), "the message itself has no comment"
    uncommented = [line for above, line in pairwise(lines) if is_field(line) and not above.startswith("# ")]
    assert uncommented == []


@pytest.mark.parametrize("path", MESSAGES, ids=NAMES)
def test_only_std_and_sensor_messages_are_inside(path: Path) -> None:
    types = [line.split()[0].removesuffix("[]") for line in path.read_text().splitlines() if is_field(line)]
    packages = {name.partition("/")[0] for name in types if "/" in name}
    assert packages <= {"std_msgs", "sensor_msgs", "c2f_ros"}


@pytest.mark.parametrize("encoding", ENCODED)
def test_mask_bytes_are_the_documented_ones(encoding: str) -> None:
    assert encode(MASK, encoding) == ENCODED[encoding]
    np.testing.assert_array_equal(decode(ENCODED[encoding], encoding, *MASK.shape), MASK)


@pytest.mark.parametrize("encoding", ENCODED)
def test_runtime_writes_the_documented_bytes(encoding: str) -> None:
    from c2f_ros import mask_codec
    from c2f_ros.geometry import Box, PlacedMask

    box, data = mask_codec.encode(PlacedMask(Box(4, 2, 7, 7), MASK), encoding)
    assert bytes(data) == ENCODED[encoding]
    placed = mask_codec.decode(box, encoding, data, height=9, width=9)
    np.testing.assert_array_equal(placed.mask, MASK)


def test_constants_are_the_runtimes(store: Typestore) -> None:
    from c2f_ros.mask_codec import ENCODINGS
    from c2f_ros.records import Status

    mask = store.types["c2f_ros/msg/InstanceMask"]
    instance = store.types["c2f_ros/msg/AmodalInstance"]
    assert (mask.MONO8, mask.PACKED) == ("MONO8", "PACKED")
    assert set(ENCODINGS) == {mask.MONO8, mask.PACKED}
    assert {status.name: status.value for status in Status} == {
        name: getattr(instance, name) for name in ("OK", "SHORT_WINDOW", "INVISIBLE", "NOT_INFERRED")
    }


@pytest.mark.parametrize("encoding", ENCODED)
def test_masks_survive_rosbags(store: Typestore, encoding: str) -> None:
    message = amodal_array(RosbagsMessages(store), encoding)
    data = store.serialize_cdr(message, "c2f_ros/msg/AmodalInstanceArray")
    check_amodal_array(store.deserialize_cdr(data, "c2f_ros/msg/AmodalInstanceArray"), encoding)


@pytest.mark.ros
@pytest.mark.parametrize("encoding", ENCODED)
def test_rosbags_and_rclpy_write_equal_bytes(store: Typestore, encoding: str) -> None:
    """Equal but for the bytes between fields that align them, which Fast CDR leaves as they were in memory."""
    from rclpy.serialization import deserialize_message, serialize_message

    from c2f_ros.msg import AmodalInstanceArray

    name = "c2f_ros/msg/AmodalInstanceArray"
    from_rclpy = serialize_message(amodal_array(RclpyMessages(), encoding))
    from_rosbags = bytes(store.serialize_cdr(amodal_array(RosbagsMessages(store), encoding), name))
    assert len(from_rclpy) == len(from_rosbags)
    assert bytes(store.serialize_cdr(store.deserialize_cdr(from_rclpy, name), name)) == from_rosbags
    check_amodal_array(store.deserialize_cdr(from_rclpy, name), encoding)
    check_amodal_array(deserialize_message(from_rosbags, AmodalInstanceArray), encoding)


@pytest.mark.ros
@pytest.mark.parametrize("name", NAMES)
def test_type_hash_is_the_one_ros_computes(store: Typestore, name: str) -> None:
    from ament_index_python.packages import get_package_share_directory

    described = json.loads((Path(get_package_share_directory("c2f_ros")) / "msg" / f"{name}.json").read_text())
    hashes = {entry["type_name"]: entry["hash_string"] for entry in described["type_hashes"]}
    assert store.hash_rihs01(f"c2f_ros/msg/{name}") == hashes[f"c2f_ros/msg/{name}"]


def is_field(line: str) -> bool:
    """Whether a line of a .msg file declares a field or a constant."""
    return bool(re.match(r"[A-Za-z]", line))


def encode(mask: NDArray[np.bool_], encoding: str) -> bytes:
    """The data of an InstanceMask as InstanceMask.msg describes it, written out a second time for the comparison."""
    if encoding == "MONO8":
        return (mask.astype(np.uint8) * 255).tobytes()
    return np.packbits(mask).tobytes()


def decode(data: bytes, encoding: str, height: int, width: int) -> NDArray[np.bool_]:
    """The inverse of `encode`."""
    values = np.frombuffer(data, np.uint8)
    if encoding == "PACKED":
        values = np.unpackbits(values, count=height * width)
    return values.reshape(height, width) > 0


class RosbagsMessages:
    """Makes messages of rosbags, by short name."""

    def __init__(self, store: Typestore) -> None:
        self._store = store

    def make(self, name: str, **fields: Any) -> Any:
        full = {"Header": "std_msgs/msg/Header", "Time": "builtin_interfaces/msg/Time"}
        full["RegionOfInterest"] = "sensor_msgs/msg/RegionOfInterest"
        return self._store.types[full.get(name, f"c2f_ros/msg/{name}")](**fields)

    def bytes(self, data: bytes) -> Any:
        return np.frombuffer(data, np.uint8)


class RclpyMessages:
    """Makes messages of rclpy, by short name."""

    def make(self, name: str, **fields: Any) -> Any:
        import builtin_interfaces.msg
        import sensor_msgs.msg
        import std_msgs.msg

        import c2f_ros.msg

        modules = {"Header": std_msgs.msg, "Time": builtin_interfaces.msg, "RegionOfInterest": sensor_msgs.msg}
        return getattr(modules.get(name, c2f_ros.msg), name)(**fields)

    def bytes(self, data: bytes) -> Any:
        return array.array("B", data)


def amodal_array(messages: RosbagsMessages | RclpyMessages, encoding: str) -> Any:
    """An AmodalInstanceArray with one object that is partly hidden and one that is wholly hidden."""

    def mask(pixels: NDArray[np.bool_], x: int, y: int) -> Any:
        height, width = pixels.shape
        roi = messages.make("RegionOfInterest", x_offset=x, y_offset=y, height=height, width=width, do_rectify=False)
        return messages.make("InstanceMask", roi=roi, encoding=encoding, data=messages.bytes(encode(pixels, encoding)))

    def instance(track_id: str, visible: Any, status: int) -> Any:
        return messages.make(
            "AmodalInstance",
            track_id=track_id,
            class_id="",
            score=0.5,
            visible=visible,
            amodal=mask(MASK, 7, 11),
            amodal_score=0.25,
            occlusion_ratio=0.125,
            occluded_by=["2", "größer"],
            frames_used=3,
            status=status,
        )

    visible = MASK.copy()
    visible[3:] = False
    instances = [instance("1", mask(visible, 7, 11), 0), instance("2", mask(np.zeros((0, 0), bool), 0, 0), 2)]
    header = messages.make("Header", stamp=messages.make("Time", sec=12, nanosec=345678901), frame_id="camera")
    return messages.make(
        "AmodalInstanceArray",
        header=header,
        image_height=48,
        image_width=64,
        model_id="test",
        instances=instances,
        front_to_back=["2", "1"],
        cycles=[messages.make("OcclusionCycle", track_ids=["1", "2"])],
    )


def check_amodal_array(message: Any, encoding: str) -> None:
    """Assert that a message, of rosbags or rclpy, is what `amodal_array` made."""
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (12, 345678901)
    assert (message.header.frame_id, message.image_height, message.image_width) == ("camera", 48, 64)
    assert [(item.track_id, item.status, item.frames_used) for item in message.instances] == [("1", 0, 3), ("2", 2, 3)]
    for item in message.instances:
        assert list(item.occluded_by) == ["2", "größer"]
        assert (item.score, item.amodal_score, item.occlusion_ratio) == (0.5, 0.25, 0.125)
        roi = item.amodal.roi
        assert (roi.x_offset, roi.y_offset, item.amodal.encoding) == (7, 11, encoding)
        np.testing.assert_array_equal(decode(bytes(item.amodal.data), encoding, roi.height, roi.width), MASK)
    assert list(message.front_to_back) == ["2", "1"]
    assert [list(group.track_ids) for group in message.cycles] == [["1", "2"]]
    hidden = message.instances[1].visible
    assert (hidden.roi.width, hidden.roi.height, len(hidden.data)) == (0, 0, 0)
