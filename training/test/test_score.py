"""Results of other systems: what is matched to what, what is refused, and a table equal to a literal computation."""

import argparse
import json

import numpy as np
import pytest
from frames_of_rectangles import HEIGHT, WIDTH, frame_of, rectangle, two_frames

pytest.importorskip("pycocotools", reason="pycocotools is not installed; `make test` installs it")

from c2f_ros.contract import InputError
from c2f_ros.geometry import place
from c2f_ros.metrics import published_image_iou
from c2f_ros.sources.datasets import Dataset, Refusals
from c2f_ros.sources.parts import Part
from c2f_ros.sources.predicted import read_results
from c2f_train.commands import score as command
from c2f_train.data.sequences import open_sequences
from c2f_train.scores.coco_scores import encode
from c2f_train.scores.evaluate import evaluate
from c2f_train.scores.result_matching import greedy_pairs
from c2f_train.scores.results_file import read_classes, read_results_file
from c2f_train.scores.score import JOINED, score_results


def run_lengths(mask):
    coded = encode(place(mask), HEIGHT, WIDTH)
    return {"size": coded["size"], "counts": coded["counts"].decode()}


def entry(image_id, mask, **more):
    return {"image_id": image_id, "segmentation": run_lengths(mask), "score": 0.9, **more}


def data_of(frames, results=None):
    ids = [f"image{k}" for k in range(len(frames))]
    return Dataset("test", [Part("clip", lambda: iter(frames), lambda: ids)], Refusals(pytest.fail), results)


def scored(tmp_path, content, frames=None, data=None, **options):
    file = tmp_path / "results.json"
    file.write_text(json.dumps(content))
    return score_results(data or data_of(frames or two_frames()), read_results_file(file), "other", **options)


def test_rows_equal_a_literal_computation_and_our_own_baselines(tmp_path):
    frames = two_frames()
    guesses = {(0, 2): rectangle(10, 12, 28, 30), (0, 3): rectangle(22, 8, 40, 32), (1, 2): rectangle(10, 10, 30, 28)}
    found = scored(tmp_path, [entry(f"image{k}", m) for (k, _), m in guesses.items()], frames)
    rows = found.result.rows()
    assert list(rows) == ["visible", "hull", "clipped_hull", "other", "other" + JOINED]
    assert found.found == {"clip/2", "clip/3"}
    for row, is_joined in (("other", False), ("other" + JOINED, True)):
        masks = []
        for k, frame in enumerate(frames):
            for identity in (2, 3):
                visible = frame.labels == identity
                guess = guesses.get((k, identity), np.zeros_like(visible))
                is_answered = (k, identity) in guesses
                truth = frame.objects[identity].amodal.full(HEIGHT, WIDTH)
                masks.append((guess | visible if is_joined and is_answered else guess, truth, visible))
        image = published_image_iou(*(np.stack(m) for m in zip(*masks, strict=True)))
        assert rows[row]["miou_full_image"] == pytest.approx(100 * image.full_iou.mean(), abs=0.01)
        expected = 100 * image.occluded_iou.sum() / image.is_counted.sum()
        assert rows[row]["miou_occ_image"] == pytest.approx(expected, abs=0.01)
    ours = evaluate([("clip", frames)], {}, None, with_precision=True).rows()
    assert all(rows[name] == ours[name] for name in ours)
    assert "without an entry, which count as 0: 1." in found.result.notes[0]


def test_perfect_results_score_a_hundred_whichever_way_images_are_named(tmp_path):
    frames = two_frames()
    truths = [(k, o.amodal.full(HEIGHT, WIDTH)) for k, f in enumerate(frames) for i, o in f.objects.items() if i > 1]
    for name in ("image{}", "clip/{}"):
        rows = scored(tmp_path, [entry(name.format(k), mask) for k, mask in truths]).result.rows()
        assert rows["other"]["miou_full"] == rows["other"]["ap"] == rows["other"]["ar"] == 100.0


def test_the_most_alike_pair_goes_first_and_none_is_used_twice():
    alike = np.array([[0.6, 0.9, 0.0], [0.5, 0.8, 0.0], [0.0, 0.0, 0.0]])
    assert greedy_pairs(3, 3, lambda k, row: alike[k, row], [0.1, 0.2, 0.3]) == [(0, 1), (1, 0)]
    assert greedy_pairs(1, 3, lambda k, row: 0.5, [0.1, 0.7, 0.7]) == [(0, 1)]


