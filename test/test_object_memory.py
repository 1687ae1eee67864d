"""The memory of objects: who is given what, who is forgotten, and that nothing leaks or grows."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from c2f_ros.contract import ContractError, StateSpec, TemporalSpec, state_bytes, state_inputs
from c2f_ros.following import alignment
from c2f_ros.geometry import Box
from c2f_ros.motion import STILL, Similarity
from c2f_ros.object_memory import ObjectMemory
from c2f_ros.records import Batch

MAP = StateSpec("memory", "aligned", (2, 3, 3))
RING = StateSpec("keys", "ring", (4, 2))
FRAMES = 3
BOX = Box(0, 0, 8, 8)


def temporal(*states: StateSpec) -> TemporalSpec:
    return TemporalSpec("stream", FRAMES, states, state_bytes(states, FRAMES))


def batch_of(*serials: int, box: Box = BOX, anchor: Similarity = STILL) -> Batch:
    count = len(serials)
    empty = np.zeros((count, 3, 8, 8), np.float32)
    return Batch(empty, empty, serials, (box,) * count, (anchor,) * count)


def outputs(memory: ObjectMemory, *values: float) -> dict[str, np.ndarray]:
    """Next states, each row filled with its value."""
    return {
        f"{s.name}_next": np.stack([np.full(s.shape, value, np.float32) for value in values])
        for s in memory.temporal.state
    }


def write(memory: ObjectMemory, **values: float) -> None:
    """`write(memory, _3=0.5)`: object 3's next states are all 0.5."""
    memory.write(batch_of(*(int(name[1:]) for name in values)), outputs(memory, *values.values()))


def is_new(memory: ObjectMemory, serial: int) -> bool:
    """Whether the object's inputs are those of an object never seen, bit for bit."""
    given = memory.inputs(batch_of(serial))
    blank = all(not given[s.name].any() for s in memory.temporal.state)
    return blank and given["warp"].tolist() == [[1, 0, 0]] and (given["ages"] == -1).all()


def test_inputs_are_those_of_the_contract_whoever_is_in_the_batch():
    memory = ObjectMemory(temporal(RING, MAP), 4)
    write(memory, _7=1.0)
    for serials in ((), (7,), (1, 7, 2)):
        given = memory.inputs(batch_of(*serials))
        assert [(name, ("N", *array.shape[1:])) for name, array in given.items()] == list(state_inputs(memory.temporal))
        assert {len(array) for array in given.values()} == {len(serials)}
        assert given["ages"].dtype == np.int64 and given["keys"].dtype == given["warp"].dtype == np.float32


def test_a_model_with_one_kind_of_state_gets_nothing_of_the_other():
    assert list(ObjectMemory(temporal(MAP), 1).inputs(batch_of(1))) == ["warp", "memory"]
    assert list(ObjectMemory(temporal(RING), 1).inputs(batch_of(1))) == ["ages", "keys"]


def test_every_object_gets_its_own_last_state_back_in_any_order():
    memory = ObjectMemory(temporal(MAP, RING), 8)
    write(memory, _1=0.1, _2=0.2, _3=0.3)
    write(memory, _3=0.33, _1=0.11)
    given = memory.inputs(batch_of(2, 9, 1, 3))
    assert given["memory"][:, 0, 0, 0].tolist() == pytest.approx([0.2, 0, 0.11, 0.33])
    assert (given["memory"] == given["memory"][:, :1, :1, :1]).all()


def test_a_ring_holds_the_last_frames_with_their_ages():
    memory = ObjectMemory(temporal(RING), 2)
    for step in range(3 * FRAMES):
        given = memory.inputs(batch_of(5))
        ages, keys = given["ages"][0], given["keys"][0, :, 0, 0]
        assert sorted(ages) == [-1] * max(0, FRAMES - step) + list(range(min(step, FRAMES)))
        for age, key in zip(ages, keys, strict=True):
            assert key == (0 if age < 0 else 100 + step - 1 - age)
        write(memory, _5=100 + step, _6=0.0)


def test_warp_lays_the_frame_last_inferred_over_the_newest_crop():
    memory = ObjectMemory(temporal(MAP), 2)
    old, new = Box(10, 20, 30, 40), Box(13, 18, 37, 42)
    before, now = Similarity(1.1, 3.0, -2.0), Similarity(1.3, 5.0, -4.0)
    memory.write(batch_of(1, box=old, anchor=before), outputs(memory, 1.0))
    given = memory.inputs(batch_of(1, 2, box=new, anchor=now))["warp"]
    assert given[0].tolist() == pytest.approx(alignment(old, before, new, now)) and given[1].tolist() == [1, 0, 0]
    assert memory.inputs(batch_of(1, box=old, anchor=before))["warp"][0].tolist() == pytest.approx([1, 0, 0])


