"""What the published model computes, and what an export of it leaves out."""

from __future__ import annotations

import pytest
from needs_torch import torch

from c2f_train.official.costs import Cost, gflop, image_costs, table


@pytest.fixture(scope="module")
def costs() -> list[Cost]:
    return image_costs()


def test_the_published_image_model_s_operations_are_those_of_the_specification(costs):
    by_part = {cost.part: cost for cost in costs}
    assert sum(cost.published for cost in costs) == pytest.approx(558, abs=0.5)
    assert by_part["mask encoder"].published == pytest.approx(136, abs=0.5)
    assert by_part["mask decoder"].published == pytest.approx(250, abs=0.5)


def test_an_export_computes_less_and_of_no_part_more(costs):
    assert all(cost.exported <= cost.published for cost in costs)
    assert sum(cost.exported for cost in costs) == pytest.approx(524, abs=0.5)
    assert {cost.part for cost in costs if cost.exported == cost.published} == {
        "mask encoder", "ResNet", "transformer, 3 steps",
    }  # fmt: skip


def test_operations_are_multiplications_and_additions():
    with torch.device("meta"):
        assert gflop(lambda: torch.zeros(10, 20) @ torch.zeros(20, 30)) == 2 * 10 * 20 * 30 / 1e9


def test_the_table_ends_with_the_sums(costs):
    assert table(costs).splitlines()[-1].startswith("| all | 558.03 | 524.0")
