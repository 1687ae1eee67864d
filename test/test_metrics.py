"""Our averages equal a slow, literal computation of the published ones."""

import json

import numpy as np
import pytest

from c2f_ros.contract import ContractError
from c2f_ros.geometry import EMPTY_MASK, place
from c2f_ros.metrics import Accuracy, Selection, published_image_iou, published_video_iou, score_frame


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


def random_scores(rng, keys="abc", frames=6):
    """Pairs of object key and score; some frames have nothing hidden, some cannot be scored."""
    out = []
    for key in keys:
        for _ in range(frames):
            truth = rng.random((20, 30)) < rng.choice([0.0, 0.5, 0.5])
            visible = truth & (rng.random((20, 30)) < rng.choice([0.05, 0.3, 1.1]))
            predicted = visible | (rng.random((20, 30)) < 0.2)
            out.append((key, score_frame(place(predicted), place(truth), place(visible))))
    return out


def collect(scores, **options):
    accuracy = Accuracy(**options)
    for key, score in scores:
        accuracy.add(key, score)
    return accuracy


def test_recorded_corner_cases_of_the_published_code_are_reproduced(shared_dir):
    recorded = np.load(shared_dir / "fixtures" / "c2f_seg_parity" / "maths.npz")
    masks = recorded["pred"], recorded["full"], recorded["vis"]
    image, video = published_image_iou(*masks), published_video_iou(*masks)
    assert list(recorded["image_eval_cols"]) == ["iou", "occ_iou", "count"]
    for ours, theirs in zip(image, recorded["image_eval"].T, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(image.full_iou, recorded["image_eval"][:, 0], rtol=1e-6)
    np.testing.assert_allclose(video.full_iou, recorded["video_full_iou"], atol=1e-6)
    np.testing.assert_allclose(video.occluded_iou, recorded["video_occ_iou"], atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_placed_masks_score_as_whole_images_do(seed):
    rng = np.random.default_rng(seed)
    truth, visible, predicted = rng.random((3, 4, 20, 30)) < 0.4
    image, video = published_image_iou(predicted, truth, visible), published_video_iou(predicted, truth, visible)
    for k in range(4):
        score = score_frame(place(predicted[k]), place(truth[k]), place(visible[k]))
        assert score.image_full_iou == pytest.approx(image.full_iou[k], abs=1e-12)
        assert score.full_iou == pytest.approx(video.full_iou[k], abs=1e-12)
        assert score.occluded_iou == pytest.approx(video.occluded_iou[k], abs=1e-12)
        assert score.occluded_iou == pytest.approx(image.occluded_iou[k], abs=1e-12)
        assert score.is_counted == image.is_counted[k]


def test_the_three_variants_of_the_hidden_average_differ_in_what_they_divide_by():
    whole, half, other = (place(rectangle(0, 10, 0, x)) for x in (10, 5, 12))
    scores = [("a", score_frame(whole, whole, half)), ("a", score_frame(whole, whole, whole))]
    # as large as the true mask, but elsewhere: hidden pixels exist, and the image variant does not count it
    scores.append(("b", score_frame(other, whole, place(rectangle(0, 10, 1, 11)))))
    summary = collect(scores).summary()
    third = 10 / 20
    assert summary["miou_occ"] == pytest.approx(100 * (0.5 + third) / 2, abs=0.01)
    assert summary["miou_occ_image"] == pytest.approx(100 * (1 + third) / 1, abs=0.01)
    assert summary["miou_occ_occluded"] == pytest.approx(100 * (1 + third) / 2, abs=0.01)
    assert summary["miou_full_image"] == pytest.approx(100 * (2 + 100 / 120) / 3, abs=0.01)
    assert summary["unoccluded_frames"] == 1


@pytest.mark.parametrize("seed", range(3))
def test_two_halves_add_up_to_the_whole(seed):
    scores = random_scores(np.random.default_rng(seed), "abcd")
    whole, merged = collect(scores), collect(scores[::2]) + collect(scores[1::2])
    assert merged.summary() == whole.summary()
    assert merged.by_occlusion() == whole.by_occlusion()
    assert merged.not_counted == whole.not_counted
    assert sum(b["object_frames"] for b in whole.by_occlusion()) == whole.summary()["object_frames"] > 0


def test_sums_survive_a_json_file():
    scores = random_scores(np.random.default_rng(1))
    accuracy = collect(scores, selection=Selection(0.1, 0.9, frozenset("ab")))
    again = Accuracy.from_json(json.loads(json.dumps(accuracy.to_json())))
    assert again == accuracy
    assert (again + accuracy).summary()["object_frames"] == 2 * accuracy.summary()["object_frames"] > 0


def test_an_object_without_a_counted_frame_is_left_out_and_counted():
    whole = place(rectangle(0, 10, 0, 10))
    seen, unseen = Accuracy(), Accuracy()
    seen.add("a", score_frame(whole, whole, whole))
    unseen.add("a", None)
    unseen.add("b", None)
    assert unseen.summary()["miou_full"] is None
    summary = (seen + unseen).summary()
    assert summary["objects"] == 1 and summary["objects_not_counted"] == 1
    assert summary["miou_full"] == 100.0


def test_a_selection_keeps_hidden_shares_and_objects():
    whole = place(rectangle(0, 10, 0, 10))
    scores = [
        (k, score_frame(whole, whole, place(rectangle(0, 10, 0, x))))
        for k, x in (("a", 3), ("b", 9), ("c", 2), ("d", 10))
    ]
    ranged = collect(scores, selection=Selection(0.1, 0.7))
    assert sorted(ranged.objects) == ["a", "b"] and ranged.not_counted == {"c", "d"}
    listed = collect(scores, selection=Selection(objects=frozenset("ac")))
    assert sorted(listed.objects) == ["a", "c"] and not listed.not_counted
    with pytest.raises(ValueError, match="do not add up"):
        ranged + listed
    with pytest.raises(ContractError, match="least <= most"):
        Selection(0.8, 0.2)
