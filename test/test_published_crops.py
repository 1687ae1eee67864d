"""The published preprocessing and paste-back: parity with recorded data and with slow literal rules."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from published import CROP, IMAGE, INPUT, Clip, bits, observe, probability

from c2f_ros.contract import InputError, TemporalSpec
from c2f_ros.crops import observe_object, paste_window, unstretch, window_inputs
from c2f_ros.geometry import EMPTY_MASK, common_sizes, count_common, place, union
from c2f_ros.resampling import linear_antialiased, nearest, shrink_or_stretch, triangle_weights


@pytest.fixture(scope="module", params=[0, 1])
def item(request, shared_dir: Path):
    return np.load(shared_dir / "fixtures" / "c2f_seg_parity" / f"image_item{request.param}.npz")


@pytest.fixture(scope="module")
def clip(shared_dir: Path) -> Clip:
    return Clip(shared_dir)


def observed(item):
    return observe(item["image"], bits(item["vm_pred_bits"], *item["image"].shape[:2]), tuple(item["bbox_xywh"]))


def test_the_image_model_s_input_equals_the_published_one(item):
    image, masks = window_inputs([(observed(item),)], CROP, INPUT, IMAGE)
    assert image.shape == (1, 3, 256, 256) and masks.shape == (1, 1, 256, 256)
    np.testing.assert_allclose(image[0].transpose(1, 2, 0), item["img_crop"], rtol=0, atol=1e-5)
    assert np.array_equal(masks[0, 0], bits(item["vm_crop_bits"], 256, 256).astype(np.float32))


def test_the_image_model_s_crop_lies_where_the_published_one_does(item):
    box, (r0, r1, c0, c1) = observed(item).box, item["obj_position"][0].astype(int)
    height, width = item["image"].shape[:2]
    assert (box.y0, box.y1, box.x0, box.x1) == (r0, min(height, r1 + 1), c0, min(width, c1 + 1))


def test_the_tight_box_of_the_visible_mask_is_the_published_box(item):
    visible = bits(item["vm_pred_bits"], *item["image"].shape[:2])
    assert observe(item["image"], visible, None).box == observed(item).box


def test_the_image_model_s_map_is_pasted_as_the_published_one(item):
    height, width = item["image"].shape[:2]
    one, found = observed(item), np.zeros((height, width), np.float32)
    map_256, expected = probability(item["am_logit"][0, 0]), item["pred_fm_full"][0, 0]
    found[one.box.slices] = unstretch(map_256, [one.box], 0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    mask = paste_window(map_256, (one,), CROP, IMAGE, height, width, 0.5)
    assert np.array_equal(mask.full(height, width), expected > 0.5)


def test_the_video_model_s_crops_and_padding_equal_the_published_ones(clip):
    boxes = [o.box for o in clip.window]
    r0, r1, c0, c1 = clip.data["obj_position"][0].astype(int).T
    expected = np.stack([c0, r0, np.minimum(clip.width, c1 + 1), np.minimum(clip.height, r1 + 1)], axis=1)
    assert np.array_equal([(b.x0, b.y0, b.x1, b.y1) for b in boxes], expected)
    assert np.array_equal(256 - np.array(common_sizes(boxes, 256)), clip.data["vm_pad"][0])


def test_the_video_model_s_input_equals_the_published_one(clip):
    image, masks = window_inputs([clip.window], CROP, INPUT, clip.temporal)
    assert image.shape == (1, clip.count, 3, 256, 256) and masks.shape == (1, clip.count, 1, 256, 256)
    np.testing.assert_allclose(image[0, 5].transpose(1, 2, 0), clip.data["img_crop_frame5"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(image[0].mean((1, 2, 3), np.float64), clip.data["img_crop_mean"], rtol=0, atol=1e-6)
    assert np.array_equal(masks[0, :, 0] == 1, bits(clip.data["vm_crop_bits"], clip.count, 256, 256))


def test_the_video_model_s_maps_are_pasted_and_joined_as_published(clip):
    boxes = [o.box for o in clip.window]
    for row, t in enumerate(clip.data["frames_sel"]):
        refined = probability(clip.data["am_logit_sel"][row, 0])
        coarse = clip.data["coarse_sel"][row, 0]
        expected = [clip.data[name][t, 0] for name in ("refined_full", "coarse_full")]
        for map_256, full in zip((refined, coarse), expected, strict=True):
            pasted = np.zeros_like(full)
            pasted[boxes[t].slices] = unstretch(map_256, boxes, t)
            np.testing.assert_allclose(pasted, full, rtol=0, atol=1e-5)
        half = unstretch((refined + coarse) / 2, boxes, t) > 0.25
        assert np.array_equal(half, (sum(expected) > 0.5)[boxes[t].slices])


def test_the_newest_frame_of_the_published_window_is_pasted_into_its_image(clip):
    refined, coarse = probability(clip.data["am_logit_sel"][-1, 0]), clip.data["coarse_sel"][-1, 0]
    assert clip.data["frames_sel"][-1] == clip.count - 1
    size = (clip.height, clip.width)
    mask = paste_window((refined + coarse) / 2, clip.window, CROP, clip.temporal, *size, 0.25)
    expected = clip.data["refined_full"][-1, 0] + clip.data["coarse_full"][-1, 0] > 0.5
    assert expected.any() and np.array_equal(mask.full(*size), expected)


def test_a_hidden_frame_has_an_empty_visible_mask_and_the_box_it_was_given(clip):
    hidden = clip.window[11]
    assert not hidden.masks.any() and not hidden.box.is_empty


def test_an_object_without_a_visible_pixel_or_a_box_inside_the_image_is_refused():
    image, nothing = np.zeros((20, 30, 3), np.uint8), np.zeros((20, 30), bool)
    with pytest.raises(InputError, match="no visible pixel"):
        observe_object(image, "rgb8", nothing, EMPTY_MASK, CROP, ("visible",), 0)
    with pytest.raises(InputError, match="shows nothing of an image of 20 rows and 30 columns"):
        observe(image, nothing, (50.0, 5.0, 4.0, 4.0))


def test_a_stretched_observation_keeps_nothing_but_its_cut():
    image, visible = np.zeros((200, 300, 3), np.uint8), np.zeros((200, 300), bool)
    visible[50:60, 70:90] = True
    one = observe(image, visible, None)
    assert one.rgb.shape == (21, 41, 3) and one.masks.shape == (1, 21, 41)
    assert not np.shares_memory(one.rgb, image)


def test_planes_of_a_stretched_cut_follow_the_manifest_s_order():
    labels = np.zeros((40, 60), np.uint8)
    labels[10:20, 10:20], labels[10:20, 20:30] = 1, 2
    image = np.zeros((40, 60, 3), np.uint8)
    one = observe_object(image, "rgb8", labels, place(labels == 1), CROP, ("others", "visible", "inside"), 0)
    cut = labels[one.box.slices]
    assert np.array_equal(one.masks, np.stack([cut == 2, cut == 1, cut >= 0]) * 255)


def test_another_encoding_gives_the_same_cut():
    rgb = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    visible = place(np.pad(np.ones((10, 10), bool), ((5, 25), (20, 30))))
    labels = visible.full(40, 60)
    a = observe_object(rgb, "rgb8", labels, visible, CROP, ("visible",), 0)
    b = observe_object(rgb[..., ::-1], "bgr8", labels, visible, CROP, ("visible",), 0)
    assert np.array_equal(a.rgb, b.rgb)


def test_bounds_of_the_square_rule_are_rounded_outwards():
    square, labels = replace(CROP, rule="square"), np.zeros((60, 100), np.uint8)
    one = observe_object(
        np.zeros((60, 100, 3), np.uint8), "rgb8", labels, EMPTY_MASK, square, ("visible",), 0, (40.5, 20.0, 18.6, 10.0)
    )
    assert (one.box.x0, one.box.x1, one.box.width) == (30, 70, 40)


@pytest.mark.parametrize("seed", range(24))
def test_pasting_the_visible_mask_s_crop_returns_nearly_the_visible_mask(seed):
    height, width = 90, 150
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(12, 60, 2)
    y, x = ((0, 0), (0, width - columns), (height - rows, 0), (height - rows, width - columns), (20, 60))[seed % 5]
    visible = np.zeros((height, width), bool)
    ys, xs = np.mgrid[:rows, :columns]
    visible[y : y + rows, x : x + columns] = ((ys / rows - 0.5) ** 2 + (xs / columns - 0.5) ** 2) < 0.25
    one = observe(np.zeros((height, width, 3), np.uint8), visible, None)
    _, masks = window_inputs([(one,)], CROP, INPUT, IMAGE)
    pasted = paste_window(masks[0, 0], (one,), CROP, IMAGE, height, width, 0.5)
    assert count_common(pasted, place(visible)) / union(pasted, place(visible)).area > 0.97


def test_in_image_mode_older_observations_change_nothing():
    labels = np.zeros((60, 100), bool)
    labels[20:30, 40:60] = True
    image = np.random.default_rng(0).integers(0, 255, (60, 100, 3)).astype(np.uint8)
    newest, older = observe(image, labels, None), observe(image, labels, (0.0, 0.0, 100.0, 60.0))
    temporal = TemporalSpec("image", 3)
    alone, with_older = (window_inputs([w], CROP, INPUT, temporal) for w in ((newest,), (older, newest)))
    assert np.array_equal(alone[0], with_older[0]) and np.array_equal(alone[1], with_older[1])
    pasted = [paste_window(alone[1][0, 0], w, CROP, temporal, 60, 100, 0.5) for w in ((newest,), (older, newest))]
    assert pasted[0].box == pasted[1].box and np.array_equal(pasted[0].mask, pasted[1].mask)


SIZES = [(1, 7), (7, 1), (5, 5), (9, 4), (4, 9), (37, 256), (300, 256), (256, 301)]


@pytest.mark.parametrize(("n_in", "n_out"), SIZES)
def test_nearest_takes_the_pixel_under_the_sample_s_centre(n_in, n_out):
    row = np.arange(n_in)
    expected = [math.floor((i + 0.5) * n_in / n_out) for i in range(n_out)]
    assert nearest(row[None], 1, n_out)[0].tolist() == expected
    assert nearest(row[:, None], n_out, 1)[:, 0].tolist() == expected


@pytest.mark.parametrize(("n_in", "n_out"), SIZES)
def test_antialiased_weights_are_the_widened_triangle(n_in, n_out):
    ratio = n_in / n_out
    for i in range(n_out):
        centre, reach = (i + 0.5) * ratio, max(ratio, 1.0)
        row = np.array([max(0.0, 1 - abs(j + 0.5 - centre) / reach) for j in range(n_in)])
        np.testing.assert_allclose(triangle_weights(n_in, n_out)[i], row / row.sum(), rtol=0, atol=1e-4)


def test_resizing_to_the_same_size_changes_nothing():
    values = np.random.default_rng(0).random((5, 9)).astype(np.float32)
    assert np.array_equal(linear_antialiased(values, 5, 9), values)


@pytest.mark.parametrize(("n_in", "n_out"), [(1, 7), (5, 5), (4, 9), (37, 256)])
def test_stretching_is_linear_with_mirrored_borders(n_in, n_out):
    row = np.random.default_rng(1).integers(0, 256, n_in).astype(np.uint8)
    expected = []
    for i in range(n_out):
        at = (i + 0.5) * n_in / n_out - 0.5
        low = math.floor(at)
        left, right = (row[min(n_in - 1, 2 * (n_in - 1) - k if k >= n_in else abs(k))] / 255 for k in (low, low + 1))
        expected.append(left * (1 - at + low) + right * (at - low))
    found = shrink_or_stretch(np.broadcast_to(row[None, :, None], (3, n_in, 3)), 3, n_out)
    np.testing.assert_allclose(found[1, :, 0], expected, rtol=0, atol=1e-6)


def test_shrinking_smooths_first_with_half_the_ratio_less_one():
    row = np.random.default_rng(2).integers(0, 256, 64).astype(np.uint8)
    sigma = (64 / 16 - 1) / 2
    reach = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    smooth = np.convolve(np.pad(row / 255, reach, mode="reflect"), kernel / kernel.sum(), mode="valid")
    expected = (smooth[1::4] + smooth[2::4]) / 2
    found = shrink_or_stretch(np.broadcast_to(row[:, None, None], (64, 5, 3)), 16, 5)
    np.testing.assert_allclose(found[:, 2, 1], expected, rtol=0, atol=1e-6)


def test_an_axis_that_grows_is_not_smoothed_where_the_other_one_shrinks():
    image = np.zeros((8, 4, 3), np.uint8)
    image[:, 2:] = 255
    assert np.array_equal(np.unique(shrink_or_stretch(image, 2, 4)), [0.0, 1.0])
