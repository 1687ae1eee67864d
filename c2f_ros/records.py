"""What each of the eight steps hands to the next: frozen records, checked once, when made.

Letters in shapes: N objects, T frames in the window, H W image, h w cut, S crop size, M mask planes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from c2f_ros.contract import InputError
from c2f_ros.geometry import Box, ByteArray, FloatArray, PlacedMask
from c2f_ros.motion import STILL, Similarity

IntArray = NDArray[np.int64]


class Status(IntEnum):
    """How an amodal mask came about; the numbers are those of AmodalInstance.msg."""

    OK = 0
    SHORT_WINDOW = 1
    INVISIBLE = 2
    NOT_INFERRED = 3


@dataclass(frozen=True, eq=False)
class Frame:
    """A camera image as it came. pixels: uint8 [H, W, C], a view of the message wherever possible;
    encoding: one of rgb8, bgr8, rgba8, bgra8, mono8; header: the message's own, handed on unchanged."""

    stamp_ns: int
    header: Any
    pixels: ByteArray
    encoding: str
    received_s: float

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        return self.pixels.shape[1]


@dataclass(frozen=True, eq=False)
class VisibleInstance:
    """One upstream instance. upstream_id: "" where the segmenter sends none; score: 0..1."""

    upstream_id: str
    class_id: str
    score: float
    visible: PlacedMask


@dataclass(frozen=True, eq=False)
class Instances:
    """All upstream instances of one image. labels: [H, W], k + 1 where instances[k] is visible, 0 elsewhere
    (where upstream masks overlap, the later instance)."""

    stamp_ns: int
    instances: tuple[VisibleInstance, ...]
    labels: NDArray[np.integer]

    @property
    def height(self) -> int:
        return self.labels.shape[0]

    @property
    def width(self) -> int:
        return self.labels.shape[1]


@dataclass(frozen=True, eq=False)
class PairedFrame:
    """An image and the instances with its stamp; both have the same size, or InputError is raised."""

    frame: Frame
    instances: Instances

    def __post_init__(self) -> None:
        image, masks = (self.frame.height, self.frame.width), (self.instances.height, self.instances.width)
        if image != masks:
            raise InputError(
                f"image is {image[0]}x{image[1]} (rows x columns), masks are {masks[0]}x{masks[1]}; "
                "send masks at the image's size"
            )


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """A paired frame with one track id per instance, never empty, unique within the frame."""

    paired: PairedFrame
    track_ids: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Observation:
    """One object in one frame. rgb: uint8 [h, w, 3]; masks: uint8 [M, h, w], coverage 0..255.

    Crop rule `square`: resampled, h = w = S. Rule `stretched`: the pixels of `box` as they are, since the scale depends
    on the whole window. Either way a copy: no observation holds a camera image in memory.
    anchor: takes pixels of the track's first frame to this one's (crop rule `followed`). unseen_ns: how long no pixel
    of the object has been visible, 0 if one is now.
    """

    stamp_ns: int
    box: Box
    rgb: ByteArray
    masks: ByteArray
    anchor: Similarity = STILL
    unseen_ns: int = 0


@dataclass(frozen=True, eq=False)
class HiddenTrack:
    """An object that is remembered although upstream sends nothing for it in this frame. class_id, score: as upstream
    sent them last. serial: the track's number. window: as in `ObservedFrame`, the last observation of this very frame,
    without a visible pixel. unseen_ns: how long no pixel of it has been visible, above 0."""

    track_id: str
    class_id: str
    score: float
    serial: int
    window: tuple[Observation, ...]
    unseen_ns: int

    @property
    def seen_ns(self) -> int:
        """Stamp of the last frame in which a pixel of it was visible."""
        return self.window[-1].stamp_ns - self.unseen_ns


@dataclass(frozen=True, eq=False)
class ObservedFrame:
    """A tracked frame with every track's window as it is now, oldest observation first, the last one of
    this very frame; `None` for instances beyond the node's limit of objects.

    For models of crop rule `followed` also: serials: the track's number, instance by instance; None where the window
    is. hidden: objects remembered, the one seen last first; with mode `stream` only. epoch: grows whenever all memory
    was dropped before this frame. alive: serials of all tracks that are followed, inferred in this frame or not.
    """

    tracked: TrackedFrame
    windows: tuple[tuple[Observation, ...] | None, ...]
    serials: tuple[int | None, ...] = ()
    hidden: tuple[HiddenTrack, ...] = ()
    epoch: int = 0
    alive: frozenset[int] = frozenset()


@dataclass(frozen=True, eq=False)
class Batch:
    """Network inputs of the frame's inferred objects. image: [N, 3, S, S]; masks: [N, M, S, S]; for models of mode
    `window` [N, T, 3, S, S] and [N, T, M, S, S], the newest frame last. Row by row:

    frames: observations in it, repeated ones counted once; () means one each.
    serials: the track's number, never used again for another; boxes, anchors: of its newest observation; for models of
    mode `stream`.
    windows: all its observations, oldest first; for models whose frames are cached (`Manifest.frame_graph`), which get
    the newest frame alone as image and masks.
    """

    image: FloatArray
    masks: FloatArray
    serials: tuple[int, ...] = ()
    boxes: tuple[Box, ...] = ()
    anchors: tuple[Similarity, ...] = ()
    frames: tuple[int, ...] = ()
    windows: tuple[tuple[Observation, ...], ...] = ()

    def part(self, rows: slice) -> Batch:
        """These rows alone."""
        return Batch(*(getattr(self, one.name)[rows] for one in fields(self)))


@dataclass(frozen=True, eq=False)
class MaskProbabilities:
    """Engine output: probability that a crop pixel belongs to the whole object, [N, S, S]. frames: observations that
    went into each row, this frame's included, int64 [N]; `run_engine` counts the batch's where an engine says nothing
    (empty)."""

    amodal: FloatArray
    frames: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True, eq=False)
class AmodalInstance:
    """One object, whole. `amodal` contains `visible`. amodal_score: expected IoU under the model's own
    probabilities, 0..1. occlusion_ratio: hidden share of the amodal mask, 0..1. occluded_by: track ids of the
    objects seen where this one is hidden, largest overlap first (`occlusion_order.py`)."""

    track_id: str
    class_id: str
    score: float
    visible: PlacedMask
    amodal: PlacedMask
    amodal_score: float
    occlusion_ratio: float
    occluded_by: tuple[str, ...]
    frames_used: int
    status: Status


@dataclass(frozen=True, eq=False)
class AmodalFrame:
    """The result for one image; height and width are the image's. front_to_back: all track ids, nearest first, as far
    as the masks show it; cycles: groups of them that hide each other in a ring, so that no order is right."""

    stamp_ns: int
    header: Any
    height: int
    width: int
    model_id: str
    instances: tuple[AmodalInstance, ...]
    front_to_back: tuple[str, ...] = ()
    cycles: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, eq=False)
class SourceObject:
    """Ground truth of one object: its class and, where known, its whole mask."""

    class_id: str
    amodal: PlacedMask | None


@dataclass(frozen=True, eq=False)
class SourceFrame:
    """One frame of a recorded or generated sequence. rgb: uint8 [H, W, 3]; labels: int32 [H, W], object id
    where visible, 0 elsewhere; objects: by id, hidden ones included."""

    stamp_ns: int
    rgb: ByteArray
    labels: NDArray[np.int32]
    objects: Mapping[int, SourceObject]
