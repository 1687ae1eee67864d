"""Who hides whom: chains, rings, interlocking pairs, hidden objects; exact on stacks of cards drawn from the back."""

import json

import numpy as np
import pytest

from c2f_ros.geometry import EMPTY_MASK, PlacedMask, place
from c2f_ros.occlusion_order import find_order, in_order
from c2f_ros.order_metrics import OrderAccuracy, true_order
from c2f_ros.records import AmodalFrame, AmodalInstance, Status

HEIGHT, WIDTH = 60, 90


def card(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def stacked(cards: list[np.ndarray]) -> tuple[list[PlacedMask], list[PlacedMask]]:
    """Visible and whole masks of cards, the first one on top."""
    taken, visible = np.zeros((HEIGHT, WIDTH), bool), []
    for mask in cards:
        visible.append(place(mask & ~taken))
        taken |= mask
    return visible, [place(mask) for mask in cards]


def random_stack(seed: int, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, [60, 40], (count, 2))
    sizes = rng.integers(8, [30, 20], (count, 2))
    return [card(int(x), int(y), int(x + w), int(y + h)) for (x, y), (w, h) in zip(corners, sizes, strict=True)]


def test_a_chain_is_ordered_from_front_to_back_however_it_is_listed():
    cards = [card(0, 20, 20, 40), card(10, 20, 35, 38), card(25, 20, 50, 36)]
    visible, whole = stacked(cards)
    for rows in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        order = find_order([visible[r] for r in rows], [whole[r] for r in rows])
        assert [rows[r] for r in order.front_to_back] == [0, 1, 2]
        assert order.cycles == ()
        by = {rows[row]: [rows[a] for a in order.occluders(row)] for row in range(3)}
        assert by == {0: [], 1: [0], 2: [1]}


def test_who_hides_most_comes_first():
    visible, whole = stacked([card(0, 0, 10, 30), card(30, 0, 55, 30), card(5, 5, 50, 25)])
    assert find_order(visible, whole).occluders(2) == (1, 0)


@pytest.mark.parametrize("seed", range(20))
def test_a_stack_of_cards_is_ordered_rightly_wherever_it_shows(seed):
    cards = random_stack(seed, 7)
    rows = np.random.default_rng(seed).permutation(7)
    visible, whole = stacked(cards)
    order = find_order([visible[r] for r in rows], [whole[r] for r in rows])
    assert sorted(order.front_to_back) == list(range(7)) and order.cycles == ()
    height = [int(rows[row]) for row in range(7)]
    place_of = np.argsort(order.front_to_back)
    for a, b in np.argwhere(order.hides):
        assert height[a] < height[b]
        assert place_of[a] < place_of[b]


def ring() -> tuple[list[PlacedMask], list[PlacedMask]]:
    """Four boards laid in a square, each over the next one's end: every board hides one and is hidden by one."""
    boards = [card(10, 10, 60, 20), card(50, 10, 60, 50), card(10, 40, 60, 50), card(10, 10, 20, 50)]
    seen = [board.copy() for board in boards]
    for top, under, corner in ((0, 1, (50, 10, 60, 20)), (1, 2, (50, 40, 60, 50)), (2, 3, (10, 40, 20, 50))):
        assert (boards[top] & boards[under] & card(*corner)).any()
        seen[under] &= ~card(*corner)
    seen[0] &= ~card(10, 10, 18, 20)  # the last corner is smaller: the weakest evidence
    seen[3] &= ~card(18, 10, 20, 20)
    return [place(mask) for mask in seen], [place(board) for board in boards]


def test_a_ring_is_one_cycle_and_is_cut_at_its_weakest_evidence():
    visible, whole = ring()
    order = find_order(visible, whole)
    assert order.cycles == ((0, 1, 2, 3),)
    assert order.front_to_back == (0, 1, 2, 3)


def test_what_lies_before_and_behind_a_ring_keeps_its_place():
    visible, whole = ring()
    front, back = card(30, 5, 40, 25), card(0, 0, 90, 60)
    visible = [place(m.full(HEIGHT, WIDTH) & ~front) for m in visible]
    seen_back = back & ~front & ~np.logical_or.reduce([m.full(HEIGHT, WIDTH) for m in visible])
    order = find_order([place(seen_back), *visible, place(front)], [place(back), *whole, place(front)])
    assert order.front_to_back[0] == 5 and order.front_to_back[-1] == 0
    assert len(order.cycles) == 1 and set(order.cycles[0]) == {1, 2, 3, 4}


def interlocked(second: int) -> tuple[list[PlacedMask], list[PlacedMask]]:
    """Two long cards that cross twice; a is over b in the first crossing, b over a in `second` columns of the other."""
    a = card(0, 10, 80, 20) | card(0, 30, 80, 40)
    b = card(10, 0, 30, 50) | card(50, 0, 50 + second, 50)
    seen_a = a & ~(b & card(40, 0, 90, 50))
    seen_b = b & ~seen_a
    return [place(seen_a), place(seen_b)], [place(a), place(b)]


def test_two_objects_that_hide_each_other_are_a_cycle_the_stronger_in_front():
    order = find_order(*interlocked(16))
    assert order.hides[0, 1] and order.hides[1, 0]
    assert order.front_to_back == (0, 1) and order.cycles == ((0, 1),)


def test_a_mask_that_spills_over_its_occluder_does_not_hide_it():
    front, back = card(20, 10, 60, 50), card(40, 15, 80, 45)
    spilled = place(front | card(60, 20, 63, 40))  # the front one's whole mask reaches over the back one
    order = find_order([place(front), place(back & ~front)], [spilled, place(back)])
    assert order.pixels[1, 0] > 0 and not order.hides[1, 0]
    assert order.occluders(1) == (0,) and order.cycles == ()


def test_an_object_hidden_wholly_has_its_place_behind_what_hides_it():
    front, hidden, behind = card(20, 10, 60, 50), card(30, 20, 50, 40), card(0, 5, 90, 45)
    visible, whole = stacked([front, hidden, behind])
    assert visible[1].is_empty
    order = find_order(visible, whole)
    assert order.occluders(1) == (0,)
    assert order.front_to_back.index(0) < order.front_to_back.index(1)


def test_without_evidence_the_lower_one_is_nearer():
    visible, whole = stacked([card(0, 0, 10, 20), card(30, 20, 50, 55), card(60, 0, 80, 40)])
    assert find_order(visible, whole).front_to_back == (1, 2, 0)


def test_no_objects_have_an_empty_order():
    order = find_order([], [])
    assert (order.front_to_back, order.cycles) == ((), ())
    frame = AmodalFrame(0, None, HEIGHT, WIDTH, "toy", ())
    assert (in_order(frame).instances, in_order(frame).front_to_back) == ((), ())


def test_a_frame_in_order_speaks_of_track_ids_and_keeps_everything_else():
    visible, whole = ring()
    names = ["d", "c", "b", "a"]
    found = tuple(
        AmodalInstance(name, "", 1.0, seen, mask, 1.0, 0.0, (), 1, Status.OK)
        for name, seen, mask in zip(names, visible, whole, strict=True)
    )
    frame = AmodalFrame(5, None, HEIGHT, WIDTH, "toy", found)
    ordered = in_order(frame)
    assert ordered.front_to_back == ("d", "c", "b", "a") and ordered.cycles == (("d", "c", "b", "a"),)
    assert [item.occluded_by for item in ordered.instances] == [("a",), ("d",), ("c",), ("b",)]
    assert [item.amodal for item in ordered.instances] == [item.amodal for item in found]
    assert (ordered.stamp_ns, ordered.model_id) == (5, "toy")


@pytest.mark.parametrize("seed", range(10))
def test_the_true_masks_score_full_marks(seed):
    cards = random_stack(seed, 6)
    visible, whole = stacked(cards)
    rows = np.arange(6)
    overlap = np.array([[(a & b).any() for b in cards] for a in cards])
    truth = true_order(visible, whole, overlap & (rows[:, None] < rows[None, :]))
    accuracy = OrderAccuracy()
    accuracy.add(truth, find_order(visible, whole))
    summary = accuracy.summary()
    assert summary["order_right"] in (100.0, None)
    assert summary["occluded_by_precision"] in (100.0, None) and summary["occluded_by_recall"] in (100.0, None)
    assert summary["order_cycles"] == 0


def test_the_order_turned_round_scores_nothing():
    visible, whole = stacked([card(0, 20, 20, 40), card(10, 20, 35, 38)])
    truth = true_order(visible, whole)
    # by the result, the second lies on top: the first is seen only where the second does not reach
    turned = find_order([place(card(0, 20, 10, 40)), whole[1]], whole)
    accuracy = OrderAccuracy()
    accuracy.add(truth, turned)
    assert accuracy.summary() == {
        "order_placed": 0.0, "order_right": 0.0, "order_decided": 100.0, "occluded_by_precision": 0.0,
        "occluded_by_recall": 0.0, "order_pairs": 1, "order_cycles": 0, "order_frames": 1,
    }  # fmt: skip


def test_objects_without_a_result_are_undecided():
    visible, whole = stacked([card(0, 20, 20, 40), card(10, 20, 35, 38)])
    accuracy = OrderAccuracy()
    accuracy.add(true_order(visible, whole), find_order([EMPTY_MASK] * 2, [EMPTY_MASK] * 2))
    assert (accuracy.pairs, accuracy.decided) == (1, 0)
    assert accuracy.summary()["occluded_by_recall"] == 0.0


def test_interlocking_and_touching_objects_are_no_pair():
    accuracy = OrderAccuracy()
    visible, whole = interlocked(16)
    accuracy.add(true_order(visible, whole), find_order(visible, whole))
    visible, whole = stacked([card(0, 0, 10, 3), card(9, 0, 20, 3)])  # three pixels in common
    accuracy.add(true_order(visible, whole), find_order(visible, whole))
    assert accuracy.pairs == 0 and accuracy.frames == 2


def test_sums_add_up_and_survive_json():
    parts = []
    for seed in range(2):
        visible, whole = stacked(random_stack(seed, 6))
        part = OrderAccuracy()
        part.add(true_order(visible, whole), find_order(visible, whole))
        parts.append(part)
    joined = parts[0] + parts[1]
    assert joined.pairs == parts[0].pairs + parts[1].pairs > 0
    assert OrderAccuracy.from_json(json.loads(json.dumps(joined.to_json()))) == joined
