"""Tracks of a training batch are what the runtime would cut, and depend on the seed and the step alone."""

from dataclasses import replace

import numpy as np
import pytest
from tiny import torch
from tiny_clips import UNROLL, moving_frames, moving_store

from c2f_ros.contract import MASK_CHANNELS, CropSpec
from c2f_ros.follower import Follower
from c2f_ros.following import alignment
from c2f_ros.geometry import place
from c2f_train.data import unrolled
from c2f_train.data.samples import input_spec
from c2f_train.data.unrolled import find_windows, to_frames, unrolled_batch
from c2f_train.data_config import AugmentConfig

CROP = CropSpec("followed", 32, 2.0, 0.2)
SPEC = input_spec(CROP, MASK_CHANNELS)
PLAIN = AugmentConfig(flip=0.0, ragged=0.0)


def batch(store, step=0, size=6, unroll=UNROLL, augment=PLAIN, crop=CROP, **more):
    return unrolled_batch(store, find_windows(store, 1), crop, SPEC, step, size, 5, unroll, augment, **more)


def test_windows_begin_where_the_object_is_seen_and_end_where_it_leaves():
    store = moving_store(1)
    windows = find_windows(store, 1)
    starts = sorted(zip(windows.index.tolist(), windows.first.tolist(), windows.left.tolist(), strict=True))
    still = [(first, left) for index, first, left in starts if index == 0]
    hidden = [t for t, f in enumerate(moving_frames()) if not (f.labels == 3).any()]
    assert hidden and not {first for first, _ in still} & set(hidden)
    assert all(first + left == 8 for first, left in still)


def test_a_track_is_cut_exactly_as_the_runtime_s_follower_cuts_it():
    """The runtime sees whole frames one after another; training cuts one object by stored motions."""
    store, frames = moving_store(1), moving_frames()
    windows = find_windows(store, 1)
    row = next(r for r in range(len(windows.clip)) if windows.index[r] == 0 and windows.first[r] == 0)
    only = type(windows)(*(getattr(windows, n)[row : row + 1] for n in ("clip", "index", "first", "left", "weight")))
    raw = unrolled_batch(store, only, CROP, SPEC, 0, 1, 5, replace(UNROLL, frames=8, graded=8), PLAIN)
    follower, before = Follower(CROP, MASK_CHANNELS, 10.0), None
    for t, frame in enumerate(frames):
        visible = {k: place(frame.labels == i) for k, i in (("a", 3), ("b", 7)) if (frame.labels == i).any()}
        follower.advance(frame.rgb, "rgb8", frame.labels, visible, frame.stamp_ns)
        found = follower.cut(frame.rgb, "rgb8", ["a"])["a"]
        assert np.array_equal(raw.rgb[0, t], found.rgb.transpose(2, 0, 1)), t
        assert np.array_equal(raw.masks[0, t], found.masks), t
        expected = (1, 0, 0) if before is None else alignment(before.box, before.anchor, found.box, found.anchor)
        assert raw.warp[0, t] == pytest.approx(expected, abs=1e-5), t
        before = found


def test_hidden_frames_have_an_empty_visible_mask_and_a_whole_truth():
    raw = batch(moving_store(2), size=16)
    empty = raw.masks[:, :, 0].max((2, 3)) == 0
    assert empty.any()
    assert (raw.amodal[:, :, 0].max((2, 3))[empty] > 0).all()


def test_a_batch_depends_on_seed_and_step_and_ranks_share_it():
    store = moving_store(2)
    whole, again, other = batch(store), batch(store), batch(store, step=1)
    assert np.array_equal(whole.rgb, again.rgb) and not np.array_equal(whole.rgb, other.rgb)
    halves = [batch(store, rank=rank, world=2) for rank in range(2)]
    for name in ("rgb", "masks", "amodal", "visible_truth", "warp"):
        assert np.array_equal(np.concatenate([getattr(h, name) for h in halves]), getattr(whole, name)), name


def test_a_flip_mirrors_the_crops_and_the_alignment():
    store = moving_store(2)
    plain, flipped = batch(store), batch(store, augment=replace(PLAIN, flip=1.0))
    assert np.array_equal(plain.amodal[..., ::-1], flipped.amodal)
    assert np.allclose(flipped.warp * [1, -1, 1], plain.warp)


