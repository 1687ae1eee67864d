"""Memory on a device: what one engine has taken, within a bound, and the states of objects that never leave it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from numpy.typing import DTypeLike, NDArray

from c2f_ros.contract import EngineError, TemporalSpec
from c2f_ros.engines.cuda_device import Device
from c2f_ros.engines.settings import MEGABYTE
from c2f_ros.object_memory import Kept


class DeviceRoom:
    """Everything that one engine has taken on a device, so that all of it is given back: memory by kind, pinned arrays,
    and the one stream that all its work is put on. waits: how often that was waited for."""

    def __init__(self, device: Device, low_priority: bool) -> None:
        self.device, self.stream = device, device.create_stream(low_priority)
        self.taken: dict[str, int] = {}
        self.pinned_bytes = self.waits = 0
        self._addresses: list[int] = []
        self._arrays: list[NDArray[Any]] = []

    def count(self, kind: str, size: int) -> None:
        """Count memory that a library has taken and gives back by itself."""
        self.taken[kind] = self.taken.get(kind, 0) + size

    def allocate(self, kind: str, size: int) -> int:
        """The address of new memory. Raises OutOfDeviceMemory."""
        address = self.device.allocate(size)
        self._addresses.append(address)
        self.count(kind, size)
        return address

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """A new pinned array on the host."""
        array = self.device.pinned(shape, dtype)
        self._arrays.append(array)
        self.pinned_bytes += array.nbytes
        return array

    def wait(self) -> None:
        """Until everything on the stream is done."""
        self.device.synchronize(self.stream)
        self.waits += 1

    def close(self) -> None:
        """Give back everything, the stream too, on which no work must be left; as much as possible if something fails.
        Raises EngineError then."""
        device, failed = self.device, []
        work = [partial(device.free, address) for address in self._addresses]
        work += [partial(device.unpin, array) for array in self._arrays]
        for give_back in [*work, partial(device.destroy_stream, self.stream)]:
            try:
                give_back()
            except EngineError as error:
                failed.append(error)
        self._addresses, self._arrays, self.pinned_bytes = [], [], 0
        self.taken.clear()
        if failed:
            raise failed[0]


def why_no_room(needs: Mapping[str, int], limit_mb: int, device: Device, loaded: Sequence[str] = ("weights",)) -> str:
    """ "" if all that is needed, bytes by kind, stays within `limit_mb` (0: no bound), and what is not `loaded` yet
    within what is free; else what lacks, in one sentence."""
    free, total = device.memory_info()
    needed = sum(needs.values())
    missing = needed - sum(needs.get(kind, 0) for kind in loaded)
    parts = ", ".join(f"{kind} {_megabytes(size)}" for kind, size in needs.items() if size)
    said = f"the model needs {_megabytes(needed)} MB of {device.name}'s memory ({parts})"
    advice = "lower max_objects, choose a lower engine_precision"
    if limit_mb and needed > limit_mb * MEGABYTE:
        return f"{said}, {limit_mb} MB are allowed; {advice}, or raise engine_memory_mb"
    if missing > free:
        return (
            f"{said}, {_megabytes(missing)} MB of it yet to be taken, and {_megabytes(free)} of {_megabytes(total)} MB "
            f"are free; {advice}, or end another program on this GPU"
        )
    return ""


def _megabytes(size: int) -> str:
    return f"{size / MEGABYTE:.0f}" if size >= 10 * MEGABYTE else f"{size / MEGABYTE:.1f}"


class StateBuffers(Protocol):
    """Where a graph takes its inputs from and puts its outputs, row after row, on the device."""

    def address(self, name: str) -> int:
        """Of the first row of this input or output."""
        ...


class Run(NamedTuple):
    """Rows `row`, `row + 1`, ... that lie in slots `slot`, `slot + 1`, ...; slot None: rows of objects without one."""

    row: int
    slot: int | None
    length: int


class DeviceStates:
    """States in memory that is taken once, on the device; copied there, in the stream's order, to and from the buffers
    of the one graph that reads and writes them. Nothing of them comes to the host."""

    is_seen = False

    def __init__(self, temporal: TemporalSpec, slots: int, graph: StateBuffers, room: DeviceRoom) -> None:
        self._graph, self._room, self._device, self._slots = graph, room, room.device, slots
        self._frames = {state.name: temporal.window if state.kind == "ring" else 1 for state in temporal.state}
        self._bytes = {state.name: 4 * math.prod(state.shape) for state in temporal.state}
        self._address = {name: room.allocate("states", slots * self._slot_bytes(name)) for name in self._bytes}
        for name, address in self._address.items():
            self._device.clear(address, slots * self._slot_bytes(name), room.stream)

    @property
    def nbytes(self) -> int:
        return sum(self._slots * self._slot_bytes(name) for name in self._bytes)

    def gather(self, slots: Sequence[int | None]) -> dict[str, NDArray[Any]]:
        for name in self._bytes:
            size, target = self._slot_bytes(name), self._graph.address(name)
            for run in runs(slots):
                place = target + run.row * size
                if run.slot is None:
                    self._device.clear(place, run.length * size, self._room.stream)
                else:
                    self._copy(place, self._address[name] + run.slot * size, run.length * size)
        return {}

    def empty(self, slot: int) -> None:
        for name, address in self._address.items():
            size = self._slot_bytes(name)
            self._device.clear(address + slot * size, size, self._room.stream)

    def store(self, kept: Sequence[Kept], outputs: Mapping[str, NDArray[Any]]) -> None:
        """Outputs are taken from the graph's buffers, as its last run left them."""
        for name, size in self._bytes.items():
            source, frames = self._graph.address(f"{name}_next"), self._frames[name]
            for row, slot, place in kept:
                at = slot * frames + (place if frames > 1 else 0)
                self._copy(self._address[name] + at * size, source + row * size, size)

    def _slot_bytes(self, name: str) -> int:
        return self._frames[name] * self._bytes[name]

    def _copy(self, target: int, source: int, size: int) -> None:
        self._device.copy_on_device(target, source, size, self._room.stream)


def runs(slots: Sequence[int | None]) -> Iterator[Run]:
    """The rows of a batch in as few pieces as one copy each can fill."""
    first = 0
    for row in range(1, len(slots) + 1):
        if row < len(slots) and slots[row] == _after(slots[row - 1]):
            continue
        yield Run(first, slots[first], row - first)
        first = row


def _after(slot: int | None) -> int | None:
    return None if slot is None else slot + 1
