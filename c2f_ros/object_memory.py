"""What a model of mode `stream` keeps of every object from one inferred frame to the next: its states, in slots."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from c2f_ros.contract import ContractError, TemporalSpec, state_inputs
from c2f_ros.following import alignment
from c2f_ros.geometry import Box, FloatArray
from c2f_ros.motion import Similarity
from c2f_ros.records import Batch

NO_MOTION = (1.0, 0.0, 0.0)
"""`warp` of an object that has no memory yet."""


class Kept(NamedTuple):
    """Where a row of a batch is kept: in a slot; the newest frame of its rings at a place of 0..T-1."""

    row: int
    slot: int
    place: int


class StateStorage(Protocol):
    """Where the slots' states lie: on the host, or where a graph runs that only its device can read.

    is_seen: the graph's outputs come to the host before they are stored, so that they can be checked.
    """

    is_seen: bool

    @property
    def nbytes(self) -> int:
        """Bytes of all slots' states."""
        ...

    def gather(self, slots: Sequence[int | None]) -> dict[str, NDArray[Any]]:
        """The states of these slots by name, row by row, zero where there is none, valid until the next call; nothing
        if they are where the graph takes them from already."""
        ...

    def empty(self, slot: int) -> None:
        """All states of the slot become zero, whatever was there."""
        ...

    def store(self, kept: Sequence[Kept], outputs: Mapping[str, NDArray[Any]]) -> None:
        """Keep rows of the graph's outputs NAME_next, which are in `outputs` if `is_seen`; each slot once."""
        ...


class HostStates:
    """States in numpy arrays that are made once, and as much again to gather a batch's."""

    is_seen = True

    def __init__(self, temporal: TemporalSpec, slots: int) -> None:
        self._slots = slots
        self._rings = [s.name for s in temporal.state if s.kind == "ring"]
        frames = {name: (temporal.window,) for name in self._rings}
        self._states: dict[str, FloatArray] = {
            s.name: np.zeros((slots, *frames.get(s.name, ()), *s.shape), np.float32) for s in temporal.state
        }
        self._gathered = {name: np.empty_like(array) for name, array in self._states.items()}

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self._states.values())

    def gather(self, slots: Sequence[int | None]) -> dict[str, NDArray[Any]]:
        return {name: _gathered(array, slots, self._room(name, len(slots)), 0) for name, array in self._states.items()}

    def empty(self, slot: int) -> None:
        for array in self._states.values():
            array[slot] = 0.0  # assigned, not scaled: what the predecessor left may be NaN

    def store(self, kept: Sequence[Kept], outputs: Mapping[str, NDArray[Any]]) -> None:
        for name, array in self._states.items():
            new = outputs[f"{name}_next"]
            for row, slot, place in kept:
                array[slot][place if name in self._rings else ...] = new[row]

    def _room(self, name: str, count: int) -> FloatArray:
        """Where the state of so many objects is gathered: new memory each time would cost several times the copy."""
        if count > self._slots:
            return np.empty((count, *self._states[name].shape[1:]), np.float32)
        return self._gathered[name][:count]


