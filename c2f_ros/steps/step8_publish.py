"""Step 8: publish. An amodal frame becomes an AmodalInstanceArray of rclpy or of rosbags, whichever is asked for."""

from __future__ import annotations

import array
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from c2f_ros.geometry import PlacedMask
from c2f_ros.mask_codec import encode
from c2f_ros.records import AmodalFrame


class MessageTypes(Protocol):
    """Where messages are made: the classes' constructors, and how bytes are held by them."""

    def amodal_array(self, **fields: Any) -> Any: ...
    def amodal_instance(self, **fields: Any) -> Any: ...
    def occlusion_cycle(self, **fields: Any) -> Any: ...
    def instance_mask(self, **fields: Any) -> Any: ...
    def region(self, **fields: Any) -> Any: ...
    def data(self, data: NDArray[np.uint8]) -> Any: ...


def to_message(frame: AmodalFrame, types: MessageTypes, encoding: str) -> Any:
    """AmodalInstanceArray with the source image's header, unchanged; masks in `encoding` (MONO8 or PACKED)."""
    instances = [
        types.amodal_instance(
            track_id=item.track_id,
            class_id=item.class_id,
            score=float(item.score),
            visible=mask_message(item.visible, types, encoding),
            amodal=mask_message(item.amodal, types, encoding),
            amodal_score=float(item.amodal_score),
            occlusion_ratio=float(item.occlusion_ratio),
            occluded_by=list(item.occluded_by),
            frames_used=item.frames_used,
            status=int(item.status),
        )
        for item in frame.instances
    ]
    return types.amodal_array(
        header=frame.header,
        image_height=frame.height,
        image_width=frame.width,
        model_id=frame.model_id,
        instances=instances,
        front_to_back=list(frame.front_to_back),
        cycles=[types.occlusion_cycle(track_ids=list(group)) for group in frame.cycles],
    )


def mask_message(mask: PlacedMask, types: MessageTypes, encoding: str) -> Any:
    """InstanceMask of a placed mask."""
    box, data = encode(mask, encoding)
    region = types.region(x_offset=box.x0, y_offset=box.y0, height=box.height, width=box.width, do_rectify=False)
    return types.instance_mask(roi=region, encoding=encoding, data=types.data(data))


def ros_bytes(data: NDArray[np.uint8]) -> array.array[int]:
    """The bytes as rclpy takes them without a per-element check (a list or ndarray costs 100 times more)."""
    out = array.array("B")
    out.frombytes(data.tobytes())
    return out
