"""Scores of one method over time: objects hidden wholly or not sent, flicker, and the order from front to back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from c2f_ros.geometry import BoolArray, PlacedMask
from c2f_ros.metrics import ObjectSums, score_frame
from c2f_ros.occlusion_order import find_order
from c2f_ros.order_metrics import OrderAccuracy, TrueOrder, true_order
from c2f_ros.video_metrics import Flicker, InvisibleAccuracy


@dataclass(frozen=True, eq=False)
class TimedObject:
    """A true object in a frame. visible, truth: its true masks; given: the visible mask sent, empty if it is not sent;
    is_met: it is sent now or was before; row: of the object in the frame's `nearer`."""

    key: str
    visible: PlacedMask
    truth: PlacedMask
    given: PlacedMask
    is_met: bool
    row: int

    @property
    def has_order(self) -> bool:
        """Whether it has a place in the order of its frame: it is in the image, and upstream has sent it."""
        return self.is_met and not self.truth.is_empty


@dataclass(frozen=True, eq=False)
class TimedFrame:
    """A frame's objects that have a true mask (empty where they are not in the image), and who of them is nearer,
    [N, N] of all rows; None: unknown."""

    number: int
    objects: Sequence[TimedObject]
    nearer: BoolArray | None

    def true_order(self) -> TrueOrder | None:
        """The true order of the objects that have one, in turn; None if it is not known."""
        ordered = [item for item in self.objects if item.has_order]
        if self.nearer is None or not ordered:
            return None
        rows = [item.row for item in ordered]
        nearer = self.nearer[np.ix_(rows, rows)]
        return true_order([item.visible for item in ordered], [item.truth for item in ordered], nearer)


@dataclass
class OverTime:
    """Raw sums of one method; two of them can be added. unsent: object-frames that are visible but not sent, of objects
    that were sent before; no answer counts 0. never_sent: those of objects that were not; they count nowhere else."""

    invisible: InvisibleAccuracy = field(default_factory=InvisibleAccuracy)
    flicker: Flicker = field(default_factory=Flicker)
    order: OrderAccuracy = field(default_factory=OrderAccuracy)
    unsent: ObjectSums = field(default_factory=ObjectSums)
    never_sent: int = 0

    def add(self, frame: TimedFrame, order: TrueOrder | None, answers: Sequence[PlacedMask]) -> None:
        """Count one frame. order: its `true_order()`; answers: a whole mask per object, empty where
        there is none."""
        for item, mask in zip(frame.objects, answers, strict=True):
            self.invisible.add(item.key, mask, item.truth, item.visible)
            if not item.given.is_empty:
                self.flicker.add(item.key, frame.number, mask, item.truth, item.visible)
            elif not item.visible.is_empty:
                self._add_unsent(item, mask)
        if order is not None:
            shown = [item.given for item in frame.objects if item.has_order]
            whole = [mask for item, mask in zip(frame.objects, answers, strict=True) if item.has_order]
            self.order.add(order, find_order(shown, whole))

    def _add_unsent(self, item: TimedObject, mask: PlacedMask) -> None:
        score = score_frame(mask, item.truth, item.visible)
        if not item.is_met:
            self.never_sent += 1
        elif score is not None:
            self.unsent.add(score)

    def end_clip(self) -> None:
        """Forget the clip's objects."""
        self.invisible.end_clip()
        self.flicker.end_clip()

    def __add__(self, other: OverTime) -> OverTime:
        return OverTime(
            self.invisible + other.invisible, self.flicker + other.flicker, self.order + other.order,
            self.unsent + other.unsent, self.never_sent + other.never_sent,
        )  # fmt: skip

    def summary(self) -> dict[str, float | int | None]:
        """The summaries of its parts, and of visible objects not sent `miou_full_unsent`, `miou_occ_unsent` (percent,
        over object-frames, None without any) and the counts `unsent_frames`, `never_sent_frames`."""
        frames = self.unsent.frames
        return {
            **self.invisible.summary(),
            **self.flicker.summary(),
            **self.order.summary(),
            "miou_full_unsent": round(100 * self.unsent.full / frames, 2) if frames else None,
            "miou_occ_unsent": round(100 * self.unsent.occluded / frames, 2) if frames else None,
            "unsent_frames": frames,
            "never_sent_frames": self.never_sent,
        }

    def to_json(self) -> dict[str, Any]:
        """The raw sums, for a JSON file."""
        return {
            "invisible": self.invisible.to_json(),
            "flicker": self.flicker.to_json(),
            "order": self.order.to_json(),
            "unsent": list(dataclasses.astuple(self.unsent)),
            "never_sent": self.never_sent,
        }

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> OverTime:
        """What `to_json` wrote."""
        return OverTime(
            InvisibleAccuracy.from_json(content["invisible"]), Flicker.from_json(content["flicker"]),
            OrderAccuracy.from_json(content["order"]), ObjectSums(*content["unsent"]), content["never_sent"],
        )  # fmt: skip
