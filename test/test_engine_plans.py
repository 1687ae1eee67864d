"""Plans of bundles: found by what they were built of, built where they are missing, never run where they do not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
from built_plans import compiler
from frames import SIZE
from onnx import TensorProto, helper
from toy_bundles import cached_bundle, toy_bundle

from c2f_ros import engine_plans
from c2f_ros.bundle import Bundle
from c2f_ros.contract import ContractError
from c2f_ros.engine_plans import ANY_CARD, BuildRequest, find_plans, plan_key, plan_specs, plans_of
from c2f_ros.engines import tensorrt_library
from c2f_ros.engines.tensorrt_library import is_installed, open_library
from c2f_ros.plan_building import Recipe, Shares, build, profile_rows
from c2f_ros.plan_store import PlanStore

REQUEST = BuildRequest("tensorrt_rtx", "fp32", 3)
KEY_PARTS = {
    "graph_file_sha256": "ab" * 32,
    "gpu_name": "a card",
    "library_version": "1.7.1",
    "precision": "fp16",
    "most_rows": 32,
    "backend": "tensorrt_rtx",
}


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return toy_bundle(tmp_path / "toy", "stretched", None, [1.0])


@pytest.fixture
def store(tmp_path: Path) -> PlanStore:
    return PlanStore(tmp_path / "plans")


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were built since, by the real builder."""
    compiler()
    files: list[str] = []

    def counted(graph: Path, *others: object) -> object:
        files.append(graph.name)
        return build(graph, *others)

    monkeypatch.setattr(engine_plans, "build", counted)
    return files


@pytest.mark.parametrize("name", KEY_PARTS)
def test_every_part_of_the_key_changes_it(name):
    other = 8 if name == "most_rows" else "other"
    assert plan_key(**KEY_PARTS) == plan_key(**KEY_PARTS)
    assert plan_key(**KEY_PARTS) != plan_key(**{**KEY_PARTS, name: other})


def test_a_plan_is_built_once(bundle, store, builds):
    first = plans_of(bundle, REQUEST, store, ANY_CARD, may_build=True)
    second = plans_of(bundle, REQUEST, store, ANY_CARD, may_build=True)
    assert first == second and builds == ["c2f.onnx"]
    about = store.about(find_plans(bundle, REQUEST, store, ANY_CARD, may_build=False)[0].key)
    assert (about["gpu"], about["precision"], about["most_rows"]) == (ANY_CARD, "fp32", 3)


def test_a_plan_for_every_card_serves_the_card_at_hand(bundle, store, builds):
    found = plans_of(bundle, REQUEST, store, ANY_CARD, may_build=True)
    assert plans_of(bundle, REQUEST, store, "NVIDIA RTX 4090", may_build=False) == found


@pytest.mark.parametrize("other", [{"precision": "fp16"}, {"most_rows": 4}])
def test_another_request_is_another_plan(bundle, store, builds, other):
    plans_of(bundle, REQUEST, store, ANY_CARD, may_build=True)
    with pytest.raises(ContractError, match="c2f-build-engine"):
        plans_of(bundle, replace(REQUEST, **other), store, ANY_CARD, may_build=False)


def test_a_plan_of_another_version_is_not_found(bundle, store, builds, monkeypatch):
    plans_of(bundle, REQUEST, store, ANY_CARD, may_build=True)
    monkeypatch.setattr(engine_plans, "library_version", lambda library: "9.9.9")
    with pytest.raises(ContractError, match="has no fp32 plan of toy/c2f.onnx"):
        plans_of(bundle, REQUEST, store, ANY_CARD, may_build=False)


def test_a_damaged_plan_is_built_again_or_refused_never_returned(bundle, store, builds):
    (plan,) = find_plans(bundle, REQUEST, store, ANY_CARD, may_build=True)
    content = bytearray(plan.path.read_bytes())
    content[-1] ^= 1
    plan.path.write_bytes(content)
    with pytest.raises(ContractError, match="damaged or cut"):
        plans_of(bundle, REQUEST, store, ANY_CARD, may_build=False)
    plans_of(bundle, REQUEST, store, ANY_CARD, may_build=True)
    assert builds == ["c2f.onnx"] * 2
    plans_of(bundle, REQUEST, store, ANY_CARD, may_build=False)


def test_both_graphs_of_a_window_model_become_plans(tmp_path, store, builds):
    bundle = cached_bundle(tmp_path / "cached", "stretched", [0.5, 0.5])
    plans = find_plans(bundle, REQUEST, store, ANY_CARD, may_build=True)
    assert builds == [graph.file for graph in bundle.manifest.graphs]
    assert [plan.built.parts for plan in plans] == [1, 1]


def test_outputs_that_the_runtime_does_not_read_are_left_out(bundle):
    assert [tensor.name for tensor in bundle.manifest.graph.outputs] == ["amodal", "extra"]
    assert [[tensor.name for tensor in spec.outputs] for spec in plan_specs(bundle.manifest)] == [["amodal"]]


