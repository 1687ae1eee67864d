import math

import numpy as np
import pytest

from c2f_ros.contract import CropSpec
from c2f_ros.following import alignment, first_place, followed_crop, next_place
from c2f_ros.geometry import Box, PlacedMask
from c2f_ros.motion import STILL, Similarity

CROP = CropSpec("followed", 64, 2.0, 0.2)
FRAME = 100_000_000
SEEN = Box(40, 50, 60, 90)
SEEN_CENTER = (50.0, 70.0)


def shown(box):
    return PlacedMask(box, np.ones((box.height, box.width), bool))


def test_the_first_crop_is_the_square_around_what_is_seen():
    place = first_place(0, shown(SEEN))
    assert followed_crop(place, SEEN, 200, 300, CROP) == Box(10, 30, 90, 110)


def test_a_partly_hidden_object_keeps_its_extent_and_its_crop_stays_where_it_was():
    place = first_place(0, shown(SEEN))
    part = Box(40, 50, 45, 60)
    place = next_place(place, FRAME, shown(part), STILL, STILL)
    left, top, right, bottom = place.extent
    assert (left, top) == (40, 50)
    assert 59 < right <= 60 and 88 < bottom <= 90
    crop = followed_crop(place, part, 200, 300, CROP)
    assert crop.width == round(1.5 * (bottom - top))
    assert abs((crop.x0 + crop.x1) / 2 - 50) <= 1 and abs((crop.y0 + crop.y1) / 2 - 70) <= 1


def test_a_small_object_s_crop_has_the_least_side():
    place = first_place(0, shown(Box(5, 5, 7, 8)))
    assert followed_crop(place, Box(5, 5, 7, 8), 200, 300, CROP).width == 40


def test_an_unseen_object_moves_on_with_its_own_velocity_over_the_scene():
    place = first_place(0, shown(SEEN))
    seen = shown(Box(44, 50, 64, 90))
    place = next_place(place, FRAME, seen, Similarity(1.0, 4.0, 0.0), Similarity(1.0, 1.0, 0.0))
    assert place.velocity == pytest.approx((30.0, 0.0)) and place.seen_ns == FRAME
    hidden = next_place(place, 2 * FRAME, None, None, Similarity(1.0, 1.0, 0.0))
    assert hidden.center[0] - place.center[0] == pytest.approx(4.0)
    assert hidden.seen_ns == FRAME
    turned = next_place(hidden, 3 * FRAME, None, None, Similarity(1.0, -5.0, 2.0))
    assert turned.center == pytest.approx((hidden.center[0] - 5 + 3, hidden.center[1] + 2))


@pytest.mark.parametrize("measured", [True, False])
def test_only_changes_of_the_scene_s_motion_count(measured):
    """The scene's motion is known up to a constant: one that is the same in every frame changes nothing."""

    def follow(constant):
        place, seen = first_place(0, shown(SEEN)), shown(Box(44, 50, 64, 90))
        for frame, turn in ((1, 1.0), (2, 1.0), (3, 6.0), (4, 6.0)):
            own = (seen, Similarity(1.0, 4.0, 0.0)) if measured and frame == 1 else (None, None)
            place = next_place(place, frame * FRAME, *own, Similarity(1.0, turn + constant, -constant))
        return place.center

    assert follow(0.0) == pytest.approx(follow(25.0)) and follow(0.0) != pytest.approx(SEEN_CENTER)


def running(frames=6):
    """The place of an object that ran to the right by 4 pixels a frame, all of it seen."""
    place = first_place(0, shown(SEEN))
    for frame in range(1, frames):
        seen = shown(Box(40 + 4 * frame, 50, 60 + 4 * frame, 90))
        place = next_place(place, frame * FRAME, seen, Similarity(1.0, 4.0, 0.0), STILL)
    return place


def test_a_sliver_that_seems_to_stand_still_does_not_stop_its_object():
    """Points on the sliver beside a still occluder are found where they were; nearly nothing is seen of the object."""
    place = running()
    after = next_place(place, 6 * FRAME, shown(Box(64, 50, 65, 90)), STILL, STILL)
    assert after.center[0] - place.center[0] > 2.5
    assert after.velocity[0] == pytest.approx(40.0, abs=4.0)


def test_an_object_that_is_wholly_seen_moves_as_it_was_measured_even_if_it_stops_at_once():
    place = running()
    stopped = next_place(place, 6 * FRAME, shown(Box(60, 50, 80, 90)), STILL, STILL)
    assert stopped.anchor.at(50.0, 70.0)[0] - place.anchor.at(50.0, 70.0)[0] == pytest.approx(0.0, abs=1e-6)
    assert 0 < stopped.velocity[0] < 20