class ObjectMemory:
    """Which slot of `states` (without: on the host) belongs to which of at most `slots` objects, told apart by serials,
    and what is known of each beside its states.

    An object gets a slot when it is first written, all zero whoever had it before, and keeps it until it is not among
    those to `keep`, or until all slots are taken and it is the one that was written longest ago. One thread only.
    """

    def __init__(self, temporal: TemporalSpec, slots: int, states: StateStorage | None = None) -> None:
        if slots < 1:
            raise ContractError(f"the memory of objects has {slots} slots, expected at least 1; correct max_objects")
        self.temporal, self.slots = temporal, slots
        self.states: StateStorage = HostStates(temporal, slots) if states is None else states
        self._is_rings_only = all(state.kind == "ring" for state in temporal.state)
        self._ages = np.full((slots, temporal.window), -1, np.int64)
        self._frames = np.zeros(slots, np.int64)
        self._views: list[tuple[Box, Similarity] | None] = [None] * slots
        self.reset()

    def __len__(self) -> int:
        """Objects in memory."""
        return len(self._slots)

    @property
    def nbytes(self) -> int:
        """Bytes of all slots' states, taken or not."""
        return self.states.nbytes

    @property
    def used_bytes(self) -> int:
        """Of these, bytes of the slots that are taken."""
        return len(self) * self.temporal.state_bytes

    def reset(self) -> None:
        """Forget every object."""
        self._slots: OrderedDict[int, int] = OrderedDict()
        self._free = list(range(self.slots))

    def keep(self, serials: Collection[int]) -> None:
        """Forget all objects but these."""
        for serial in [s for s in self._slots if s not in serials]:
            self.forget(serial)

    def forget(self, serial: int) -> None:
        """Forget this object, if it is known: it is new when it comes again."""
        slot = self._slots.pop(serial, None)
        if slot is not None:
            self._free.append(slot)

    def frames(self, serial: int) -> int:
        """Inferred frames of this object that its states hold; 0 if it is not known. Rings alone hold at most T."""
        slot = self._slots.get(serial)
        if slot is None:
            return 0
        counted = int(self._frames[slot])
        return min(counted, self.temporal.window) if self._is_rings_only else counted

    def inputs(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """The graph inputs that carry the states of the batch's objects, as `contract.state_inputs` lists them, but for
        those that are with the graph already. They are valid until the next call.
        """
        slots = [self._slots.get(serial) for serial in batch.serials]
        found = self.states.gather(slots)
        for name, _ in state_inputs(self.temporal):
            if name == "warp":
                found[name] = self._warp(batch, slots)
            elif name == "ages":
                found[name] = _gathered(self._ages, slots, np.empty((len(slots), self.temporal.window), np.int64), -1)
        return {name: found[name] for name, _ in state_inputs(self.temporal) if name in found}

    def write(self, batch: Batch, outputs: Mapping[str, NDArray[Any]]) -> None:
        """Keep what the graph made of the batch: outputs NAME_next of every state, rows as in the batch.

        They must have been checked. Objects of the batch that are known keep their slots; more objects than slots: the
        last ones are kept.
        """
        if self.states.is_seen:
            outputs = {f"{state.name}_next": outputs[f"{state.name}_next"] for state in self.temporal.state}
        for serial in batch.serials:
            if serial in self._slots:
                self._slots.move_to_end(serial)
        kept = {}
        for row, serial in enumerate(batch.serials):
            slot = self._slot_of(serial)
            kept[slot] = Kept(row, slot, self._oldest_place(slot))
            self._frames[slot] += 1
            self._views[slot] = batch.boxes[row], batch.anchors[row]
        self.states.store(list(kept.values()), outputs)

    def _warp(self, batch: Batch, slots: list[int | None]) -> FloatArray:
        warp = np.empty((len(slots), 3), np.float32)
        for row, slot in enumerate(slots):
            old = None if slot is None else self._views[slot]
            warp[row] = NO_MOTION if old is None else alignment(*old, batch.boxes[row], batch.anchors[row])
        return warp

    def _slot_of(self, serial: int) -> int:
        """The object's slot; a new object's is emptied first."""
        slot = self._slots.get(serial)
        if slot is None:
            slot = self._free.pop() if self._free else self._slots.popitem(last=False)[1]
            self._slots[serial] = slot
            self.states.empty(slot)
            self._ages[slot], self._frames[slot], self._views[slot] = -1, 0, None
        return slot

    def _oldest_place(self, slot: int) -> int:
        """The ring's empty or oldest place, which becomes that of the newest frame; all others age by one."""
        ages = self._ages[slot]
        place = int(ages.argmin() if ages.min() < 0 else ages.argmax())
        ages[ages >= 0] += 1
        ages[place] = 0
        return place


def _gathered(array: NDArray[Any], slots: Sequence[int | None], out: NDArray[Any], blank: int) -> NDArray[Any]:
    """`out`, row by row the slot's values, or `blank` where an object has no slot."""
    for row, slot in enumerate(slots):
        out[row] = blank if slot is None else array[slot]
    return out
