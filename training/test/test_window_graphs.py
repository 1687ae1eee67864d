"""The video network in two graphs, its frames cached: what comes out is what torch makes of the same clip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import published_checkpoint as published
import pytest
from cached_clips import largest_difference, tracked
from needs_torch import onnx, torch

from c2f_ros.bundle import Bundle, load_bundle
from c2f_train.export import export_bundle
from c2f_train.model.network import C2FNetwork
from c2f_train.model.window_graphs import FrameGraph, WindowGraph
from c2f_train.model.window_graphs import window_inputs as joined
from c2f_train.official.official_bundle import INPUT, published_crop
from c2f_train.official.synthetic_input import synthetic_batch

pytestmark = pytest.mark.usefixtures("one_thread")

Rectangle = tuple[int, int, int, int]


def rectangles(*boxes: Rectangle) -> np.ndarray:
    labels = np.zeros((60, 90), np.uint8)
    for value, (x0, y0, x1, y1) in enumerate(boxes, start=1):
        labels[y0:y1, x0:x1] = value
    return labels


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[C2FNetwork, Bundle]:
    """A network for windows of 3 frames, and its bundle."""
    network = published.random_network(replace(published.TINY, window=3))
    config, folder = network.config, tmp_path_factory.mktemp("window") / "m"
    golden = synthetic_batch(config, 1, 0)
    export_bundle(network, published_crop(config.crop_size), INPUT, "tiny", "", golden, {}, folder)
    return network, load_bundle(folder)


def test_cached_answers_are_those_of_torch_on_the_same_clips(tiny):
    rng, frames = np.random.default_rng(0), []
    for k in range(8):
        first, second = (8 + 3 * k, 12, 40 + 3 * k, 40 + (k == 4) * 6), (30 + 2 * k, 25, 60 + 2 * k, 55)
        boxes = [first, second] if k != 1 else [first]
        pixels = rng.integers(0, 255, (60, 90, 3)).astype(np.uint8)
        frames.append(tracked(pixels, rectangles(*boxes), k))
    assert largest_difference(*tiny, frames, left_out={3, 6}) < 1e-3


def test_the_two_graphs_hold_every_weight_once(tiny):
    network, bundle = tiny
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
