"""Frames of window models on a device: what the first graph made of them goes to the second without leaving it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from c2f_ros.contract import EngineError, TensorSpec
from c2f_ros.engines.device_graph import DeviceGraph, row_bytes
from c2f_ros.engines.device_memory import DeviceRoom, runs
from c2f_ros.engines.frame_cache import TwoGraphs
from c2f_ros.geometry import FloatArray


class Slot:
    """A frame's place in the pool, which it goes back to when nobody holds it any more, in whatever thread that is."""

    def __init__(self, number: int, unused: deque[int]) -> None:
        self.number, self._unused = number, unused

    def __del__(self) -> None:
        self._unused.append(self.number)


class DeviceFrames:
    """A pool of frames in memory that is taken once. Nothing of them comes to the host, so nothing is checked there."""

    is_seen = False

    def __init__(
        self, graphs: TwoGraphs, frame_graph: DeviceGraph, graph: DeviceGraph, capacity: int, room: DeviceRoom
    ) -> None:
        """frame_graph, graph: those of `graphs`. capacity: frames in the pool."""
        self._graphs, self._frame_graph, self._graph, self._room = graphs, frame_graph, graph, room
        self._address = {t.name: room.allocate("frames", capacity * row_bytes(t)) for t in graphs.of_all}
        self._unused = deque(range(capacity))

    @property
    def free(self) -> int:
        return len(self._unused)

    def make(self, image: FloatArray, masks: FloatArray, newest: int) -> list[Slot]:
        if self.free < len(image):
            raise EngineError(f"{len(image)} frames are new, there is room for {self.free}; allow more GPU memory")
        slots = [Slot(self._unused.popleft(), self._unused) for _ in image]
        step = self._frame_graph.rows
        for first in range(0, len(image), step):
            rows = slice(first, first + step)
            self._run(image[rows], masks[rows], slots[rows], first, newest)
        return slots

    def finish(self, windows: Sequence[Sequence[Slot]]) -> FloatArray:
        numbers = [slot.number for window in windows for slot in window]
        for tensor in self._graphs.of_all:
            size, target = row_bytes(tensor), self._graph.address(tensor.name)
            for run in runs(numbers):
                assert run.slot is not None
                self._copy(target + run.row * size, self._address[tensor.name] + run.slot * size, run.length * size)
        return self._graph.run(len(windows), {}, ["amodal"])["amodal"]

    def _run(
        self, image: NDArray[np.float32], masks: NDArray[np.float32], slots: list[Slot], first: int, newest: int
    ) -> None:
        """Some frames, from the `first` of all on: each to its slot, the newest ones to the second graph too."""
        self._frame_graph.run(len(image), {"image": image, "masks": masks}, [])
        for tensor in self._graphs.of_all:
            source, size = self._frame_graph.address(tensor.name), row_bytes(tensor)
            for run in runs([slot.number for slot in slots]):
                assert run.slot is not None
                self._copy(self._address[tensor.name] + run.slot * size, source + run.row * size, run.length * size)
        count = min(newest - first, len(slots))
        for tensor in self._graphs.of_newest if count > 0 else ():
            size = row_bytes(tensor)
            target = self._graph.address(tensor.name) + first * size
            self._copy(target, self._frame_graph.address(tensor.name), count * size)

    def _copy(self, target: int, source: int, size: int) -> None:
        self._room.device.copy_on_device(target, source, size, self._room.stream)


def frame_bytes(tensors: Sequence[TensorSpec]) -> int:
    """Bytes that one frame takes in the pool."""
    return sum(row_bytes(tensor) for tensor in tensors)
