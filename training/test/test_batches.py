"""Batches depend on seed and step alone, are shared exactly by processes, and show every sample once per epoch."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from small_stores import rectangle_store
from tiny import torch

from c2f_ros.contract import ContractError
from c2f_train.data.ahead import Ahead
from c2f_train.data.batches import MEAN, STD, TrainBatch, batch_at, masks_at, raw_batch, rows_at, to_tensors
from c2f_train.data_config import AugmentConfig

STILL = AugmentConfig(flip=0.0, ragged=0.0)
WILD = AugmentConfig(flip=0.5, ragged=0.3, blur=0.2, morphology=0.4, blur_after=0.1)
PARTS = ("image", "masks", "amodal", "visible_truth")


def assert_equal(a: TrainBatch, b: TrainBatch) -> None:
    for part in PARTS:
        assert torch.equal(getattr(a, part), getattr(b, part)), part


@pytest.mark.parametrize("frames", [1, 3])
def test_the_same_seed_and_step_give_the_same_batch_and_others_another(frames):
    store = rectangle_store((5, 3, 4, 6), frames=3)
    a, b, other_step, other_seed = (
        batch_at(store, step, 4, seed, WILD, frames) for step, seed in ((7, 1), (7, 1), (8, 1), (7, 2))
    )
    assert_equal(a, b)
    assert not torch.equal(a.image, other_step.image) and not torch.equal(a.image, other_seed.image)


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("world", [2, 4])
def test_the_shares_of_all_processes_are_the_batch_of_one(frames, world):
    store = rectangle_store((5, 3, 4, 6, 1, 2), frames=3)
    for step in range(3):
        whole = batch_at(store, step, 8, 3, WILD, frames)
        shares = [batch_at(store, step, 8, 3, WILD, frames, rank, world) for rank in range(world)]
        for part in PARTS:
            assert torch.equal(torch.cat([getattr(share, part) for share in shares]), getattr(whole, part)), part
        masks = [masks_at(store, step, 8, 3, 0.6, 0.5, rank, world) for rank in range(world)]
        assert torch.equal(torch.cat(masks), masks_at(store, step, 8, 3, 0.6, 0.5))
    with pytest.raises(ContractError, match="cannot be shared by 3"):
        batch_at(store, 0, 8, 3, WILD, frames, 0, 3)


def test_every_epoch_holds_every_seen_record_once_whatever_the_batch():
    store = rectangle_store((5, 6, 9), frames=4, hidden=(1, 2, 13))
    seen = sorted(set(range(20)) - {1, 2, 13})
    rows = np.concatenate([rows_at(store, step, 5, 0, 1)[:, 0] for step in range(17)])
    for epoch in range(5):
        assert sorted(rows[epoch * 17 : epoch * 17 + 17]) == seen
    assert list(rows[:17]) != list(rows[17:34])
    assert rows_at(store, 0, 50, 0, 1).shape == (50, 1)  # more than there are


def test_every_epoch_holds_every_track_once_per_window_length():
    store = rectangle_store((5, 6, 9, 2), frames=3)
    rows = np.concatenate([rows_at(store, step, 4, 0, 3) for step in range(4 * 50)])  # 2 + 2 + 3 + 1 windows per epoch
    tracks = np.searchsorted([0, 5, 11, 20], rows[:, -1], side="right") - 1
    for epoch in range(100):
        assert list(np.bincount(tracks[8 * epoch : 8 * epoch + 8])) == [2, 2, 3, 1]
    long = rows[tracks == 2]
    assert {int(first) for first in long[:, 0]} == set(range(11, 18))
    assert (np.diff(long, axis=1) == 1).all()


def test_a_short_track_repeats_its_first_record_in_front():
    store = rectangle_store((2,), frames=4)
    np.testing.assert_array_equal(rows_at(store, 0, 1, 0, 4), [[0, 0, 0, 1]])


def test_no_window_hides_the_object_all_along():
    store = rectangle_store((9,), frames=2, hidden=(2, 3, 4, 5))
    firsts = {int(rows_at(store, step, 1, 0, 2)[0, 0]) for step in range(300)}
    assert firsts == {0, 1, 5, 6, 7}


def test_a_clip_s_frames_are_in_a_row_and_mirrored_together():
    store = rectangle_store((6, 7, 8), frames=4)
    batch = batch_at(store, 1, 3, 0, replace(STILL, flip=0.5), 4)
    plain = batch_at(store, 1, 3, 0, STILL, 4)
    assert batch.frames == 4 and batch.image.shape == (12, 3, 32, 32) and batch.masks.shape == (12, 3, 32, 32)
    mirrored = []
    for clip in range(3):
        part = slice(4 * clip, 4 * clip + 4)
        is_mirrored = not torch.equal(batch.image[part], plain.image[part])
        mirrored.append(is_mirrored)
        for name in PARTS:
            expected = getattr(plain, name)[part]
            assert torch.equal(getattr(batch, name)[part], expected.flip(-1) if is_mirrored else expected)
    assert len(set(mirrored)) == 2


def test_values_are_those_of_the_runtime_s_input():
    store = rectangle_store()
    batch, rows = batch_at(store, 0, 8, 0, STILL), rows_at(store, 0, 8, 0, 1)[:, 0]
    image = (store.samples[rows, :3] / 255 - np.array(MEAN)[:, None, None]) / np.array(STD)[:, None, None]
    np.testing.assert_allclose(batch.image, image, atol=1e-6)
    np.testing.assert_array_equal(batch.masks, store.samples[rows, 3:6] / np.float32(255))
    np.testing.assert_array_equal(batch.amodal[:, 0], store.samples[rows, 6] / np.float32(255))
    published = rectangle_store(rule="stretched", mask_channels=("visible",))
    batch = batch_at(published, 0, 8, 0, STILL)
    np.testing.assert_allclose(batch.image, published.samples[rows, :3] / 255, atol=1e-6)
    assert batch.masks.shape == (8, 1, 32, 32)


def test_augmentation_changes_the_visible_input_and_never_the_truth():
    store = rectangle_store()
    plain, changed = (batch_at(store, 0, 32, 0, augment) for augment in (STILL, replace(WILD, flip=0.0)))
    for part in ("image", "amodal", "visible_truth"):
        assert torch.equal(getattr(plain, part), getattr(changed, part)), part
    assert torch.equal(plain.masks[:, 1:], changed.masks[:, 1:])
    assert torch.equal(plain.masks[:, :1], plain.visible_truth)
    assert 16 < (plain.masks[:, 0] != changed.masks[:, 0]).any((1, 2)).sum() < 32


def test_a_plane_of_true_visible_masks_is_the_truth():
    store = rectangle_store()
    samples = np.insert(store.samples, 6, store.samples[:, 3] // 2, axis=1)
    predicted = replace(store, samples=samples)
    a, b = (batch_at(s, 0, 8, 0, STILL) for s in (store, predicted))
    assert torch.equal(a.masks, b.masks) and torch.equal(a.amodal, b.amodal)
    assert b.visible_truth.max() == pytest.approx(127 / 255)


def test_the_store_is_not_changed_and_not_aliased():
    store = rectangle_store()
    before = store.samples.copy()
    raw = raw_batch(store, 0, 8, 0, WILD)
    raw.masks[:] = 1
    np.testing.assert_array_equal(store.samples, before)


def test_the_tokenizer_gets_whole_and_visible_masks_by_share():
    store = rectangle_store((1,) * 64)
    areas = torch.cat([masks_at(store, step, 16, 0, 0.6, 0.5).mean((1, 2, 3)) for step in range(40)])
    whole = (areas > 0.2).float().mean()  # a quarter of the crop, the visible half an eighth
    assert 0.5 < whole < 0.7
    assert (masks_at(store, 0, 16, 0, 1.0, 0.0).mean((1, 2, 3)) > 0.2).all()


def test_windows_that_the_store_has_not_are_refused():
    with pytest.raises(ContractError, match="windows of 1 frames, the network has 4"):
        batch_at(rectangle_store((8, 8)), 0, 1, 0, STILL, 4)
    stretched = rectangle_store((4, 4), frames=4, rule="stretched")
    with pytest.raises(ContractError, match="windows of 4"):
        batch_at(stretched, 0, 1, 0, STILL, 2)
    with pytest.raises(ContractError, match="padded"):
        batch_at(stretched, 0, 1, 0, replace(STILL, flip=0.5), 4)
    assert batch_at(stretched, 0, 2, 0, STILL, 1).frames == 1


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_batches_made_ahead_are_the_same_in_any_order_of_steps(threads):
    store = rectangle_store()
    with Ahead(lambda step: raw_batch(store, step, 8, 3, WILD), threads, 3) as at:
        for step in (0, 1, 2, 9, 10, 0, 4, 5):
            assert_equal(to_tensors(at(step)), batch_at(store, step, 8, 3, WILD))


def test_the_next_batch_is_made_meanwhile_and_its_error_is_raised_when_it_is_due():
    made = threading.Event()

    def make(step: int) -> int:
        if step == 1:
            made.set()
        if step == 2:
            raise ValueError("broken")
        return step

    with Ahead(make, 1, 2) as at:
        assert at(0) == 0
        assert made.wait(30)
        assert at(1) == 1
        with pytest.raises(ValueError, match="broken"):
            at(2)
