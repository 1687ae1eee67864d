"""Accuracy of invisible frames, flicker and changes of id: small cases written out, and sums that add up."""

import json

import numpy as np
import pytest

from c2f_ros.geometry import EMPTY_MASK, Box, PlacedMask, place
from c2f_ros.video_metrics import (
    Flicker,
    IdSwitches,
    InvisibleAccuracy,
    Shown,
    iou,
    match_results,
    moved_along,
)


def block(x0: int, y0: int, x1: int, y1: int) -> PlacedMask:
    return PlacedMask(Box(x0, y0, x1, y1), np.ones((y1 - y0, x1 - x0), bool))


def shape_of(seed: int, height: int = 40, width: int = 60) -> PlacedMask:
    return place(np.random.default_rng(seed).random((height, width)) > 0.6)


WHOLE = block(10, 10, 20, 20)


def test_only_frames_without_a_visible_pixel_count_and_only_after_the_object_was_seen():
    found = InvisibleAccuracy()
    found.add("c/1", EMPTY_MASK, WHOLE, EMPTY_MASK)  # not seen yet
    found.add("c/1", WHOLE, WHOLE, WHOLE)  # seen
    found.add("c/1", block(10, 10, 20, 15), WHOLE, EMPTY_MASK)
    found.add("c/1", EMPTY_MASK, WHOLE, EMPTY_MASK)
    assert found.summary() == {
        "miou_invisible": 25.0, "miou_invisible_objects": 25.0, "invisible_frames": 2, "invisible_objects": 1,
        "left_frames": 0, "ghost_frames": 0,
    }  # fmt: skip


def test_the_mean_over_objects_weighs_every_object_alike():
    found = InvisibleAccuracy()
    for key, answers in (("c/1", [WHOLE, WHOLE, WHOLE]), ("c/2", [EMPTY_MASK])):
        found.add(key, WHOLE, WHOLE, WHOLE)
        for answer in answers:
            found.add(key, answer, WHOLE, EMPTY_MASK)
    assert found.summary()["miou_invisible"] == 75.0
    assert found.summary()["miou_invisible_objects"] == 50.0


def test_a_mask_of_an_object_that_has_left_the_image_is_a_ghost_and_not_an_iou():
    found = InvisibleAccuracy()
    found.add("c/1", WHOLE, WHOLE, WHOLE)
    found.add("c/1", WHOLE, EMPTY_MASK, EMPTY_MASK)
    found.add("c/1", EMPTY_MASK, EMPTY_MASK, EMPTY_MASK)
    summary = found.summary()
    assert (summary["invisible_frames"], summary["left_frames"], summary["ghost_frames"]) == (0, 2, 1)


def test_ages_count_frames_since_the_object_was_last_seen():
    found = InvisibleAccuracy()
    found.add("c/1", WHOLE, WHOLE, WHOLE)
    for _ in range(20):
        found.add("c/1", WHOLE, WHOLE, EMPTY_MASK)
    bins = found.by_age()
    assert [(b["first"], b["last"], b["object_frames"]) for b in bins] == [
        (1, 1, 1), (2, 3, 2), (4, 7, 4), (8, 15, 8), (16, None, 5),
    ]  # fmt: skip
    found.add("c/1", WHOLE, WHOLE, WHOLE)
    found.add("c/1", WHOLE, WHOLE, EMPTY_MASK)
    assert found.by_age()[0]["object_frames"] == 2


def test_an_object_seen_in_one_clip_is_not_seen_in_the_next():
    found = InvisibleAccuracy()
    found.add("1", WHOLE, WHOLE, WHOLE)
    found.end_clip()
    found.add("1", WHOLE, WHOLE, EMPTY_MASK)
    assert found.summary()["invisible_frames"] == 0


@pytest.mark.parametrize("seed", range(5))
def test_moving_along_an_unchanged_box_changes_nothing(seed):
    mask = shape_of(seed)
    box = Box(3, 4, 17, 31)
    moved = moved_along(mask, box, box)
    assert moved.box == mask.box and np.array_equal(moved.mask, mask.mask)


