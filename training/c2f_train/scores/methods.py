"""Predictors at work on one clip: which objects they complete in a frame, and what they say of each.

A predictor without memory is asked about the objects that are sent. One with memory follows every object as the runtime
does (`c2f_ros.follower`, `c2f_ros.object_memory`) and also completes those that are not sent, for some time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from c2f_ros.contract import MASK_CHANNELS, CropSpec, InputSpec, Manifest, TemporalSpec
from c2f_ros.crops import network_inputs, observe_object, paste_window, window_inputs
from c2f_ros.follower import Follower
from c2f_ros.geometry import EMPTY_MASK, Box, FloatArray, PlacedMask, tighten, union
from c2f_ros.metrics import expected_iou
from c2f_ros.motion import Similarity
from c2f_ros.object_memory import ObjectMemory
from c2f_ros.records import Batch, Observation, SourceFrame

SINGLE = TemporalSpec("image", 1)
KEEP_S = 2.0
"""Objects are completed for so long after they were seen last, as in `config/c2f.yaml`."""
SLOTS = 256
"""Objects that a memory holds at most; more than any frame of the data sets has."""
FOLLOWED = CropSpec("followed", 64, 1.0, 0.0)
"""Of the follower that only measures motion: nothing is cut."""

Predictor = Callable[[FloatArray, FloatArray], FloatArray]
"""image [N, 3, S, S] normalized, masks [N, M, S, S] (video: [N, T, ...]) -> amodal probabilities [N, S, S]."""
States = Mapping[str, NDArray[Any]]
StreamPredictor = Callable[[FloatArray, FloatArray, States], States]
"""image [N, 3, S, S], masks [N, M, S, S] and the inputs that `contract.state_inputs` lists -> `amodal` [N, S, S] and
NAME_next of every state."""


def trained_input() -> InputSpec:
    """The value range that networks are trained with."""
    from c2f_train.data.batches import MEAN, STD  # imports torch, which scoring results does without

    return InputSpec("rgb", MEAN, STD, MASK_CHANNELS)


@dataclass(frozen=True)
class View:
    """How a predictor sees objects and where it puts the threshold, as its manifest says."""

    crop: CropSpec
    input: InputSpec = field(default_factory=trained_input)
    temporal: TemporalSpec = SINGLE
    threshold: float = 0.5

    @staticmethod
    def of(manifest: Manifest) -> View:
        """The view of a bundle's model."""
        return View(manifest.crop, manifest.input, manifest.temporal, manifest.mask_threshold)

    @property
    def is_followed(self) -> bool:
        """Whether its crops follow their objects, seen or not."""
        return self.crop.rule == "followed"


@dataclass(frozen=True)
class Found:
    """A predicted whole mask, before the visible one is joined to it; score: the IoU it expects of itself, 0..1."""

    mask: PlacedMask
    score: float


class WindowMethod:
    """A predictor in one clip that sees an object's last observations; of objects that are not sent it says nothing."""

    def __init__(self, predict: Predictor, view: View) -> None:
        self.predict, self.view = predict, view
        self._windows: dict[str, deque[Observation]] = {}

    def answer(self, frame: SourceFrame, sent: Mapping[str, PlacedMask], is_asked: bool) -> dict[str, Found]:
        """By track, the answers about the objects `sent`; none if it is not asked and only watches."""
        view = self.view
        if not sent or not (is_asked or view.temporal.frames > 1):
            return {}
        for track, visible in sent.items():
            window = self._windows.setdefault(track, deque(maxlen=view.temporal.frames))
            window.append(
                observe_object(
                    frame.rgb, "rgb8", frame.labels, visible, view.crop, view.input.mask_channels, frame.stamp_ns
                )
            )
        if not is_asked:
            return {}
        windows = {track: list(self._windows[track]) for track in sent}
        maps = self.predict(*window_inputs(list(windows.values()), view.crop, view.input, view.temporal))
        return {
            track: _found(probability, window, view, frame)
            for (track, window), probability in zip(windows.items(), maps, strict=True)
        }


