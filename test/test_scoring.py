"""Scores equal a slow literal computation on whole-image masks."""

import dataclasses

import cv2
import numpy as np
import pytest
from recordings import HEIGHT, WIDTH, recorded

from c2f_ros.geometry import place
from c2f_ros.occlusion_order import in_order
from c2f_ros.records import AmodalFrame, AmodalInstance, Status
from c2f_ros.scoring import METHODS, OCCLUSION_EDGES, Scoring
from c2f_ros.truth import truth_frame


def blob(rng):
    """A random filled polygon, bool [H, W]."""
    points = np.stack([rng.integers(0, WIDTH, 5), rng.integers(0, HEIGHT, 5)], axis=1).astype(np.int32)
    out = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(out, [points], 1)
    return out.astype(bool)


def instance(track_id, visible, amodal):
    return AmodalInstance(track_id, "", 1.0, place(visible), place(amodal), 1.0, 0.0, (), 1, Status.OK)


def random_frames(seed, stamp):
    """Result and truth of five objects; masks are full images, the result's ids are in another order."""
    rng = np.random.default_rng(seed)
    whole = [blob(rng) for _ in range(5)]
    labels = np.zeros((HEIGHT, WIDTH), int)
    for k, mask in enumerate(whole):
        labels[mask] = k + 1
    seen = [labels == k + 1 for k in range(5)]
    guess = [s | blob(rng) for s in seen]
    shown = [k for k in range(5) if seen[k].any()]
    truth = [instance(str(k), seen[k], whole[k]) for k in range(5)]
    result = [instance(str(k), seen[k], guess[k]) for k in reversed(shown)]
    frame = AmodalFrame(stamp, None, HEIGHT, WIDTH, "model", tuple(result))
    return frame, dataclasses.replace(frame, instances=tuple(truth)), (whole, seen, guess)


def literal_iou(a, b):
    return (a & b).sum() / ((a | b).sum() + 1e-6)


def literal_masks(seen, guess, k):
    """The mask of object k by every method, written out on whole images."""
    points = np.argwhere(seen[k])[:, ::-1].astype(np.int32)
    filled = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillConvexPoly(filled, cv2.convexHull(points), 1)
    hull = filled.astype(bool) | seen[k]
    anyone = np.logical_or.reduce(seen)
    return {"model": guess[k], "visible": seen[k], "hull": hull, "clipped_hull": (hull & anyone) | seen[k]}


def test_scores_equal_a_literal_computation():
    scoring, full, occluded = Scoring(), {}, {}
    for stamp in range(6):
        result, truth, (whole, seen, guess) = random_frames(stamp, stamp)
        scoring.add(result, truth, stamp)
        for k in range(5):
            if not seen[k].any():
                continue
            for method, mask in literal_masks(seen, guess, k).items():
                hidden = whole[k] & ~seen[k]
                value = literal_iou(mask & ~seen[k], hidden) if hidden.any() else 0.0
                full.setdefault(method, {}).setdefault(k, []).append(literal_iou(mask, whole[k]))
                occluded.setdefault(method, {}).setdefault(k, []).append(value)
    summary = scoring.summary()
    assert list(summary) == list(METHODS)
    for method in METHODS:
        expected = 100 * np.mean([np.mean(v) for v in full[method].values()])
        assert summary[method]["miou_full"] == pytest.approx(expected, abs=0.006)
        expected = 100 * np.mean([np.mean(v) for v in occluded[method].values()])
        assert summary[method]["miou_occ"] == pytest.approx(expected, abs=0.006)
    assert summary["visible"]["miou_occ"] == 0.0


def test_bins_hold_every_scored_object_once():
    scoring = Scoring()
    for stamp in range(6):
        result, truth, _ = random_frames(stamp, stamp)
        scoring.add(result, truth, stamp)
    bins = scoring.by_occlusion()
    assert [b["low"] for b in bins] == list(OCCLUSION_EDGES[:-1])
    assert sum(b["object_frames"] for b in bins) == len(scoring.rows) == scoring.summary()["model"]["object_frames"]
    for entry in bins:
        rows = [
            r for r in scoring.rows if entry["low"] <= r.occlusion < entry["high"] or r.occlusion == 1 == entry["high"]
        ]
        expected = round(100 * sum(r.scores["hull"].full_iou for r in rows) / len(rows), 2) if rows else None
        assert entry["hull"]["full"] == expected


def test_an_object_without_a_visible_pixel_does_not_count():
    truth = truth_frame(recorded()[-1], None)
    scoring = Scoring()
    scoring.add(truth, truth, 0)
    assert [row.track_id for row in scoring.rows] == ["1"]


