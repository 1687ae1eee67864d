"""How many objects a call on a (fake) GPU takes: what the plan and the memory allow, fewer while memory is short."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="toy models are made with onnx, which comes with the training package")

from device_engines import Clock, fake_plans
from fake_device import FakeDevice
from test_stream_engine import LEFT, LOW, RIGHT, batch_of, drawn
from toy_bundles import cached_bundle, stream_bundle

from c2f_ros.contract import EngineError
from c2f_ros.engines.call_size import FIRST_WAIT_S
from c2f_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from c2f_ros.steps.step6_engine import check_golden, run_engine


def calls(device: FakeDevice) -> int:
    """Times that a plan was run, since they were counted last."""
    counted = device.counted()
    return counted["execute_async_v3"] + counted["launch"]


def test_more_objects_than_a_plan_takes_need_several_calls_and_change_nothing(tmp_path, opened):
    bundle = stream_bundle(tmp_path / "m", ("aligned", "ring"))
    host, (engine, device) = OnnxRuntimeEngine(bundle, 1, 8), opened(bundle, rows=2)
    assert check_golden(engine, bundle) < 1e-6
    device.counted()
    for seen in ({1: LEFT, 2: LOW, 3: RIGHT}, {3: None, 1: None, 4: LEFT, 5: LOW, 2: None}):
        assert np.array_equal(engine.run(batch_of(seen)).amodal, host.run(batch_of(seen)).amodal)
    assert device.counted()["execute_async_v3"] == 2 + 3


def test_the_user_bounds_the_objects_per_call_too(tmp_path, opened):
    engine, device = opened(stream_bundle(tmp_path / "m"), most_rows=3)
    engine.run(batch_of({k: LEFT for k in range(4)}))
    assert device.counted()["execute_async_v3"] == 2


def test_a_large_model_is_not_bound_to_a_cpu_s_objects_per_call_where_the_gpu_has_room_for_more(tmp_path, opened):
    bundle = stream_bundle(tmp_path / "m", ("aligned", "ring"), limit=2)
    host, (engine, device) = OnnxRuntimeEngine(bundle, 1, 8), opened(bundle, plans=fake_plans(bundle, 2, 8))
    assert check_golden(engine, bundle) < 1e-6
    for seen in [{k: LEFT for k in range(5)}, *[{k: None for k in range(5)}] * 3]:
        device.counted()
        assert np.array_equal(run_engine(engine, batch_of(seen)).amodal, run_engine(host, batch_of(seen)).amodal)
        assert calls(device) == 1
    assert len(device.graphs) == 1 and "objects a call" not in engine.name


@pytest.mark.parametrize(("free_mb", "allowed_mb"), [(64, 4), (4, 64)])
def test_the_profile_with_most_objects_for_which_there_is_memory_is_taken(tmp_path, opened, free_mb, allowed_mb):
    bundle = stream_bundle(tmp_path / "m", limit=2)
    plans = fake_plans(bundle, 2, 4, 8, activations=(1000, 2000, 1 << 22))
    engine, device = opened(bundle, FakeDevice(memory=free_mb << 20), plans=plans, memory_mb=allowed_mb)
    assert engine.device_bytes["activations"] == 2000 and "4 objects a call for want of memory" in engine.name
    engine.run(batch_of({k: LEFT for k in range(5)}))
    assert calls(device) == 2


def test_two_graphs_are_bounded_by_memory_together(tmp_path, opened):
    bundle = cached_bundle(tmp_path / "m", "square", [0.5, 0.5])
    plans = fake_plans(bundle, 1, 8, activations=(1000, 1 << 30))
    engine, _ = opened(bundle, plans=plans)
    assert engine.device_bytes["activations"] == 1000 and "1 objects a call for want of memory" in engine.name
    assert check_golden(engine, bundle) < 1e-6


def test_a_model_that_does_not_fit_object_by_object_is_refused(tmp_path, opened):
    bundle = stream_bundle(tmp_path / "m", limit=1)
    plans = fake_plans(bundle, 1, 8, activations=(2 << 20, 8 << 20))
    said = opened.refused(bundle, FakeDevice(), plans=plans, memory_mb=2)
    assert "activations 2.0" in said and "2 MB are allowed" in said


def test_memory_that_runs_out_in_use_halves_the_objects_per_call_and_is_said(tmp_path, opened):
    bundle = stream_bundle(tmp_path / "m")
    host = OnnxRuntimeEngine(bundle, 1, 8)
    engine, device = opened(bundle)
    steps = [{k: LEFT for k in range(5)}, {k: None for k in range(5)}, {k: RIGHT for k in range(6)}, {5: None, 3: None}]
    for step, seen in enumerate(steps):
        device.counted()
        device.out_of_memory = ["execute_async_v3"] * (step == 1)
        expected, found = host.run(batch_of(seen)), engine.run(batch_of(seen))
        assert np.array_equal(found.amodal, expected.amodal) and np.array_equal(found.frames, expected.frames)
        assert device.counted()["execute_async_v3"] == [1, 2, 2, 1][step]
    assert "4 instead of 8 objects a call: the GPU ran out of memory" in engine.name


def test_cuda_graphs_are_given_back_when_memory_runs_out(tmp_path, opened):
    engine, device = opened(stream_bundle(tmp_path / "m"))
    for _ in range(3):
        engine.run(batch_of({1: LEFT, 2: RIGHT}))
    assert len(device.graphs) == 1
    device.out_of_memory = ["launch"]
    found = engine.run(batch_of({1: None, 2: None}))
    assert not device.graphs and "4 instead of 8 objects a call" in engine.name
    assert np.allclose(found.amodal, [drawn(LEFT), drawn(RIGHT)], atol=1e-6)


def test_memory_that_runs_out_for_a_single_object_fails_the_frame_and_the_memory_stays(tmp_path, opened):
    engine, device = opened(stream_bundle(tmp_path / "m"), rows=2)
    run_engine(engine, batch_of({1: LEFT}))
    device.out_of_memory = ["execute_async_v3"] * 2
    with pytest.raises(EngineError, match="failed on 1 objects: TensorRT did not run the plan: .*out of memory"):
        run_engine(engine, batch_of({1: RIGHT}))
    found = run_engine(engine, batch_of({1: None}))
    assert np.allclose(found.amodal[0], drawn(LEFT), atol=1e-6) and found.frames.tolist() == [2]


def test_calls_take_as_many_objects_again_once_there_is_memory_and_it_is_said(tmp_path, opened):
    bundle, clock, five = stream_bundle(tmp_path / "m"), Clock(), dict.fromkeys(range(5))
    host = OnnxRuntimeEngine(bundle, 1, 8)
    engine, device = opened(bundle, clock=clock)
    found = []
    for seconds, short in ((0, 1), (FIRST_WAIT_S - 1, 0), (1, 0), (0, 1), (FIRST_WAIT_S, 0), (FIRST_WAIT_S, 0), (0, 0)):
        clock.now += seconds
        device.counted()
        device.out_of_memory = ["execute_async_v3"] * short
        seen = batch_of({k: LEFT for k in five} if not found else five)
        assert np.array_equal(engine.run(seen).amodal, host.run(seen).amodal)
        found.append((calls(device), "4 instead of 8" in engine.name, "8 objects a call again" in engine.name))
    short, back = (2, True, False), (1, False, True)
    assert found == [short, short, short, short, short, short, back]


def test_a_window_model_s_frames_are_made_with_their_own_rows_but_while_memory_is_short(tmp_path, opened):
    bundle, clock = cached_bundle(tmp_path / "m", "square", [0.5, 0.5]), Clock()
    frames, windows = fake_plans(bundle, 8)[0], fake_plans(bundle, 4)[1]
    engine, device = opened(bundle, plans=[frames, windows], clock=clock)
    rows = []
    for short in (0, 1, 0, 0):
        device.out_of_memory = ["execute_async_v3"] * short
        engine.compute({name: array[[0] * 4] for name, array in bundle.golden_inputs.items()})
        rows.append([graph.rows for graph in engine._graphs])
        clock.now += FIRST_WAIT_S
    assert rows == [[8, 4], [2, 2], [8, 4], [8, 4]]
