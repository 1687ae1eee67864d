"""Scores equal a slow literal computation on whole-image masks."""

import dataclasses

import cv2
import numpy as np
import pytest
from recordings import HEIGHT, WIDTH, recorded

from c2f_ros.geometry import place
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
        scoring.add(result, truth)
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
        scoring.add(result, truth)
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
    scoring.add(truth, truth)
    assert [row.track_id for row in scoring.rows] == ["1"]


def test_a_visible_object_without_a_result_counts_as_missing_and_zero():
    truth = truth_frame(recorded()[0], None)
    scoring = Scoring()
    scoring.add(dataclasses.replace(truth, instances=truth.instances[:1]), truth)
    assert scoring.missing == 1
    assert [row.scores["model"].full_iou for row in scoring.rows] == [pytest.approx(1.0), 0.0]


def test_the_truth_itself_scores_full_marks():
    scoring = Scoring()
    for frame in recorded()[:2]:
        truth = truth_frame(frame, None)
        scoring.add(truth, truth)
    assert scoring.summary()["model"]["miou_full"] == 100.0
    assert scoring.summary()["model"]["miou_full_hidden"] == 100.0
    assert scoring.summary()["visible"]["miou_full"] < 100.0