def test_faults_change_what_is_given_and_never_the_truth():
    store = moving_store(2)

    class Gone:
        def apply(self, labels, index):
            return np.where(labels == 1, 0, labels) if index == 1 else labels

    raw = batch(store, size=12, unroll=replace(UNROLL, fault_share=1.0), faults=lambda rng, frames, own: Gone())
    plain = batch(store, size=12)
    first = (plain.amodal[:, 1] == raw.amodal[:, 1]).all((1, 2, 3))
    gone = raw.masks[:, 1, 0].max((1, 2)) == 0
    assert gone.any()
    assert (raw.visible_truth[gone & first, 1].max((1, 2, 3)) >= plain.masks[gone & first, 1, 0].max((1, 2))).all()


def test_an_image_model_s_crops_are_squares_around_what_is_seen():
    raw = batch(moving_store(2), crop=replace(CROP, rule="square"))
    assert raw.rgb.shape == (6, 4, 3, 32, 32)


def test_a_followed_track_has_the_value_range_that_its_image_stages_were_trained_with():
    assert SPEC == input_spec(replace(CROP, rule="square"), MASK_CHANNELS)


def test_frames_come_out_in_the_network_s_value_range():
    raw = batch(moving_store(1))
    image, masks, amodal, truth, warp = to_frames(raw, torch.device("cpu"))
    assert image.shape == (4, 6, 3, 32, 32) and warp.shape == (4, 6, 3)
    rgb = raw.rgb[2, 1].astype(np.float32) / 255
    expected = (rgb - np.array(SPEC.mean)[:, None, None]) / np.array(SPEC.std)[:, None, None]
    assert np.allclose(image[1, 2].numpy(), expected, atol=1e-5)
    assert masks.max() <= 1 and amodal.max() <= 1 and truth.max() <= 1


def test_a_source_is_drawn_as_often_as_its_share_says():
    store = moving_store(2)
    store.arrays.source[:] = [0, 1]
    even, uneven = find_windows(store, 1).weight, find_windows(store, 1, [1.0, 5.0]).weight
    first = find_windows(store, 1).clip == 0
    assert np.array_equal(uneven[first], even[first])
    assert np.array_equal(uneven[~first], 5 * even[~first])


def test_a_lost_track_differs_in_the_alignments_after_its_first_frame_alone():
    store = moving_store(2)
    kept, lost = (batch(store, unroll=replace(UNROLL, lost_share=share, lost_by=0.1)) for share in (0.0, 1.0))
    for name in ("rgb", "masks", "amodal", "visible_truth"):
        assert np.array_equal(getattr(kept, name), getattr(lost, name)), name
    assert np.array_equal(kept.warp[:, 0], lost.warp[:, 0])
    shift = np.abs(kept.warp - lost.warp)[:, 1:, 1:]
    assert shift.any() and shift.max() <= 0.2


def test_crops_contain_what_a_model_took_for_the_whole_in_the_frame_before(monkeypatch):
    """Object 0 stands still and is half seen in the first frame of the window, then not at all."""
    monkeypatch.setattr(unrolled, "BELIEVED", (1.0, 1.0))
    store = moving_store(1)
    windows = find_windows(store, 1)
    row = next(r for r in range(len(windows.clip)) if windows.index[r] == 0 and windows.first[r] == 1)
    only = type(windows)(*(getattr(windows, n)[row : row + 1] for n in ("clip", "index", "first", "left", "weight")))

    def shares(whole_share):
        unroll = replace(UNROLL, whole_share=whole_share)
        raw = unrolled_batch(store, only, CropSpec("followed", 32, 1.0, 0.0), SPEC, 0, 1, 5, unroll, PLAIN)
        return (raw.amodal[0, :, 0] > 127).mean((1, 2)), raw.masks[0, :, 0].any((1, 2))

    (without, seen), (believed, _) = shares(0.0), shares(1.0)
    assert seen[0] and not seen[1:3].any() and without[0] == believed[0]
    assert (believed[1:3] != without[1:3]).all()
    assert believed[1:3] == pytest.approx(
        [12 * 14 / (1.3 * 14) ** 2] * 2, abs=0.08
    )  # whole, in a crop 1.3 times as large
