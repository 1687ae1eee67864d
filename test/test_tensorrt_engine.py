"""The TensorRT engine on a fake GPU that does what it is told: answers, order, memory, and what goes wrong.

Nothing here says how fast it is, or that NVIDIA's libraries do what their interfaces promise.
"""

from __future__ import annotations

import gc
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="toy models are made with onnx, which comes with the training package")

import fake_tensorrt
from fake_device import FakeDevice
from fake_tensorrt import ACTIVATIONS, WEIGHTS, Opening, fake_plans
from frames import SIZE, labels_with, paired
from test_stream_engine import LEFT, LOW, RIGHT, batch_of, drawn
from toy_bundles import cached_bundle, stream_bundle, toy_bundle

from c2f_ros.bundle import Bundle, load_bundle
from c2f_ros.contract import ContractError, EngineError
from c2f_ros.engine_plans import plan_specs
from c2f_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from c2f_ros.engines.tensorrt_library import is_installed, open_library
from c2f_ros.geometry import Box
from c2f_ros.motion import Similarity
from c2f_ros.parameters import make_parameters
from c2f_ros.pipeline import Pipeline
from c2f_ros.records import Batch, TrackedFrame
from c2f_ros.steps.step4_observe import WindowStore
from c2f_ros.steps.step5_batch import make_batch
from c2f_ros.steps.step6_engine import check_golden, run_engine

BACKENDS = pytest.mark.parametrize("backend", ["tensorrt", "tensorrt_rtx"])
TAKING = {"allocate", "free", "pinned", "unpin", "create_stream", "destroy_stream"}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Opening:
    return Opening(monkeypatch, tmp_path / "cache")


def shipped(checkout: Path, name: str) -> Bundle:
    return load_bundle(checkout / "models" / name)


def random_batch(bundle: Bundle, serials: tuple[int, ...], rng: np.random.Generator) -> Batch:
    """Any image and masks; boxes and motions that move the crops about."""
    manifest, count = bundle.manifest, len(serials)
    size, planes = manifest.crop.size, len(manifest.input.mask_channels)
    image = rng.standard_normal((count, 3, size, size)).astype(np.float32)
    masks = (rng.random((count, planes, size, size)) > 0.5).astype(np.float32)
    if manifest.temporal.mode != "stream":
        return Batch(image, masks)
    lefts = rng.integers(0, 40, count).tolist()
    boxes = tuple(Box(x, 5, x + 90, 95) for x in lefts)
    anchors = tuple(Similarity(float(rng.uniform(0.9, 1.1)), float(x), 3.0) for x in lefts)
    return Batch(image, masks, serials, boxes, anchors)


LIVES = [
    (1, 2),
    (2, 1, 3),
    (2, 1, 3),
    (3,),
    (4, 5, 6, 1),
    (4, 5, 6, 1),
    (6, 4, 7, 5),
    (1, 2, 3, 4, 5),
    (8,),
    (8,),
    (8,),
]
"""Serials of the objects of each frame: births, deaths, other orders, and more objects than slots."""


@BACKENDS
@pytest.mark.parametrize("model", ["c2f_nano", "c2f_nano_video"])
def test_a_shipped_model_answers_on_the_device_as_on_the_host(checkout, opened, backend, model):
    bundle, rng = shipped(checkout, model), np.random.default_rng(0)
    host = OnnxRuntimeEngine(bundle, 1, 4)
    engine, device = opened(bundle, backend=backend, slots=4)
    assert check_golden(engine, bundle) < 1e-4
    for step, serials in enumerate(LIVES):
        batch = random_batch(bundle, serials, rng)
        device.counted()
        expected, found = run_engine(host, batch), run_engine(engine, batch)
        assert np.array_equal(found.amodal, expected.amodal), step
        assert np.array_equal(found.frames, expected.frames)
        counted = device.counted()
        assert counted["synchronize"] == 1 and not TAKING & set(counted)
        for one in (host, engine):
            one.keep({4, 5, 6, 7, 8} if step == 6 else set(range(9)))
        if step == 9:
            host.reset()
            engine.reset()
    assert engine.state_bytes() == host.state_bytes()
    engine.close()


