"""A GPU that is not there: every call is recorded, and done by numpy.

What is put on a stream happens when the stream is waited for, not before; so a result that is read too early, or an
upload whose source is changed too early, shows. Fresh memory holds NaN.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from c2f_ros.contract import EngineError
from c2f_ros.engines.cuda_device import OutOfDeviceMemory


class FakeDevice:
    """Fulfils `cuda_device.Device`. calls: names of all calls, in order. memory: bytes there are.

    out_of_memory: names of calls that fail for want of memory, each as often as it is listed; failing: that fail
    otherwise.
    """

    def __init__(self, memory: int = 1 << 30, name: str = "Fake GPU") -> None:
        self.name, self.memory = name, memory
        self.calls: list[str] = []
        self.out_of_memory: list[str] = []
        self.failing: list[str] = []
        self.weights = 0
        self.blocks: dict[int, np.ndarray] = {}
        self.host: dict[int, np.ndarray] = {}
        self.streams: dict[int, list[Callable[[], None]]] = {}
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.low_priority: list[bool] = []
        self._capturing: list[Callable[[], None]] | None = None
        self._next = 1 << 20

    def counted(self) -> Counter[str]:
        """How often each call was made; forgets them."""
        found = Counter(self.calls)
        self.calls.clear()
        return found

    def is_empty(self) -> bool:
        """Whether everything taken was given back."""
        return not (self.blocks or self.host or self.streams or self.graphs or self.weights)

    @property
    def is_capturing(self) -> bool:
        return self._capturing is not None

    def memory_info(self) -> tuple[int, int]:
        self._made("memory_info")
        return self.unused(), self.memory

    def allocate(self, size: int) -> int:
        self._made("allocate")
        if size > self.unused():
            raise OutOfDeviceMemory(f"no room for {size} bytes")
        address = self._new(size)
        self.blocks[address] = np.full(size, 0xFF, np.uint8)
        return address

    def free(self, address: int) -> None:
        self._made("free")
        del self.blocks[address]

    def pinned(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        self._made("pinned")
        array = np.full(int(np.prod(shape)) * np.dtype(dtype).itemsize, 0xFF, np.uint8).view(dtype).reshape(shape)
        self.host[array.ctypes.data] = array
        return array

    def unpin(self, array: np.ndarray) -> None:
        self._made("unpin")
        del self.host[array.ctypes.data]

    def create_stream(self, low_priority: bool) -> int:
        self._made("create_stream")
        self.low_priority.append(low_priority)
        stream = self._new(1)
        self.streams[stream] = []
        return stream

    def destroy_stream(self, stream: int) -> None:
        self._made("destroy_stream")
        del self.streams[stream]

    def copy_to_device(self, target: int, source: np.ndarray, stream: int) -> None:
        self._made("copy_to_device")
        data = self._pinned_bytes(source)
        self.put(stream, lambda: np.copyto(self.bytes_at(target, data.size), data))

    def copy_to_host(self, target: np.ndarray, source: int, stream: int) -> None:
        self._made("copy_to_host")
        data = self._pinned_bytes(target)
        self.put(stream, lambda: np.copyto(data, self.bytes_at(source, data.size)))

    def copy_on_device(self, target: int, source: int, size: int, stream: int) -> None:
        self._made("copy_on_device")
        self.put(stream, lambda: np.copyto(self.bytes_at(target, size), self.bytes_at(source, size)))

    def clear(self, address: int, size: int, stream: int) -> None:
        self._made("clear")
        self.put(stream, lambda: self.bytes_at(address, size).fill(0))

    def synchronize(self, stream: int) -> None:
        self._made("synchronize")
        assert self._capturing is None, "a stream that is captured must not be waited for"
        work, self.streams[stream] = self.streams[stream], []
        for done in work:
            done()

    def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
        self._made("capture")
        self._capturing = []
        try:
            enqueue()
            captured = self._capturing
        finally:
            self._capturing = None
        graph = self._new(1)
        self.graphs[graph] = captured
        return graph

    def launch(self, graph: int, stream: int) -> None:
        self._made("launch")
        self.streams[stream].extend(self.graphs[graph])

    def drop_graph(self, graph: int) -> None:
        self._made("drop_graph")
        del self.graphs[graph]

    def put(self, stream: int, work: Callable[[], None]) -> None:
        """Work for this stream, or for the graph that is captured from it."""
        assert stream in self.streams, "the stream was given back"
        (self.streams[stream] if self._capturing is None else self._capturing).append(work)

    def bytes_at(self, address: int, size: int) -> np.ndarray:
        """A view; must lie in one piece of memory that was taken."""
        known = sorted(self.blocks)
        base = known[bisect.bisect_right(known, address) - 1]
        block = self.blocks[base]
        assert 0 <= address - base and address - base + size <= block.size, "illegal address"
        return block[address - base : address - base + size]

    def _pinned_bytes(self, array: np.ndarray) -> np.ndarray:
        assert array.flags.c_contiguous
        inside = (
            base <= array.ctypes.data and array.ctypes.data + array.nbytes <= base + room.nbytes
            for base, room in self.host.items()
        )
        assert any(inside), "the host's array is not pinned: a copy of it would not be asynchronous"
        return array.reshape(-1).view(np.uint8)

    def _made(self, call: str) -> None:
        self.calls.append(call)
        self.fail_if_told(call)

    def fail_if_told(self, call: str) -> None:
        """Raises what a test wants of this call."""
        if call in self.out_of_memory:
            self.out_of_memory.remove(call)
            raise OutOfDeviceMemory(f"{call}: cudaErrorMemoryAllocation")
        if call in self.failing:
            self.failing.remove(call)
            raise EngineError(f"{call} failed with cudaErrorUnknown")

    def unused(self) -> int:
        """Bytes."""
        return self.memory - self.weights - sum(block.size for block in self.blocks.values())

    def _new(self, size: int) -> int:
        address, self._next = self._next, self._next + (size // 256 + 2) * 256
        return address
