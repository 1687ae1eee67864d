"""Predictors of evaluation: torch and bundle agree, with memory too, and both say what the robot would say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import published_checkpoint as published
import pytest
from needs_torch import torch
from test_stream_export import BOTH, exported, random_network
from tiny_clips import memory_config

from c2f_ros.bundle import load_bundle
from c2f_ros.geometry import place, union
from c2f_ros.parameters import make_parameters
from c2f_ros.pipeline import Pipeline
from c2f_ros.records import Frame, PairedFrame, SourceFrame
from c2f_ros.steps.step1_read import instances_of_labels
from c2f_ros.steps.step6_engine import open_engine
from c2f_train.data.sequences import clip_frames
from c2f_train.export import export_bundle
from c2f_train.model.config import NO_MEMORY
from c2f_train.model.network import C2FNetwork
from c2f_train.model.stream import StreamNetwork
from c2f_train.official.official_bundle import INPUT, published_crop
from c2f_train.official.synthetic_input import synthetic_batch
from c2f_train.scores.evaluate import evaluate
from c2f_train.scores.methods import StreamMethod
from c2f_train.scores.predictors import (
    bundle_predictor,
    load_network,
    network_predictor,
    network_stream_predictor,
    open_bundle,
)
from c2f_train.synth.generate import generate_clip
from c2f_train.synth.scene import SceneConfig

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def streaming(tmp_path_factory) -> tuple[StreamNetwork, Path]:
    network, folder = random_network(BOTH), tmp_path_factory.mktemp("stream") / "m"
    exported(network, folder)
    return network, folder


@pytest.fixture(scope="module")
def frames() -> list[SourceFrame]:
    """A small clip; one of its objects is not sent in two frames."""
    scene = SceneConfig(height=64, width=96, objects_min=3, objects_max=3, orbit_degrees_per_frame=4.0)
    made = list(clip_frames(generate_clip(scene, 6, 5)))
    for frame in made[2:4]:
        frame.labels[frame.labels == frame.labels.max()] = 0
    return made


def sent(frame: SourceFrame) -> dict[str, object]:
    return {str(k): place(frame.labels == k) for k in np.unique(frame.labels) if k}


def test_the_weights_of_the_last_stage_are_loaded_with_a_memory_or_without(tmp_path):
    """The image network continued on tracks, the rival of equal training, is what its last stage made of it."""
    config = memory_config()
    config = replace(config, network=replace(config.network, memory=NO_MEMORY))
    states = {}
    for seed, name in enumerate(("refiner", "tracks")):
        torch.manual_seed(seed)
        states[name] = C2FNetwork(config.network).state_dict()
    for name, state in states.items():
        torch.save({"average": state}, tmp_path / f"{name}.pt")
    for expected, found in (
        ("tracks", load_network(config, tmp_path)),
        ("refiner", load_network(config.without_tracks, tmp_path)),
    ):
        assert all(torch.equal(value, states[expected][name]) for name, value in found.state_dict().items()), expected


def test_torch_and_bundle_agree_over_a_clip(streaming, frames):
    network, folder = streaming
    predict, view = open_bundle(folder, 1)
    predictors = {"torch": network_stream_predictor(network), "bundle": predict}
    result = evaluate([("clip", frames)], predictors, view.crop, views=dict.fromkeys(predictors, view), cases=0)
    for rows in (result.rows(), result.rows_over_time()):
        for key, value in rows["torch"].items():
            assert rows["bundle"][key] == pytest.approx(value, abs=0.3), key
    assert result.rows_over_time()["torch"]["invisible_frames"] > 0


def test_an_evaluated_memory_says_what_the_robot_says(streaming, frames):
    predict, view = open_bundle(streaming[1], 1)
    bundle = load_bundle(streaming[1])
    values = {"hidden_under": "anything", "tracking.reassociate": False, "max_objects": 16}
    line = Pipeline(bundle, open_engine("onnxruntime", bundle, 1, 32), make_parameters(values))
    method, compared, hidden = StreamMethod(predict, view), 0, 0
    for frame in frames:
        camera = Frame(frame.stamp_ns, None, frame.rgb, "rgb8", 0.0)
        published_frame = line.infer(
            line.observe(PairedFrame(camera, instances_of_labels(frame.stamp_ns, frame.labels)))
        )
        shown = sent(frame)
        answers = method.answer(frame, shown, True)
        for item in published_frame.instances:
            mask = answers[item.track_id].mask
            mask = union(mask, shown[item.track_id]) if item.track_id in shown else mask
            assert mask.box == item.amodal.box
            np.testing.assert_array_equal(mask.mask, item.amodal.mask)
            compared, hidden = compared + 1, hidden + item.visible.is_empty
    line.close()
    assert compared > 10 and hidden > 0


def test_a_bundle_of_two_graphs_is_one_predictor(tmp_path):
    network = published.random_network(published.TINY_VIDEO)
    crop = published_crop(network.config.crop_size)
    export_bundle(network, crop, INPUT, "tiny", "", synthetic_batch(network.config, 2, 0), {}, tmp_path / "m")
    assert load_bundle(tmp_path / "m").manifest.frame_graph is not None
    image, masks = (x.numpy() for x in synthetic_batch(network.config, 3, 1))
    found, expected = bundle_predictor(tmp_path / "m", 1)(image, masks), network_predictor(network)(image, masks)
    assert np.abs(found - expected).max() < 1e-3
