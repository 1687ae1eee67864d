"""Step 2: pair images and masks that carry exactly the same stamp.

Bounded, in order, and back in business after a bag loops: see `StampPairing`. Pairing by nearest stamp, for
segmenters that stamp anew, is in `approximate_pairing.py` (node side, it needs message_filters).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from c2f_ros.records import Frame, Instances, PairedFrame


@dataclass
class PairingCounts:
    """What happened to the messages. `late`: pairs older than one already handed on; `resets`: time jumps."""

    paired: int = 0
    unpaired_images: int = 0
    unpaired_masks: int = 0
    late: int = 0
    resets: int = 0


class StampPairing:
    """Holds what waits for its partner: at most `buffer` images and `buffer` mask messages.

    A message is dropped, and counted, when the buffer is full or when a later pair has been handed on. A stamp that
    lies more than `jump_s` before the newest of its topic means that time was set back (a bag loops): everything
    newer is forgotten, on both sides, so that leftovers can never pair with the new round.
    `header` is not looked at here; pairing by nearest stamp needs it.
    """

    def __init__(self, buffer: int, jump_s: float) -> None:
        self.buffer, self.jump_ns = buffer, round(jump_s * 1e9)
        self.counts = PairingCounts()
        self._frames: dict[int, Frame] = {}
        self._masks: dict[int, Instances] = {}
        self._newest: dict[str, int] = {}
        self._last_pair: int | None = None

    def add_frame(self, frame: Frame, header: object = None) -> PairedFrame | None:
        """The pair that `frame` completes, if any. Raises InputError if their sizes differ (both are dropped)."""
        self._notice_jump("frame", frame.stamp_ns)
        self._keep(self._frames, frame.stamp_ns, frame)
        return self._pair(frame.stamp_ns)

    def add_instances(self, instances: Instances, header: object = None) -> PairedFrame | None:
        """The pair that `instances` completes, if any. Raises InputError if their sizes differ (both are dropped)."""
        self._notice_jump("masks", instances.stamp_ns)
        self._keep(self._masks, instances.stamp_ns, instances)
        return self._pair(instances.stamp_ns)

    def reset(self) -> None:
        """Forget everything that waits; counts stay."""
        self._drop(lambda stamp: True)
        self._newest.clear()
        self._last_pair = None

    @property
    def waiting(self) -> int:
        """Messages held, at most twice the buffer."""
        return len(self._frames) + len(self._masks)

    def _notice_jump(self, topic: str, stamp: int) -> None:
        newest = self._newest.get(topic)
        if newest is not None and stamp < newest - self.jump_ns:
            self._drop(lambda held: held > stamp + self.jump_ns)
            self._newest[topic] = stamp
            if self._last_pair is not None and self._last_pair > stamp:
                self._last_pair = None
                self.counts.resets += 1
        else:
            self._newest[topic] = stamp if newest is None else max(newest, stamp)

    def _keep(self, held: dict[int, Frame] | dict[int, Instances], stamp: int, item: Frame | Instances) -> None:
        held.pop(stamp, None)
        held[stamp] = item  # type: ignore[assignment]
        if len(held) > self.buffer:
            oldest = min(held)
            del held[oldest]
            self._count_unpaired(held)

    def _pair(self, stamp: int) -> PairedFrame | None:
        if stamp not in self._frames or stamp not in self._masks:
            return None
        frame, masks = self._frames.pop(stamp), self._masks.pop(stamp)
        if self._last_pair is not None and stamp <= self._last_pair:
            self.counts.late += 1
            return None
        self._last_pair = stamp
        self._drop(lambda held: held < stamp and stamp - held > self.jump_ns)
        pair = PairedFrame(frame, masks)
        self.counts.paired += 1
        return pair

    def _drop(self, is_stale: Callable[[int], bool]) -> None:
        for held in (self._frames, self._masks):
            for stamp in [s for s in held if is_stale(s)]:
                del held[stamp]
                self._count_unpaired(held)

    def _count_unpaired(self, held: object) -> None:
        if held is self._frames:
            self.counts.unpaired_images += 1
        else:
            self.counts.unpaired_masks += 1
