"""Boxes, placed masks, the crop rule and its inverse; images are never square here, so x and y cannot be swapped."""

import cv2
import numpy as np
import pytest

from c2f_ros.geometry import (
    EMPTY_BOX,
    EMPTY_MASK,
    Box,
    PlacedMask,
    common_sizes,
    count_common,
    crop_inside,
    crop_mask,
    crop_pixels,
    cut_mask,
    minus,
    paste_probability,
    place,
    square_crop,
    stretched_crop,
    tighten,
    union,
)

HEIGHT, WIDTH = 60, 100


def random_mask(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    out = np.zeros((HEIGHT, WIDTH), np.uint8)
    x, y = int(rng.integers(10, 90)), int(rng.integers(10, 50))
    cv2.ellipse(
        out, (x, y), (int(rng.integers(4, 25)), int(rng.integers(4, 15))), float(rng.uniform(0, 180)), 0, 360, 1, -1
    )
    return out.astype(bool)


def test_box_sides_are_never_negative():
    assert (Box(5, 5, 2, 9).width, Box(5, 5, 9, 2).height) == (0, 0)
    assert Box(0, 0, 4, 4).intersect(Box(7, 7, 9, 9)) == EMPTY_BOX
    assert Box(200, 0, 210, 10).clip(HEIGHT, WIDTH) == EMPTY_BOX


def test_place_puts_x_in_columns_and_y_in_rows():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:12, 70:75] = True
    placed = place(mask)
    assert placed.box == Box(x0=70, y0=10, x1=75, y1=12)
    assert np.array_equal(placed.full(HEIGHT, WIDTH), mask)


def test_placed_mask_refuses_another_size_than_its_box():
    with pytest.raises(ValueError, match="box is 3x2"):
        PlacedMask(Box(0, 0, 2, 3), np.ones((2, 3), bool))


@pytest.mark.parametrize("seed", range(20))
def test_set_operations_equal_those_on_whole_images(seed):
    a, b = random_mask(seed), random_mask(seed + 100)
    pa, pb = place(a), place(b)
    assert np.array_equal(union(pa, pb).full(HEIGHT, WIDTH), a | b)
    assert np.array_equal(minus(pa, pb).full(HEIGHT, WIDTH), a & ~b)
    assert count_common(pa, pb) == int((a & b).sum())
    assert np.array_equal(tighten(minus(pa, pb)).full(HEIGHT, WIDTH), a & ~b)


def test_union_with_an_empty_mask_is_the_other_mask():
    a = place(random_mask(1))
    assert np.array_equal(union(a, EMPTY_MASK).mask, a.mask)
    assert union(EMPTY_MASK, EMPTY_MASK).is_empty


def test_crop_is_a_square_twice_the_longer_side_centred_on_the_object():
    box = square_crop(Box(40, 20, 60, 30), HEIGHT, WIDTH, 2.0, 0.1)
    assert box == Box(30, 5, 70, 45)


def test_crop_of_a_small_part_has_the_minimum_side():
    box = square_crop(Box(40, 20, 42, 22), HEIGHT, WIDTH, 2.0, 0.5)
    assert (box.width, box.height) == (30, 30)
    assert (box.x0 + box.x1) // 2 == 41


def test_crop_at_native_size_copies_pixels_and_pads_with_zeros():
    image = np.random.default_rng(0).integers(1, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    box = Box(-10, 40, 22, 72)
    crop = crop_pixels(image, box, 32)
    assert np.array_equal(crop[:20, 10:], image[40:60, 0:22])
    assert not crop[20:].any() and not crop[:, :10].any()


def test_crop_wholly_outside_is_black():
    image = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    assert not crop_pixels(image, Box(300, 300, 332, 332), 32).any()
    assert not crop_inside(Box(300, 300, 332, 332), HEIGHT, WIDTH, 32).any()


def test_inside_plane_marks_the_part_of_the_crop_that_the_image_covers():
    plane = crop_inside(Box(-16, 0, 16, 32), HEIGHT, WIDTH, 32)
    assert not plane[:, :16].any() and (plane[:, 16:] == 255).all()
    assert (crop_inside(Box(10, 10, 42, 42), HEIGHT, WIDTH, 8) == 255).all()


def test_stretched_crop_is_twice_the_box_plus_one_pixel():
    assert stretched_crop(40, 20, 10, 6, HEIGHT, WIDTH, 2.0) == Box(x0=35, y0=17, x1=56, y1=30)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ((0, 0, 10, 10), Box(0, 0, 16, 16)),
        ((90, 50, 10, 10), Box(85, 45, 100, 60)),
        ((0, 0, 100, 60), Box(0, 0, 100, 60)),
        ((5, 7, 1, 1), Box(4, 6, 7, 9)),
        ((10.6, 20.2, 7.7, 3.3), Box(7, 18, 22, 25)),
    ],
)
def test_stretched_crop_is_clipped_and_truncated_as_published(bounds, expected):
    assert stretched_crop(*bounds, HEIGHT, WIDTH, 2.0) == expected


