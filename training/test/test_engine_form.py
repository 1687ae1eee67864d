"""The form that is exported: the same function, less work, no shape arithmetic."""

from __future__ import annotations

import collections
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import published_checkpoint as published
import pytest
from needs_torch import onnx, torch
from tiny import tiny_config
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from c2f_train.export import output_shapes
from c2f_train.model.config import MemoryConfig
from c2f_train.model.engine_form import EarlyConvolution, FixedGroupNorm, SplitJoin, engine_form, unfolded
from c2f_train.model.network import C2FNetwork, Inference
from c2f_train.model.refiner import CoarseJoin
from c2f_train.model.stream import make_network
from c2f_train.model.tokenizer import MaskTokenizer, Upsample
from c2f_train.model.window_graphs import FrameGraph, WindowGraph, window_inputs
from c2f_train.official.synthetic_input import synthetic_batch
from c2f_train.onnx_graph import export_onnx

pytestmark = pytest.mark.usefixtures("one_thread")

OF_SHAPES = {"Shape", "Size", "ConstantOfShape", "Range", "Expand", "NonZero", "Loop", "If", "Pad", "Einsum", "Mod"}
"""What an engine would compute on the host, or what has a cheaper form."""


@torch.no_grad()
def difference(first: nn.Module, second: nn.Module, *inputs: torch.Tensor) -> float:
    """The largest, as a share of the largest value."""
    one, other = first(*inputs), second(*inputs)
    return float((one - other).abs().max() / one.abs().max())