def test_an_object_id_goes_before_any_overlap(tmp_path):
    truth = rectangle(10, 10, 30, 30)
    frames = [frame_of([truth, rectangle(40, 5, 55, 20)])]
    by_id = scored(tmp_path, [entry("image0", truth, object_id=2)], frames).result.rows()
    assert by_id["other"]["miou_full"] == 0.0
    assert scored(tmp_path, [entry("image0", truth)], frames).result.rows()["other"]["miou_full"] == 50.0


def test_visible_masks_of_the_entries_decide_the_match_and_are_joined(tmp_path):
    frames = two_frames()[:1]
    front = rectangle(20, 8, 40, 32)
    # its whole mask is like object 3, its visible mask is that of object 2
    item = entry("image0", front, visible_segmentation=run_lengths(rectangle(10, 10, 20, 30)))
    found = scored(tmp_path, [item], frames)
    assert found.found == {"clip/2"}
    assert found.result.rows()["other" + JOINED]["miou_full"] > found.result.rows()["other"]["miou_full"]
    assert "(1 of 1)" in found.result.notes[1]


def test_what_was_meant_for_an_unseen_object_does_not_answer_another(tmp_path):
    hidden = rectangle(12, 12, 16, 16)
    found = scored(tmp_path, [entry("image0", hidden)])
    assert found.found == set() and "1 of no object that counts" in found.result.notes[0]
    # and finding it is no error for AP
    truths = [entry("image0", rectangle(20, 8, 40, 32)), entry("image0", rectangle(10, 10, 30, 30))]
    alone = scored(tmp_path, truths, two_frames()[:1]).result.rows()["other"]
    assert alone["ap"] == 100.0
    assert scored(tmp_path, [*truths, entry("image0", hidden)], two_frames()[:1]).result.rows()["other"] == alone


def test_average_precision_falls_with_a_confident_wrong_entry(tmp_path):
    frames = [frame_of([rectangle(10, 10, 30, 30)])]
    right = entry("image0", rectangle(10, 10, 30, 30), score=0.5)
    wrong = entry("image0", rectangle(40, 0, 50, 9), score=0.9)
    assert scored(tmp_path, [right], frames).result.rows()["other"]["ap"] == 100.0
    assert scored(tmp_path, [right, wrong], frames).result.rows()["other"]["ap"] == pytest.approx(50.0, abs=0.1)
    assert "ap" not in scored(tmp_path, [right], frames, with_precision=False).result.rows()["other"]


def test_average_precision_by_class_wants_the_right_category(tmp_path):
    (tmp_path / "classes.json").write_text(
        json.dumps({"categories": [{"id": 1, "name": "thing"}, {"id": 2, "name": "b"}]})
    )
    classes = read_classes(tmp_path / "classes.json")
    frames, aps = [frame_of([rectangle(10, 10, 30, 30)])], []
    for category in (1, 2):
        file = tmp_path / "results.json"
        file.write_text(json.dumps([entry("image0", rectangle(10, 10, 30, 30), category_id=category)]))
        found = score_results(data_of(frames), read_results_file(file, classes), "other", by_class=True)
        aps.append(found.result.rows()["other"]["ap"])
    assert aps == [100.0, 0.0]
    file.write_text(json.dumps([entry("image0", rectangle(0, 0, 9, 9), category_id=7)]))
    with pytest.raises(InputError, match="entry 0 has the category_id '7', expected one of 1, 2"):
        read_results_file(file, classes)


def test_with_predicted_visible_masks_only_what_they_found_counts(tmp_path):
    frames = two_frames()
    (tmp_path / "visible.json").write_text(json.dumps([entry("image0", rectangle(10, 10, 19, 30))]))
    data = data_of(frames, read_results(tmp_path / "visible.json", pytest.fail))
    found = scored(
        tmp_path, [entry("image0", rectangle(10, 12, 30, 30)), entry("image0", rectangle(20, 8, 40, 32))], data=data
    )
    rows = found.result.rows()
    assert rows["other"]["object_frames"] == 1 and found.found == {"clip/2"}
    assert rows["visible"]["miou_full"] == pytest.approx(45.0, abs=0.01)
    assert rows["other"]["miou_full"] == pytest.approx(90.0, abs=0.01)
    assert rows["other" + JOINED]["miou_full"] == pytest.approx(94.5, abs=0.01)
    assert "no visible mask was predicted; they do not count: 3." in found.result.notes[-1]