def test_doubt_grows_while_nothing_is_measured_and_shrinks_with_every_measurement():
    place = running()
    hidden = next_place(place, 6 * FRAME, None, None, STILL)
    longer = next_place(hidden, 7 * FRAME, None, None, STILL)
    assert place.doubt < hidden.doubt < longer.doubt
    again = next_place(longer, 8 * FRAME, shown(Box(72, 50, 92, 90)), Similarity(1.0, 4.0, 0.0), STILL)
    assert again.doubt < longer.doubt


def test_the_most_that_was_seen_grows_step_by_step_and_is_forgotten_slowly():
    place = running()
    assert place.most_pixels == 800
    half = next_place(place, 6 * FRAME, shown(Box(64, 50, 74, 90)), STILL, STILL)
    assert 780 < half.most_pixels < 800 and half.shown_share(400) == pytest.approx(0.5, abs=0.02)
    merged = next_place(place, 6 * FRAME, shown(Box(0, 0, 200, 200)), STILL, STILL)
    assert merged.most_pixels == pytest.approx(1.6 * 800)


def test_the_extent_of_an_object_that_comes_back_is_what_is_seen_the_more_the_longer_it_was_hidden():
    def back(frames):
        place = first_place(0, shown(SEEN))
        for frame in range(1, frames):
            place = next_place(place, frame * FRAME, None, None, STILL)
        return next_place(place, frames * FRAME, shown(Box(40, 50, 44, 90)), None, STILL).extent

    assert back(2) == pytest.approx((40, 50, 44 + 16 * math.exp(-0.2 / 0.3), 90))
    assert back(30)[2] == pytest.approx(44, abs=0.01)
    elsewhere = next_place(
        next_place(first_place(0, shown(SEEN)), FRAME, None, None, STILL),
        2 * FRAME, shown(Box(200, 50, 220, 90)), None, STILL,
    )  # fmt: skip
    assert elsewhere.extent[2] == 220 and followed_crop(elsewhere, Box(200, 50, 220, 90), 300, 400, CROP).x1 >= 220


def test_an_extent_grows_step_by_step_when_upstream_merges_objects():
    place = first_place(0, shown(SEEN))
    place = next_place(place, FRAME, shown(Box(0, 50, 200, 90)), STILL, STILL)
    assert place.extent == pytest.approx((30.0, 50.0, 70.0, 90.0))


def test_alignment_says_where_the_newest_crop_lies_in_the_crop_before():
    old, new = Box(0, 0, 100, 100), Box(20, 10, 70, 60)
    assert alignment(old, STILL, new, STILL) == pytest.approx((0.5, -0.1, -0.3))


def test_a_crop_that_moves_along_with_its_object_is_aligned_with_itself():
    motion = Similarity(1.1, 7.0, -3.0)
    old = Box(100, 100, 200, 200)
    x0, y0 = motion.at(100, 100)
    x1, y1 = motion.at(200, 200)
    new = Box(round(x0), round(y0), round(x1), round(y1))
    assert alignment(old, STILL, new, motion) == pytest.approx((1.0, 0.0, 0.0), abs=0.01)


def test_alignment_composes_over_frames_that_were_not_inferred():
    one, two = Similarity(1.05, 3.0, 1.0), Similarity(0.98, -2.0, 4.0)
    a, b, c = Box(10, 10, 74, 74), Box(12, 9, 80, 77), Box(5, 14, 70, 79)
    first, second = alignment(a, STILL, b, one), alignment(b, one, c, two.after(one))
    direct = alignment(a, STILL, c, two.after(one))
    assert direct[0] == pytest.approx(first[0] * second[0])
    assert direct[1:] == pytest.approx([first[0] * s + f for s, f in zip(second[1:], first[1:], strict=True)])


@pytest.mark.parametrize(("high", "unit"), [(30, 1), (63, 1), (97, 2), (181, 4), (350, 8)])
def test_the_side_of_a_large_crop_can_be_halved_until_it_is_near_the_crop_s_size(high, unit):
    seen = Box(0, 0, 10, high)
    crop = followed_crop(first_place(0, shown(seen)), seen, 100, 100, CROP)
    assert crop.width % unit == 0 and crop.width // unit < 2 * CROP.size
    assert abs(crop.width - 2 * high) <= unit / 2