def test_only_masks_come_down_and_states_never_leave_the_device(checkout, opened):
    bundle, rng = shipped(checkout, "c2f_nano_video"), np.random.default_rng(0)
    engine, device = opened(bundle)
    engine.run(random_batch(bundle, (1, 2, 3), rng))
    assert device.counted() == Counter(
        {"clear": 1 + 3, "copy_to_device": 3, "execute_async_v3": 1, "copy_to_host": 1, "synchronize": 1,
         "copy_on_device": 3}
    )  # fmt: skip
    assert len(device.streams) == 1 and device.low_priority == [True]


def test_states_are_stored_after_the_masks_were_checked_and_waited_for_by_nobody(tmp_path, opened):
    engine, device = opened(stream_bundle(tmp_path / "m", ("aligned",)))
    engine.run(batch_of({1: LEFT}))
    assert device.calls[-2:] == ["clear", "copy_on_device"] and "synchronize" in device.calls
    assert len(device.streams[next(iter(device.streams))]) == 2


def test_calls_that_repeat_become_cuda_graphs_one_per_number_of_objects(checkout, opened):
    bundle, rng = shipped(checkout, "c2f_nano"), np.random.default_rng(0)
    host = OnnxRuntimeEngine(bundle, 1, 4)
    engine, device = opened(bundle)
    found = []
    for count in (2, 2, 2, 3, 3, 2, 3, 1, 2):
        batch = random_batch(bundle, tuple(range(count)), rng)
        assert np.array_equal(engine.run(batch).amodal, host.run(batch).amodal)
        counted = device.counted()
        assert counted["synchronize"] == 1
        found.append("launch" if counted["launch"] else "capture" if counted["capture"] else "run")
    assert found == ["run", "capture", "launch", "run", "capture", "launch", "launch", "run", "launch"]
    engine.close()
    gc.collect()
    assert device.is_empty()


def test_cuda_graphs_are_bounded_and_the_one_not_used_for_longest_goes(checkout, opened, monkeypatch):
    monkeypatch.setattr("c2f_ros.engines.device_graph.CAPTURED_AT_MOST", 2)
    bundle, rng = shipped(checkout, "c2f_nano"), np.random.default_rng(0)
    engine, device = opened(bundle)
    for count in (1, 1, 2, 2, 1, 3, 3):
        engine.run(random_batch(bundle, tuple(range(count)), rng))
    assert len(device.graphs) == 2
    device.counted()
    for count in (1, 3, 2):
        engine.run(random_batch(bundle, tuple(range(count)), rng))
    assert device.counted()["launch"] == 2


def test_tensorrt_for_rtx_captures_its_graphs_itself(checkout, opened):
    bundle, rng = shipped(checkout, "c2f_nano"), np.random.default_rng(0)
    engine, device = opened(bundle, backend="tensorrt_rtx")
    for _ in range(3):
        engine.run(random_batch(bundle, (1, 2), rng))
    counted = device.counted()
    assert counted["execute_async_v3"] == 3 and not counted["capture"] and not counted["launch"]


def test_what_tensorrt_for_rtx_compiled_is_there_when_the_engine_opens_again(tmp_path, opened):
    bundle, opened.keeps_calls = stream_bundle(tmp_path / "m"), True

    def found() -> set[str]:
        engine, device = opened(bundle, backend="tensorrt_rtx")
        engine.close()
        return {"compile", "warm"} & set(device.calls)

    assert found() == {"compile"} and found() == {"warm"}
    (kept,) = (tmp_path / "cache").glob("kernels-*")
    for damage in (b"something else", kept.read_bytes()[:-3]):
        kept.write_bytes(damage)
        assert found() == {"compile"} and found() == {"warm"}


