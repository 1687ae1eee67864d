"""A torch module as an ONNX file: named tensors, a dynamic batch, equal bytes, every weight once."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path

import onnx
import onnxslim
import torch
from torch import Tensor, nn

from c2f_train.model.engine_form import engine_form

OPSET = 17
HELD_BYTES = 1 << 18
"""Weights of more bytes are no constants to be computed with."""

Tensors = Mapping[str, Tensor]
"""By name, in the module's order; the first size is N."""


class _Positional(nn.Module):
    """`module(*inputs)`: the exporter takes every further argument, also one with a default, for an input."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.module(*inputs)


def export_onnx(module: nn.Module, example: Tensors, outputs: Mapping[str, tuple[int, ...]], file: Path) -> None:
    """Write `module(*example.values())` as ONNX with a dynamic batch N; the other sizes are those of `example`.

    outputs: names in order, each with its shape after N. Two runs give equal bytes. Weights that several steps use are
    stored once. The graph is that of `engine_form`, all that is constant computed.
    """
    module = _Positional(engine_form(module)).eval()
    rows = 1 if any(x.ndim == 5 for x in example.values()) else 2  # clips are large
    dynamic = {name: {0: "N"} for name in (*example, *outputs)}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, tuple(torch.zeros(rows, *x.shape[1:], dtype=x.dtype) for x in example.values()), str(file),
            input_names=list(example), output_names=list(outputs), dynamic_axes=dynamic, opset_version=OPSET,
            dynamo=False,
        )  # fmt: skip
    model = _slimmed(onnx.load(str(file)))
    for value in model.graph.output:
        _set_shape(value.type.tensor_type.shape, ("N", *outputs[value.name]))
    model.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""
    _share_weights(model.graph)
    onnx.save(model, str(file))
    onnx.checker.check_model(str(file))


def _slimmed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with all constants computed and what they make superfluous left out.

    Large weights are inputs meanwhile: a model of full size took 9 GB with them.
    """
    graph, held = model.graph, {}
    _share_weights(graph)
    for index in reversed(range(len(graph.initializer))):
        tensor = graph.initializer[index]
        if tensor.ByteSize() > HELD_BYTES:
            held[tensor.name] = onnx.TensorProto.FromString(tensor.SerializeToString())
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
            del graph.initializer[index]
    model = onnxslim.slim(model)
    graph = model.graph
    for index in reversed(range(len(graph.input))):
        if graph.input[index].name in held:
            del graph.input[index]
    used = {name for node in graph.node for name in node.input}
    graph.initializer.extend(tensor for name, tensor in held.items() if name in used)
    return model


def sha256(file: Path) -> str:
    """Hash of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with open(file, "rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


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
