"""The published image and video models in full size, with random weights, become plans of NVIDIA's own compiler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import published_checkpoint as published
import pytest
import without_arithmetic
from built_plans import assert_whole, compiler
from needs_torch import onnx, torch
from torch import Tensor, nn
from without_arithmetic import WithoutArithmetic

from c2f_ros.contract import GraphSpec, TensorSpec
from c2f_ros.plan_building import Recipe, build
from c2f_train.model.network import C2FNetwork, Inference
from c2f_train.model.window_graphs import FrameGraph, WindowGraph, window_inputs
from c2f_train.official.official_config import IMAGE, VIDEO, published_config
from c2f_train.onnx_graph import export_onnx

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200), pytest.mark.usefixtures("one_thread")]

MOST_ROWS = 8
PRECISION = "fp16"
"""What full-size models are run in; float32 is compiled for every bundle in test/test_plans_of_bundles.py."""

Tensors = Mapping[str, Tensor]


def specs(tensors: Tensors) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name, str(x.dtype).removeprefix("torch."), ("N", *x.shape[1:])) for name, x in tensors.items()
    )


def write(module: nn.Module, example: Tensors, names: tuple[str, ...], file: Path) -> tuple[GraphSpec, Tensors]:
    """The graph that an export writes, what a manifest says of it, and tensors of its outputs' sizes."""
    traced = WithoutArithmetic(module.eval())
    with torch.no_grad():
        made = dict(zip(names, traced(*example.values()), strict=True))
    export_onnx(traced, example, {name: tuple(x.shape[1:]) for name, x in made.items()}, file)
    return GraphSpec(file.name, "", specs(example), specs(made)), made


def weights(file: Path) -> int:
    """Numbers in the graph's initializers."""
    return sum(torch.Size(tensor.dims).numel() for tensor in onnx.load(str(file)).graph.initializer)


def compile_graph(file: Path, spec: GraphSpec) -> None:
    """Asserts that the graph becomes one compiled piece, with the outputs that the runtime reads."""
    wanted = tuple(tensor for tensor in spec.outputs if tensor.name not in ("coarse", "tokens"))
    recipe = Recipe(PRECISION, MOST_ROWS, for_any_card=True)
    assert_whole(build(file, replace(spec, outputs=wanted), recipe, compiler()))


def shapes_of(graph: onnx.GraphProto) -> list[list[int]]:
    """Of all initializers, sorted."""
    return sorted(list(tensor.dims) for tensor in graph.initializer)


def frames(network: C2FNetwork) -> Tensors:
    size, planes = network.config.crop_size, len(network.config.mask_channels)
    return {"image": torch.zeros(1, 3, size, size), "masks": torch.zeros(1, planes, size, size)}


@pytest.mark.parametrize("sizes", [published.TINY, published.TINY_VIDEO], ids=["image", "video"])
def test_tracing_without_arithmetic_gives_the_graph_of_an_export(tmp_path, monkeypatch, sizes):
    monkeypatch.setattr(without_arithmetic, "LARGE", 16)
    network = published.random_network(sizes)
    module, names = Inference(network), network.outputs
    example = frames(network)
    if sizes.window:
        module, names = FrameGraph(network), FrameGraph(network).names
    graphs = []
    for traced in (module, WithoutArithmetic(module)):
        with torch.no_grad():
            made = dict(zip(names, traced(*example.values()), strict=True))
        export_onnx(traced, example, {n: tuple(x.shape[1:]) for n, x in made.items()}, tmp_path / "g.onnx")
        graph = onnx.load(str(tmp_path / "g.onnx")).graph
        graphs.append((shapes_of(graph), [(node.op_type, list(node.attribute)) for node in graph.node]))
    assert graphs[0] == graphs[1]


def export_image_model(folder: Path) -> list[tuple[Path, GraphSpec]]:
    network, file = C2FNetwork(published_config(IMAGE)), folder / "image.onnx"
    spec, _ = write(Inference(network), frames(network), network.outputs, file)
    return [(file, spec)]


def export_video_model(folder: Path) -> list[tuple[Path, GraphSpec]]:
    network = C2FNetwork(published_config(VIDEO))
    of_frames, first, second = FrameGraph(network), folder / "frame.onnx", folder / "window.onnx"
    frame_spec, made = write(of_frames, frames(network), of_frames.names, first)
    clips = {name: x.repeat(VIDEO.window, *[1] * (x.ndim - 1)) for name, x in made.items()}
    spec, _ = write(WindowGraph(network), window_inputs(clips, VIDEO.window), network.outputs, second)
    return [(first, frame_spec), (second, spec)]


@pytest.mark.parametrize(
    ("export", "least_weights"),
    [(export_image_model, 100e6), (export_video_model, 100e6)],
    ids=["image", "video"],
)
def test_every_graph_of_the_full_size_model_is_compiled_as_one_piece(tmp_path, export, least_weights):
    compiler()
    graphs = export(tmp_path)
    assert sum(weights(file) for file, _ in graphs) > least_weights
    for file, spec in graphs:
        compile_graph(file, spec)