@pytest.mark.parametrize("call", ["capture", "execute_async_v3", "create_execution_context"])
def test_a_capture_that_fails_is_said_and_everything_goes_on_without(checkout, opened, call):
    bundle, rng = shipped(checkout, "c2f_nano"), np.random.default_rng(0)
    engine, device = opened(bundle)
    batch = random_batch(bundle, (1, 2), rng)
    expected = engine.run(batch).amodal
    assert "graphs" not in engine.name
    if call == "execute_async_v3":
        original = device.capture
        device.capture = lambda *given: (device.failing.append(call), original(*given))[1]  # fails inside the capture
    else:
        device.failing = [call]
    for _ in range(3):
        assert np.array_equal(engine.run(batch).amodal, expected)
    assert "without CUDA graphs (" in engine.name and "cudaErrorUnknown" in engine.name
    assert not device.graphs and device.counted()["launch"] == 0


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


@pytest.mark.parametrize("call", ["execute_async_v3", "copy_to_device", "copy_to_host", "synchronize"])
def test_a_call_that_fails_fails_the_frame_by_name_and_the_next_one_is_right(tmp_path, opened, call):
    engine, device = opened(stream_bundle(tmp_path / "m"))
    run_engine(engine, batch_of({1: LEFT}))
    device.failing = [call]
    with pytest.raises(EngineError, match=f"{call} failed with cudaErrorUnknown"):
        run_engine(engine, batch_of({1: RIGHT, 2: LOW}))
    found = run_engine(engine, batch_of({2: None, 1: None}))
    assert np.allclose(found.amodal, [np.zeros((SIZE, SIZE)), drawn(LEFT)], atol=1e-6)
    assert found.frames.tolist() == [1, 2]


def test_an_object_whose_mask_is_not_finite_begins_anew_and_no_other(tmp_path, opened):
    """The toy's states are poisoned while its mask is whole: the mask shows it one frame later."""
    engine, _ = opened(stream_bundle(tmp_path / "m", ("aligned",)), slots=2)
    run_engine(engine, batch_of({1: LEFT, 2: RIGHT}))
    bad = batch_of({1: LEFT, 2: RIGHT})
    bad.image[1, 0, 5, 5] = np.nan
    run_engine(engine, bad)
    with pytest.raises(EngineError, match="masks that are not finite for 1 objects"):
        run_engine(engine, batch_of({1: LEFT, 2: RIGHT}))
    for other, frames in ((2, 3), (3, 4)):  # the third object takes the slot of the second
        found = run_engine(engine, batch_of({1: None, other: None}))
        assert np.allclose(found.amodal, [drawn(LEFT), np.zeros((SIZE, SIZE))], atol=1e-6)
        assert found.frames.tolist() == [frames, 1]


def test_a_mask_outside_its_range_leaves_the_memory_as_it_was(tmp_path, opened):
    engine, _ = opened(stream_bundle(tmp_path / "m"))
    run_engine(engine, batch_of({1: LEFT}))
    bad = batch_of({1: RIGHT, 2: LOW})
    bad.masks[1] *= 1.5
    with pytest.raises(EngineError, match=r"0\.0\.\.1\.5"):
        run_engine(engine, bad)
    assert np.allclose(run_engine(engine, batch_of({1: None})).amodal[0], drawn(LEFT), atol=1e-6)


def test_more_objects_than_a_plan_takes_need_several_calls_and_change_nothing(tmp_path, opened):
    bundle = stream_bundle(tmp_path / "m", ("aligned", "ring"))
    host, (engine, device) = OnnxRuntimeEngine(bundle, 1, 8), opened(bundle, rows=2)
    assert check_golden(engine, bundle) < 1e-6
    device.counted()
    for seen in ({1: LEFT, 2: LOW, 3: RIGHT}, {3: None, 1: None, 4: LEFT, 5: LOW, 2: None}):
        assert np.array_equal(engine.run(batch_of(seen)).amodal, host.run(batch_of(seen)).amodal)
    assert device.counted()["execute_async_v3"] == 2 + 3


def test_the_manifest_and_the_user_bound_the_objects_per_call_too(tmp_path, opened):
    for name, limit, most in (("limit", 3, 32), ("most", 0, 3)):
        engine, device = opened(stream_bundle(tmp_path / name, limit=limit), most_rows=most)
        engine.run(batch_of({k: LEFT for k in range(4)}))
        assert device.counted()["execute_async_v3"] == 2


