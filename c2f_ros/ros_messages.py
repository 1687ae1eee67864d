"""Making rclpy messages: amodal results, overlay images, diagnostics."""

from __future__ import annotations

from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from numpy.typing import NDArray
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import Header

from c2f_ros.geometry import ByteArray
from c2f_ros.msg import AmodalInstance, AmodalInstanceArray, InstanceMask, OcclusionCycle
from c2f_ros.steps.step8_publish import ros_bytes


class RclpyTypes:
    """`MessageTypes` of rclpy."""

    amodal_array = AmodalInstanceArray
    amodal_instance = AmodalInstance
    occlusion_cycle = OcclusionCycle
    instance_mask = InstanceMask
    region = RegionOfInterest

    @staticmethod
    def data(data: NDArray[np.uint8]) -> Any:
        return ros_bytes(data)


def header_message(stamp_ns: int, frame_id: str) -> Header:
    """std_msgs/Header."""
    header = Header(frame_id=frame_id)
    header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    return header


def serialized(message: Any) -> bytes:
    """The message as the middleware sends it."""
    return bytes(serialize_message(message))


def image_message(header: Any, rgb: ByteArray) -> Image:
    """sensor_msgs/Image in rgb8 from uint8 [H, W, 3]."""
    height, width = rgb.shape[:2]
    return Image(header=header, height=height, width=width, encoding="rgb8", step=3 * width, data=ros_bytes(rgb))


def diagnostics_message(
    stamp: Any, name: str, model_id: str, level: int, text: str, values: dict[str, str]
) -> DiagnosticArray:
    """One status named `name`; hardware_id is the model."""
    status = DiagnosticStatus(
        level=bytes([level]),
        name=name,
        message=text,
        hardware_id=model_id,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
    message = DiagnosticArray(status=[status])
    message.header.stamp = stamp
    return message
