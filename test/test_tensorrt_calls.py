"""What the TensorRT engine asks of a (fake) GPU, how often and in which order; calls that repeat are CUDA graphs."""

from __future__ import annotations

import gc
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("onnx", reason="toy models are made with onnx, which comes with the training package")

from device_engines import random_batch, shipped
from test_stream_engine import LEFT, batch_of
from toy_bundles import stream_bundle

from c2f_ros.engines.onnxruntime_engine import OnnxRuntimeEngine


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
