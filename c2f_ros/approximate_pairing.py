"""Pairing by nearest stamp with message_filters, for segmenters that do not keep their image's stamp.

Guarded against the synchronizer's faults: its callback only collects, so an exception downstream cannot leave its lock
held; when time jumps back it is made anew, so leftovers of a finished bag cannot block it.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from c2f_ros.contract import ContractError
from c2f_ros.records import Frame, Instances, PairedFrame
from c2f_ros.steps.step2_pairing import PairingCounts


@dataclass(frozen=True, eq=False)
class Stamped:
    """A record with the ROS header the synchronizer looks at."""

    header: Any
    record: Any


class ApproximatePairing:
    """The same two calls as `StampPairing`, pairing stamps at most `slop_s` apart."""

    def __init__(self, buffer: int, slop_s: float, jump_s: float) -> None:
        if importlib.util.find_spec("message_filters") is None:
            raise ContractError(
                "sync.mode is approximate, but message_filters is not installed; install it "
                "(ros-jazzy-message-filters) or use exact"
            )
        self._filters = importlib.import_module("message_filters")
        self._buffer, self._slop_s, self._jump_ns = buffer, slop_s, round(jump_s * 1e9)
        self.counts = PairingCounts()
        self._received, self._matched = [0, 0], 0
        self.reset()

    def reset(self) -> None:
        """Forget everything that waits; counts stay."""
        self._sides = (self._filters.SimpleFilter(), self._filters.SimpleFilter())
        self._pairs: list[tuple[Frame, Instances]] = []
        self._synchronizer = self._filters.ApproximateTimeSynchronizer(list(self._sides), self._buffer, self._slop_s)
        self._synchronizer.registerCallback(lambda frame, masks: self._pairs.append((frame.record, masks.record)))
        self._newest: dict[int, int] = {}
        self._last_pair: int | None = None
        self._count_unpaired()

    def add_frame(self, frame: Frame, header: Any) -> PairedFrame | None:
        """The pair that `frame` completes, if any. Raises InputError if the sizes differ."""
        return self._add(0, frame.stamp_ns, Stamped(header, frame))

    def add_instances(self, instances: Instances, header: Any) -> PairedFrame | None:
        """The pair that `instances` completes, if any. Raises InputError if the sizes differ."""
        return self._add(1, instances.stamp_ns, Stamped(header, instances))

    def _add(self, side: int, stamp: int, item: Stamped) -> PairedFrame | None:
        if stamp < self._newest.get(side, stamp) - self._jump_ns:
            self.counts.resets += 1
            self.reset()
        self._newest[side] = max(stamp, self._newest.get(side, stamp))
        self._received[side] += 1
        self._sides[side].signalMessage(item)
        pair = self._take_pair()
        self._count_unpaired()
        return pair

    def _take_pair(self) -> PairedFrame | None:
        if not self._pairs:
            return None
        frame, masks = self._pairs.pop()
        self._matched += 1
        if self._last_pair is not None and frame.stamp_ns <= self._last_pair:
            self.counts.late += 1
            return None
        self._last_pair = frame.stamp_ns
        pair = PairedFrame(frame, masks)
        self.counts.paired += 1
        return pair

    def _count_unpaired(self) -> None:
        """Received, neither matched nor waiting: dropped by the synchronizer or by a reset."""
        images, masks = (
            received - self._matched - len(queue)
            for received, queue in zip(self._received, self._synchronizer.queues, strict=True)
        )
        self.counts.unpaired_images, self.counts.unpaired_masks = images, masks
