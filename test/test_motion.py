import numpy as np
import pytest

from c2f_ros.flow_points import mask_points
from c2f_ros.geometry import EMPTY_MASK, Box, PlacedMask, place
from c2f_ros.motion import (
    LONGEST,
    MOST_APART,
    OBJECT_POINTS,
    STILL,
    Expected,
    Similarity,
    find_motions,
    fit_similarity,
    small_gray,
)

A, B = Similarity(1.2, 3.0, -4.0), Similarity(0.5, -1.0, 2.0)


def textured(height, width, seed=0):
    import cv2

    noise = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def test_one_similarity_after_another_is_both_in_turn():
    assert A.after(B).at(7.0, 9.0) == pytest.approx(A.at(*B.at(7.0, 9.0)))


def test_the_inverse_undoes():
    assert A.inverse().after(A).at(7.0, 9.0) == pytest.approx((7.0, 9.0))
    assert STILL.after(A) == A


def test_a_similarity_is_found_from_exact_points_and_outliers_do_not_move_it():
    x, y = np.meshgrid(np.arange(6) * 10.0, np.arange(5) * 8.0)
    before = np.stack([x.ravel(), y.ravel()], 1)
    now = before * 1.05 + [3.0, -2.0]
    now[[0, 7, 20]] += 100.0
    found = fit_similarity(before, now)
    assert found.scale == pytest.approx(1.05, abs=0.01)
    assert found.at(25.0, 16.0) == pytest.approx((29.25, 14.8), abs=0.5)


def test_too_few_points_are_no_motion():
    assert fit_similarity(np.zeros((2, 2)), np.ones((2, 2))) is None


