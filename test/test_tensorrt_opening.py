"""Opening the TensorRT engine takes what it says and no more, or fails in one sentence and leaves nothing behind."""

from __future__ import annotations

import gc
import re
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnx", reason="toy models are made with onnx, which comes with the training package")

from device_engines import fake_plans
from fake_device import FakeDevice
from fake_tensorrt import ACTIVATIONS, WEIGHTS
from frames import SIZE
from toy_bundles import cached_bundle, stream_bundle

from c2f_ros.engine_plans import plan_specs


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


def test_too_little_memory_at_configure_says_how_much_is_needed_and_what_to_do(tmp_path, opened):
    bundle = stream_bundle(tmp_path / "m")
    said = opened.refused(bundle, FakeDevice(memory=1 << 20), slots=64)
    assert "needs " in said and "of 1.0 MB are free; lower max_objects" in said
    assert "1 MB are allowed" in opened.refused(bundle, FakeDevice(), slots=64, memory_mb=1)
    assert "out of memory" in opened.refused(bundle, FakeDevice(memory=10))


@pytest.mark.parametrize("call", ["allocate", "create_execution_context", "deserialize", "pinned"])
def test_memory_that_is_gone_while_opening_is_one_sentence_and_nothing_stays(tmp_path, opened, call):
    device = FakeDevice()
    device.out_of_memory = [call]
    said = opened.refused(stream_bundle(tmp_path / "m"), device)
    assert re.search(r"needs \d+ MB of Fake GPU's memory and 102[34] MB are free now \(.*\); lower max_objects", said)


@pytest.mark.parametrize("call", ["allocate", "create_execution_context", "create_stream"])
def test_what_fails_while_opening_is_one_sentence_and_nothing_stays(tmp_path, opened, call):
    device = FakeDevice()
    device.failing = [call]
    assert f"{call} failed with cudaErrorUnknown" in opened.refused(stream_bundle(tmp_path / "m"), device)


def test_plans_of_another_graph_gpu_or_number_of_objects_are_refused(tmp_path, opened):
    bundle, device = stream_bundle(tmp_path / "m"), FakeDevice()
    said = opened.refused(bundle, device, plans=fake_plans(bundle, 8, gpu="Another GPU"))
    assert "does not load on Fake GPU; build it anew with c2f-build-engine --again: " in said
    graph = bundle.manifest.graph
    other = replace(graph, inputs=(*graph.inputs[:-1], replace(graph.inputs[-1], shape=("N", 2, SIZE, SIZE))))
    stale = fake_plans(bundle, 8, graphs=(other,))
    assert "build the engine again" in opened.refused(bundle, device, plans=stale)
    assert "takes 2 objects at least" in opened.refused(bundle, device, plans=fake_plans(bundle, 8, least=2))


def test_closing_twice_and_closing_unused_engines_gives_all_back(tmp_path, opened):
    engine, device = opened(cached_bundle(tmp_path / "m", "square", [0.5, 0.5]))
    engine.close()
    engine.close()
    gc.collect()
    assert device.is_empty() and engine.device_bytes == {}
