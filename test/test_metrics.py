"""Our averages equal a slow, literal computation of the published ones."""

import numpy as np
import pytest

from c2f_ros.geometry import EMPTY_MASK, place
from c2f_ros.metrics import Accuracy, score_frame


def rectangle(y0, y1, x0, x1, shape=(20, 30)):
    mask = np.zeros(shape, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_scores_of_hand_made_masks():
    truth, visible, predicted = rectangle(0, 10, 0, 10), rectangle(0, 10, 0, 4), rectangle(0, 10, 0, 8)
    score = score_frame(place(predicted), place(truth), place(visible))
    assert score.full_iou == pytest.approx(0.8)
    assert score.occluded_iou == pytest.approx(40 / 60)
    assert score.occlusion == pytest.approx(0.6)


def test_an_object_without_truth_is_not_scored():
    assert score_frame(place(rectangle(0, 2, 0, 2)), EMPTY_MASK, EMPTY_MASK) is None


def test_unoccluded_frames_count_zero_in_the_occluded_average_and_are_counted():
    accuracy, whole = Accuracy(), place(rectangle(0, 10, 0, 10))
    accuracy.add("a", score_frame(whole, whole, whole))
    part = place(rectangle(0, 10, 0, 5))
    accuracy.add("a", score_frame(whole, whole, part))
    summary = accuracy.summary()
    assert summary["miou_occ"] == pytest.approx(50.0, abs=0.01)
    assert summary["unoccluded_frames"] == 1
    assert summary["miou_occ_hidden"] == pytest.approx(100.0, abs=0.01)


def test_objects_weigh_the_same_however_many_frames_they_have():
    accuracy, whole, half = Accuracy(), place(rectangle(0, 10, 0, 10)), place(rectangle(0, 10, 0, 5))
    for _ in range(9):
        accuracy.add("long", score_frame(whole, whole, half))
    accuracy.add("short", score_frame(half, whole, half))
    assert accuracy.summary()["miou_full"] == pytest.approx(75.0, abs=0.01)


def test_nothing_counted_gives_none():
    assert Accuracy().summary()["miou_full"] is None


@pytest.mark.parametrize("seed", range(5))
def test_averages_equal_the_literal_computation(seed):
    rng = np.random.default_rng(seed)
    accuracy, full, occluded = Accuracy(), {}, {}
    for key in "abc":
        for _ in range(rng.integers(1, 6)):
            truth = rng.random((20, 30)) < 0.5
            visible = truth & (rng.random((20, 30)) < rng.choice([0.3, 1.1]))
            predicted = visible | (rng.random((20, 30)) < 0.2)
            accuracy.add(key, score_frame(place(predicted), place(truth), place(visible)))
            p, f = predicted & ~visible, truth & ~visible
            full.setdefault(key, []).append((predicted & truth).sum() / ((predicted | truth).sum() + 1e-6))
            occluded.setdefault(key, []).append((p & f).sum() / ((p | f).sum() + 1e-6))
    summary = accuracy.summary()
    assert summary["miou_full"] == pytest.approx(100 * np.mean([np.mean(v) for v in full.values()]), abs=0.006)
    assert summary["miou_occ"] == pytest.approx(100 * np.mean([np.mean(v) for v in occluded.values()]), abs=0.006)
