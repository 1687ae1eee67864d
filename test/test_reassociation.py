"""Which newcomer is which hidden object: by coverage of what is expected, one to one; ids that stand for others."""

import numpy as np
import pytest
from frames import labels_with, paired

from c2f_ros.geometry import EMPTY_MASK, Box, PlacedMask
from c2f_ros.motion import Similarity
from c2f_ros.reassociation import Expected, move_mask, recognize, widened
from c2f_ros.records import Instances, PairedFrame, VisibleInstance
from c2f_ros.steps import step3_identity
from c2f_ros.steps.step3_identity import Identities


def filled(x0: int, y0: int, x1: int, y1: int) -> PlacedMask:
    return PlacedMask(Box(x0, y0, x1, y1), np.ones((y1 - y0, x1 - x0), bool))


def newcomer(*box: int, class_id: str = "") -> VisibleInstance:
    return VisibleInstance("new", class_id, 1.0, filled(*box))


def expected(name: str, *box: int, class_id: str = "") -> Expected:
    return Expected(name, class_id, filled(*box))


def test_a_newcomer_of_which_half_is_covered_is_the_hidden_object():
    hidden = expected("a", 0, 0, 20, 20)  # widened by 2 pixels
    assert recognize([newcomer(17, 5, 27, 15)], [hidden]) == {0: "a"}
    assert recognize([newcomer(18, 5, 28, 15)], [hidden]) == {}


def test_a_sliver_at_the_very_edge_of_what_is_expected_is_recognized():
    assert recognize([newcomer(20, 5, 22, 15)], [expected("a", 0, 0, 20, 20)]) == {0: "a"}


def test_classes_must_agree_where_both_are_known():
    man = expected("a", 0, 0, 20, 20, class_id="man")
    assert recognize([newcomer(5, 5, 15, 15, class_id="dog")], [man]) == {}
    assert recognize([newcomer(5, 5, 15, 15, class_id="man")], [man]) == {0: "a"}
    assert recognize([newcomer(5, 5, 15, 15)], [man]) == {0: "a"}


def test_pairs_are_one_to_one_with_the_best_total():
    """The first newcomer fits both; the second only `a`."""
    hidden = [expected("a", 0, 0, 20, 20), expected("b", 12, 0, 32, 20)]
    assert recognize([newcomer(12, 2, 20, 18), newcomer(2, 2, 8, 18)], hidden) == {0: "b", 1: "a"}


def test_of_two_that_cover_it_wholly_the_one_that_fits_better_is_meant():
    hidden = [expected("large", 0, 0, 60, 40), expected("small", 10, 10, 24, 24)]
    assert recognize([newcomer(12, 12, 22, 22)], hidden) == {0: "small"}


def test_a_mask_moves_and_grows_with_its_place_and_is_cut_at_the_image():
    moved = move_mask(filled(10, 10, 20, 20), Similarity(2.0, -5.0, 3.0), 48, 80)
    assert moved.box == Box(15, 23, 35, 43) and moved.area == 400
    assert move_mask(filled(10, 10, 20, 20), Similarity(1.0, 65.0, 0.0), 48, 80).box == Box(75, 10, 80, 20)
    assert move_mask(filled(10, 10, 20, 20), Similarity(1.0, 90.0, 0.0), 48, 80).is_empty
    assert move_mask(EMPTY_MASK, Similarity(), 48, 80) is EMPTY_MASK


def test_widening_adds_a_border_of_a_share_of_the_longer_side():
    assert widened(filled(10, 10, 40, 20)).box == Box(7, 7, 43, 23)
    assert widened(EMPTY_MASK).is_empty


class Memory:
    """Tracks by name, each expected where it is put."""

    def __init__(self, **places: tuple[int, int, int, int]) -> None:
        self.places, self.forgotten = dict(places), []

    def __contains__(self, name: str) -> bool:
        return name in self.places

    def predicted(self):
        return set(self.places)

    def expect(self, names, visible):
        return [expected(name, *self.places[name]) for name in names]

    def forget(self, name: str) -> None:
        self.forgotten.append(name)


A, B = (5, 5, 25, 25), (40, 5, 60, 25)


def upstream(**boxes: tuple[int, int, int, int]) -> PairedFrame:
    pair = paired(labels_with(*boxes.values()))
    named = tuple(
        VisibleInstance(name, i.class_id, i.score, i.visible)
        for name, i in zip(boxes, pair.instances.instances, strict=True)
    )
    return PairedFrame(pair.frame, Instances(0, named, pair.instances.labels))


def test_a_new_id_stands_for_its_track_from_then_on_wherever_it_is_seen():
    identities, memory = Identities(False, 0.3, 2), Memory(a=A)
    assert identities.assign(upstream(new=A), memory).track_ids == ("a",)
    assert identities.assign(upstream(new=B), memory).track_ids == ("a",)
    assert identities.reassociated == 1
    identities.reset()
    assert identities.assign(upstream(new=B), memory).track_ids == ("new",)


def test_a_track_that_upstream_still_sends_is_nobody_else():
    identities, memory = Identities(False, 0.3, 2), Memory(a=A)
    assert identities.assign(upstream(a=B, new=A), memory).track_ids == ("a", "new")


def test_of_two_ids_that_stand_for_one_track_the_last_one_met_keeps_it():
    identities, memory = Identities(False, 0.3, 2), Memory(a=A)
    identities.assign(upstream(b=A), memory)
    identities.assign(upstream(c=A), memory)
    assert identities.assign(upstream(b=A), memory).track_ids == ("a",)
    assert identities.assign(upstream(c=B, b=A), memory).track_ids == ("c", "a")
    assert identities.assign(upstream(c=B), memory).track_ids == ("c",)
    assert memory.forgotten == []


def test_the_original_beside_its_stand_in_frees_both_and_the_mixed_memory():
    identities, memory = Identities(False, 0.3, 2), Memory(a=A)
    identities.assign(upstream(new=A), memory)
    assert identities.assign(upstream(new=A, a=B), memory).track_ids == ("new", "a")
    assert memory.forgotten == ["a"]


def test_ids_that_stand_for_others_are_bounded(monkeypatch):
    monkeypatch.setattr(step3_identity, "MOST_ALIASES", 3)
    identities, memory = Identities(False, 0.3, 2), Memory(a=A)
    for k in range(10):
        identities.assign(upstream(**{f"new_{k}": A}), memory)
    assert len(identities._aliases) == 3
    assert identities.assign(upstream(new_9=B), memory).track_ids == ("a",)


@pytest.mark.parametrize("is_own", [False, True])
def test_a_nameless_instance_is_recognized_and_carried_on_by_its_mask(is_own):
    """Upstream lost the id; from then on the track is followed like an own one."""
    identities, memory = Identities(is_own, 0.3, 2), Memory(a=A)
    nameless = {"": A}
    assert identities.assign(upstream(**nameless), memory).track_ids == ("a",)
    memory.places["a"] = B
    assert identities.assign(upstream(**nameless), memory).track_ids == ("a",)
    assert identities.reassociated == 1


def test_without_a_memory_ids_are_never_exchanged():
    identities = Identities(False, 0.3, 2)
    assert identities.assign(upstream(a=A)).track_ids == ("a",)
    assert identities.assign(upstream(new=A)).track_ids == ("new",)