class StreamMethod:
    """A predictor whose crops follow their objects, in one clip, with the memory that its view names, if any. It
    completes every object that was sent in the last `keep_s` seconds."""

    def __init__(self, predict: StreamPredictor | Predictor, view: View, keep_s: float = KEEP_S) -> None:
        self.predict, self.view = predict, view
        self._follower = Follower(view.crop, view.input.mask_channels, keep_s)
        self._memory = ObjectMemory(view.temporal, SLOTS) if view.temporal.state else None
        self._serials: dict[str, int] = {}
        self._born = 0

    def answer(self, frame: SourceFrame, sent: Mapping[str, PlacedMask], is_asked: bool) -> dict[str, Found]:
        """By track, the answers about the objects `sent` and those remembered. Asked or not, it infers: what is
        remembered depends on it."""
        tracks = self._follower.advance(frame.rgb, "rgb8", frame.labels, sent, frame.stamp_ns)
        self._number(tracks)
        if not tracks:
            return {}
        cuts = self._follower.cut(frame.rgb, "rgb8", tracks)
        maps = self._infer([cuts[track] for track in tracks], tuple(self._serials[track] for track in tracks))
        found = {
            track: _found(probability, [cuts[track]], self.view, frame)
            for track, probability in zip(tracks, maps, strict=True)
        }
        if self._memory is not None:
            for track, answer in found.items():
                whole = union(answer.mask, sent.get(track, EMPTY_MASK))
                self._follower.believe(track, whole.box, cuts[track].anchor)
        return found

    def _number(self, tracks: Sequence[str]) -> None:
        """A serial for every track that is followed; one that was forgotten has a new one if it comes again."""
        known = self._serials
        self._serials = {}
        for track in tracks:
            if track not in known:
                self._born += 1
            self._serials[track] = known.get(track, self._born)
        if self._memory is not None:
            self._memory.keep(self._serials.values())

    def _infer(self, cuts: Sequence[Observation], serials: tuple[int, ...]) -> FloatArray:
        inputs = network_inputs([cut.rgb for cut in cuts], [cut.masks for cut in cuts], self.view.input)
        if self._memory is None:
            return self.predict(*inputs)  # type: ignore[call-arg,return-value]
        batch = Batch(*inputs, serials, tuple(cut.box for cut in cuts), tuple(cut.anchor for cut in cuts))
        outputs = self.predict(*inputs, self._memory.inputs(batch))  # type: ignore[call-arg]
        self._memory.write(batch, outputs)  # type: ignore[arg-type]
        return outputs["amodal"]  # type: ignore[call-overload,no-any-return]


Method = WindowMethod | StreamMethod


def start(predict: Predictor | StreamPredictor, view: View, keep_s: float = KEEP_S) -> Method:
    """The predictor at the beginning of a clip."""
    if view.is_followed:
        return StreamMethod(predict, view, keep_s)
    return WindowMethod(predict, view)  # type: ignore[arg-type]


class Movements:
    """How the objects of one clip have moved since any frame in which they were sent, seen or not: `Follower`'s."""

    def __init__(self, keep_s: float = KEEP_S) -> None:
        self._follower = Follower(FOLLOWED, (), keep_s)

    def advance(self, frame: SourceFrame, sent: Mapping[str, PlacedMask]) -> dict[str, Similarity]:
        """By track, what takes pixels of its first frame to this one; the tracks not sent are followed for a time."""
        tracks = self._follower.advance(frame.rgb, "rgb8", frame.labels, sent, frame.stamp_ns)
        places = {track: self._follower.place(track) for track in tracks}
        return {track: place.anchor for track, place in places.items() if place is not None}


class LastMasks:
    """The simple rival of a memory: what was last answered while the object was sent, moved as the object moves."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[PlacedMask, Similarity]] = {}

    def remember(self, track: str, mask: PlacedMask, anchor: Similarity) -> None:
        """The answer of a frame in which the object was sent."""
        self._last[track] = mask, anchor

    def moved(self, track: str, anchor: Similarity | None, height: int, width: int) -> PlacedMask:
        """The last answer in an image of `height` x `width`; empty if there is none or the object is not followed."""
        if track not in self._last or anchor is None:
            return EMPTY_MASK
        mask, then = self._last[track]
        return moved_mask(mask, anchor.after(then.inverse()), height, width)


def moved_mask(mask: PlacedMask, motion: Similarity, height: int, width: int) -> PlacedMask:
    """The mask after a motion, nearest pixel, inside an image of `height` x `width`."""
    if mask.is_empty:
        return EMPTY_MASK
    box = mask.box
    (x0, y0), (x1, y1) = motion.at(box.x0, box.y0), motion.at(box.x1, box.y1)
    target = Box(int(np.floor(x0)), int(np.floor(y0)), int(np.ceil(x1)), int(np.ceil(y1))).clip(height, width)
    if target.is_empty:
        return EMPTY_MASK
    # Pixel centres: k + 0.5 of the source lies under the target's centre.
    matrix = np.array(
        [
            [motion.scale, 0, motion.scale * (box.x0 + 0.5) + motion.dx - target.x0 - 0.5],
            [0, motion.scale, motion.scale * (box.y0 + 0.5) + motion.dy - target.y0 - 0.5],
        ]
    )
    moved = cv2.warpAffine(mask.mask.view(np.uint8), matrix, (target.width, target.height), flags=cv2.INTER_NEAREST)
    return tighten(PlacedMask(target, moved.view(np.bool_)))


def _found(probability: FloatArray, window: Sequence[Observation], view: View, frame: SourceFrame) -> Found:
    mask = paste_window(probability, window, view.crop, view.temporal, *frame.labels.shape, view.threshold)
    return Found(mask, expected_iou(probability, view.threshold))
