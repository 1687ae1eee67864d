"""Graphs in float16 and bfloat16: what is costly is low, what is delicate stays float32, and results stay close."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from c2f_ros.bundle import load_bundle
from c2f_ros.contract import ContractError
from c2f_ros.low_precision import PRODUCTS, delicate_nodes, lowered

ROOT = Path(__file__).resolve().parent.parent
MODELS = sorted(path.parent for path in ROOT.glob("models/*/manifest.yaml"))
LOW = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


def graph(nodes: list, outputs: dict[str, int], constants: dict[str, np.ndarray], shape: tuple) -> onnx.ModelProto:
    """A model with one input x [N, *shape]."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])]
    made = [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()]
    held = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    return helper.make_model(
        helper.make_graph(nodes, "g", inputs, made, held), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )


def types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every tensor, inferred; fails where a node's inputs disagree."""
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    found = {tensor.name: tensor.data_type for tensor in inferred.initializer}
    for value in (*inferred.input, *inferred.output, *inferred.value_info):
        found[value.name] = value.type.tensor_type.elem_type
    return found


def classifier(scale: float = 1.0) -> onnx.ModelProto:
    """Two products, a sum of squares, and the choice of the largest logit."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["hidden"]),
        helper.make_node("Mul", ["hidden", "scale"], ["scaled"]),
        helper.make_node("Pow", ["scaled", "two"], ["squares"]),
        helper.make_node("MatMul", ["squares", "second"], ["logits"]),
        helper.make_node("Relu", ["logits"], ["kept"]),
        helper.make_node("ArgMax", ["kept"], ["choice"], axis=1),
    ]
    constants = {
        "first": rng.standard_normal((8, 8)).astype(np.float32),
        "second": rng.standard_normal((8, 8)).astype(np.float32),
        "scale": np.float32([scale]),
        "two": np.float32(2.0),
    }
    return graph(nodes, {"choice": TensorProto.INT64, "scaled": TensorProto.FLOAT}, constants, (8,))


def run(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # else casts cancel out
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


@pytest.mark.parametrize("precision", LOW)
def test_products_are_low_but_the_one_before_a_choice_and_sums_of_squares(precision):
    found = types(lowered(classifier(), precision))
    assert found["hidden"] == LOW[precision]
    assert found["squares"] == found["logits"] == found["kept"] == TensorProto.FLOAT


@pytest.mark.parametrize("precision", LOW)
def test_inputs_and_outputs_keep_their_types_and_names(precision):
    before, after = classifier().graph, lowered(classifier(), precision).graph
    assert list(after.input) == list(before.input) and list(after.output) == list(before.output)


def test_results_are_those_of_float32_within_the_rounding():
    x = np.random.default_rng(1).standard_normal((5, 8)).astype(np.float32)
    expected, found = run(classifier(), {"x": x}), run(lowered(classifier(), "fp16"), {"x": x})
    np.testing.assert_array_equal(found["choice"], expected["choice"])
    np.testing.assert_allclose(found["scaled"], expected["scaled"], rtol=2e-2, atol=2e-2)
    assert np.abs(found["scaled"] - expected["scaled"]).max() > 0


def test_a_constant_that_float16_cannot_hold_stays_float32():
    assert types(lowered(classifier(scale=1e6), "fp16"))["scale"] == TensorProto.FLOAT
    assert types(lowered(classifier(scale=1e6), "bf16"))["scale/low"] == TensorProto.BFLOAT16
    found = run(lowered(classifier(scale=1e6), "fp16"), {"x": np.ones((1, 8), np.float32)})
    assert np.isfinite(found["scaled"]).all()


def test_an_infinite_constant_stays_infinite():
    model = classifier(scale=-np.inf)
    low = {tensor.name: tensor for tensor in lowered(model, "fp16").graph.initializer}["scale/low"]
    assert np.isneginf(numpy_helper.to_array(low)).all()


def test_positions_at_which_a_map_is_sampled_stay_float32():
    nodes = [
        helper.make_node("Conv", ["x", "weight"], ["map"]),
        helper.make_node("Transpose", ["x"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("Mul", ["last", "half"], ["grid"]),
        helper.make_node("GridSample", ["map", "grid"], ["sampled"]),
    ]
    constants = {"weight": np.ones((3, 2, 1, 1), np.float32), "half": np.float32(0.5)}
    found = types(lowered(graph(nodes, {"sampled": TensorProto.FLOAT}, constants, (2, 4, 4)), "fp16"))
    assert found["map"] == TensorProto.FLOAT16
    assert found["last"] == found["grid"] == TensorProto.FLOAT


def test_a_tensor_that_many_read_is_cast_once():
    nodes = [helper.make_node("Relu", ["x"], [f"y{k}"]) for k in range(4)]
    model = lowered(graph(nodes, {f"y{k}": TensorProto.FLOAT for k in range(4)}, {}, (2,)), "fp16")
    assert sum(node.op_type == "Cast" and node.input[0] == "x" for node in model.graph.node) == 1


def test_a_graph_with_branches_is_refused():
    branch = helper.make_graph([], "empty", [], [])
    node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    with pytest.raises(ContractError, match="branches"):
        lowered(graph([node], {"y": TensorProto.FLOAT}, {}, (2,)), "fp16")


def test_an_unknown_precision_is_refused():
    with pytest.raises(ContractError, match="fp16 or bf16"):
        lowered(classifier(), "fp8")


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_nearly_all_products_of_the_models_are_low(folder):
    for file in sorted(folder.glob("*.onnx")):
        model = onnx.load(str(file))
        products = sum(node.op_type in PRODUCTS for node in model.graph.node)
        delicate = sum(model.graph.node[index].op_type in PRODUCTS for index in delicate_nodes(model.graph))
        found = types(lowered(model, "fp16"))
        low = sum(
            found[name] == TensorProto.FLOAT16
            for node in model.graph.node if node.op_type in PRODUCTS for name in node.output
        )  # fmt: skip
        assert low == products - delicate and delicate <= 0.1 * products


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_the_models_masks_stay_the_golden_ones_in_float16(folder):
    bundle = load_bundle(folder)
    if bundle.manifest.frame_graph is not None:
        pytest.skip("its golden sample passes through two graphs")
    found = run(lowered(onnx.load(str(bundle.graph_path)), "fp16"), dict(bundle.golden_inputs))
    threshold = bundle.manifest.mask_threshold
    ours, golden = found["amodal"] > threshold, bundle.golden_outputs["amodal"] > threshold
    overlap = (ours & golden).sum((1, 2)) / (ours | golden).sum((1, 2))
    assert overlap.mean() >= 0.995


def test_the_roundings_of_a_product_s_operands_stay_of_one_type():
    """One operand's rounding also feeds a choice, so it is delicate: the product's other one goes with it."""
    whole = {"zero": np.array(0, np.int8)}
    constants = {**whole, "scale": np.array(0.1, np.float32), "w": np.ones((4, 4), np.int8)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["x8"]),
        helper.make_node("DequantizeLinear", ["x8", "scale", "zero"], ["xr"]),
        helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["wr"]),
        helper.make_node("MatMul", ["xr", "wr"], ["y"]),
        helper.make_node("ArgMax", ["xr"], ["k"], axis=1, keepdims=0),
    ]
    low = lowered(graph(nodes, {"y": TensorProto.FLOAT, "k": TensorProto.INT64}, constants, (4,)), "fp16")
    kinds, product = types(low), next(node for node in low.graph.node if node.op_type == "MatMul")
    makers = {name: node for node in low.graph.node for name in node.output}
    assert [makers[name].op_type for name in product.input] == ["DequantizeLinear"] * 2
    assert {kinds[makers[name].input[1]] for name in product.input} == {TensorProto.FLOAT}
