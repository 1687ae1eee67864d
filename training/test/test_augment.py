"""Changed visible masks: each change does what it is named after, as often as configured, and never empties a mask."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from c2f_ros.contract import ContractError
from c2f_train.data.augment import (
    BLUR,
    GROW,
    MORPHOLOGY,
    RAGGED,
    SHRINK,
    UNCHANGED,
    WAVE,
    change_masks,
    draw_changes,
)
from c2f_train.data_config import AugmentConfig

NONE = AugmentConfig(flip=0.0, ragged=0.0)
KINS = AugmentConfig(flip=0.0, ragged=0.0, blur=0.2, morphology=0.4, dilate=0.55, blur_after=0.1)
SIZES = [64, 256]


def blobs(count, size, seed=0):
    """uint8 [count, size, size]: large binary shapes."""
    noise = np.random.default_rng(seed).standard_normal((count, 6, 6)).astype(np.float32)
    return np.stack([(cv2.resize(n, (size, size)) > 0).view(np.uint8) * np.uint8(255) for n in noise])


def changes_of(augment, count, seed=0, **forced):
    changes = draw_changes(count, augment, np.random.default_rng(seed))
    return replace(changes, **{name: np.full_like(getattr(changes, name), value) for name, value in forced.items()})


def test_nothing_configured_changes_nothing():
    masks = blobs(20, 64)
    np.testing.assert_array_equal(change_masks(masks, changes_of(NONE, 20)), masks)


def within(found, share, count, deviations=4.5):
    return abs(found - share * count) <= deviations * np.sqrt(share * (1 - share) * count)


def test_shares_are_those_of_the_configuration():
    count = 20_000
    changes = changes_of(replace(KINS, ragged=0.15), count)
    for kind, share in ((RAGGED, 0.15), (BLUR, 0.2), (MORPHOLOGY, 0.4), (UNCHANGED, 0.25)):
        assert within((changes.kind == kind).sum(), share, count), kind
    assert within(changes.grows.sum(), 0.55, count)
    assert within(changes.blurred.sum(), 0.1, 4 * count)
    for times in (1, 2, 3, 4):
        assert within((changes.times == times).sum(), 0.25, count)
    for side in range(5, 14):
        assert within((changes.rectangles == side).sum(), 1 / 9, 8 * count)
    assert changes.rectangles.min() == 5 and changes.rectangles.max() == 13
    for way in (GROW, SHRINK, WAVE):
        assert within((changes.way == way).sum(), 1 / 3, count)


def test_a_full_share_is_always_taken():
    for kind, name in ((RAGGED, "ragged"), (BLUR, "blur"), (MORPHOLOGY, "morphology")):
        assert (changes_of(replace(NONE, **{name: 1.0}), 500).kind == kind).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("forced", [{"kind": MORPHOLOGY, "grows": True}, {"kind": RAGGED, "way": GROW}])
def test_growing_gives_a_superset(size, forced):
    masks = blobs(40, size)
    out = change_masks(masks, changes_of(NONE, 40, **forced))
    assert (out >= masks).all() and (out > masks).any((1, 2)).mean() > 0.9


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("forced", [{"kind": MORPHOLOGY, "grows": False}, {"kind": RAGGED, "way": SHRINK}])
def test_shrinking_gives_a_subset(size, forced):
    masks = blobs(40, size)
    out = change_masks(masks, changes_of(NONE, 40, **forced))
    assert (out <= masks).all() and (out < masks).any((1, 2)).mean() > 0.9


def test_morphology_is_opencv_s_repeated():
    masks = blobs(30, 256)
    changes = changes_of(replace(KINS, blur=0.0, morphology=1.0), 30)
    out = change_masks(masks, changes)
    for k, mask in enumerate(masks):
        expected = mask / 255.0
        for (rows, columns), is_blurred in zip(
            changes.rectangles[k][: changes.times[k]], changes.blurred[k], strict=False
        ):
            expected = (cv2.dilate if changes.grows[k] else cv2.erode)(expected, np.ones((rows, columns)))
            if is_blurred:
                expected = cv2.GaussianBlur(expected, (35, 35), 11)
        assert np.mean((expected > 0.5) != (out[k] > 0)) < 1e-4  # float32 against float64 at one half


def test_a_blur_rounds_corners_and_keeps_straight_borders():
    mask = np.zeros((1, 256, 256), np.uint8)
    mask[0, 60:200, 50:210] = 255
    out = change_masks(mask, changes_of(NONE, 1, kind=BLUR))[0]
    assert not out[60, 50] and (out <= mask[0]).all()
    np.testing.assert_array_equal(out[130], mask[0, 130])


@pytest.mark.parametrize("size", SIZES)
def test_a_wave_changes_the_border_alone(size):
    masks = blobs(30, size)
    changes = changes_of(NONE, 30, kind=RAGGED, way=WAVE)
    changes = replace(changes, wave=np.random.default_rng(0).standard_normal(changes.wave.shape).astype(np.float32))
    out = change_masks(masks, changes)
    side = 2 * 2 * size // 64 + 1
    border = np.stack([cv2.dilate(m, np.ones((side, side))) != cv2.erode(m, np.ones((side, side))) for m in masks])
    assert (out != masks).any((1, 2)).all()
    np.testing.assert_array_equal(out[~border], masks[~border])


@pytest.mark.parametrize("kind", [RAGGED, BLUR, MORPHOLOGY])
@pytest.mark.parametrize("size", SIZES)
def test_a_mask_never_vanishes_and_an_empty_one_stays_empty(kind, size):
    masks = np.zeros((100, size, size), np.uint8)
    masks[:50, 30, 30:36] = 255
    out = change_masks(masks, changes_of(replace(KINS, dilate=0.2), 100, kind=kind))
    assert (out[:50].sum((1, 2), dtype=int) > 4 * 255).all()
    assert not out[50:].any()


def test_a_part_of_a_batch_is_changed_as_in_the_whole():
    masks = blobs(16, 64)
    changes = changes_of(replace(KINS, ragged=0.4), 16)
    whole = change_masks(masks, changes)
    parts = [change_masks(masks[part], changes[part]) for part in (slice(0, 5), slice(5, 16))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert (whole != masks).any()


def test_shares_above_one_together_are_refused():
    with pytest.raises(ContractError, match="together"):
        AugmentConfig(flip=0.0, ragged=0.5, blur=0.2, morphology=0.4)
    with pytest.raises(ContractError, match="flip"):
        AugmentConfig(flip=1.5, ragged=0.0)