SMALL = rectangle(0, 0, 5, 5)
BROKEN = [
    ({"a": 1}, "it holds dict, expected COCO results"),
    ([3], "entry 0 is int, expected an object"),
    ([{"image_id": "image0", "score": 1}], "entry 0 has no 'segmentation'"),
    ([entry("image0", SMALL), entry("image0", SMALL, score="high")], "entry 1 has the score 'high'"),
    ([entry("image0", SMALL, score=float("nan"))], "entry 0 has the score nan"),
    ([entry(True, SMALL)], "entry 0 has the image_id True"),
    ([entry("image0", SMALL, object_id="x")], "entry 0 has the object_id 'x'"),
    ([entry("image0", SMALL, object_id=9)], "entry 0 is of object 9, which image 'image0' does not have"),
    ([entry("image0", SMALL, object_id=2)] * 2, "entries 0 and 1 are both of object 2"),
    ([entry("image7", SMALL)], "entry 0 is of image 'image7', which the data does not have"),
    ([entry("clip/7", SMALL)], "entry 0 is of image 'clip/7', which the data does not have"),
    ([{"image_id": "image0", "score": 1, "segmentation": [[1, 2]]}], "'segmentation' of entry 0"),
    ([{"image_id": "a", "score": 1, "segmentation": {"size": [9, 9], "counts": [81]}}], "entry 0"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), BROKEN, ids=[message[:40] for _, message in BROKEN])
def test_a_broken_results_file_is_refused_with_the_entry_s_number(tmp_path, content, message):
    with pytest.raises(InputError) as error:
        scored(tmp_path, content)
    assert message in str(error.value) and str(tmp_path / "results.json") in str(error.value)


def test_a_broken_part_is_left_out_and_said(tmp_path):
    def broken():
        yield two_frames()[0]
        raise InputError("0001.png: it cannot be read")

    refused = []
    parts = [
        Part("bad", broken, lambda: ["a0", "a1"]),
        Part("good", lambda: iter(two_frames()), lambda: ["b0", "b1"]),
    ]
    content = [entry("a1", rectangle(10, 10, 30, 30)), entry("b1", rectangle(10, 10, 30, 30))]
    found = scored(tmp_path, content, data=Dataset("test", parts, Refusals(refused.append)))
    assert len(refused) == 1 and found.result.notes[-1] == "Left out: 0001.png: it cannot be read"
    assert found.found == {"good/2"}


def test_the_command_scores_a_recording_and_writes_a_report(shared_dir, tmp_path, capsys):
    data = shared_dir / "data" / "cocoa"
    items = []
    dataset = open_sequences(data)
    for part, (_, frames) in zip(dataset.parts, dataset, strict=True):
        for image_id, frame in zip(part.image_ids(), frames, strict=True):
            for item in frame.objects.values():
                coded = encode(item.amodal, *frame.labels.shape)
                mask = {"size": coded["size"], "counts": coded["counts"].decode()}
                items.append({"image_id": image_id, "category_id": 1, "segmentation": mask, "score": 1.0})
    (tmp_path / "mine.json").write_text(json.dumps(items))
    parser = argparse.ArgumentParser()
    command.configure(parser)
    arguments = [str(tmp_path / "mine.json"), "--data", str(data), "--out", str(tmp_path / "out")]
    command.run(parser.parse_args(arguments))
    text = capsys.readouterr().out
    row = next(line for line in text.splitlines() if line.startswith("| mine  "))
    # only the published video average, in which unoccluded frames count as 0, is not full
    assert row.count("100.0") == row.count("|") - 3
    objects = tmp_path / "out" / "objects.txt"
    assert len(objects.read_text().splitlines()) == len(items)
    objects.write_text(objects.read_text().splitlines()[0])
    command.run(parser.parse_args([*arguments, "--objects", str(objects), "--no-ap"]))
    assert "1 objects, 1 object-frames, only 1 listed objects" in capsys.readouterr().out
