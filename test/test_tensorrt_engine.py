"""The TensorRT engine on a fake GPU that does what it is told gives the host's answers, whatever the model.

Nothing here says how fast it is, or that NVIDIA's libraries do what their interfaces promise.
"""

from __future__ import annotations

import gc

import numpy as np
import pytest

pytest.importorskip("onnx", reason="toy models are made with onnx, which comes with the training package")

from device_engines import BACKENDS, TAKING, random_batch, shipped
from fake_device import FakeDevice
from frames import labels_with, paired
from test_stream_engine import LEFT, RIGHT, batch_of, drawn
from toy_bundles import cached_bundle, stream_bundle, toy_bundle

from c2f_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from c2f_ros.parameters import make_parameters
from c2f_ros.pipeline import Pipeline
from c2f_ros.records import TrackedFrame
from c2f_ros.steps.step4_observe import WindowStore
from c2f_ros.steps.step5_batch import make_batch
from c2f_ros.steps.step6_engine import check_golden, run_engine

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


@pytest.mark.parametrize("backend", BACKENDS)
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