def test_looking_at_inputs_changes_nothing():
    memory = ObjectMemory(temporal(MAP, RING), 1)
    write(memory, _1=0.5)
    first = memory.inputs(batch_of(1, 2))
    first["memory"][:], first["keys"][:], first["ages"][:] = np.nan, np.nan, 7
    again = memory.inputs(batch_of(1, 2))
    assert (
        again["memory"][0, 0, 0, 0] == 0.5 and not again["memory"][1].any() and sorted(again["ages"][0]) == [-1, -1, 0]
    )
    assert len(memory) == 1 and memory.frames(1) == 1 and memory.frames(2) == 0


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 1e38])
@pytest.mark.parametrize("end", ["keep", "reset", "forget", "evict"])
def test_a_slot_s_next_object_sees_nothing_of_its_poisoned_predecessor(poison, end):
    memory = ObjectMemory(temporal(MAP, RING), 2)
    for _ in range(FRAMES):
        write(memory, _1=poison, _2=poison)
    if end == "keep":
        memory.keep(())
    elif end == "reset":
        memory.reset()
    elif end == "forget":
        memory.forget(1)
        memory.forget(2)
    assert is_new(memory, 3) and is_new(memory, 4)
    write(memory, _3=0.5, _4=0.25)
    given = memory.inputs(batch_of(3, 4))
    assert given["memory"][:, 0, 0, 0].tolist() == [0.5, 0.25] and np.isfinite(given["memory"]).all()
    for keys, ages, value in zip(given["keys"], given["ages"], (0.5, 0.25), strict=True):
        assert sorted(ages) == [-1, -1, 0]
        assert (keys[ages == 0] == value).all() and (keys[ages < 0] == 0).all()
    assert is_new(memory, 1) and is_new(memory, 2)


def test_the_object_inferred_longest_ago_makes_room():
    memory = ObjectMemory(temporal(MAP), 3)
    write(memory, _1=0.1), write(memory, _2=0.2), write(memory, _3=0.3), write(memory, _1=0.11)
    write(memory, _4=0.4)
    assert [memory.frames(serial) for serial in (1, 2, 3, 4)] == [2, 0, 1, 1]
    write(memory, _2=0.2)
    assert [memory.frames(serial) for serial in (1, 2, 3, 4)] == [2, 1, 0, 1]


def test_a_birth_does_not_drive_out_an_object_of_the_same_batch():
    memory = ObjectMemory(temporal(MAP, RING), 3)
    write(memory, _1=0.1), write(memory, _2=0.2), write(memory, _3=0.3)
    write(memory, _9=0.9, _1=0.11)
    assert [memory.frames(serial) for serial in (1, 2, 3, 9)] == [2, 0, 1, 1]
    assert memory.inputs(batch_of(1))["memory"][0, 0, 0, 0] == pytest.approx(0.11)


def test_of_more_objects_than_slots_the_last_are_kept():
    memory = ObjectMemory(temporal(MAP, RING), 2)
    for _ in range(2):
        write(memory, _1=0.1, _2=0.2, _3=0.3)
        assert [memory.frames(serial) > 0 for serial in (1, 2, 3)] == [False, True, True]
        assert memory.inputs(batch_of(1, 2, 3))["memory"][:, 0, 0, 0].tolist() == pytest.approx([0, 0.2, 0.3])


def test_only_objects_to_keep_are_kept():
    memory = ObjectMemory(temporal(MAP), 4)
    write(memory, _1=0.1, _2=0.2, _3=0.3)
    memory.keep({2, 17})
    assert len(memory) == 1 and [memory.frames(serial) for serial in (1, 2, 3, 17)] == [0, 1, 0, 0]


@pytest.mark.parametrize(("states", "most"), [((RING,), FRAMES), ((MAP,), 9), ((MAP, RING), 9)])
def test_frames_counts_what_the_states_hold(states, most):
    memory = ObjectMemory(temporal(*states), 1)
    for step in range(9):
        assert memory.frames(4) == min(step, most)
        write(memory, _4=1.0)
    memory.forget(4)
    assert memory.frames(4) == 0


def test_outputs_without_a_state_change_nothing():
    memory = ObjectMemory(temporal(MAP, RING), 1)
    write(memory, _1=0.5)
    with pytest.raises(KeyError, match="keys_next"):
        memory.write(batch_of(2), {"memory_next": np.ones((1, *MAP.shape), np.float32)})
    assert memory.frames(1) == 1 and memory.frames(2) == 0


def test_the_states_take_what_the_manifest_says_per_object():
    spec = temporal(MAP, RING)
    assert ObjectMemory(spec, 5).nbytes == 5 * spec.state_bytes
    with pytest.raises(ContractError, match="has 0 slots"):
        ObjectMemory(spec, 0)


def test_thousands_of_births_and_deaths_leave_memory_flat():
    memory, rng = ObjectMemory(temporal(MAP, RING), 8), np.random.default_rng(0)

    def live(first: int, last: int) -> None:
        for serial in range(first, last):
            here = (serial, *(serial - int(back) for back in rng.integers(1, 12, 3)))
            seen = batch_of(*dict.fromkeys(here))
            memory.inputs(seen)
            memory.write(seen, outputs(memory, *seen.serials))
            if serial % 5 == 0:
                memory.keep(set(here))

    live(100, 400)
    tracemalloc.start()
    live(400, 600)
    before = tracemalloc.get_traced_memory()[0]
    live(600, 3600)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(memory) <= 8 and abs(grown) < 20_000
