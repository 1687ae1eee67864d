"""Follows every object of one stream of frames and cuts its crop, whether it is seen or hidden.

The one state of crop rule `followed`; step 4 and the evaluation of training both use it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from c2f_ros.contract import CropSpec
from c2f_ros.crops import cut_object
from c2f_ros.extents import Extent, extent_of, moved_extent
from c2f_ros.following import Place, first_place, followed_crop, next_place
from c2f_ros.geometry import EMPTY_MASK, Box, ByteArray, PlacedMask
from c2f_ros.motion import Expected, Similarity, find_motions, small_gray
from c2f_ros.parallax import Parallax, find_parallax
from c2f_ros.records import Observation

MOSTLY = 0.75
"""An object of which more than this is seen is found by its box; of others two places are compared."""
STEADY = 0.4
"""Objects of which more than this is seen tell what the camera did."""
BACKGROUND_SHARE = 0.5
"""Of the newest measurement in the background's velocity."""


@dataclass(frozen=True)
class Turning:
    """What the camera's turning does to the image, pixels per second (x, y), up to a constant: the sum of what
    everything moved by unexpectedly. background: velocity against that, None if it rests on nothing.

    Objects' velocities are kept against it. So an unseen object moves along when a robot looks aside, and what a
    camera that goes round things does to each of them, differently, stays in their own velocities.
    """

    velocity: tuple[float, float] = (0.0, 0.0)
    background: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Flow:
    """What moved since the frame before: gray: of `small_gray`; moved: by key, where enough of an object was found;
    scene: by `turning` alone, None where no two frames were compared. parallax: velocities of what stands still against
    that, None where too few objects show it."""

    stamp_ns: int
    gray: ByteArray
    moved: Mapping[str, Similarity]
    scene: Similarity | None
    turning: Turning
    parallax: Parallax | None


