"""The overlay marks masks and nothing else."""

import dataclasses

import numpy as np
import pytest
from recordings import HEIGHT, WIDTH, recorded

from c2f_ros.geometry import EMPTY_MASK, place
from c2f_ros.overlay import dashes, draw_overlay, enlarge, hatching, outline, track_colour
from c2f_ros.truth import truth_frame

RGB = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def whole(frame):
    """bool [H, W]: every pixel of some amodal mask."""
    masks = [item.amodal.full(frame.height, frame.width) for item in frame.instances]
    return np.logical_or.reduce(masks)


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("factor", [1, 3])
def test_pixels_outside_all_masks_are_untouched(index, factor):
    rgb, frame = enlarge(RGB, truth_frame(recorded()[index], None), factor)
    before = rgb.copy()
    drawn = draw_overlay(rgb, frame)
    np.testing.assert_array_equal(drawn[~whole(frame)], before[~whole(frame)])
    np.testing.assert_array_equal(rgb, before)
    assert drawn.shape == rgb.shape and drawn.dtype == np.uint8


def test_every_pixel_of_a_mask_is_marked():
    grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    frame = truth_frame(recorded()[0], None)
    assert (draw_overlay(grey, frame)[whole(frame)] != 128).any(axis=1).all()


def test_hidden_parts_are_marked_more_than_visible_ones():
    grey = np.full((120, 120, 3), 128, np.uint8)
    mask, seen = np.zeros((120, 120), bool), np.zeros((120, 120), bool)
    mask[20:100, 20:100], seen[20:100, 20:60] = True, True
    frame = truth_frame(recorded()[0], None)
    item = dataclasses.replace(frame.instances[0], visible=place(seen), amodal=place(mask))
    drawn = draw_overlay(grey, dataclasses.replace(frame, height=120, width=120, instances=(item,))).astype(int)
    change = np.abs(drawn - 128).sum(axis=2)
    assert change[24:96, 64:96].mean() > 1.5 * change[24:40, 24:56].mean()


def test_an_image_without_objects_stays_as_it_is():
    frame = dataclasses.replace(truth_frame(recorded()[0], None), instances=())
    np.testing.assert_array_equal(draw_overlay(RGB, frame), RGB)


def test_an_object_of_no_pixels_draws_nothing():
    frame = truth_frame(recorded()[0], None)
    nothing = dataclasses.replace(frame.instances[0], visible=EMPTY_MASK, amodal=EMPTY_MASK)
    np.testing.assert_array_equal(draw_overlay(RGB, dataclasses.replace(frame, instances=(nothing,))), RGB)


def test_a_track_keeps_its_colour_and_neighbours_differ():
    colours = [track_colour(str(k)) for k in range(12)] + [track_colour(f"own_{k}") for k in range(4)]
    assert colours == [track_colour(str(k)) for k in range(12)] + [track_colour(f"own_{k}") for k in range(4)]
    assert len(set(colours)) == len(colours)


def test_hatching_is_fixed_to_the_image():
    box = place(np.ones((HEIGHT, WIDTH), bool)).box
    part = dataclasses.replace(box, x0=7, y0=5)
    np.testing.assert_array_equal(hatching(part, 4, True), hatching(box, 4, True)[5:, 7:])


def test_an_outline_is_the_pixels_next_to_the_outside():
    mask = np.ones((5, 6), bool)
    expected = mask.copy()
    expected[1:-1, 1:-1] = False
    np.testing.assert_array_equal(outline(mask, 1), expected)


def unseen_disc(size):
    rows, columns = np.mgrid[:size, :size]
    mask = (rows - size / 2) ** 2 + (columns - size / 2) ** 2 < (0.4 * size) ** 2
    item = dataclasses.replace(truth_frame(recorded()[0], None).instances[0], visible=EMPTY_MASK, amodal=place(mask))
    return mask, dataclasses.replace(truth_frame(recorded()[0], None), height=size, width=size, instances=(item,))


def test_an_object_of_which_nothing_is_seen_has_a_broken_outline():
    mask, frame = unseen_disc(160)
    grey = np.full((160, 160, 3), 128, np.uint8)
    edge = outline(mask, 1)
    drawn = draw_overlay(grey, frame).astype(int)
    strong = (np.abs(drawn - 128).sum(axis=2) > 150) & edge
    assert 0.3 * edge.sum() < strong.sum() < 0.8 * edge.sum()
    np.testing.assert_array_equal(drawn[~mask], grey[~mask])
    seen = dataclasses.replace(frame.instances[0], visible=place(mask & (np.arange(160) < 40)))
    partly = draw_overlay(grey, dataclasses.replace(frame, instances=(seen,))).astype(int)
    right = edge & (np.arange(160)[None, :] > 80)
    assert (np.abs(partly - 128).sum(axis=2) > 150)[right].mean() > 0.95


def test_an_object_that_is_nowhere_draws_nothing():
    frame = truth_frame(recorded()[0], None)
    item = dataclasses.replace(frame.instances[0], visible=EMPTY_MASK, amodal=EMPTY_MASK)
    np.testing.assert_array_equal(draw_overlay(RGB, dataclasses.replace(frame, instances=(item,))), RGB)


@pytest.mark.parametrize("length", [1, 4])
def test_dashes_are_half_of_the_outline_and_part_of_the_mask(length):
    mask = unseen_disc(80)[0]
    found = dashes(mask, length)
    assert not (found & ~mask).any()
    assert found.sum() == pytest.approx(0.5 * outline(mask, 1).sum(), rel=0.35)
