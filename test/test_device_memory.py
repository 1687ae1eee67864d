"""The memory of objects with its states on a device: the same as on the host, whatever happened to its slots before."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest
from fake_device import FakeDevice
from test_object_memory import FRAMES, MAP, RING, batch_of, temporal

from c2f_ros.contract import StateSpec
from c2f_ros.engines.device_memory import DeviceRoom, DeviceStates, runs, why_no_room
from c2f_ros.object_memory import ObjectMemory

STATES = pytest.mark.parametrize("states", [(MAP,), (RING,), (MAP, RING)], ids=["aligned", "ring", "both"])
MOST = 6


class Buffers:
    """A graph's inputs and outputs on the device, read and written past the stream, as a kernel would."""

    def __init__(self, room: DeviceRoom, states: Sequence[StateSpec]) -> None:
        self._device, self._places = room.device, {}
        for state in states:
            frames = (FRAMES,) if state.kind == "ring" else ()
            for name, shape in ((state.name, (*frames, *state.shape)), (f"{state.name}_next", state.shape)):
                self._places[name] = room.allocate("buffers", MOST * 4 * int(np.prod(shape))), shape

    def address(self, name: str) -> int:
        return self._places[name][0]

    def array(self, name: str, count: int) -> np.ndarray:
        address, shape = self._places[name]
        size = 4 * count * int(np.prod(shape))
        return self._device.bytes_at(address, size).view(np.float32).reshape(count, *shape)


class OnDevice:
    """An `ObjectMemory` on a fake device, with the interface of one on the host."""

    def __init__(self, states: tuple[StateSpec, ...], slots: int) -> None:
        self.room = DeviceRoom(FakeDevice(), False)
        self.buffers = Buffers(self.room, states)
        self.states = DeviceStates(temporal(*states), slots, self.buffers, self.room)
        self.memory = ObjectMemory(temporal(*states), slots, self.states)
        self._names = [state.name for state in states]

    def inputs(self, *serials: int) -> dict[str, np.ndarray]:
        """What a graph reads: as on the host."""
        found = self.memory.inputs(batch_of(*serials))
        assert not set(found) & set(self._names), "states came to the host"
        self.settle()
        return found | {name: self.buffers.array(name, len(serials)).copy() for name in self._names}

    def write(self, serials: Sequence[int], outputs: dict[str, np.ndarray]) -> None:
        self.settle()
        for name, array in outputs.items():
            self.buffers.array(name, len(serials))[:] = array
        self.memory.write(batch_of(*serials), {})
        self.settle()

    def settle(self) -> None:
        self.room.device.synchronize(self.room.stream)


def made(states: Sequence[StateSpec], count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {f"{s.name}_next": rng.random((count, *s.shape), np.float32) for s in states}


@STATES
def test_states_on_the_device_are_those_on_the_host_through_births_deaths_and_evictions(states):
    rng, slots = np.random.default_rng(0), 4
    host, device = ObjectMemory(temporal(*states), slots), OnDevice(states, slots)
    for step in range(60):
        serials = tuple(rng.permutation(9)[: rng.integers(1, MOST)].tolist())
        expected, found = host.inputs(batch_of(*serials)), device.inputs(*serials)
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            assert np.array_equal(found[name], array), (step, name)
        new = made(states, len(serials), rng)
        host.write(batch_of(*serials), new)
        device.write(serials, new)
        if step % 7 == 3:
            for memory in (host, device.memory):
                memory.keep(set(serials[1:]))
        if step % 19 == 11:
            for memory in (host, device.memory):
                memory.reset()
        assert [host.frames(s) for s in range(9)] == [device.memory.frames(s) for s in range(9)]
        assert (len(host), host.used_bytes, host.nbytes) == (
            len(device.memory), device.memory.used_bytes, device.memory.nbytes,
        )  # fmt: skip


@STATES
def test_a_poisoned_slot_is_blank_for_its_next_owner(states):
    device = OnDevice(states, 1)
    poison = {name: np.full_like(array, np.nan) for name, array in made(states, 1, np.random.default_rng(0)).items()}
    device.write([1], poison)
    device.memory.forget(1)
    assert all(not array.any() for name, array in device.inputs(2).items() if name not in ("warp", "ages"))
    clean = made(states, 1, np.random.default_rng(1))
    device.write([2], clean)
    found = device.inputs(2)
    for state in states:
        assert np.isfinite(found[state.name]).all()
        assert found[state.name].sum() == pytest.approx(clean[f"{state.name}_next"].sum(), rel=1e-5)


@STATES
def test_rows_without_a_slot_are_blank_though_the_buffer_holds_another_s_states(states):
    device = OnDevice(states, 4)
    device.write([1, 2], made(states, 2, np.random.default_rng(0)))
    device.inputs(1, 2)
    found = device.inputs(3, 1)
    for state in states:
        assert not found[state.name][0].any() and found[state.name][1].any()


def test_more_objects_than_slots_keep_the_last_ones():
    device, new = OnDevice((MAP,), 2), made((MAP,), 4, np.random.default_rng(0))
    device.write([1, 2, 3, 4], new)
    found = device.inputs(1, 2, 3, 4)["memory"]
    assert not found[:2].any() and np.array_equal(found[2:], new["memory_next"][2:])


def test_rows_that_lie_side_by_side_are_moved_in_one_copy():
    expected = [(0, 2, 3), (3, None, 2), (5, 0, 1), (6, 7, 1), (7, 6, 1)]
    assert list(runs([2, 3, 4, None, None, 0, 7, 6])) == expected
    assert list(runs([])) == [] and list(runs([None])) == [(0, None, 1)]


def test_all_memory_is_taken_when_the_states_are_made_and_given_back_with_the_room():
    device = OnDevice((MAP, RING), 3)
    fake, rng = device.room.device, np.random.default_rng(0)
    assert device.room.taken["states"] == device.memory.nbytes == device.states.nbytes
    fake.counted()
    for serials in ([1, 2], [3, 4, 5], [9]):
        device.inputs(*serials)
        device.write(serials, made((MAP, RING), len(serials), rng))
        device.memory.reset()
    counted = fake.counted()
    assert not {"allocate", "free", "pinned", "copy_to_host", "copy_to_device"} & set(counted)
    device.room.close()
    assert fake.is_empty() and device.room.taken == {}


def test_what_fails_while_memory_is_given_back_leaves_nothing_else_behind():
    fake = FakeDevice()
    room = DeviceRoom(fake, True)
    for _ in range(3):
        room.allocate("buffers", 10)
    room.pinned((2, 2), np.float32)
    fake.failing = ["unpin"]
    with pytest.raises(RuntimeError, match="unpin failed with cudaErrorUnknown"):
        room.close()
    assert not fake.blocks and not fake.streams and fake.low_priority == [True]


def test_too_little_memory_is_refused_with_what_is_needed_what_there_is_and_what_to_do():
    device, needs = FakeDevice(memory=300 << 20), {"weights": 100 << 20, "states": 250 << 20, "buffers": 0}
    device.weights = 100 << 20
    assert why_no_room(needs, 0, device) == (
        "the model needs 350 MB of Fake GPU's memory (weights 100, states 250), 250 MB of it yet to be taken, and 200 "
        "of 300 MB are free; lower max_objects, choose a lower engine_precision, or end another program on this GPU"
    )
    said = why_no_room(needs, 128, device)
    assert re.search(r"needs 350 MB .* 128 MB are allowed; .* or raise engine_memory_mb", said)
    assert why_no_room({"weights": 100 << 20, "states": 200 << 20}, 300, device) == ""