def test_stretched_crop_outside_the_image_is_empty():
    assert stretched_crop(300, 10, 20, 20, HEIGHT, WIDTH, 2.0) is EMPTY_BOX


def test_crops_of_a_window_share_one_scale_and_the_largest_fills_the_crop():
    boxes = [Box(0, 0, 40, 30), Box(5, 5, 25, 65), Box(0, 0, 1, 1)]
    assert common_sizes(boxes, 256) == [(128, 256), (256, 128), (4, 6)]
    assert common_sizes(boxes[:1], 256) == [(256, 256)]
    assert common_sizes([Box(0, 0, 100, 1000), Box(0, 0, 1, 1)], 64)[1] == (1, 1)


def test_cut_mask_shows_the_mask_through_a_box_that_only_meets_it():
    mask = place(random_mask(3))
    box = Box(mask.box.x0 - 3, mask.box.y0 + 2, mask.box.x1 - 1, mask.box.y1 + 4).clip(HEIGHT, WIDTH)
    assert np.array_equal(cut_mask(mask, box), mask.full(HEIGHT, WIDTH)[box.slices])
    assert not cut_mask(mask, Box(0, 0, 2, 3)).any()


@pytest.mark.parametrize("seed", range(20))
def test_paste_is_the_inverse_of_crop_at_native_size(seed):
    mask = place(random_mask(seed))
    box = square_crop(mask.box, HEIGHT, WIDTH, 2.0, 0.3)
    crop = crop_mask(mask, box, box.width).astype(np.float32) / 255
    pasted = paste_probability(crop, box, HEIGHT, WIDTH, 0.5)
    assert np.array_equal(pasted.full(HEIGHT, WIDTH), mask.full(HEIGHT, WIDTH))


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("seed", range(10))
def test_paste_of_a_resampled_crop_returns_nearly_the_same_mask(seed, size):
    mask = place(random_mask(seed))
    box = square_crop(mask.box, HEIGHT, WIDTH, 2.0, 0.3)
    pasted = paste_probability(crop_mask(mask, box, size).astype(np.float32) / 255, box, HEIGHT, WIDTH, 0.5)
    iou = count_common(pasted, mask) / union(pasted, mask).area
    assert iou > (0.97 if size == 64 else 0.9)


def test_paste_outside_the_image_gives_the_empty_mask():
    assert paste_probability(np.ones((8, 8), np.float32), Box(300, 0, 308, 8), HEIGHT, WIDTH, 0.5) is EMPTY_MASK


def test_paste_refuses_a_map_that_is_not_square():
    with pytest.raises(ValueError, match="crops are square"):
        paste_probability(np.ones((8, 9), np.float32), Box(0, 0, 8, 8), HEIGHT, WIDTH, 0.5)


def covered(mask: np.ndarray, size: int) -> np.ndarray:
    """How much of each of [size, size] cells a mask [n, n] covers, 0..255, by the definition: fractions of pixels."""
    edges = np.linspace(0, len(mask), size + 1)
    pixels = np.arange(len(mask))
    share = np.clip(np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels), 0, 1)
    share /= share.sum(1, keepdims=True)
    return 255 * share @ mask @ share.T


@pytest.mark.parametrize("side", [32, 40, 50, 63, 64, 90, 100, 127, 128, 150])
def test_a_resampled_mask_is_the_coverage_of_crop_pixels_but_for_its_edges(side):
    yes = np.hypot(*np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]) < 0.7
    found = crop_mask(PlacedMask(Box(0, 0, side, side), yes), Box(0, 0, side, side), 32)
    difference = np.abs(found - covered(yes, 32))
    assert difference.mean() < 3 and difference.max() < 0.3 * 255


@pytest.mark.parametrize("seed", range(30))
def test_the_inside_plane_is_that_of_a_mask_that_fills_the_image(seed):
    rng = np.random.default_rng(seed)
    side, (x0, y0) = int(rng.integers(8, 200)), rng.integers(-120, 120, 2).tolist()
    box = Box(x0, y0, x0 + side, y0 + side)
    whole = PlacedMask(Box(0, 0, WIDTH, HEIGHT), np.ones((HEIGHT, WIDTH), bool))
    plane = crop_inside(box, HEIGHT, WIDTH, 16).astype(int)
    assert np.abs(plane - crop_mask(whole, box, 16)).max() <= 3


def test_crops_touch_no_pixel_outside_their_box(monkeypatch):
    """Nothing grows with image size times objects: what is resampled is never larger than the box."""
    seen, resize = [], cv2.resize
    monkeypatch.setattr(
        cv2, "resize", lambda image, *given, **how: seen.append(image.shape) or resize(image, *given, **how)
    )
    image, mask = np.zeros((1000, 1500, 3), np.uint8), place(np.pad(np.ones((60, 40), bool), ((500, 440), (700, 760))))
    for box in (Box(690, 480, 790, 580), Box(-30, -20, 70, 80)):
        crop_pixels(image, box, 64), crop_mask(mask, box, 64), crop_inside(box, 1000, 1500, 64)
    assert seen and max(rows * columns for rows, columns, *_ in seen) <= 100 * 100
