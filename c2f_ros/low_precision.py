"""ONNX graphs in float16 or bfloat16, for engines that compute in the types that the graph says.

Inputs and outputs of the graph stay float32. What is costly and robust becomes low: convolutions, matrix products, and
what moves or bends their results. What is delicate stays float32: sums of squares and other statistics; everything
between the last product and a choice (the nearest code, the likeliest token: a flipped choice changes whole patches);
positions at which maps are sampled; constants that the low type cannot hold. A graph with products in int8
(`engines/onnxruntime_quantizer.py`) is made low around them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from c2f_ros.contract import ContractError

if TYPE_CHECKING:
    import onnx

TYPES = {"fp16": "FLOAT16", "bf16": "BFLOAT16"}
"""Names of `onnx.TensorProto` types by precision."""
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
BENDS = frozenset(
    "Add Clip Elu Erf HardSigmoid HardSwish LayerNormalization LeakyRelu Max Min Mul Neg Relu Sigmoid Softmax Sub Tanh"
    " BatchNormalization Gelu Mish PRelu Selu Softplus Swish".split()
)
MOVES = frozenset(
    "AveragePool Cast Concat DepthToSpace Expand Flatten Gather GatherElements GlobalAveragePool GlobalMaxPool Identity"
    " MaxPool Pad ReduceMax ReduceMin Reshape Resize Slice SpaceToDepth Split Squeeze Tile Transpose Unsqueeze"
    " Where".split()
)
ROUNDINGS = frozenset({"QuantizeLinear", "DequantizeLinear"})
"""To whole numbers and back: an int8 graph has them around its products."""
SMALLEST_SCALE = 2.0**-14
"""Below, float16 has fewer digits."""
LARGE_BYTES = 1 << 12
CHOICES = frozenset({"ArgMax", "ArgMin", "Ceil", "Floor", "Round", "TopK"})
BLIND = frozenset({"Shape", "Size"})
"""They see no values, and take every type."""
ALWAYS_FLOAT = {"Resize": (1, 2), "BatchNormalization": (1, 2, 3, 4)}
"""Inputs that stay float32 whatever the node computes in: scales of a resize, running statistics."""


def lowered(model: onnx.ModelProto, precision: str) -> onnx.ModelProto:
    """`model`, changed in place, in the low type of `precision` ("fp16", "bf16") but for what is delicate.

    Raises ContractError if the graph's types cannot be told, or it has branches or loops.
    """
    import onnx

    if precision not in TYPES:
        raise ContractError(f"precision {precision!r} is no low one, expected {' or '.join(TYPES)}; correct it")
    low = onnx.TensorProto.DataType.Value(TYPES[precision])
    _constants_to_initializers(model.graph)
    floats = _float_tensors(model)
    _Lowering(model.graph, floats, low).run()
    del model.graph.value_info[:]
    return model


class _Lowering:
    """Rewrites one graph: every node gets its inputs in the type it computes in, through casts made once."""

    def __init__(self, graph: onnx.GraphProto, floats: set[str], low: int) -> None:
        self._graph, self._floats, self._low = graph, floats, low
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._scales = {node.input[1] for node in graph.node if node.op_type in ROUNDINGS}
        self._is_low: set[str] = set()
        self._made: dict[tuple[str, bool], str] = {}

    def run(self) -> None:
        unfit = {name for name in self._initializers if name in self._floats and not self._fits(name)}
        delicate = delicate_nodes(self._graph)
        delicate = _float_products(self._graph, delicate, unfit & self._scales)
        nodes: list[onnx.NodeProto] = []
        for index, node in enumerate(self._graph.node):
            low = index not in delicate and _computes_low(node, self._initializers) and not unfit & set(node.input)
            nodes.extend(self._typed(node, low))
        nodes.extend(self._float_outputs(nodes))
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        used = {name for node in nodes for name in node.input} | {value.name for value in self._graph.output}
        kept = [tensor for tensor in self._initializers.values() if tensor.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)

    def _typed(self, node: onnx.NodeProto, low: bool) -> Iterator[onnx.NodeProto]:
        """The node, after the casts that it needs."""
        for position, name in enumerate(node.input):
            if name in self._floats and node.op_type not in BLIND:
                wants_low = low and position not in ALWAYS_FLOAT.get(node.op_type, ())
                node.input[position] = yield from self._as(name, wants_low)
        if low:
            made = [name for name in node.output if name in self._floats]
            self._is_low |= set(made)
            if node.op_type == "Cast" and made:
                node.attribute[0].i = self._low
        yield node

    def _as(self, name: str, low: bool) -> Generator[onnx.NodeProto, None, str]:
        """The tensor in the wanted type: itself, a converted constant, or the output of a cast, which is yielded."""
        from onnx import TensorProto, helper

        if (name in self._is_low) == low:
            return name
        if (name, low) not in self._made:
            made = self._made[name, low] = f"{name}/{'low' if low else 'float'}"
            if name in self._initializers:
                self._initializers[made] = self._converted(name, made)
            else:
                yield helper.make_node(
                    "Cast", [name], [made], f"{made}/cast", to=self._low if low else TensorProto.FLOAT
                )
        return self._made[name, low]

    def _float_outputs(self, nodes: list[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
        """Casts that give the graph's outputs back as float32, under their own names."""
        from onnx import TensorProto, helper

        renamed = {value.name: f"{value.name}/low" for value in self._graph.output if value.name in self._is_low}
        for node in nodes:
            for names in (node.input, node.output):
                for position, name in enumerate(names):
                    names[position] = renamed.get(name, name)
        for name, inner in renamed.items():
            yield helper.make_node("Cast", [inner], [name], f"{name}/cast", to=TensorProto.FLOAT)

    def _array(self, name: str) -> np.ndarray:
        from onnx import numpy_helper

        return numpy_helper.to_array(self._initializers[name])

    def _fits(self, name: str) -> bool:
        """Whether the low type holds all values: larger ones would become infinite, small scales lose their digits."""
        array = self._array(name)
        if name in self._scales and float(array.min()) < SMALLEST_SCALE:
            return False
        largest = float(np.abs(array[np.isfinite(array)]).max(initial=0.0))
        return largest <= _largest(self._low)

    def _converted(self, name: str, made: str) -> onnx.TensorProto:
        from onnx import TensorProto, helper

        array = self._array(name).astype(helper.tensor_dtype_to_np_dtype(self._low))
        return TensorProto(name=made, data_type=self._low, dims=array.shape, raw_data=array.tobytes())


