"""When a hidden object is over: decided after inference, in the worker's thread, from what the model says of it.

`Findings` is what the worker hands back to the thread that observes: records that never change, so no lock is needed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from c2f_ros.geometry import PlacedMask
from c2f_ros.motion import Similarity
from c2f_ros.records import HiddenTrack, ObservedFrame

Labels = NDArray[np.integer]
LEFT, EMPTY, UNKNOWN = "left", "empty", "unknown"
"""Why a hidden object is over: nothing of it is believed to be inside the image; nothing is where it should be; the
model remembers nothing of it."""
EMPTY_SHARE = 0.5
"""The place where an object should be is seen to be empty if more than this share of its predicted mask lies where no
instance is. Masks of occluders are ragged and predictions spill over their edges by some pixels, which for a small
object is a quarter of its area; an object of which half would be in plain view is one that upstream would send."""
FRAMES_IN_A_ROW = 2
"""So many inferred frames in a row must say so: a detector misses an occluder in a single frame now and then."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The whole mask of a track, before the rule `hidden_under`, in the frame with this anchor."""

    mask: PlacedMask
    anchor: Similarity


@dataclass(frozen=True)
class End:
    """A hidden track is over for this reason. seen_ns: when it was seen last; if it was seen again since, this is
    void."""

    serial: int
    seen_ns: int
    reason: str


@dataclass(frozen=True, eq=False)
class Findings:
    """What inference of one frame tells those who observe. predictions: by serial. state_bytes: of the model's memory,
    in use and in all."""

    epoch: int
    predictions: dict[int, Prediction]
    ends: tuple[End, ...]
    state_bytes: tuple[int, int] = (0, 0)


class Endings:
    """The hidden tracks that are over, and those about to be. Used by the worker's thread alone.

    is_rule_on: hidden parts lie only under other instances. Only then is a place without an instance an empty one;
    else an occluder that nobody segments may stand there, and the test is not made.
    """

    def __init__(self, is_rule_on: bool) -> None:
        self.is_rule_on = is_rule_on
        self.reset()

    def reset(self) -> None:
        """Forget all."""
        self._ended: dict[int, End] = {}
        self._doubts: dict[tuple[int, str], tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._ended) + len(self._doubts)

    @property
    def ends(self) -> tuple[End, ...]:
        """All tracks that are over and that those who observe still follow."""
        return tuple(self._ended.values())

    def without_ended(self, observed: ObservedFrame) -> ObservedFrame:
        """The frame without the hidden tracks that are over; what is not alive any more is forgotten."""
        alive = observed.alive
        self._ended = {serial: end for serial, end in self._ended.items() if serial in alive}
        self._doubts = {key: doubt for key, doubt in self._doubts.items() if key[0] in alive}
        left = tuple(track for track in observed.hidden if not self._is_over(track))
        return observed if len(left) == len(observed.hidden) else replace(observed, hidden=left)

    def judge(
        self, tracks: Sequence[HiddenTrack], predicted: Sequence[PlacedMask], frames: Collection[int], labels: Labels
    ) -> list[bool]:
        """Whether each hidden track is over now. predicted: whole masks, before any rule; frames: observations that
        went into each; labels: [H, W] of the frame, 0 where no instance is."""
        return [
            self._judge_one(track, mask, count, labels)
            for track, mask, count in zip(tracks, predicted, frames, strict=True)
        ]

    def _judge_one(self, track: HiddenTrack, mask: PlacedMask, frames: int, labels: Labels) -> bool:
        is_gone = mask.is_empty
        is_bare = self.is_rule_on and not is_gone and bare_share(mask, labels) > EMPTY_SHARE
        if frames <= 1:
            self._ended[track.serial] = End(track.serial, track.seen_ns, UNKNOWN)
        for reason, is_true in ((LEFT, is_gone), (EMPTY, is_bare)):
            if self._in_a_row(track, reason, is_true) >= FRAMES_IN_A_ROW:
                self._ended[track.serial] = End(track.serial, track.seen_ns, reason)
        return self._is_over(track)

    def _in_a_row(self, track: HiddenTrack, reason: str, is_true: bool) -> int:
        """Inferred frames in a row, this one included, in which that was true since the track was seen last."""
        key = (track.serial, reason)
        seen_ns, count = self._doubts.pop(key, (track.seen_ns, 0))
        if not is_true:
            return 0
        count = count + 1 if seen_ns == track.seen_ns else 1
        self._doubts[key] = track.seen_ns, count
        return count

    def _is_over(self, track: HiddenTrack) -> bool:
        end = self._ended.get(track.serial)
        return end is not None and end.seen_ns == track.seen_ns


def bare_share(mask: PlacedMask, labels: Labels) -> float:
    """Share of the mask that lies where no instance is visible, 0..1. labels: [H, W]; the mask lies inside."""
    area = mask.area
    bare = np.count_nonzero(mask.mask & (labels[mask.box.slices] == 0))
    return int(bare) / area if area else 0.0
