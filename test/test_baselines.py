"""The baselines do what their names say, on masks written out by hand."""

import numpy as np
import pytest

from c2f_ros.baselines import BASELINES, baseline, hull, keep_under_others
from c2f_ros.geometry import place

U = np.array(
    [[0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 1, 0], [0, 1, 0, 0, 1, 0], [0, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0]], bool
)  # fmt: skip


def test_hull_fills_the_notch_and_nothing_outside_the_box():
    filled = hull(place(U)).full(*U.shape)
    assert np.array_equal(filled, np.pad(np.ones((3, 4), bool), 1))


def test_clipped_hull_keeps_only_what_another_object_covers():
    labels = U.astype(np.uint8)
    labels[1, 2] = 2
    kept = baseline("clipped_hull", place(U), labels).full(*U.shape)
    expected = U.copy()
    expected[1, 2] = True
    assert np.array_equal(kept, expected)


def test_without_other_objects_the_rule_leaves_the_visible_mask():
    assert np.array_equal(keep_under_others(hull(place(U)), place(U), U.astype(np.uint8)).full(*U.shape), U)


def test_every_baseline_contains_the_visible_mask():
    labels = np.random.default_rng(0).integers(0, 3, (20, 30))
    visible = place(labels == 1)
    for name in BASELINES:
        assert (baseline(name, visible, labels).full(20, 30) & (labels == 1)).sum() == (labels == 1).sum()


def test_an_unknown_baseline_is_refused():
    with pytest.raises(ValueError, match="magic"):
        baseline("magic", place(U), U.astype(np.uint8))
