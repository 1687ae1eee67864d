"""Slimming a large graph in little memory: onnxslim copies a model several times, weights and all."""

from __future__ import annotations

from collections.abc import Callable

from needs_torch import onnx

LARGE_BYTES = 1 << 20


def without_weights(slim: Callable) -> Callable:
    """`slim`, applied to the graph with its large weights as inputs, which it does not look into; then they are put
    back. What is slimmed are operators, not weights, so that the graph is the same."""

    def slimmed(file: str) -> onnx.ModelProto:
        model = onnx.load(file)
        large = {tensor.name: tensor for tensor in model.graph.initializer if len(tensor.raw_data) >= LARGE_BYTES}
        small = [tensor for tensor in model.graph.initializer if tensor.name not in large]
        del model.graph.initializer[:]
        model.graph.initializer.extend(small)
        for name, tensor in large.items():
            model.graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
        found = slim(model)
        kept = [value for value in found.graph.input if value.name not in large]
        used = {name for node in found.graph.node for name in node.input}
        del found.graph.input[:]
        found.graph.input.extend(kept)
        found.graph.initializer.extend(tensor for name, tensor in large.items() if name in used)
        return found

    return slimmed