@pytest.mark.parametrize("rule", ["square", "stretched"])
def test_window_models_in_one_graph_and_in_two_answer_as_on_the_host(tmp_path, opened, rule):
    shares = [0.1, 0.2, 0.3, 0.4]
    for bundle in (toy_bundle(tmp_path / "one", rule, 4, shares), cached_bundle(tmp_path / "two", rule, shares)):
        host, (engine, device) = OnnxRuntimeEngine(bundle, 1, 8), opened(bundle, rows=2)
        store = WindowStore(bundle.manifest, 8, 10.0)
        check_golden(engine, bundle)
        device.counted()
        for k in range(8):
            pair = paired(labels_with((20 + k, 10, 40 + k, 30), (50, 15, 66, 27 + k), (2, 2, 12, 14)), k, seed=k)
            observed = store.observe(TrackedFrame(pair, tuple(i.upstream_id for i in pair.instances.instances)))
            if k == 3:
                continue
            batch = make_batch(observed, bundle.manifest)
            assert np.array_equal(run_engine(engine, batch).amodal, run_engine(host, batch).amodal), k
        assert not TAKING & set(device.counted())


def test_two_engines_side_by_side_share_nothing(tmp_path, opened):
    bundle, device = stream_bundle(tmp_path / "m"), FakeDevice()
    one, _ = opened(bundle, device)
    other, _ = opened(bundle, device, low_priority=False)
    one.run(batch_of({1: LEFT}))
    other.run(batch_of({1: RIGHT}))
    assert np.allclose(one.run(batch_of({1: None})).amodal[0], drawn(LEFT), atol=1e-6)
    one.close()
    assert np.allclose(other.run(batch_of({1: None})).amodal[0], drawn(RIGHT), atol=1e-6)
    assert device.low_priority == [True, False]
    other.close()
    gc.collect()
    assert device.is_empty()


def test_a_pipeline_pastes_the_same_masks_whatever_runs_its_model(checkout, opened):
    bundle = shipped(checkout, "c2f_nano_video")
    engine, _ = opened(bundle)
    lines = [Pipeline(bundle, e, make_parameters({})) for e in (OnnxRuntimeEngine(bundle, 1, 8), engine)]
    boxes = [(10, 8, 30, 30), (40, 12, 60, 40)]
    for k in range(6):
        labels = labels_with(*(boxes if k < 3 else boxes[:1]))  # the second is hidden from the fourth frame on
        host, found = (line.infer(line.observe(paired(labels, k * 10**8))) for line in lines)
        assert [i.track_id for i in found.instances] == [i.track_id for i in host.instances]
        for ours, theirs in zip(found.instances, host.instances, strict=True):
            assert ours.amodal.box == theirs.amodal.box and np.array_equal(ours.amodal.mask, theirs.amodal.mask)


def test_what_is_taken_is_reported_by_kind(tmp_path, opened):
    bundle = stream_bundle(tmp_path / "m", ("aligned", "ring"))
    engine, device = opened(bundle, slots=5, rows=3)
    tensors = (*bundle.manifest.graph.inputs, *plan_specs(bundle.manifest)[-1].outputs)
    buffers = sum(3 * int(np.prod(t.shape[1:])) * np.dtype(t.dtype).itemsize for t in tensors)
    states = 5 * bundle.manifest.temporal.state_bytes
    expected = {"weights": WEIGHTS, "activations": ACTIVATIONS, "buffers": buffers, "states": states}
    assert engine.device_bytes == expected and engine.state_bytes() == (0, states)
    assert sum(block.size for block in device.blocks.values()) + device.weights == sum(expected.values())
    assert f"{sum(expected.values()) >> 20} MB" in engine.name and "TensorRT 10.9.0.34 fp32 on Fake GPU" in engine.name


def refused(opened: Opening, bundle: Bundle, device: FakeDevice, **given: Any) -> str:
    """Why the engine does not open; nothing may stay taken."""
    with pytest.raises(ContractError) as caught:
        opened(bundle, device, **given)
    said = str(caught.value)
    del caught  # its traceback holds the plans
    gc.collect()
    assert device.is_empty()
    return said


