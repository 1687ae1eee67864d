"""From weights to a model bundle: ONNX graphs, golden sample, manifest; torch against ONNX Runtime."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import yaml
from torch import Tensor, nn

from c2f_ros.contract import (
    SCHEMA_VERSION,
    CropSpec,
    GoldenSpec,
    GraphSpec,
    InputSpec,
    Manifest,
    TensorSpec,
    TokenSpec,
    state_inputs,
    to_plain,
)
from c2f_train.model.config import NetworkConfig
from c2f_train.model.network import C2FNetwork, Inference
from c2f_train.model.window_graphs import FrameGraph, WindowGraph, window_inputs
from c2f_train.onnx_graph import Tensors, export_onnx, sha256
from c2f_train.rollout import Arrays, Step, largest_difference, roll_out, torch_step

GRAPH, FRAME_GRAPH, GOLDEN, MANIFEST = "c2f.onnx", "frame.onnx", "golden.npz", "manifest.yaml"
PARITY = 1e-3
"""Largest difference of any output between torch and ONNX Runtime that an export may show (small ones: 1e-6)."""
GOLDEN_TOLERANCE = 2e-3
"""What another machine's engine may differ from the stored output (other instruction sets round differently)."""
BATCH_MIB = 400
"""Activations of one engine call, roughly, that decide how many objects of a large model it may take."""

Shapes = dict[str, tuple[int, ...]]
Batch = tuple[Tensor, Tensor]
"""image [N, 3, S, S] and masks [N, M, S, S]; of a video model [N, T, 3, S, S] and [N, T, M, S, S]."""


def output_shapes(network: C2FNetwork) -> Shapes:
    """The outputs of the exported network in order, each with its shape after N."""
    config, size = network.config, network.config.crop_size
    states = {f"{state.name}_next": state.shape for state in config.temporal_spec().state}
    every = {"amodal": (size, size), "coarse": (size, size), "tokens": (config.grid**2,), **states}
    return {name: every[name] for name in network.outputs}


@dataclass(frozen=True)
class _Exported:
    """The bundle's graphs, and both ways to run the whole model on the arrays of `Manifest.inputs`."""

    graph: GraphSpec
    frame_graph: GraphSpec | None
    in_torch: Step
    in_onnxruntime: Step


def export_bundle(
    network: C2FNetwork,
    crop: CropSpec,
    spec: InputSpec,
    name: str,
    description: str,
    golden: Batch,
    made: Mapping[str, Any],
    folder: Path,
) -> float:
    """Write the bundle to `folder` (replaced as a whole) and return the largest difference torch - ONNX Runtime.

    crop, spec: how the network's inputs are made; golden: N >= 1 such inputs, stored with their outputs; of a streaming
    network with the states that they have after some frames, over which the difference is taken too.
    A network of clips becomes two graphs, one of single frames. Raises ValueError above `PARITY` or if tokens differ.
    """
    network, config = network.eval(), network.config
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        part = Path(temporary) / "bundle"
        part.mkdir()
        exported = (_export_clips if config.frames > 1 else _export_frames)(network, golden, part)
        inputs = {"image": golden[0].numpy(), "masks": golden[1].numpy()}
        rolled = 0.0
        if config.is_stream:
            over = roll_out(exported.in_torch, exported.in_onnxruntime, *inputs.values(), config.temporal_spec())
            inputs, rolled = over.inputs, over.difference
        difference, outputs = _parity(exported, inputs, rolled)
        kept = {"amodal", *(f"{state.name}_next" for state in config.temporal_spec().state)}
        np.savez_compressed(part / GOLDEN, **inputs, **{name: outputs[name] for name in outputs if name in kept})
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            model_id=name,
            description=description,
            temporal=config.temporal_spec(),
            crop=crop,
            input=spec,
            tokens=TokenSpec(config.grid, config.tokenizer.codebook_size, config.inference.steps),
            mask_threshold=config.mask_threshold,
            graph=exported.graph,
            golden=GoldenSpec(GOLDEN, sha256(part / GOLDEN), GOLDEN_TOLERANCE),
            made={**made, "parity_torch_onnxruntime": round(difference, 8)},
            frame_graph=exported.frame_graph,
        )
        (part / MANIFEST).write_text(yaml.safe_dump(to_plain(manifest), sort_keys=False))
        if folder.exists():
            shutil.rmtree(folder)
        shutil.move(str(part), str(folder))
    return difference


