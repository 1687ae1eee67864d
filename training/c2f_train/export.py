"""From weights to a model bundle: ONNX graph, golden sample, manifest; torch against ONNX Runtime."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
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
    TemporalSpec,
    TensorSpec,
    TokenSpec,
    to_plain,
)
from c2f_train.model.config import NetworkConfig
from c2f_train.model.network import C2FNetwork

OPSET = 17
GRAPH, GOLDEN, MANIFEST = "c2f.onnx", "golden.npz", "manifest.yaml"
PARITY = 1e-3
"""Largest difference of probabilities between torch and ONNX Runtime that an export may show (small ones: 1e-6)."""
GOLDEN_TOLERANCE = 2e-3
"""What another machine's engine may differ from the stored output (other instruction sets round differently)."""
BATCH_MIB = 400
"""Activations of one engine call, roughly, that decide how many objects of a large model it may take."""

Shapes = dict[str, tuple[int, ...]]
Batch = tuple[Tensor, Tensor]
"""image [N, 3, S, S] and masks [N, M, S, S]; of a video model [N, T, 3, S, S] and [N, T, M, S, S]."""


def output_shapes(config: NetworkConfig) -> Shapes:
    """The graph's outputs in order, each with its shape after N."""
    size = config.crop_size
    return {"amodal": (size, size), "coarse": (size, size), "tokens": (config.grid**2,)}


class _TwoInputs(nn.Module):
    """`module(image, masks)`: the exporter takes every further argument, also one with a default, for an input."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, image: Tensor, masks: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.module(image, masks)


def export_onnx(module: nn.Module, example: Batch, outputs: Mapping[str, tuple[int, ...]], file: Path) -> None:
    """Write `module(image, masks)` as ONNX with a dynamic batch N; the other sizes are those of `example`.

    outputs: names in order, each with its shape after N. Two runs give equal bytes. Weights that several steps use are
    stored once.
    """
    module = _TwoInputs(module).eval()
    names, rows = ("image", "masks"), 1 if example[0].ndim == 5 else 2
    dynamic = {name: {0: "N"} for name in (*names, *outputs)}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, tuple(torch.zeros(rows, *x.shape[1:]) for x in example), str(file), input_names=list(names),
            output_names=list(outputs), dynamic_axes=dynamic, opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    model = onnx.load(str(file))
    for value in model.graph.output:
        _set_shape(value.type.tensor_type.shape, ("N", *outputs[value.name]))
    model.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""
    _share_weights(model.graph)
    onnx.save(model, str(file))
    onnx.checker.check_model(str(file))


def _set_shape(shape: onnx.TensorShapeProto, sizes: tuple[int | str, ...]) -> None:
    """The exporter does not always find the sizes that are fixed."""
    del shape.dim[:]
    for size in sizes:
        if isinstance(size, str):
            shape.dim.add(dim_param=size)
        else:
            shape.dim.add(dim_value=size)


def _share_weights(graph: onnx.GraphProto) -> None:
    """Initializers of equal type, shape and bytes become one: unrolled steps get copies of what they transpose."""
    first: dict[bytes, str] = {}
    renamed: dict[str, str] = {}
    for index in reversed(range(len(graph.initializer))):
        tensor = graph.initializer[index]
        about = f"{tensor.data_type} {list(tensor.dims)}".encode()
        key = hashlib.sha256(about + (tensor.raw_data or _without_name(tensor))).digest()
        if key in first:
            renamed[tensor.name] = first[key]
            del graph.initializer[index]
        else:
            first[key] = tensor.name
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = renamed.get(name, name)


def _without_name(tensor: onnx.TensorProto) -> bytes:
    copy = onnx.TensorProto()
    copy.CopyFrom(tensor)
    copy.ClearField("name")
    return copy.SerializeToString()


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

    crop, spec: how the network's inputs are made; golden: N >= 1 such inputs, stored with their output.
    Raises ValueError above `PARITY` or if tokens differ.
    """
    network = network.eval()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        part = Path(temporary) / "bundle"
        part.mkdir()
        export_onnx(network, golden, output_shapes(network.config), part / GRAPH)
        difference, amodal = parity(network, part / GRAPH, golden)
        np.savez_compressed(part / GOLDEN, image=golden[0].numpy(), masks=golden[1].numpy(), amodal=amodal)
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            model_id=name,
            description=description,
            temporal=_temporal(network.config),
            crop=crop,
            input=spec,
            tokens=TokenSpec(
                network.config.grid, network.config.tokenizer.codebook_size, network.config.inference.steps
            ),
            mask_threshold=network.config.mask_threshold,
            graph=_graph(network.config, crop, spec, part / GRAPH),
            golden=GoldenSpec(GOLDEN, sha256(part / GOLDEN), GOLDEN_TOLERANCE),
            made={**made, "parity_torch_onnxruntime": round(difference, 8)},
        )
        (part / MANIFEST).write_text(yaml.safe_dump(to_plain(manifest), sort_keys=False))
        if folder.exists():
            shutil.rmtree(folder)
        shutil.move(str(part), str(folder))
    return difference


def _temporal(config: NetworkConfig) -> TemporalSpec:
    return TemporalSpec("window" if config.frames > 1 else "image", config.frames)


def _graph(config: NetworkConfig, crop: CropSpec, spec: InputSpec, file: Path) -> GraphSpec:
    size, frames = crop.size, (config.frames,) if config.frames > 1 else ()
    planes = len(spec.mask_channels)
    inputs = (
        TensorSpec("image", "float32", ("N", *frames, 3, size, size)),
        TensorSpec("masks", "float32", ("N", *frames, planes, size, size)),
    )
    outputs = tuple(
        TensorSpec(name, "int64" if name == "tokens" else "float32", ("N", *shape))
        for name, shape in output_shapes(config).items()
    )
    return GraphSpec(file.name, sha256(file), inputs, outputs, batch_limit(config))


def batch_limit(config: NetworkConfig) -> int:
    """Objects in one engine call, so that its activations stay near `BATCH_MIB`; 0 (no limit) for a small network.

    Counted are the finest level of the tokenizer and the first of the encoder, three maps of each at a time.
    """
    finest = config.tokenizer.channels * (config.crop_size // config.tokenizer.patch) ** 2
    first = config.encoder.outputs[0] * (config.crop_size // config.encoder.reductions[0]) ** 2
    mib = 3 * 4 * config.frames * max(finest, first) / (1 << 20)
    most = int(BATCH_MIB // mib)
    return 0 if most >= 64 else max(1, most)


def parity(network: C2FNetwork, graph: Path, golden: Batch) -> tuple[float, np.ndarray]:
    """Largest difference of probabilities between torch and ONNX Runtime, and the latter's amodal output.

    Raises ValueError above `PARITY`, for a value that is no number, and if tokens differ.
    """
    with torch.no_grad():
        expected = [t.numpy() for t in network(*golden)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    found = session.run(None, {"image": golden[0].numpy(), "masks": golden[1].numpy()})
    difference = max(float(np.abs(expected[i] - found[i]).max()) for i in (0, 1))
    wrong = int((expected[2] != found[2]).sum())
    if not difference <= PARITY or wrong:
        raise ValueError(
            f"ONNX Runtime differs from torch by {difference:.2g} and in {wrong} tokens, at most {PARITY} and 0 allowed"
        )
    return difference, found[0]


def sha256(file: Path) -> str:
    """Hash of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with open(file, "rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