class Follower:
    """The places of all objects that were seen within the last `keep_s` seconds, and what the next frame's motion is
    measured against: one small gray image and the last visible masks. newest: what moved into the last frame."""

    def __init__(self, crop: CropSpec, mask_channels: Sequence[str], keep_s: float) -> None:
        self.crop, self.mask_channels, self.keep_ns = crop, tuple(mask_channels), round(keep_s * 1e9)
        self.reset()

    def __len__(self) -> int:
        return len(self._places)

    def reset(self) -> None:
        """Forget everything."""
        self._places: dict[str, Place] = {}
        self._seen: dict[str, PlacedMask] = {}
        self._wholes: dict[str, tuple[Extent, Similarity]] = {}
        self._gray: ByteArray | None = None
        self._labels: NDArray[np.integer] | None = None
        self._flow: Flow | None = None
        self._turning, self._stamp_ns = Turning(), 0
        self.newest: Flow | None = None

    def forget(self, key: str) -> None:
        """This object has ended; if it is seen again it begins anew."""
        self._places.pop(key, None)
        self._seen.pop(key, None)
        self._wholes.pop(key, None)

    def believe(self, key: str, whole: Box, anchor: Similarity) -> None:
        """A model takes `whole` for the box of this object in the frame with this anchor: its next crops contain it.
        An empty box says nothing."""
        if key in self._places and not whole.is_empty:
            self._wholes[key] = extent_of(whole), anchor

    def crop_box(self, key: str) -> Box:
        """The object's crop in the newest frame."""
        assert self._labels is not None
        place, shown = self._places[key], self._seen.get(key, EMPTY_MASK)
        whole = self._wholes.get(key)
        there = None if whole is None else moved_extent(whole[0], place.anchor.after(whole[1].inverse()))
        return followed_crop(place, None if shown.is_empty else shown.box, *self._labels.shape, self.crop, there)

    def place(self, key: str) -> Place | None:
        """Where the object is in the newest frame; None if it is not followed."""
        return self._places.get(key)

    def foresee(
        self,
        pixels: ByteArray,
        encoding: str,
        stamp_ns: int,
        keys: Collection[str],
        visible: Mapping[str, PlacedMask] | None = None,
    ) -> dict[str, Place]:
        """Where these objects will be in the frame that is given to `advance` next, if no pixel of them is visible.

        visible: the other objects' visible masks in that frame, as far as they are known already; None: not at all.
        """
        flow = self._look(pixels, encoding, stamp_ns, visible)
        return {key: self._unseen(key, stamp_ns, flow) for key in keys}

    def _unseen(self, key: str, stamp_ns: int, flow: Flow) -> Place:
        return next_place(self._places[key], stamp_ns, None, None, flow.scene, flow.parallax)

    def advance(
        self,
        pixels: ByteArray,
        encoding: str,
        labels: NDArray[np.integer],
        visible: Mapping[str, PlacedMask],
        stamp_ns: int,
    ) -> list[str]:
        """Move all places on to this frame and return the keys of the objects followed: those visible, then the hidden
        ones, the one seen last first.

        pixels: the whole image [H, W, C]; labels: [H, W], 0 = no instance; visible: masks with at least one pixel.
        stamp_ns: later than that of the frame before.
        """
        flow = self._look(pixels, encoding, stamp_ns, visible)
        for key in [k for k, p in self._places.items() if k not in visible and stamp_ns - p.seen_ns > self.keep_ns]:
            self.forget(key)
        for key, mask in visible.items():
            place = self._places.get(key)
            if place is None:
                self._places[key] = first_place(stamp_ns, mask)
            else:
                self._places[key] = next_place(
                    place, stamp_ns, mask, flow.moved.get(key), flow.scene, flow.parallax, labels
                )
        hidden = [key for key in self._places if key not in visible]
        for key in hidden:
            self._places[key] = self._unseen(key, stamp_ns, flow)
        self._gray, self._labels, self._seen, self._flow = flow.gray, labels, dict(visible), None
        self._turning, self._stamp_ns, self.newest = flow.turning, stamp_ns, flow
        return [*visible, *sorted(hidden, key=lambda key: -self._places[key].seen_ns)]

    def cut(self, pixels: ByteArray, encoding: str, keys: Collection[str]) -> dict[str, Observation]:
        """The observations of these objects in the frame that was given to `advance` last, `pixels` being its."""
        assert self._labels is not None
        return {key: self._cut(pixels, encoding, key) for key in keys}

    def _cut(self, pixels: ByteArray, encoding: str, key: str) -> Observation:
        place, labels = self._places[key], self._labels
        assert labels is not None
        shown = self._seen.get(key, EMPTY_MASK)
        box = self.crop_box(key)
        rgb, masks = cut_object(pixels, encoding, labels, shown, box, self.crop.size, self.mask_channels)
        return Observation(place.stamp_ns, box, rgb, masks, place.anchor, place.stamp_ns - place.seen_ns)

    def _look(self, pixels: ByteArray, encoding: str, stamp_ns: int, visible: Mapping[str, PlacedMask] | None) -> Flow:
        """How everything moved since the last frame; sought once for `foresee` and `advance` of one frame."""
        if self._flow is None or self._flow.stamp_ns != stamp_ns:
            self._flow = self._compared(small_gray(pixels, encoding), stamp_ns, visible)
        return self._flow

    def _compared(self, gray: ByteArray, stamp_ns: int, visible: Mapping[str, PlacedMask] | None) -> Flow:
        if self._gray is None or self._labels is None or self._gray.shape != gray.shape:
            return Flow(stamp_ns, gray, {}, None, self._turning, None)
        duration = max((stamp_ns - self._stamp_ns) * 1e-9, 1e-3)
        expected = [*(self._expected(key, duration) for key in self._seen), self._of_background(duration)]
        boxes = [] if visible is None else [visible[key].box if key in visible else None for key in self._seen]
        found = find_motions(self._gray, gray, list(self._seen.values()), self._labels, expected, boxes)
        turning = self._turned(found.surprise, found.background, duration)
        moved = {key: motion for key, motion in zip(self._seen, found.objects, strict=True) if motion is not None}
        scene = Similarity(1.0, *(v * duration for v in turning.velocity))
        movers = [place.standing for place in self._places.values()]
        parallax = find_parallax([mover for mover in movers if mover is not None])
        return Flow(stamp_ns, gray, moved, scene, turning, parallax)

    def _expected(self, key: str, duration: float) -> Expected | None:
        """How the object should have moved since the last frame; None if not known."""
        place = self._places[key]
        if not place.is_steady:
            return None
        share = place.shown_share(self._seen[key].area)
        return Expected(place.center, self._moves(place.velocity, duration), share > STEADY, share <= MOSTLY)

    def _of_background(self, duration: float) -> Expected | None:
        if self._turning.background is None:
            return None
        return Expected(self._middle, self._moves(self._turning.background, duration), True, False)

    def _moves(self, own: tuple[float, float], duration: float) -> tuple[float, float]:
        turn = self._turning.velocity
        return (own[0] + turn[0]) * duration, (own[1] + turn[1]) * duration

    @property
    def _middle(self) -> tuple[float, float]:
        assert self._labels is not None
        return self._labels.shape[1] / 2, self._labels.shape[0] / 2

    def _turned(self, surprise: tuple[float, float], background: Similarity | None, duration: float) -> Turning:
        x, y = (v + more / duration for v, more in zip(self._turning.velocity, surprise, strict=True))
        before = self._turning.background
        if background is None:
            return Turning((x, y), before)
        middle = self._middle
        there = background.at(*middle)
        own = (there[0] - middle[0]) / duration - x, (there[1] - middle[1]) / duration - y
        if before is not None:
            own = tuple(old + BACKGROUND_SHARE * (new - old) for old, new in zip(before, own, strict=True))
        return Turning((x, y), own)
