"""Every graph of every bundle in models/ becomes a plan, compiled by NVIDIA's own compiler, in every precision."""

from __future__ import annotations

from pathlib import Path

import pytest
from built_plans import assert_whole, compiler

from c2f_ros.bundle import Arrays, Bundle, load_bundle
from c2f_ros.contract import GraphSpec
from c2f_ros.engine_plans import DEFAULT_ROWS, plan_specs
from c2f_ros.plan_building import PRECISIONS, Recipe, build

ROOT = Path(__file__).resolve().parent.parent
MODELS = sorted(path.parent for path in ROOT.glob("models/*/manifest.yaml"))


def samples(bundle: Bundle, spec: GraphSpec, precision: str) -> list[Arrays]:
    """What int8 is fitted to: the golden sample, of the graph that takes it."""
    if precision != "int8":
        return []
    if not {tensor.name for tensor in spec.inputs} <= set(bundle.golden_inputs):
        pytest.skip("its golden sample passes through two graphs")
    return [bundle.golden_inputs]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_every_graph_is_compiled_as_one_piece_for_any_number_of_objects(folder, precision):
    library, bundle = compiler(), load_bundle(folder)
    for spec in plan_specs(bundle.manifest):
        recipe = Recipe(precision, DEFAULT_ROWS, for_any_card=True, samples=samples(bundle, spec, precision))
        assert_whole(build(bundle.path(spec), spec, recipe, library))


def test_a_low_plan_is_smaller_than_a_float32_one():
    library, bundle = compiler(), load_bundle(MODELS[0])
    spec, sizes = plan_specs(bundle.manifest)[-1], {}
    for precision in ("fp32", "fp16"):
        built = build(bundle.path(spec), spec, Recipe(precision, 2, for_any_card=True), library)
        sizes[precision] = len(built.plan)
    assert sizes["fp16"] < sizes["fp32"]


def test_there_are_bundles_to_compile():
    assert len(MODELS) >= 2