def test_a_visible_object_without_a_result_counts_as_missing_and_zero():
    truth = truth_frame(recorded()[0], None)
    scoring = Scoring()
    scoring.add(dataclasses.replace(truth, instances=truth.instances[:1]), truth, 0)
    assert scoring.missing == 1
    assert [row.scores["model"].full_iou for row in scoring.rows] == [pytest.approx(1.0), 0.0]


def test_the_truth_itself_scores_full_marks():
    scoring = Scoring()
    for number, frame in enumerate(recorded()[:2]):
        truth = truth_frame(frame, None)
        scoring.add(truth, truth, number)
    assert scoring.summary()["model"]["miou_full"] == 100.0
    assert scoring.summary()["model"]["miou_full_hidden"] == 100.0
    assert scoring.summary()["visible"]["miou_full"] < 100.0


def truths():
    """In the third frame object 2 is hidden wholly."""
    return [truth_frame(frame, None) for frame in recorded()]


def renamed(frame, names):
    """The frame with other ids, as a tracker would give them, and its order as the masks show it."""
    items = (dataclasses.replace(item, track_id=names[item.track_id]) for item in frame.instances)
    return in_order(dataclasses.replace(frame, instances=tuple(items)))


def test_results_under_other_ids_are_found_by_what_is_visible_and_by_the_last_id_when_hidden():
    scoring = Scoring()
    for number, truth in enumerate(truths()):
        scoring.add(renamed(truth, {"1": "7", "2": "own_3"}), truth, number)
    assert scoring.missing == 0
    assert {(row.track_id, row.result_id) for row in scoring.rows} == {("1", "7"), ("2", "own_3")}
    assert [(row.result_id, row.full_iou) for row in scoring.hidden_rows] == [("own_3", 1.0)]
    assert scoring.over_time.summary()["invisible"]["miou_invisible"] == 100.0


def test_an_object_hidden_wholly_without_a_result_scores_zero_in_its_own_row_only():
    scoring = Scoring()
    for number, truth in enumerate(truths()):
        seen = tuple(item for item in truth.instances if not item.visible.is_empty)
        scoring.add(dataclasses.replace(truth, instances=seen), truth, number)
    summary = scoring.over_time.summary()["invisible"]
    assert (summary["miou_invisible"], summary["invisible_frames"]) == (0.0, 1)
    assert scoring.summary()["model"]["miou_full"] == 100.0 and scoring.missing == 0


def test_the_truth_itself_is_in_the_right_order_and_does_not_switch_ids():
    scoring = Scoring()
    for number, truth in enumerate(truths()):
        scoring.add(truth, truth, number)
    summary = scoring.over_time.summary()
    assert (summary["order"]["order_placed"], summary["order"]["order_right"]) == (100.0, 100.0)
    assert (summary["order"]["occluded_by_precision"], summary["order"]["occluded_by_recall"]) == (100.0, 100.0)
    assert summary["order"]["order_pairs"] == 3
    assert (summary["ids"]["id_switches"], summary["ids"]["id_objects"]) == (0, 2)
    assert list(summary["flicker"]) == list(METHODS)


def test_what_a_result_says_of_the_order_is_what_is_scored():
    scoring = Scoring()
    for number, truth in enumerate(truths()):
        scoring.add(dataclasses.replace(truth, front_to_back=truth.front_to_back[::-1]), truth, number)
    summary = scoring.over_time.summary()["order"]
    assert (summary["order_placed"], summary["order_right"]) == (0.0, 100.0)


def test_a_new_id_is_a_switch():
    scoring = Scoring()
    for number, truth in enumerate(truths()):
        scoring.add(renamed(truth, {"1": "1", "2": "2" if number == 0 else "9"}), truth, number)
    assert scoring.over_time.summary()["ids"]["id_switches"] == 1


def test_another_recording_knows_nothing_of_the_one_before():
    frames, scoring = truths(), Scoring()
    later = [dataclasses.replace(frame, stamp_ns=frame.stamp_ns + 60 * 10**9) for frame in frames]
    for number, truth in enumerate([*frames[:2], later[2]]):
        names = {"1": "1", "2": "2"} if number < 2 else {"1": "8", "2": "9"}
        scoring.add(renamed(truth, names), truth, number)
    summary = scoring.over_time.summary()
    assert summary["ids"]["id_switches"] == 0 and summary["invisible"]["invisible_frames"] == 0