def _export_frames(network: C2FNetwork, golden: Batch, folder: Path) -> _Exported:
    """One graph: of a network that sees the newest frame, and its states if it streams."""
    config = network.config
    example = {"image": golden[0], "masks": golden[1]}
    for name, shape in state_inputs(config.temporal_spec()):
        kind = torch.int64 if name == "ages" else torch.float32
        example[name] = torch.zeros(len(golden[0]), *shape[1:], dtype=kind)
    whole, names = Inference(network), list(network.outputs)
    graph = _write(whole, example, names, folder / GRAPH, _limit(config, 1))
    return _Exported(graph, None, torch_step(whole, names), _session(folder / GRAPH))


def _export_clips(network: C2FNetwork, golden: Batch, folder: Path) -> _Exported:
    """Two graphs: of single frames, and of a clip's frames together."""
    config, frames, of_frames = network.config, network.config.frames, FrameGraph(network)
    example = {"image": golden[0][:1].flatten(0, 1), "masks": golden[1][:1].flatten(0, 1)}
    frame_graph = _write(of_frames, example, list(of_frames.names), folder / FRAME_GRAPH, _limit(config, 1))
    with torch.no_grad():
        made = dict(zip(of_frames.names, of_frames(*example.values()), strict=True))
    windows = WindowGraph(network).eval()
    example = window_inputs(made, frames)
    graph = _write(windows, example, list(network.outputs), folder / GRAPH, _limit(config, frames))
    first, second = _session(folder / FRAME_GRAPH), _session(folder / GRAPH)

    def both(inputs: Arrays) -> Arrays:
        flat = first({name: array.reshape(-1, *array.shape[2:]) for name, array in inputs.items()})
        joined = window_inputs({name: torch.from_numpy(array) for name, array in flat.items()}, frames)
        return second({name: x.contiguous().numpy() for name, x in joined.items()})

    return _Exported(graph, frame_graph, torch_step(Inference(network), list(network.outputs)), both)


def _write(module: nn.Module, example: Tensors, names: list[str], file: Path, limit: int) -> GraphSpec:
    """The module's graph in `file`, and what the manifest says of it; shapes are those that `example` gives."""
    with torch.no_grad():
        outputs = dict(zip(names, module(*example.values()), strict=True))
    export_onnx(module, example, {name: tuple(x.shape[1:]) for name, x in outputs.items()}, file)
    return GraphSpec(file.name, sha256(file), _specs(example), _specs(outputs), limit)


def _specs(tensors: Tensors) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name, str(x.dtype).removeprefix("torch."), ("N", *x.shape[1:])) for name, x in tensors.items()
    )


def batch_limit(config: NetworkConfig) -> int:
    """Objects in one call of the whole network, so that its activations stay near `BATCH_MIB`; 0 (no limit) for a small
    one.

    Counted are the finest level of the tokenizer and the first of the encoder, three maps of each at a time.
    """
    return _limit(config, config.frames)


def _limit(config: NetworkConfig, frames: int) -> int:
    finest = config.tokenizer.channels * (config.crop_size // config.tokenizer.patch) ** 2
    first = config.encoder.outputs[0] * (config.crop_size // config.encoder.reductions[0]) ** 2
    mib = 3 * 4 * frames * max(finest, first) / (1 << 20)
    most = int(BATCH_MIB // mib)
    return 0 if most >= 64 else max(1, most)


def _parity(exported: _Exported, inputs: Arrays, difference: float) -> tuple[float, Arrays]:
    """Largest difference of any output between torch and ONNX Runtime, at least `difference`, and the latter's outputs.

    Raises ValueError above `PARITY`, for a value that is no number, and if tokens differ.
    """
    expected, found = exported.in_torch(inputs), exported.in_onnxruntime(inputs)
    difference = float(np.maximum(difference, largest_difference(expected, found)))
    wrong = int((expected["tokens"] != found["tokens"]).sum())
    if not difference <= PARITY or wrong:
        raise ValueError(
            f"ONNX Runtime differs from torch by {difference:.2g} and in {wrong} tokens, at most {PARITY} and 0 allowed"
        )
    return difference, found


def _session(graph: Path) -> Step:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True))