def delicate_nodes(graph: onnx.GraphProto) -> set[int]:
    """Indices of the nodes whose rounding would flip a choice or move a sampled position.

    From a choice upwards to the last product before it, that one included; from sampled positions up to the graph's
    inputs or a product.
    """
    makers = {name: index for index, node in enumerate(graph.node) for name in node.output}
    found: set[int] = set()
    open_names: list[str] = []
    for node in graph.node:
        if node.op_type in CHOICES:
            open_names.append(node.input[0])
        elif node.op_type == "GridSample":
            open_names.append(node.input[1])
    while open_names:
        index = makers.get(open_names.pop())
        if index is None or index in found:
            continue
        found.add(index)
        if graph.node[index].op_type not in PRODUCTS:
            open_names.extend(graph.node[index].input)
    return found


def _float_products(graph: onnx.GraphProto, floats: set[int], unfit: set[str]) -> set[int]:
    """`floats`, nodes that stay float32, and all that must stay so with them: scales of one product's operands have one
    type, so where one does not fit or is delicate, the product, its other operands' roundings and what shares those."""
    makers = {name: index for index, node in enumerate(graph.node) for name in node.output}
    groups = []
    for index, node in enumerate(graph.node):
        rounded = [k for name in node.input if (k := makers.get(name)) is not None]
        rounded = [k for k in rounded if graph.node[k].op_type == "DequantizeLinear"]
        if node.op_type in PRODUCTS and rounded:
            groups.append({index, *rounded})
    kept = floats | {k for k, node in enumerate(graph.node) if node.op_type in ROUNDINGS and unfit & set(node.input)}
    while more := [group for group in groups if group & kept and not group <= kept]:
        kept = kept.union(*more)
    return kept


def _computes_low(node: onnx.NodeProto, constants: Iterable[str]) -> bool:
    if node.op_type == "Div":
        return node.input[1] in constants  # by a fixed number; others may be small
    return node.op_type in PRODUCTS | BENDS | MOVES | ROUNDINGS


def _largest(low: int) -> float:
    from onnx import TensorProto

    return 65504.0 if low == TensorProto.FLOAT16 else float(np.finfo(np.float32).max)


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    """Constant nodes as initializers, so that both are converted alike."""
    kept = []
    for node in graph.node:
        value = next((a.t for a in node.attribute if a.name == "value"), None) if node.op_type == "Constant" else None
        if value is None:
            kept.append(node)
            continue
        value.name = node.output[0]
        graph.initializer.append(value)
    del graph.node[:]
    graph.node.extend(kept)


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    """Names of all float32 tensors. Raises ContractError if a tensor's type is not known."""
    import onnx

    inner = [node.op_type for node in model.graph.node for a in node.attribute if a.HasField("g")]
    if inner:
        raise ContractError(f"the graph has branches ({', '.join(sorted(set(inner)))}), expected none; use fp32")
    graph = onnx.shape_inference.infer_shapes(_without_weights(model)).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        types[value.name] = value.type.tensor_type.elem_type
    unknown = [name for node in graph.node for name in node.output if name and not types.get(name)]
    if unknown:
        raise ContractError(f"the type of {unknown[0]} cannot be told from the graph; use fp32")
    return {name for name, kind in types.items() if kind == onnx.TensorProto.FLOAT}


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that has large constants as inputs: types do not depend on them, and a large model's are gigabytes."""
    import onnx

    copy = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    copy.graph.name = model.graph.name
    for part in ("node", "input", "output", "value_info"):
        getattr(copy.graph, part).extend(getattr(model.graph, part))
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) <= LARGE_BYTES:
            copy.graph.initializer.append(tensor)
        else:
            copy.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return copy
