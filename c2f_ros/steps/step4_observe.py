"""Step 4: observe. Every object's crop is cut once, from the frame it was seen in, and joins its track's window.

`WindowStore` is the only mutable object on the way of the data; what it hands on are frozen snapshots.
"""

from __future__ import annotations

from collections import deque

from c2f_ros.contract import InputError, Manifest
from c2f_ros.crops import observe_object
from c2f_ros.records import Observation, ObservedFrame, TrackedFrame


class WindowStore:
    """Windows of at most `manifest.temporal.window` observations per track.

    A track not seen for `max_gap_s` is forgotten, and at most `max_objects` objects per frame are observed (those with
    the most visible pixels), so memory is bounded whatever upstream sends.
    """

    def __init__(self, manifest: Manifest, max_objects: int, max_gap_s: float) -> None:
        self.manifest, self.max_objects, self.max_gap_ns = manifest, max_objects, round(max_gap_s * 1e9)
        self._windows: dict[str, deque[Observation]] = {}
        self._last_stamp: int | None = None

    def __len__(self) -> int:
        return len(self._windows)

    def reset(self) -> None:
        """Forget every track."""
        self._windows.clear()
        self._last_stamp = None

    def observe(self, tracked: TrackedFrame) -> ObservedFrame:
        """Cut this frame's objects and add them to their windows.

        Raises InputError if the frame is not newer than the last one: a stale update would corrupt the windows.
        """
        stamp = tracked.paired.frame.stamp_ns
        if self._last_stamp is not None and stamp <= self._last_stamp:
            raise InputError(
                f"frame of {stamp} ns comes after one of {self._last_stamp} ns; send frames in order or reset"
            )
        self._last_stamp = stamp
        self._forget_lost(stamp)
        chosen = self._chosen(tracked)
        windows = [self._observe_one(tracked, row) if row in chosen else None for row in range(len(tracked.track_ids))]
        return ObservedFrame(tracked, tuple(windows))

    def _forget_lost(self, stamp: int) -> None:
        for name in [n for n, w in self._windows.items() if stamp - w[-1].stamp_ns > self.max_gap_ns]:
            del self._windows[name]

    def _chosen(self, tracked: TrackedFrame) -> set[int]:
        instances = tracked.paired.instances.instances
        rows = range(len(instances))
        if len(instances) <= self.max_objects:
            return set(rows)
        return set(sorted(rows, key=lambda row: -instances[row].visible.area)[: self.max_objects])

    def _observe_one(self, tracked: TrackedFrame, row: int) -> tuple[Observation, ...]:
        frame, instances = tracked.paired.frame, tracked.paired.instances
        made = observe_object(
            frame.pixels, frame.encoding, instances.labels, instances.instances[row].visible,
            self.manifest.crop, self.manifest.input.mask_channels, frame.stamp_ns,
        )  # fmt: skip
        name = tracked.track_ids[row]
        window = self._windows.get(name)
        if window is None:
            window = self._windows[name] = deque(maxlen=self.manifest.temporal.window)
        window.append(made)
        return tuple(window)
