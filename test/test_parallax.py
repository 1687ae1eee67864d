import numpy as np
import pytest

from c2f_ros.following import first_place, next_place
from c2f_ros.geometry import Box, PlacedMask
from c2f_ros.motion import STILL, Similarity
from c2f_ros.parallax import LEAST_OBJECTS, Mover, Parallax, find_parallax

FRAME = 100_000_000


def standing(row, middle=100.0, velocity=(30.0, -5.0), slope=(0.5, 0.1), error=1.0, size=20.0):
    away = row - middle
    return Mover(row, (velocity[0] + away * slope[0], velocity[1] + away * slope[1]), error, size)


ROWS = (60.0, 80.0, 90.0, 120.0, 150.0, 160.0)


def test_objects_on_a_line_give_the_line():
    found = find_parallax([standing(row) for row in ROWS])
    for row in (50.0, 100.0, 170.0):
        assert found.at(row) == pytest.approx((30 + 0.5 * (row - 100), -5 + 0.1 * (row - 100)), abs=4)
    assert found.spread == pytest.approx(0.15 * 20)


def test_an_object_that_moves_by_itself_does_not_bend_the_line():
    alone = find_parallax([standing(row) for row in ROWS])
    pushed = find_parallax([*(standing(row) for row in ROWS), Mover(110.0, (-200.0, 80.0), 1.0, 20.0)])
    assert pushed.at(110.0) == pytest.approx(alone.at(110.0), abs=3)


def test_a_doubtful_velocity_counts_little():
    doubtful = Mover(110.0, (60.0, 10.0), 400.0, 20.0)
    alone = find_parallax([standing(row) for row in ROWS])
    assert find_parallax([*(standing(row) for row in ROWS), doubtful]).at(110.0) == pytest.approx(
        alone.at(110.0), abs=1
    )


def test_few_objects_show_no_parallax():
    movers = [standing(row) for row in ROWS[: LEAST_OBJECTS - 1]]
    assert find_parallax(movers) is None and find_parallax([]) is None


def test_objects_in_one_row_give_their_velocity_and_no_slope():
    found = find_parallax([standing(100.0)] * LEAST_OBJECTS)
    assert found.at(100.0) == pytest.approx((30.0, -5.0)) and found.slope == pytest.approx((0.0, 0.0), abs=1e-6)


def test_objects_that_differ_have_a_spread_as_large():
    rng = np.random.default_rng(0)
    movers = [Mover(row, tuple(rng.normal(0, 40, 2)), 1.0, 20.0) for row in np.linspace(50, 200, 24)]
    assert 25 < find_parallax(movers).spread < 70


def hidden_after(parallax, doubt_frames):
    """Where an object that was seen to move by (4, 0) a frame goes in a frame, unseen for some frames before."""

    def shown(box):
        return PlacedMask(box, np.ones((box.height, box.width), bool))

    place = first_place(0, shown(Box(40, 50, 60, 90)))
    for frame in range(1, 4):
        seen = shown(Box(40 + 4 * frame, 50, 60 + 4 * frame, 90))
        place = next_place(place, frame * FRAME, seen, Similarity(1.0, 4.0, 0.0), STILL)
    for frame in range(4, 4 + doubt_frames):
        place = next_place(place, frame * FRAME, None, None, STILL, parallax)
    return place


def test_a_hidden_object_comes_to_move_as_what_stands_where_it_stands():
    parallax = Parallax(90.0, (-20.0, 0.0), (0.0, 0.0), 4.0)
    speeds = [hidden_after(parallax, frames).velocity[0] for frames in (0, 2, 8, 60)]
    assert speeds[0] > 35 and speeds == sorted(speeds, reverse=True)
    assert speeds[-1] == pytest.approx(-20, abs=2)


def test_its_doubt_does_not_exceed_what_standing_objects_differ_by():
    parallax = Parallax(90.0, (-20.0, 0.0), (0.0, 0.0), 4.0)
    assert hidden_after(parallax, 200).doubt < 4 * parallax.spread**2 < hidden_after(None, 200).doubt