def test_a_large_graph_has_profiles_from_its_own_bound_to_all_objects(tmp_path):
    (spec,) = plan_specs(toy_bundle(tmp_path / "toy", "stretched", None, [1.0], limit=5).manifest)
    found = {most: profile_rows(spec, most) for most in (2, 5, 6, 20, 32)}
    assert found == {2: (2,), 5: (5,), 6: (5, 6), 20: (5, 20), 32: (5, 20, 32)}
    assert profile_rows(replace(spec, batch_limit=0), 32) == (32,)


def test_a_plan_with_several_profiles_is_compiled_as_one_piece(tmp_path):
    bundle = toy_bundle(tmp_path / "toy", "stretched", None, [1.0], limit=1)
    (spec,) = plan_specs(bundle.manifest)
    built = build(bundle.path(spec), spec, Recipe("fp32", 6, for_any_card=True), compiler())
    assert built.parts == 1
    assert len(built.plan) > len(build(bundle.path(spec), spec, Recipe("fp32", 1, for_any_card=True), compiler()).plan)


def test_progress_never_falls_and_ends_at_one(bundle, store, builds):
    shares: list[float] = []
    plans_of(bundle, REQUEST, store, ANY_CARD, True, lambda share, phase: shares.append(share))
    assert shares == sorted(shares) and shares[-1] == 1.0 and len(shares) > 5


def test_inner_phases_count_within_a_step_of_the_outer_one():
    shares = Shares()
    shares.start("whole", None, 4)
    shares.step("whole", 0)
    shares.start("part", "whole", 2)
    assert shares.share() == 0.25
    shares.step("part", 0)
    assert shares.share() == 0.375
    shares.finish("part")
    shares.step("whole", 3)
    assert shares.share() == 1.0


def graph_file(folder: Path, *nodes: onnx.NodeProto, domain: str = "") -> Path:
    """A graph of inputs image and masks and output amodal, as the toy bundles have them."""

    def tensor(name: str, *shape: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])

    inputs = [tensor("image", 3, SIZE, SIZE), tensor("masks", 1, SIZE, SIZE)]
    graph = helper.make_graph(list(nodes), "g", inputs, [tensor("amodal", SIZE, SIZE)])
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    file = folder / "g.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(file))
    return file


def test_an_operator_that_tensorrt_does_not_know_is_refused_by_name(bundle, tmp_path):
    node = helper.make_node("Vanish", ["masks"], ["amodal"], domain="ours")
    (spec,) = plan_specs(bundle.manifest)
    with pytest.raises(ContractError, match="not understood by TensorRT.*Vanish"):
        build(graph_file(tmp_path, node, domain="ours"), spec, Recipe("fp32", 2, True), compiler())


def test_a_graph_with_other_shapes_than_its_manifest_is_refused(bundle, tmp_path):
    (spec,) = plan_specs(bundle.manifest)
    node = helper.make_node("Squeeze", ["masks"], ["amodal"])
    wider = replace(spec.inputs[0], shape=("N", 3, SIZE, 2 * SIZE))
    with pytest.raises(ContractError, match=r"has image as .* expected"):
        build(graph_file(tmp_path, node), replace(spec, inputs=(wider, spec.inputs[1])), Recipe("fp32", 2), compiler())


def test_a_broken_file_is_refused_in_one_sentence(bundle, tmp_path):
    (spec,) = plan_specs(bundle.manifest)
    (tmp_path / "g.onnx").write_bytes(b"no graph")
    with pytest.raises(ContractError, match="not understood"):
        build(tmp_path / "g.onnx", spec, Recipe("fp32", 2, True), compiler())


@pytest.mark.parametrize(
    ("given", "said"), [({"backend": "tflite"}, "tensorrt, tensorrt_rtx"), ({"precision": "int4"}, "fp32, fp16, bf16")]
)
def test_an_unknown_backend_or_precision_is_refused(given, said):
    with pytest.raises(ContractError, match=said):
        BuildRequest(**{"backend": "tensorrt", **given})


def test_no_objects_at_all_are_refused():
    with pytest.raises(ContractError, match="1 or more"):
        BuildRequest("tensorrt", most_rows=0)


def test_a_library_that_is_missing_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(tensorrt_library, "find_spec", lambda name: None)
    open_library.cache_clear()
    assert not is_installed("tensorrt_rtx")
    with pytest.raises(ContractError, match="pip install tensorrt_rtx"):
        open_library("tensorrt_rtx")


def test_a_library_that_is_too_old_is_refused(monkeypatch):
    monkeypatch.setattr(tensorrt_library, "find_spec", lambda name: name)
    monkeypatch.setattr(tensorrt_library, "import_module", lambda name: SimpleNamespace(__version__="8.6.1"))
    open_library.cache_clear()
    with pytest.raises(ContractError, match="tensorrt 8.6.1 is too old, expected 10.0"):
        open_library("tensorrt")
    open_library.cache_clear()


def test_tensorrt_builds_for_no_card_but_the_one_at_hand(bundle, store, monkeypatch):
    library = SimpleNamespace(__version__="10.9.0", IBuilderConfig=SimpleNamespace())
    monkeypatch.setattr(engine_plans, "open_library", lambda backend: library)
    with pytest.raises(ContractError, match="on the machine that runs them"):
        plans_of(bundle, BuildRequest("tensorrt"), store, ANY_CARD, may_build=True)
