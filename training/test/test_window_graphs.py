"""The video network in two graphs, its frames cached: what comes out is what torch makes of the same clip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import published_checkpoint as published
import pytest
from frames import header
from needs_torch import torch

from c2f_ros.bundle import Bundle, load_bundle
from c2f_ros.crops import window_inputs
from c2f_ros.engines.frame_cache import CachedWindow
from c2f_ros.records import Frame, PairedFrame, TrackedFrame
from c2f_ros.steps.step1_read import instances_of_labels
from c2f_ros.steps.step4_observe import WindowStore
from c2f_ros.steps.step5_batch import make_batch
from c2f_ros.steps.step6_engine import open_engine, run_engine
from c2f_train.export import export_bundle
from c2f_train.model.network import C2FNetwork
from c2f_train.model.window_graphs import FrameGraph, WindowGraph
from c2f_train.model.window_graphs import window_inputs as joined
from c2f_train.official.official_bundle import INPUT, import_official, published_crop
from c2f_train.official.parity import load_checkpoint
from c2f_train.official.parity_image import with_steps
from c2f_train.official.synthetic_input import synthetic_batch

pytestmark = pytest.mark.usefixtures("one_thread")

Rectangle = tuple[int, int, int, int]


def tracked(pixels: np.ndarray, labels: np.ndarray, stamp_ns: int) -> TrackedFrame:
    pair = PairedFrame(Frame(stamp_ns, header(stamp_ns), pixels, "rgb8", 0.0), instances_of_labels(stamp_ns, labels))
    return TrackedFrame(pair, tuple(instance.upstream_id for instance in pair.instances.instances))


def rectangles(*boxes: Rectangle) -> np.ndarray:
    labels = np.zeros((60, 90), np.uint8)
    for value, (x0, y0, x1, y1) in enumerate(boxes, start=1):
        labels[y0:y1, x0:x1] = value
    return labels


def largest_difference(network: C2FNetwork, bundle: Bundle, frames: list[TrackedFrame], left_out: set[int]) -> float:
    """Between the engine's cached answers and torch's on the same clips; `left_out` frames are observed alone."""
    manifest, difference = bundle.manifest, 0.0
    engine, store = open_engine("onnxruntime", bundle, 1), WindowStore(manifest, 8, 1e9)
    assert isinstance(engine._mode, CachedWindow)
    for k, frame in enumerate(frames):
        observed = store.observe(frame)
        if k in left_out:
            continue
        found = run_engine(engine, make_batch(observed, manifest)).amodal
        image, masks = window_inputs(observed.windows, manifest.crop, manifest.input, manifest.temporal)
        with torch.no_grad():
            expected = network(torch.from_numpy(image), torch.from_numpy(masks))[0].numpy()
        difference = max(difference, float(np.abs(found - expected).max()))
    return difference


def tiny_bundle(folder: Path, window: int = 3) -> tuple[C2FNetwork, Bundle]:
    network = published.random_network(replace(published.TINY, window=window))
    config = network.config
    golden = synthetic_batch(config, 1, 0)
    export_bundle(network, published_crop(config.crop_size), INPUT, "tiny", "", golden, {}, folder)
    return network, load_bundle(folder)


def test_cached_answers_are_those_of_torch_on_the_same_clips(tmp_path):
    network, bundle = tiny_bundle(tmp_path / "m")
    rng, frames = np.random.default_rng(0), []
    for k in range(8):
        first, second = (8 + 3 * k, 12, 40 + 3 * k, 40 + (k == 4) * 6), (30 + 2 * k, 25, 60 + 2 * k, 55)
        boxes = [first, second] if k != 1 else [first]
        pixels = rng.integers(0, 255, (60, 90, 3)).astype(np.uint8)
        frames.append(tracked(pixels, rectangles(*boxes), k))
    assert largest_difference(network, bundle, frames, left_out={3, 6}) < 1e-3


def test_the_two_graphs_hold_every_weight_once(tmp_path):
    from needs_torch import onnx

    network, bundle = tiny_bundle(tmp_path / "m")
    stored = sum(
        int(np.prod(tensor.dims)) for graph in bundle.manifest.graphs
        for tensor in onnx.load(str(bundle.path(graph))).graph.initializer
    )  # fmt: skip
    assert stored < 1.1 * sum(value.numel() for value in network.state_dict().values())


def test_the_two_parts_are_the_whole_network():
    network = published.random_network(published.TINY_VIDEO)
    image, masks = synthetic_batch(network.config, 3, 0)
    frames = FrameGraph(network)
    with torch.no_grad():
        made = dict(zip(frames.names, frames(image.flatten(0, 1), masks.flatten(0, 1)), strict=True))
        found = WindowGraph(network)(*joined(made, 2).values())
        expected = network(image, masks)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_recorded_clip_s_cached_answers_are_those_of_torch(shared_dir, tmp_path):
    folder = shared_dir / "fixtures" / "c2f_seg_parity"
    files, clip = folder / "video", np.load(folder / "video_clip.npz")
    checkpoints = files / "vqgan_MOViD_A.pth.xz", files / "c2f_seg_MOViD_A.pth.xz"
    import_official(*checkpoints, [files / "c2f_seg_MOViD_A.yml"], tmp_path / "m", "m", None, 1)
    labels = (clip["seg"] == clip["value"]).astype(np.uint8)
    frames = [tracked(clip["frames"][t], labels[t], t) for t in range(8) if labels[t].any()]
    network, bundle = with_steps(load_checkpoint(files), 1), load_bundle(tmp_path / "m")
    assert largest_difference(network, bundle, frames, left_out={0, 1, 2, 3, 4}) < 1e-3