@pytest.mark.parametrize("seed", range(5))
def test_moving_along_a_shift_shifts_and_along_a_doubling_doubles(seed):
    mask = shape_of(seed)
    shifted = moved_along(mask, Box(0, 0, 10, 12), Box(7, -3, 17, 9))
    assert shifted.box == Box(mask.box.x0 + 7, mask.box.y0 - 3, mask.box.x1 + 7, mask.box.y1 - 3)
    assert np.array_equal(shifted.mask, mask.mask)
    doubled = moved_along(mask, Box(0, 0, 10, 12), Box(0, 0, 20, 24))
    assert np.array_equal(doubled.mask, mask.mask.repeat(2, axis=0).repeat(2, axis=1))


def test_moving_takes_the_old_box_to_the_new_one():
    old, new = Box(5, 6, 18, 29), Box(30, 2, 39, 40)
    moved = moved_along(block(5, 6, 18, 29), old, new)
    assert moved.box == new and moved.mask.all()


def partly_hidden(mask: PlacedMask) -> PlacedMask:
    """Its left half, as the visible part."""
    box = mask.box
    return PlacedMask(Box(box.x0, box.y0, box.x0 + box.width // 2, box.y1), mask.mask[:, : box.width // 2])


def test_an_answer_that_moves_with_the_object_does_not_flicker():
    found = Flicker()
    for number in range(4):
        truth = block(10 + 7 * number, 10, 30 + 7 * number, 20)
        found.add("c/1", number, truth, truth, partly_hidden(truth))
    assert found.summary() == {
        "flicker": 0.0, "flicker_truth": 0.0, "flicker_hidden": 0.0, "flicker_hidden_truth": 0.0, "flicker_pairs": 3,
    }  # fmt: skip


def test_an_answer_that_comes_and_goes_flickers_by_its_distance():
    found, truth = Flicker(), block(0, 0, 20, 10)
    seen = partly_hidden(truth)
    distances = [
        found.add("c/1", number, mask, truth, seen) for number, mask in enumerate([truth, seen, truth, EMPTY_MASK])
    ]
    assert distances == [None, 0.5, 0.5, 1.0]
    assert found.summary()["flicker"] == pytest.approx(66.67)
    assert found.summary()["flicker_hidden"] == 100.0
    assert found.summary()["flicker_truth"] == 0.0


@pytest.mark.parametrize(
    "second",
    [
        (2, WHOLE, partly_hidden(WHOLE)),  # a frame is missing between
        (1, WHOLE, EMPTY_MASK),  # hidden wholly
        (1, WHOLE, WHOLE),  # not hidden
        (1, EMPTY_MASK, EMPTY_MASK),  # not in the image
    ],
)
def test_pairs_count_only_if_adjacent_and_partly_hidden_in_both_frames(second):
    number, truth, visible = second
    for order in (1, -1):
        found = Flicker()
        frames = [(0, WHOLE, partly_hidden(WHOLE)), (number, truth, visible)][::order]
        for (at, _, _), (_, whole, seen) in zip(sorted(frames, key=lambda f: f[0]), frames, strict=True):
            found.add("c/1", at, whole, whole, seen)
        assert found.summary()["flicker_pairs"] == 0


def test_flicker_says_how_much_the_truth_itself_changes():
    found = Flicker()
    first, second = block(0, 0, 20, 10), place(np.tri(10, 20, 10, dtype=bool))
    for number, truth in enumerate([first, second]):
        found.add("c/1", number, EMPTY_MASK, truth, partly_hidden(truth))
    summary = found.summary()
    assert summary["flicker"] == 0.0
    assert summary["flicker_truth"] == pytest.approx(100 * (1 - iou(first, second)), abs=0.01)


def shown(name: str, mask: PlacedMask, is_seen: bool = True) -> Shown:
    return Shown(name, mask if is_seen else EMPTY_MASK, mask)


LEFT, RIGHT = block(0, 0, 10, 10), block(30, 0, 40, 10)


def test_results_are_matched_one_to_one_by_what_is_visible():
    truth = [shown("c/1", LEFT), shown("c/2", RIGHT)]
    results = [shown("b", RIGHT), shown("a", LEFT), shown("far", block(100, 0, 110, 10))]
    assert match_results(truth, results) == {"c/1": "a", "c/2": "b"}
    assert match_results(truth, results[:1]) == {"c/2": "b"}
    assert match_results(truth, []) == match_results([], results) == {}


def test_hidden_objects_are_matched_by_their_whole_masks():
    truth = [shown("c/1", LEFT, is_seen=False), shown("c/2", RIGHT)]
    assert match_results(truth, [shown("b", RIGHT), shown("a", block(4, 0, 14, 10), False)]) == {
        "c/1": "a",
        "c/2": "b",
    }
    assert match_results(truth[:1], [shown("a", block(8, 0, 18, 10), False)]) == {}


def test_an_object_that_upstream_missed_is_matched_with_the_one_remembered():
    assert match_results([shown("c/1", LEFT)], [shown("a", LEFT, is_seen=False)]) == {"c/1": "a"}


def test_a_new_id_is_a_switch_and_an_id_on_another_object_a_takeover():
    found = IdSwitches()
    for ids in (("a", "b"), ("a", "c"), ("a", "c"), ("b", "c")):
        found.add([shown("c/1", LEFT), shown("c/2", RIGHT)], [shown(ids[0], LEFT), shown(ids[1], RIGHT)])
    assert found.summary() == {"id_switches": 2, "id_takeovers": 1, "id_objects": 2, "id_frames": 8}


def test_an_object_that_was_lost_for_a_while_keeps_its_last_id():
    found = IdSwitches()
    truth = [shown("c/1", LEFT)]
    for results in ([shown("a", LEFT)], [], [shown("a", LEFT)], [], [shown("b", LEFT)]):
        found.add(truth, results)
    assert found.summary()["id_switches"] == 1


def test_ids_of_another_clip_are_other_ids():
    found = IdSwitches()
    found.add([shown("c/1", LEFT)], [shown("a", LEFT)])
    found.end_clip()
    found.add([shown("d/1", LEFT)], [shown("a", LEFT)])
    assert found.summary()["id_takeovers"] == 0 and found.summary()["id_objects"] == 2


def filled(seed: int):
    """The three sums over a clip of its own, of random masks."""
    invisible, flicker, ids = InvisibleAccuracy(), Flicker(), IdSwitches()
    rng = np.random.default_rng(seed)
    for number in range(6):
        truth, answer = shape_of(10 * seed + number), shape_of(10 * seed + number + 1)
        seen = EMPTY_MASK if rng.random() < 0.4 else partly_hidden(truth)
        invisible.add(f"{seed}/1", answer, truth, seen)
        flicker.add(f"{seed}/1", number, answer, truth, seen)
        ids.add([Shown(f"{seed}/1", seen, truth)], [Shown(str(rng.integers(3)), seen, answer)])
    return invisible, flicker, ids


def test_sums_add_up_and_survive_json():
    for a, b in zip(filled(1), filled(2), strict=True):
        joined = a + b
        assert type(a).from_json(json.loads(json.dumps(joined.to_json()))) == joined
        for key, value in joined.summary().items():
            if not key.startswith(("miou", "flicker")) or key == "flicker_pairs":
                assert value == a.summary()[key] + b.summary()[key], key
    pairs = [part[1].whole for part in (filled(1), filled(2))]
    both = (filled(1)[1] + filled(2)[1]).whole
    assert both.total == pytest.approx(pairs[0].total + pairs[1].total) and both.count == sum(p.count for p in pairs)
    assert both.count > 0


def test_an_empty_sum_says_nothing():
    for empty in (InvisibleAccuracy(), Flicker(), IdSwitches()):
        assert all(value in (None, 0) for value in empty.summary().values())
        assert empty + empty == empty