def test_too_little_memory_at_configure_says_how_much_is_needed_and_what_to_do(tmp_path, opened):
    bundle = stream_bundle(tmp_path / "m")
    said = refused(opened, bundle, FakeDevice(memory=1 << 20), slots=64)
    assert "needs " in said and "of 1.0 MB are free; lower max_objects" in said
    assert "1 MB are allowed" in refused(opened, bundle, FakeDevice(), slots=64, memory_mb=1)
    assert "out of memory" in refused(opened, bundle, FakeDevice(memory=10))


@pytest.mark.parametrize("call", ["allocate", "create_execution_context", "deserialize", "pinned"])
def test_memory_that_is_gone_while_opening_is_one_sentence_and_nothing_stays(tmp_path, opened, call):
    device = FakeDevice()
    device.out_of_memory = [call]
    said = refused(opened, stream_bundle(tmp_path / "m"), device)
    assert re.search(r"needs \d+ MB of Fake GPU's memory and 102[34] MB are free now \(.*\); lower max_objects", said)


@pytest.mark.parametrize("call", ["allocate", "create_execution_context", "create_stream"])
def test_what_fails_while_opening_is_one_sentence_and_nothing_stays(tmp_path, opened, call):
    device = FakeDevice()
    device.failing = [call]
    assert f"{call} failed with cudaErrorUnknown" in refused(opened, stream_bundle(tmp_path / "m"), device)


def test_plans_of_another_graph_gpu_or_number_of_objects_are_refused(tmp_path, opened):
    bundle, device = stream_bundle(tmp_path / "m"), FakeDevice()
    foreign = fake_plans(bundle, 8, gpu="Another GPU")
    assert "does not load on Fake GPU; build it anew with c2f-build-engine --again: " in refused(
        opened, bundle, device, plans=foreign
    )
    graph = bundle.manifest.graph
    other = replace(graph, inputs=(*graph.inputs[:-1], replace(graph.inputs[-1], shape=("N", 2, SIZE, SIZE))))
    stale = fake_plans(bundle, 8, graphs=(other,))
    assert "build the engine again" in refused(opened, bundle, device, plans=stale)
    assert "takes 2 objects at least" in refused(opened, bundle, device, plans=fake_plans(bundle, 8, least=2))


def test_closing_twice_and_closing_unused_engines_gives_all_back(tmp_path, opened):
    engine, device = opened(cached_bundle(tmp_path / "m", "square", [0.5, 0.5]))
    engine.close()
    engine.close()
    gc.collect()
    assert device.is_empty() and engine.device_bytes == {}


@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt_rtx"])
def test_the_fake_offers_nothing_that_the_real_library_lacks(backend):
    """All that the engine calls exists on the fake, so this is the recorded interface of what it calls."""
    if not is_installed(backend):
        pytest.skip(f"{backend} is not installed")
    real = open_library(backend)
    pairs = [
        (fake_tensorrt.FakePlan, real.ICudaEngine, {"device", "log", "rows", "least", "session"}),
        (fake_tensorrt.FakeContext, real.IExecutionContext, set()),
        (fake_tensorrt.FakeRuntime, real.Runtime, set()),
        (fake_tensorrt.FakeTensorRT, real, {"device", "is_rtx"}),
        (fake_tensorrt.Strategy, real.ExecutionContextAllocationStrategy, set()),
        (fake_tensorrt.Mode, real.TensorIOMode, set()),
        (fake_tensorrt.Stat, real.EngineStat, set()),
    ]
    if backend == "tensorrt_rtx":
        pairs += [
            (fake_tensorrt.FakeConfig, real.IRuntimeConfig, set()),
            (fake_tensorrt.FakeCache, real.IRuntimeCache, set()),
            (fake_tensorrt.CudaGraphs, real.CudaGraphStrategy, set()),
        ]
    for fake, theirs, own in pairs:
        names = {name for name in dir(fake) if not name.startswith("_")} - own
        assert names and not {name for name in names if not hasattr(theirs, name)}, theirs
    assert {"INTERNAL_ERROR", "ERROR", "WARNING"} <= set(dir(real.ILogger.Severity))
    assert (real.nptype(real.DataType.FLOAT), real.nptype(real.DataType.INT64)) == (np.float32, np.int64)