@pytest.mark.parametrize(("height", "width"), [(120, 200), (600, 900)])
def test_objects_and_background_are_found_to_move_apart(height, width):
    """The background shifts by (2, 0), the object by (-6, 3); in large images flow is sought in a smaller copy."""
    by, on = round(0.03 * width), round(0.02 * width)
    back, front = textured(height, width + 50), textured(height, width, 1)
    box = (slice(height // 3, 2 * height // 3), slice(width // 3, 2 * width // 3))
    before, now = back[:, 20 : 20 + width].copy(), back[:, 18 : 18 + width].copy()
    before[box] = front[box]
    moved = (slice(box[0].start + on, box[0].stop + on), slice(box[1].start - by, box[1].stop - by))
    now[moved] = front[box]
    mask = np.zeros((height, width), bool)
    mask[box] = True
    grays = small_gray(before, "rgb8"), small_gray(now, "rgb8")
    found = find_motions(*grays, [place(mask)], mask.astype(np.uint8))
    x, y = width / 2, height / 2
    assert found.objects[0].at(x, y) == pytest.approx((x - by, y + on), abs=1.0)
    assert found.background.at(x, y) == pytest.approx((x + 2, y), abs=1.0)


def test_objects_without_a_pixel_and_frames_without_texture_have_no_wrong_motion():
    flat = np.full((60, 80), 128, np.uint8)
    found = find_motions(flat, flat, [EMPTY_MASK], np.zeros((60, 80), np.uint8))
    assert found.objects == [None]


@pytest.mark.parametrize(("encoding", "channels"), [("rgb8", 3), ("bgra8", 4), ("mono8", 0)])
def test_the_gray_image_keeps_small_sizes_and_bounds_large_ones(encoding, channels):
    shape = (channels,) if channels else ()
    assert small_gray(np.zeros((30, 40, *shape), np.uint8), encoding).shape == (30, 40)
    assert small_gray(np.zeros((720, 1280, *shape), np.uint8), encoding).shape == (225, LONGEST)


def test_a_sliver_beside_an_occluder_is_found_where_it_should_be_not_dragged_along():
    """24 columns are left of an object that runs 10 columns a frame behind a still wall."""
    height, width = 192, 320
    back, front, wall = textured(height, width), textured(80, 80, 1), textured(height, 80, 2)

    def shown(x: int) -> tuple[np.ndarray, np.ndarray]:
        pixels, labels = back.copy(), np.zeros((height, width), np.uint8)
        pixels[60:140, x : x + 80], labels[60:140, x : x + 80] = front, 1
        pixels[:, 160:240], labels[:, 160:240] = wall, 2
        return small_gray(pixels, "rgb8"), labels

    (before, labels), (now, _) = shown(136), shown(146)
    seen = [place(labels == 1), place(labels == 2)]
    dragged, _ = find_motions(before, now, seen, labels).objects
    expected = Expected((148.0, 100.0), (11.0, 0.0), is_steady=False, is_sliver=True)
    found, still = find_motions(before, now, seen, labels, [expected, None, None]).objects
    assert abs(dragged.at(148.0, 100.0)[0] - 158.0) > 4.0
    assert found.at(148.0, 100.0)[0] == pytest.approx(158.0, abs=1.0)
    assert still.at(200.0, 96.0) == pytest.approx((200.0, 96.0), abs=0.5)


def test_an_object_that_is_seen_far_away_is_sought_where_its_box_went():
    """It moves by 100 of 320 columns between two frames, past everything that a search from afar can bridge."""
    height, width = 192, 320
    back, front = textured(height, width), textured(48, 48, 1)

    def shown(x: int) -> tuple[np.ndarray, np.ndarray]:
        pixels, labels = back.copy(), np.zeros((height, width), np.uint8)
        pixels[70:118, x : x + 48], labels[70:118, x : x + 48] = front, 1
        return small_gray(pixels, "rgb8"), labels

    (before, labels), (now, later) = shown(60), shown(160)
    seen, boxes = [place(labels == 1)], [place(later == 1).box]
    (lost,) = find_motions(before, now, seen, labels).objects
    (found,) = find_motions(before, now, seen, labels, (), boxes).objects
    assert lost is None or abs(lost.at(84.0, 94.0)[0] - 184.0) > 20.0
    assert found.at(84.0, 94.0) == pytest.approx((184.0, 94.0), abs=0.5)


def panned() -> tuple[np.ndarray, np.ndarray, list[PlacedMask], np.ndarray]:
    """Two gray images in which everything moves by 4 columns, the visible masks of two objects in the first, and its
    labels."""
    height, width = 120, 200
    back = textured(height, width + 20)
    before, now = (small_gray(np.ascontiguousarray(back[:, x : x + width]), "rgb8") for x in (4, 0))
    labels = np.zeros((height, width), np.uint8)
    labels[40:80, 60:100], labels[40:80, 120:160] = 1, 2
    return before, now, [place(labels == 1), place(labels == 2)], labels


def test_what_is_not_seen_any_more_is_not_sought():
    before, now, seen, labels = panned()
    found = find_motions(before, now, seen, labels, (), [None, Box(124, 40, 164, 80)])
    assert found.objects[0] is None
    assert found.objects[1].at(140.0, 60.0) == pytest.approx((144.0, 60.0), abs=0.3)


def test_what_all_that_is_steady_moved_by_unexpectedly_is_the_surprise():
    """One object and the background were expected to move by 3 of 4 columns; an object that is not steady does not
    count."""
    before, now, seen, labels = panned()
    steady, unsteady = (Expected((80.0, 60.0), (dx, 0.0), dx == 3.0, False) for dx in (3.0, -9.0))
    background = Expected((100.0, 60.0), (3.0, 0.0), True, False)
    found = find_motions(before, now, seen, labels, [steady, unsteady, background])
    assert found.surprise == pytest.approx((1.0, 0.0), abs=0.3)
    assert find_motions(before, now, seen, labels).surprise == (0.0, 0.0)


@pytest.mark.parametrize("seed", range(4))
def test_flow_that_leads_far_from_a_box_that_kept_its_size_is_not_believed(seed):
    """The object's texture is another in the second frame, as after a flash: what is found is a chance likeness."""
    before, now = textured(160, 320, seed), textured(160, 320, seed + 10)
    labels = np.zeros((160, 320), np.uint8)
    labels[40:80, 100:140] = 1
    grays = small_gray(before, "rgb8"), small_gray(now, "rgb8")
    (found,) = find_motions(*grays, [place(labels == 1)], labels, (), [Box(132, 40, 172, 80)]).objects
    assert found is None or found.at(120.0, 60.0) == pytest.approx((152.0, 60.0), abs=MOST_APART * 40)


def test_points_are_chosen_from_a_slice_of_the_mask_whatever_its_size():
    """Work per object does not grow with the image: of a large mask only every n-th row and column is looked at."""
    small, large = np.ones((40, 60), bool), np.ones((400, 600), bool)
    for mask in (small, large):
        points = mask_points(place(np.pad(mask, 1)), OBJECT_POINTS)
        assert OBJECT_POINTS / 2 <= len(points) <= OBJECT_POINTS
        assert (points.max(0) - points.min(0) > 0.6 * np.array(mask.shape[::-1])).all()
    sliver = np.zeros((400, 600), bool)
    sliver[5:8, 20:500] = True
    points = mask_points(place(sliver), OBJECT_POINTS)
    assert len(points) == OBJECT_POINTS and set(points[:, 1]) == {6.0}
