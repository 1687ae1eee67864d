"""AP equals pycocotools' own path; evaluation and its report hold what the frames hold."""

import contextlib
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from frames_of_rectangles import HEIGHT, WIDTH, frame_of, rectangle, two_frames

pytest.importorskip("pycocotools", reason="pycocotools is not installed; `make test` installs it")

import cv2

from c2f_ros.contract import MASK_CHANNELS, ContractError, CropSpec, InputSpec, TemporalSpec
from c2f_ros.geometry import EMPTY_MASK, place
from c2f_ros.metrics import Selection
from c2f_ros.sources.datasets import Dataset, Refusals
from c2f_ros.sources.parts import Part
from c2f_ros.sources.predicted import Results
from c2f_train.scores.coco_scores import CocoDetections, CocoTruth, encode
from c2f_train.scores.evaluate import RULE, View, evaluate
from c2f_train.scores.evaluation_cases import Case, Extremes
from c2f_train.scores.evaluation_report import table, terminal_text, write_report
from c2f_train.scores.evaluation_result import EvaluationResult, read_object_list, write_object_list

CROP = CropSpec("square", 32, 2.0, 0.3)
INPUT = InputSpec("rgb", (0.0,) * 3, (1.0,) * 3, MASK_CHANNELS)
VIEWS = {"all": View(CROP, INPUT)}


def all_of_the_crop(image, masks):
    return np.ones((len(image), 32, 32), np.float32)


def blobs(rng, count):
    out = []
    for _ in range(count):
        x, y = rng.integers(0, 40), rng.integers(0, 25)
        out.append(rectangle(x, y, x + rng.integers(4, 20), y + rng.integers(4, 15)))
    return out


