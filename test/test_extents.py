import math

import numpy as np
import pytest

from c2f_ros.extents import BARE_S, GUESS_S, MEMORY_S, joined, renewed_extent
from c2f_ros.geometry import Box

OLD = (40.0, 50.0, 80.0, 90.0)
SEEN = Box(40, 50, 60, 90)
STEP = 0.1


def labels(covered=None):
    """A frame with the object where it is seen, and another instance in `covered`."""
    found = np.zeros((120, 160), np.int32)
    found[SEEN.slices] = 1
    if covered is not None:
        found[covered.slices] = 2
    return found


def right_edge(found):
    return renewed_extent(OLD, SEEN, STEP, 0.0, found)[2]


def test_what_others_cover_is_believed_for_long_and_what_nothing_covers_is_not():
    covered = labels(Box(62, 40, 90, 100))
    assert right_edge(covered) == pytest.approx(60 + 20 * math.exp(-STEP / MEMORY_S))
    assert right_edge(labels()) == pytest.approx(60 + 20 * math.exp(-STEP / BARE_S))
    assert right_edge(None) == right_edge(covered)


def test_an_instance_elsewhere_hides_nothing_here():
    assert right_edge(labels(Box(10, 40, 38, 100))) == right_edge(labels())


def test_any_instance_or_a_mask_of_instances_will_do():
    covered = labels(Box(62, 40, 90, 100))
    assert right_edge(covered.astype(bool)) == right_edge(covered) == right_edge(covered.astype(np.uint16))


@pytest.mark.parametrize("side", range(4))
def test_an_object_that_leaves_the_image_is_believed_to_go_on_outside(side):
    seen = (Box(0, 50, 20, 90), Box(40, 0, 60, 20), Box(140, 50, 160, 90), Box(40, 100, 60, 120))[side]
    old = [float(v) for v in (seen.x0, seen.y0, seen.x1, seen.y1)]
    old[side] += -20 if side < 2 else 20
    found = renewed_extent(tuple(old), seen, STEP, 0.0, np.zeros((120, 160), np.int32))
    assert abs(found[side] - old[side]) == pytest.approx(20 * (1 - math.exp(-STEP / MEMORY_S)))


def test_after_a_time_unseen_little_is_kept_whatever_covers_it():
    found = renewed_extent(OLD, SEEN, STEP, 0.6, labels(Box(62, 40, 90, 100)))
    assert found[2] == pytest.approx(60 + 20 * math.exp(-0.6 / GUESS_S))
    elsewhere = renewed_extent(OLD, Box(100, 50, 120, 90), STEP, 0.6, labels())
    assert elsewhere[2] == 120


def test_an_extent_grows_by_a_quarter_a_frame_at_most():
    assert renewed_extent(OLD, Box(0, 0, 160, 120), STEP, 0.0, labels()) == (30.0, 40.0, 90.0, 100.0)


def test_extents_are_joined_to_the_smallest_that_contains_them():
    assert joined([(1.0, 5.0, 3.0, 8.0), (2.0, 4.0, 6.0, 7.0)]) == (1.0, 4.0, 6.0, 8.0)
