import math

import pytest

from c2f_ros.contract import CropSpec
from c2f_ros.following import alignment, first_place, followed_crop, next_place
from c2f_ros.geometry import Box
from c2f_ros.motion import STILL, Similarity

CROP = CropSpec("followed", 64, 2.0, 0.2)
FRAME = 100_000_000
SEEN = Box(40, 50, 60, 90)


def test_the_first_crop_is_the_square_around_what_is_seen():
    place = first_place(0, SEEN)
    assert followed_crop(place, SEEN, 200, 300, CROP) == Box(10, 30, 90, 110)


def test_a_partly_hidden_object_keeps_its_extent_and_its_crop_stays_where_it_was():
    place = first_place(0, SEEN)
    part = Box(40, 50, 45, 60)
    place = next_place(place, FRAME, part, STILL, STILL)
    left, top, right, bottom = place.extent
    assert (left, top) == (40, 50)
    assert 59 < right <= 60 and 88 < bottom <= 90
    crop = followed_crop(place, part, 200, 300, CROP)
    assert crop.width == round(1.5 * (bottom - top))
    assert abs((crop.x0 + crop.x1) / 2 - 50) <= 1 and abs((crop.y0 + crop.y1) / 2 - 70) <= 1


def test_a_small_object_s_crop_has_the_least_side():
    place = first_place(0, Box(5, 5, 7, 8))
    assert followed_crop(place, Box(5, 5, 7, 8), 200, 300, CROP).width == 40


def test_an_unseen_object_moves_on_with_its_own_velocity_over_the_scene():
    place = first_place(0, SEEN)
    place = next_place(place, FRAME, Box(44, 50, 64, 90), Similarity(1.0, 4.0, 0.0), Similarity(1.0, 1.0, 0.0))
    assert place.velocity == pytest.approx((30.0, 0.0)) and place.seen_ns == FRAME
    hidden = next_place(place, 2 * FRAME, None, None, Similarity(1.0, 1.0, 0.0))
    assert hidden.center[0] - place.center[0] == pytest.approx(4.0)
    assert hidden.seen_ns == FRAME
    later = next_place(hidden, 3 * FRAME, None, None, Similarity(1.0, 1.0, 0.0))
    assert later.center[0] - hidden.center[0] == pytest.approx(1 + 3 * math.exp(-0.05))


def test_an_extent_grows_step_by_step_when_upstream_merges_objects():
    place = first_place(0, SEEN)
    place = next_place(place, FRAME, Box(0, 50, 200, 90), STILL, STILL)
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
    crop = followed_crop(first_place(0, seen), seen, 100, 100, CROP)
    assert crop.width % unit == 0 and crop.width // unit < 2 * CROP.size
    assert abs(crop.width - 2 * high) <= unit / 2
