"""Predicted visible masks take the place of the true ones."""

import numpy as np
import pytest
import recordings
from dataset_files import (
    WRONG_SIZE,
    read,
    result,
    write_fishbowl,
    write_json,
    write_kins_set,
    write_movid_set,
)
from recordings import FRAMES, HEIGHT, WIDTH, amodal_masks, labels_of

from c2f_ros.contract import InputError
from c2f_ros.geometry import Box, PlacedMask
from c2f_ros.sources.datasets import open_dataset
from c2f_ros.sources.parts import raise_refused
from c2f_ros.sources.predicted import FIRST_UNMATCHED_ID, match, true_visible


def square(x, side=10):
    return PlacedMask(Box(x, 0, x + side, side), np.ones((side, side), bool))


def test_predictions_choose_in_turn_the_best_object_that_is_left():
    objects = {1: square(0), 2: square(4), 3: square(100)}
    assert match([square(1), square(0), square(99)], objects) == [1, None, 3]
    assert match([square(3), square(3)], objects) == [2, 1]
    assert match([square(0, 5), square(50)], objects) == [None, None]


def test_half_of_the_union_is_enough_to_match():
    whole, half = square(0), PlacedMask(Box(0, 0, 5, 10), np.ones((10, 5), bool))
    less = PlacedMask(Box(0, 0, 5, 10), np.ones((10, 5), bool) & ~np.eye(10, 5, dtype=bool))
    assert match([half], {7: whole}) == [7]
    assert match([less], {7: whole}) == [None]


def predictions(index, image_id):
    """Both objects, slightly wrong, and one that is none; object 1 is found twice."""
    front, back = labels_of(index) == 1, labels_of(index) == 2
    nothing = np.zeros((HEIGHT, WIDTH), bool)
    nothing[0:4, 0:5] = True
    found = [result(image_id, np.roll(front, 1, 0), 0.9), result(image_id, front, 0.3), result(image_id, nothing, 0.8)]
    return found + ([result(image_id, back, 0.7, 2)] if back.any() else [])


def test_predicted_masks_take_the_place_of_the_true_ones(tmp_path):
    write_kins_set(tmp_path)
    results = write_json(tmp_path / "out" / "results.json", predictions(0, 0) + predictions(1, 1)[:1])
    truth = [frame for _, (frame,) in open_dataset(tmp_path)]
    found = [frame for _, (frame,) in open_dataset(tmp_path, results=results, on_refused=raise_refused)]
    strange, twice = FIRST_UNMATCHED_ID, FIRST_UNMATCHED_ID + 1
    expected = np.zeros((HEIGHT, WIDTH), np.int32)
    expected[labels_of(0) == 1] = twice
    expected[labels_of(0) == 2] = 2
    expected[0:4, 0:5] = strange
    expected[np.roll(labels_of(0) == 1, 1, 0)] = 1
    np.testing.assert_array_equal(found[0].labels, expected)
    assert (expected == twice).any()
    assert all(found[0].objects[i].amodal is None for i in (strange, twice))
    assert [set(np.unique(frame.labels)) for frame in found[1:]] == [{0, 1}, {0}]
    for true, frame in zip(truth, found, strict=True):
        np.testing.assert_array_equal(frame.rgb, true.rgb)
        for identity, item in true.objects.items():
            assert frame.objects[identity].class_id == item.class_id
            for a, b in (
                (frame.objects[identity].amodal, item.amodal),
                (true_visible(frame, identity), true_visible(true, identity)),
            ):
                np.testing.assert_array_equal(a.full(HEIGHT, WIDTH), b.full(HEIGHT, WIDTH))
    assert (found[0].objects[1].score, found[1].objects[2].score) == (0.9, None)


@pytest.mark.parametrize("kind", ["movid", "fishbowl", "folder", "nested", "tracks"])
def test_frames_without_image_ids_are_named_by_sequence_and_number(kind, tmp_path):
    root = tmp_path / "set"
    if kind == "movid":
        write_movid_set(root, ("2",))
    elif kind == "fishbowl":
        write_fishbowl(root, ("2",))
    else:
        (recordings.write_kins if kind == "tracks" else recordings.write_folder)(
            root / "two" if kind != "folder" else root
        )
    name = {"movid": "test/2/00001", "fishbowl": "test/2/00001", "folder": "set/00001", "nested": "two/00001"}
    image_id = name.get(kind, "two/1")
    results = write_json(tmp_path / "out" / "results.json", [result(image_id, labels_of(1) == 1, 0.9)])
    ((_, frames),) = open_dataset(root, results=results, on_refused=raise_refused)
    assert [set(np.unique(frame.labels)) for frame in frames] == [{0}, {0, 1}, {0}]


def test_ids_of_unmatched_predictions_are_not_repeated_in_a_video(tmp_path):
    write_movid_set(tmp_path, ("2",))
    nothing = np.zeros((HEIGHT, WIDTH), bool)
    nothing[0:4, 0:5] = True
    entries = [result(f"test/2/{k:05d}", nothing, 0.9) for k in range(FRAMES)]
    results = write_json(tmp_path / "out" / "results.json", entries)
    ((_, frames),) = open_dataset(tmp_path, results=results)
    assert [frame.labels.max() for frame in frames] == [FIRST_UNMATCHED_ID + k for k in range(FRAMES)]


def test_results_of_another_set_are_refused(tmp_path):
    write_kins_set(tmp_path)
    mask = amodal_masks(0)[1]
    results = write_json(tmp_path / "out" / "results.json", [result(77, mask, 0.9)])
    with pytest.raises(InputError, match="none of its images is in the data set, which has '0', not '77'"):
        open_dataset(tmp_path, results=results)
    write_json(results, [result(77, mask, 0.9), result(1, mask, 0.9)])
    counts, refused = read(tmp_path, results=results)
    assert sum(counts.values()) == FRAMES and "1 of its 2 images are not in the data set" in refused[0]
    write_kins_set(tmp_path, "test")
    with pytest.raises(
        InputError, match="image 0 is in .*train/000000.* and in .*test/000000; choose a split|test/000000"
    ):
        open_dataset(tmp_path, results=results)
    write_json(results, {"annotations": []})
    with pytest.raises(InputError, match="it holds a dict, expected a list of results"):
        open_dataset(tmp_path, split="test", results=results)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("segmentation", WRONG_SIZE, "result 1: it is a mask for"),
        ("segmentation", None, "result 1: NoneType is not a polygon"),
        ("score", "high", "'score' of result 1 is 'high', expected a number"),
    ],
)
def test_a_broken_result_spoils_its_own_image_only(key, value, reason, tmp_path):
    write_kins_set(tmp_path)
    entries = [result(k, amodal_masks(k)[1], 0.9) for k in range(FRAMES)]
    entries[1][key] = value
    results = write_json(tmp_path / "out" / "results.json", entries)
    counts, refused = read(tmp_path, results=results)
    assert list(counts.values()) == [1, 0, 1]
    assert len(refused) == 1 and refused[0].startswith(str(results)) and reason in refused[0]
