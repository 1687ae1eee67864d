"""int8: samples are recorded from a bag, products are rounded, and masks stay what they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from built_plans import compiler
from onnx import TensorProto
from recordings import FRAMES, recorded

from c2f_ros import calibration
from c2f_ros.bag_making import BagOptions, write_bag
from c2f_ros.build_engine_cli import main
from c2f_ros.bundle import load_bundle
from c2f_ros.calibration import Recorder, recorded_samples
from c2f_ros.contract import ContractError
from c2f_ros.engine_plans import ANY_CARD, BuildRequest, find_plans
from c2f_ros.engines.golden import LEAST_IOU
from c2f_ros.engines.onnxruntime_quantizer import quantized
from c2f_ros.low_precision import PRODUCTS, delicate_nodes, lowered
from c2f_ros.plan_store import PlanStore

MODEL = Path(__file__).resolve().parent.parent / "models" / "c2f_nano"


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bags") / "bag"
    write_bag(folder, recorded(), BagOptions())
    return folder


@pytest.fixture(scope="module")
def rounded() -> onnx.ModelProto:
    """The model in int8, fitted to its golden sample."""
    bundle = load_bundle(MODEL)
    return quantized(bundle.graph_path, [bundle.golden_inputs])


def test_samples_are_what_the_graph_is_given_for_the_bag_s_objects(bag):
    bundle = load_bundle(MODEL)
    samples = recorded_samples(bundle, bag)
    assert list(samples) == ["c2f.onnx"] and len(samples["c2f.onnx"]) == FRAMES
    for sample in samples["c2f.onnx"]:
        assert {name: array.shape[1:] for name, array in sample.items()} == {
            tensor.name: tensor.shape[1:] for tensor in bundle.manifest.graph.inputs
        }
        assert sample["masks"].any()


def test_a_long_bag_leaves_an_even_draw_of_bounded_size(monkeypatch):
    monkeypatch.setattr(calibration, "MOST_SAMPLES", 50)
    spec, recorder = load_bundle(MODEL).manifest.graph, Recorder()
    for index in range(2000):
        recorder(spec, {"image": np.full((9, 2), index, np.float32)})
    kept = np.array([sample["image"][0, 0] for sample in recorder.samples[spec.file]])
    assert len(kept) == 50 and len(recorder.samples[spec.file][0]["image"]) == calibration.MOST_ROWS
    assert 700 < kept.mean() < 1300 and kept.min() < 300 and kept.max() > 1700


def test_products_are_rounded_but_those_before_a_choice(rounded):
    makers = {name: node.op_type for node in rounded.graph.node for name in node.output}
    delicate = {rounded.graph.node[index].name for index in delicate_nodes(rounded.graph)}
    products = [node for node in rounded.graph.node if node.op_type in PRODUCTS]
    is_rounded = {node.name: makers.get(node.input[0]) == "DequantizeLinear" for node in products}
    assert not any(is_rounded[name] for name in delicate & set(is_rounded))
    assert sum(is_rounded.values()) > 0.7 * len(products)


def test_masks_in_int8_are_close_enough_to_be_used(rounded):
    bundle = load_bundle(MODEL)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        rounded.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )  # fmt: skip
    (found,) = session.run(["amodal"], dict(bundle.golden_inputs))
    threshold = bundle.manifest.mask_threshold
    ours, golden = found > threshold, bundle.golden_outputs["amodal"] > threshold
    overlap = (ours & golden).sum((1, 2)) / (ours | golden).sum((1, 2))
    assert LEAST_IOU <= overlap.mean() and np.abs(found - bundle.golden_outputs["amodal"]).max() > 1e-3


def test_around_the_products_an_int8_graph_is_float16(rounded):
    copy = onnx.ModelProto()
    copy.CopyFrom(rounded)
    model = lowered(copy, "fp16")
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    scales = {kinds[node.input[1]] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    assert TensorProto.FLOAT16 in scales


def test_without_samples_an_int8_plan_is_not_built(tmp_path):
    compiler()
    with pytest.raises(ContractError, match="--calibrate BAG"):
        find_plans(
            load_bundle(MODEL), BuildRequest("tensorrt_rtx", "int8"), PlanStore(tmp_path), ANY_CARD, may_build=True
        )


@pytest.mark.parametrize("words", [["--precision", "int8"], ["--precision", "fp16", "--calibrate", "bag"]])
def test_int8_and_a_bag_go_together(words, capsys):
    assert main([str(MODEL), "--backend", "tensorrt_rtx", *words]) == 1
    assert "go together" in capsys.readouterr().err
