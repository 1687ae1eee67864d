"""The occlusion order that the runtime derives from perfect masks is the one that the generator drew."""

import numpy as np
import pytest

from c2f_ros.geometry import place
from c2f_ros.occlusion_order import find_order
from c2f_ros.order_metrics import OrderAccuracy, true_order
from c2f_train.synth.generate import generate_clip
from c2f_train.synth.scene_config import SceneConfig

CONFIG = SceneConfig(height=96, width=128, objects_min=8, objects_max=12)


@pytest.fixture(scope="module")
def accuracy() -> OrderAccuracy:
    """Of four clips of three frames."""
    found = OrderAccuracy()
    for seed in range(4):
        clip = generate_clip(CONFIG, 3, seed)
        for seen, whole, hides in zip(clip.visible(), clip.amodal, clip.hides, strict=True):
            visible, amodal = [place(mask) for mask in seen], [place(mask) for mask in whole]
            found.add(true_order(visible, amodal, hides), find_order(visible, amodal))
    return found


def test_of_pairs_with_evidence_every_one_is_right(accuracy):
    assert accuracy.decided > 100
    assert accuracy.right == accuracy.decided
    assert accuracy.named_rightly == accuracy.named and accuracy.hiding_named == accuracy.hiding


def test_nearly_all_pairs_are_in_the_right_order_even_where_no_evidence_is_visible(accuracy):
    assert accuracy.pairs > accuracy.decided
    assert accuracy.placed >= 0.97 * accuracy.pairs


def test_objects_that_are_hidden_wholly_have_a_place_too():
    crowded = SceneConfig(height=64, width=96, objects_min=16, objects_max=18)
    clip, count = generate_clip(crowded, 3, 0), 0
    for seen, whole in zip(clip.visible(), clip.amodal, strict=True):
        order = find_order([place(mask) for mask in seen], [place(mask) for mask in whole])
        assert sorted(order.front_to_back) == list(range(len(whole)))
        place_of = np.argsort(order.front_to_back)
        for row in np.flatnonzero(~seen.any((1, 2)) & whole.any((1, 2))):
            count += 1
            in_rings = {other for group in order.cycles for other in group}
            assert order.occluders(row)
            assert all(place_of[a] < place_of[row] for a in order.occluders(row) if a not in in_rings)
    assert count > 0