def official(truths, found):
    """COCOeval as its documentation uses it: loadRes, then summarize. truths, found: per image lists."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations = []
    for image, masks in enumerate(truths):
        for mask, category in masks:
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image, "category_id": category, "iscrowd": 0,
                 "area": int(mask.sum()), "segmentation": encode(place(mask), HEIGHT, WIDTH)}
            )  # fmt: skip
    results = [
        {"image_id": image, "category_id": category, "score": score, "segmentation": encode(place(m), HEIGHT, WIDTH)}
        for image, masks in enumerate(found)
        for m, score, category in masks
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        images = [{"id": k, "height": HEIGHT, "width": WIDTH} for k in range(len(truths))]
        coco.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1}, {"id": 2}], "info": {}}
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {
        "ap": evaluation.stats[0],
        "ap50": evaluation.stats[1],
        "ap75": evaluation.stats[2],
        "ar": evaluation.stats[8],
    }


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_equals_that_of_pycocotools_own_path(seed):
    rng = np.random.default_rng(seed)
    truths = [[(m, int(rng.integers(1, 3))) for m in blobs(rng, 4)] for _ in range(3)]
    found = [
        [(np.roll(m, int(rng.integers(0, 3)), axis=1), float(rng.random()), c) for m, c in masks]
        + [(m, float(rng.random()), 1) for m in blobs(rng, 2)]
        for masks in truths
    ]
    truth = CocoTruth()
    detections = CocoDetections(truth)
    for true, answers in zip(truths, found, strict=True):
        image = truth.add_image(HEIGHT, WIDTH)
        for mask, category in true:
            truth.add(image, place(mask), str(category))
        for mask, score, category in answers:
            detections.add(image, place(mask), score, str(category))
    expected = official(truths, found)
    assert detections.scores() == pytest.approx({k: round(100 * v, 2) for k, v in expected.items()}, abs=0.011)
    assert 5 < detections.scores()["ap"] < 95


@pytest.mark.parametrize("seed", range(4))
def test_run_lengths_of_a_placed_mask_are_those_of_the_whole_image(seed):
    from pycocotools import mask as coco

    rng = np.random.default_rng(seed)
    y0, x0 = rng.integers(0, 20), rng.integers(0, 30)
    mask = rectangle(x0, y0, WIDTH, HEIGHT) & (rng.random((HEIGHT, WIDTH)) < 0.6)
    for shown in (mask, mask[::-1].copy(), np.ones_like(mask), np.zeros_like(mask)):
        assert encode(place(shown), HEIGHT, WIDTH) == coco.encode(np.asfortranarray(shown.view(np.uint8)))


def test_objects_that_do_not_count_are_neither_missed_nor_wrong():
    truth = CocoTruth()
    finds_both, finds_one, finds_wrong = (CocoDetections(truth) for _ in range(3))
    image = truth.add_image(HEIGHT, WIDTH)
    counted, ignored, nothing = (place(rectangle(x, 5, x + 10, 20)) for x in (2, 20, 40))
    truth.add(image, counted)
    truth.add(image, ignored, is_counted=False)
    for detections, masks in (
        (finds_both, (counted, ignored)),
        (finds_one, (counted,)),
        (finds_wrong, (nothing, counted)),
    ):
        for k, mask in enumerate(masks):
            detections.add(image, mask, 0.9 - 0.1 * k)
    assert finds_both.scores() == finds_one.scores() == {"ap": 100.0, "ap50": 100.0, "ap75": 100.0, "ar": 100.0}
    assert finds_wrong.scores()["ap"] == pytest.approx(50.0, abs=0.1)


def test_average_precision_of_nothing_is_none():
    assert CocoDetections(CocoTruth()).scores() == dict.fromkeys(("ap", "ap50", "ap75", "ar"))
    truth = CocoTruth()
    detections = CocoDetections(truth)
    truth.add(truth.add_image(HEIGHT, WIDTH), place(rectangle(0, 0, 9, 9)))
    assert detections.scores()["ap"] == 0.0
    detections.add(0, EMPTY_MASK, 0.5)
    assert detections.scores()["ap"] == 0.0


def test_without_pycocotools_one_sentence_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    with pytest.raises(ContractError, match="install pycocotools or leave AP out"):
        evaluate([], {}, CROP, with_precision=True)
    assert evaluate([], {}, CROP).rows()["visible"]["miou_full"] is None


def test_rows_and_objects_of_an_evaluation():
    result = evaluate([("clip", two_frames())], {"all": all_of_the_crop}, CROP, views=VIEWS, with_precision=True)
    rows = result.rows()
    assert list(rows) == ["visible", "hull", "clipped_hull", "all", "all" + RULE]
    assert {row["objects"] for row in rows.values()} == {2}
    assert {row["objects_not_counted"] for row in rows.values()} == {1}
    # object 2 is half seen in one frame and wholly in the other, object 3 always
    assert rows["visible"]["miou_full"] == pytest.approx(100 * (0.75 + 1) / 2, abs=0.01)
    assert rows["visible"]["miou_occ_image"] == 0.0
    assert rows["visible"]["ap50"] == 100.0 and rows["visible"]["ap75"] < 100.0
    assert rows["all"]["miou_full"] < rows["all" + RULE]["miou_full"]


def test_every_second_frame_and_a_selection_are_what_counts():
    alone = evaluate([("clip", two_frames()[:1])], {}, CROP, with_precision=True)
    assert evaluate([("clip", two_frames())], {}, CROP, 2, with_precision=True).rows() == alone.rows()
    chosen = evaluate(
        [("clip", two_frames())], {}, CROP, with_precision=True,
        selection=Selection(0.1, 0.7, frozenset({"clip/2", "clip/9"})),
    )  # fmt: skip
    assert chosen.rows()["hull"]["object_frames"] == 1
    assert chosen.rows()["visible"]["ap50"] == 100.0
    assert chosen.notes == ["Listed objects that are not in the data: 1, for example clip/9."]


def test_a_predictor_of_windows_sees_earlier_frames_of_the_same_object_only():
    shapes = []

    def predict(image, masks):
        shapes.append(image.shape)
        assert (image[:, -1] != image[:, 0]).any() == (len(shapes) % 2 == 0)
        return np.ones((len(image), 32, 32), np.float32)

    view = View(CROP, INPUT, TemporalSpec("window", 2))
    evaluate([("a", two_frames()), ("b", two_frames())], {"video": predict}, CROP, views={"video": view})
    assert shapes == [(2, 2, 3, 32, 32)] * 4


def test_extremes_keep_one_case_per_object_whatever_the_order():
    rng = np.random.default_rng(0)
    cases = [Case(f"clip/{rng.integers(9)}", k, rng.random(), 0.0, 0.5, (0, 0, 1, 1)) for k in range(60)]
    for sign in (1, -1):
        kept = Extremes(4, sign)
        for case in cases:
            if kept.wants(case.key, case.full_iou):
                kept.add(case)
        best = {}
        for case in sorted(cases, key=lambda c: sign * c.full_iou):
            best.setdefault(case.key, case)
        assert kept.sorted() == list(best.values())[:4]


def test_a_report_holds_tables_pictures_and_sums(tmp_path):
    frames = two_frames()
    result = evaluate(
        [("clip", frames)], {"all": all_of_the_crop}, CROP, name="rectangles", views=VIEWS, with_precision=True
    )
    assert [(c.key, c.frame, c.occlusion) for c in result.worst] == [("clip/2", 0, 0.5)]
    file = write_report(result, tmp_path / "report")
    text = file.read_text()
    assert table(result.rows()) in text and table(result.rows()) in terminal_text(result)
    assert "rectangles: 2 objects, 4 object-frames; without a frame that counts: 1" in text
    for name in ("occlusion.png", "worst.png", "best.png"):
        assert f"({name})" in text
        assert cv2.imread(str(tmp_path / "report" / name)).std() > 5
    again = EvaluationResult.load(tmp_path / "report" / "results.json")
    assert json.dumps(again.to_json()) == json.dumps(result.to_json())
    assert again.worst == result.worst
    assert (again.accuracy["all"] + result.accuracy["all"]).summary()["object_frames"] == 8


def test_without_hidden_objects_there_are_no_cases_and_no_stale_pictures(tmp_path):
    (tmp_path / "worst.png").write_bytes(b"old")
    result = evaluate([("clip", [frame_of([rectangle(5, 5, 20, 20)])])], {}, CROP)
    text = write_report(result, tmp_path).read_text()
    assert "worst" not in text and not (tmp_path / "worst.png").exists()
    assert "AP" not in table(result.rows())


def test_object_lists_survive_a_file(tmp_path):
    write_object_list(tmp_path / "objects.txt", ["b/2", "a/1"])
    assert read_object_list(tmp_path / "objects.txt") == {"a/1", "b/2"}


def test_predicted_visible_masks_are_what_a_predictor_sees_and_what_counts():
    frames, seen = two_frames()[:1], []
    own, strange = (
        {"image_id": "a", "score": 1.0, "segmentation": {"size": [HEIGHT, WIDTH], "counts": runs(mask)}}
        for mask in (rectangle(10, 10, 19, 30), rectangle(45, 2, 55, 9))
    )
    results = Results(Path("r.json"), {"a": [(0, own), (1, strange)]})
    data = Dataset("test", [Part("clip", lambda: iter(frames), lambda: ["a"])], Refusals(pytest.fail), results)

    def predict(image, masks):
        seen.append(masks[:, 0].sum())
        return np.zeros((len(image), 32, 32), np.float32)

    result = evaluate(data, {"all": predict}, CROP, views=VIEWS)
    assert len(seen) == 1
    row = result.rows()["all"]
    assert row["object_frames"] == 1
    assert row["miou_full"] == result.rows()["visible"]["miou_full"] == pytest.approx(100 * 9 / 20, abs=0.01)
    assert result.notes == [
        "Predicted visible masks of no true object; they are not completed and not in AP: 1.",
        "Object-frames of which no visible mask was predicted; they do not count: 1.",
    ]


def runs(mask):
    """Uncompressed run lengths, down the columns, zeros first."""
    flat = np.concatenate([[0], mask.T.ravel().astype(int), [2]])
    lengths = np.diff(np.flatnonzero(np.diff(flat)), prepend=0)
    return lengths.tolist()
