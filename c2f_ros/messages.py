"""Our messages without ROS: `rosbags` types made from the .msg files, and results read back from messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from c2f_ros.contract import ContractError, InputError
from c2f_ros.records import AmodalFrame, AmodalInstance, Status
from c2f_ros.share import share_file
from c2f_ros.steps.step1_read import read_mask, stamp_ns

STORES = {"jazzy": Stores.ROS2_JAZZY, "humble": Stores.ROS2_HUMBLE}
NAMES = ("AmodalInstance", "AmodalInstanceArray", "Instance", "InstanceArray", "InstanceMask", "OcclusionCycle")


@dataclass(frozen=True)
class RosbagsTypes:
    """Makers of messages without ROS, called with one keyword per field; `data` holds a uint8 array as a field does."""

    time: Callable[..., Any]
    header: Callable[..., Any]
    image: Callable[..., Any]
    compressed_image: Callable[..., Any]
    region: Callable[..., Any]
    instance_mask: Callable[..., Any]
    instance: Callable[..., Any]
    instance_array: Callable[..., Any]
    amodal_instance: Callable[..., Any]
    amodal_array: Callable[..., Any]
    occlusion_cycle: Callable[..., Any]

    def data(self, data: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A `uint8[]` field of `data`."""
        return data


@lru_cache
def typestore(distro: str = "jazzy") -> Typestore:
    """The rosbags types of `distro` (jazzy or humble), ours among them. Raises ContractError for another name
    and FileNotFoundError where our .msg files are not found."""
    if distro not in STORES:
        raise ContractError(f"ROS distribution is {distro!r}, expected {' or '.join(STORES)}; use one of these")
    store = get_typestore(STORES[distro])
    types: dict[str, Any] = {}
    for name in NAMES:
        text = share_file(f"msg/{name}.msg").read_text("utf-8")
        types.update(get_types_from_msg(text, f"c2f_ros/msg/{name}"))
    store.register(types)
    return store


@lru_cache
def rosbags_types(distro: str = "jazzy") -> RosbagsTypes:
    """Makers of the messages of `typestore(distro)`."""
    found = typestore(distro).types
    return RosbagsTypes(
        time=found["builtin_interfaces/msg/Time"],
        header=found["std_msgs/msg/Header"],
        image=found["sensor_msgs/msg/Image"],
        compressed_image=found["sensor_msgs/msg/CompressedImage"],
        region=found["sensor_msgs/msg/RegionOfInterest"],
        instance_mask=found["c2f_ros/msg/InstanceMask"],
        instance=found["c2f_ros/msg/Instance"],
        instance_array=found["c2f_ros/msg/InstanceArray"],
        amodal_instance=found["c2f_ros/msg/AmodalInstance"],
        amodal_array=found["c2f_ros/msg/AmodalInstanceArray"],
        occlusion_cycle=found["c2f_ros/msg/OcclusionCycle"],
    )


def read_amodal_array(message: Any) -> AmodalFrame:
    """c2f_ros/AmodalInstanceArray, of rclpy or of rosbags, as a record; bags recorded before messages told the order
    from front to back give it empty.

    Raises InputError on a mask that does not fit the image or its own length, or an unknown status.
    """
    height, width = int(message.image_height), int(message.image_width)
    instances = tuple(_read_amodal(item, height, width) for item in message.instances)
    order = tuple(getattr(message, "front_to_back", ()))
    cycles = tuple(tuple(group.track_ids) for group in getattr(message, "cycles", ()))
    stamp = stamp_ns(message.header)
    return AmodalFrame(stamp, message.header, height, width, message.model_id, instances, order, cycles)


def _read_amodal(item: Any, height: int, width: int) -> AmodalInstance:
    if item.status not in list(Status):
        raise InputError(
            f"object {item.track_id!r} has status {item.status}, expected 0 to {max(Status)}; check the sender"
        )
    return AmodalInstance(
        track_id=item.track_id,
        class_id=item.class_id,
        score=float(item.score),
        visible=read_mask(item.visible, height, width),
        amodal=read_mask(item.amodal, height, width),
        amodal_score=float(item.amodal_score),
        occlusion_ratio=float(item.occlusion_ratio),
        occluded_by=tuple(item.occluded_by),
        frames_used=int(item.frames_used),
        status=Status(item.status),
    )