def normed(module: nn.Module) -> nn.Module:
    """With norms that do something."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d | nn.GroupNorm):
            part.weight.data.uniform_(0.5, 2.0)
            part.bias.data.normal_()
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)
    return module.eval()


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("bias", [False, True])
def test_folding_pixels_into_channels_and_a_convolution_is_one_strided_convolution(factor, bias):
    torch.manual_seed(0)
    convolution = nn.Conv2d(3 * factor**2, 5, 3, padding=1, bias=bias)
    folded = nn.Sequential(nn.PixelUnshuffle(factor), convolution)
    assert difference(folded, unfolded(convolution, factor), torch.randn(2, 3, 16, 24)) < 1e-6


def test_a_doubled_grid_is_convolved_before_it_is_doubled_with_less_than_half_of_the_work():
    torch.manual_seed(0)
    upsample, counted = Upsample(6), []
    x = torch.randn(2, 6, 32, 40)
    for module in (upsample, EarlyConvolution(upsample.conv)):
        assert difference(upsample, module, x) < 1e-6
        with FlopCounterMode(display=False) as flops:
            module(x)
        counted.append(flops.get_total_flops())
    assert counted[1] < 0.48 * counted[0]


def test_a_group_norm_of_constant_sizes_is_a_group_norm():
    torch.manual_seed(0)
    norm = normed(nn.GroupNorm(4, 12, eps=1e-6))
    assert difference(norm, FixedGroupNorm(norm), 3 + torch.randn(2, 12, 8, 8)) < 1e-5


def test_the_coarse_mask_joins_by_a_convolution_of_its_own():
    torch.manual_seed(0)
    join = normed(CoarseJoin(8, "silu"))
    assert difference(join, SplitJoin(join), torch.randn(2, 8, 16, 16), torch.rand(2, 1, 32, 32)) < 1e-5


def stream() -> C2FNetwork:
    config = replace(tiny_config().network, memory=MemoryConfig(result=True, features=3, ring=2))
    torch.manual_seed(0)
    network = make_network(config)
    for value in network.parameters():
        value.data += 0.05 * torch.randn_like(value)
    return normed(network)


def graphs() -> dict[str, tuple[nn.Module, dict[str, torch.Tensor], dict[str, tuple[int, ...]]]]:
    """By name: module, example inputs and shapes of the outputs of every kind of graph that a bundle may hold."""
    found = {}
    image = published.random_network(published.TINY)
    inputs = dict(zip(("image", "masks"), synthetic_batch(image.config, 2, 0), strict=True))
    found["image"] = (Inference(image), inputs, output_shapes(image))
    streaming, config = stream(), stream().config
    inputs = dict(zip(("image", "masks"), synthetic_batch(config, 2, 0), strict=True))
    inputs["warp"] = torch.tensor([[1.0, 0.1, 0.0], [0.9, 0.0, -0.1]])
    states = {state.name: state for state in config.temporal_spec().state}
    inputs["memory"] = torch.rand(2, *states["memory"].shape)
    inputs["ages"] = torch.tensor([[0, 1], [0, -1]])
    inputs |= {name: torch.rand(2, 2, *states[name].shape) for name in ("keys", "values")}
    found["stream"] = (Inference(streaming), inputs, output_shapes(streaming))
    video = published.random_network(published.TINY_VIDEO)
    frames, windows = FrameGraph(video).eval(), WindowGraph(video).eval()
    clips = [x.flatten(0, 1) for x in synthetic_batch(video.config, 2, 0)]
    with torch.no_grad():
        made = dict(zip(frames.names, frames(*clips), strict=True))
    shapes = {name: tuple(x.shape[1:]) for name, x in made.items()}
    found["frames"] = (frames, dict(zip(("image", "masks"), clips, strict=True)), shapes)
    found["windows"] = (windows, window_inputs(made, video.config.frames), output_shapes(video))
    return found


@pytest.mark.parametrize("kind", ["image", "stream", "frames", "windows"])
def test_a_graph_computes_what_torch_does_with_constant_sizes_alone(tmp_path: Path, kind: str):
    module, inputs, shapes = graphs()[kind]
    before = {name: value.clone() for name, value in module.state_dict().items()}
    file = tmp_path / "g.onnx"
    export_onnx(module, inputs, shapes, file)
    used = collections.Counter(node.op_type for node in onnx.load(str(file)).graph.node)
    assert not OF_SHAPES & set(used), used
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    for rows in ([0, 1], [1], [1, 0, 1]):
        given = {name: x[torch.tensor(rows)] for name, x in inputs.items()}
        found = session.run(list(shapes), {name: x.numpy() for name, x in given.items()})
        with torch.no_grad():
            expected = module(*given.values())
        for name, ours, theirs in zip(shapes, found, expected, strict=True):
            assert ours.shape == (len(rows), *shapes[name])
            assert np.abs(ours - theirs.numpy()).max() < (1e-4 if ours.dtype.kind == "f" else 1), name
    after = module.state_dict()
    assert list(before) == list(after) and all(torch.equal(before[name], after[name]) for name in before)


def test_the_form_shares_its_weights_with_the_network():
    network = published.random_network(published.TINY)
    form = engine_form(network)
    assert form.transformer.blocks[0].attn.query.weight is network.transformer.blocks[0].attn.query.weight
    assert isinstance(form.tokenizer.decoder.norm_out, FixedGroupNorm)
    assert isinstance(network.tokenizer.decoder.norm_out, nn.GroupNorm)


@torch.no_grad()
def test_what_cannot_change_the_amodal_mask_is_left_out_and_nothing_else():
    network = published.random_network(published.TINY)
    image, masks = synthetic_batch(network.config, 3, 0)
    amodal, coarse, tokens = network(image, masks)
    found = network.infer(image, masks)
    assert network.outputs == ("amodal", "tokens") and torch.equal(found[1], tokens)
    assert (found[0] - amodal).abs().max() < 1e-6
    corners = network.tokenizer.coverage(network.tokenizer.decode_cells(tokens))[:, 0]
    cell = network.config.tokenizer.reduction
    assert (corners - coarse[:, ::cell, ::cell]).abs().max() < 1e-6


@torch.no_grad()
@pytest.mark.parametrize("patch", [1, 2])
def test_corners_are_the_decoder_s_pixels_also_where_it_unfolds_channels(patch):
    sizes = replace(tiny_config().network.tokenizer, patch=patch)
    torch.manual_seed(0)
    tokenizer = normed(MaskTokenizer(sizes, 4))
    tokens = torch.randint(sizes.codebook_size, (2, 16))
    cell = sizes.reduction
    assert (tokenizer.decode_cells(tokens) - tokenizer.decode(tokens)[:, :, ::cell, ::cell]).abs().max() < 1e-5


def test_a_network_that_reads_all_of_the_coarse_mask_keeps_it():
    assert published.random_network(published.TINY_VIDEO).outputs == ("amodal", "coarse", "tokens")
    assert make_network(tiny_config().network).outputs == ("amodal", "coarse", "tokens")
    assert stream().outputs == ("amodal", "coarse", "tokens", "memory_next", "keys_next", "values_next")
