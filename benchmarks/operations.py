"""What a graph must do, counted and not measured: multiply-adds, and bytes that have to be moved at least."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime

Shape = tuple[int, ...]

STAGES = (
    ("mask encoder", re.compile(r"encoder/(conv_in|down|mid|norm_out|conv_out|nonlinearity)|quant_conv")),
    ("image encoder", re.compile(r"encoder/|recall/")),
    ("mask decoder", re.compile(r"decoder/|post_quant_conv")),
    ("transformer", re.compile(r"transformer/|conv_in/|blocks\.|dec/|m_dec/")),
    ("refiner", re.compile(r"refiner/|adapt|project/|trunk/|rise|finest/|amodal/|visible/|conv_adapter")),
    ("memory", re.compile(r"keep/|remember/|recall_late/")),
)
"""Parts of the network, and how a node's name begins that belongs to one, behind what every name begins with."""
REST = "between them"


@dataclass(frozen=True)
class Work:
    """macs: multiply-adds of convolutions and matrix products; weights: bytes of parameters, each read once;
    activations: bytes that these operations read and write. What is element by element counts as fused with them."""

    macs: int = 0
    weights: int = 0
    activations: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.macs + other.macs, self.weights + other.weights, self.activations + other.activations)

    def rows(self, count: int) -> Work:
        """Of so many objects in one call: weights are read once."""
        return Work(self.macs * count, self.weights, self.activations * count)

    @property
    def bytes(self) -> int:
        return self.weights + self.activations

    def plain(self) -> dict[str, int]:
        return {"macs": self.macs, "weight_bytes": self.weights, "activation_bytes": self.activations}


def stage_of(node: str) -> str:
    """The part of the network that a node's name belongs to; `REST` for the arithmetic in between."""
    # ONNX Runtime writes `fused` before the name of a convolution that it joined with an activation.
    name = re.sub(r"^(fused )?/?(module/)*", "", node)
    return next((stage for stage, begins in STAGES if begins.match(name)), REST)


def work_of_graph(file: Path) -> dict[str, Work]:
    """The work of one object in the graph, by the stages of the network, those with none left out.

    Constants are folded first, so that what an engine computes only once does not count.
    """
    with tempfile.TemporaryDirectory() as folder:
        return work_of_model(onnx.load(str(_folded(file, Path(folder) / "folded.onnx"))))


def work_of_model(model: onnx.ModelProto) -> dict[str, Work]:
    """As `work_of_graph`, for a graph whose every shape can be told. Raises ValueError for one whose cannot."""
    shapes, sizes = _shapes(onnx.shape_inference.infer_shapes(model).graph)
    weights = {tensor.name for tensor in model.graph.initializer}
    found: dict[str, Work] = {}
    read: set[str] = set()
    for node in model.graph.node:
        if node.op_type not in MACS:
            continue
        unknown = [name for name in (*node.input, *node.output) if name and name not in shapes]
        if unknown:
            raise ValueError(
                f"the shape of {unknown[0]} cannot be told, which {node.op_type} needs; fold constants first"
            )
        nbytes = {name: math.prod(shapes[name]) * sizes[name] for name in (*node.input, *node.output) if name}
        work = Work(
            MACS[node.op_type](node, shapes),
            sum(n for name, n in nbytes.items() if name in weights and name not in read),
            sum(n for name, n in nbytes.items() if name not in weights),
        )
        read |= weights & set(node.input)
        stage = stage_of(node.name)
        found[stage] = found.get(stage, Work()) + work
    return found


def total(work: Mapping[str, Work]) -> Work:
    """Of all stages."""
    return sum(work.values(), Work())


def _folded(file: Path, into: Path) -> Path:
    """The graph with one object, constants folded and normalization in the weights, as an engine would have it."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.add_free_dimension_override_by_name("N", 1)
    options.optimized_model_filepath = str(into)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return into


def _shapes(graph: onnx.GraphProto) -> tuple[dict[str, Shape], dict[str, int]]:
    """Shapes, and bytes of one element, of all values whose shape is known."""
    shapes: dict[str, Shape] = {}
    sizes: dict[str, int] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        dims = [d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim]
        if tensor.HasField("shape") and min(dims, default=1) >= 0:
            shapes[value.name], sizes[value.name] = tuple(dims), _item(tensor.elem_type)
    for tensor in graph.initializer:
        shapes[tensor.name], sizes[tensor.name] = tuple(tensor.dims), _item(tensor.data_type)
    return shapes, sizes


def _item(kind: int) -> int:
    return onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize


def _convolution(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int:
    return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])


def _transposed_convolution(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int:
    return math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])


def _matrix_product(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int:
    return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]


def _gemm(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int:
    turned = any(a.name == "transA" and a.i for a in node.attribute)
    return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][0 if turned else 1]


def _einsum(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int:
    """Every combination of all letters once."""
    equation = next(a.s.decode() for a in node.attribute if a.name == "equation").replace(" ", "")
    terms = equation.split("->")[0].split(",")
    letters = {
        c: n for term, name in zip(terms, node.input, strict=True) for c, n in zip(term, shapes[name], strict=True)
    }
    return math.prod(letters.values())


def _attention(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int:
    """Queries with keys, and weights with values: ONNX's own operator, [N, heads, length, width] each."""
    query, key, value = (shapes[name] for name in node.input[:3])
    return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


MACS: dict[str, Callable[[onnx.NodeProto, Mapping[str, Shape]], int]] = {
    "Conv": _convolution,
    "ConvTranspose": _transposed_convolution,
    "MatMul": _matrix_product,
    "Gemm": _gemm,
    "Einsum": _einsum,
    "Attention": _attention,
}
