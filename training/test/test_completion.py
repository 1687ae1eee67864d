"""The mask-only completion network: its pairs, what it may change, and that it learns without whole masks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; `make test` installs it")

from c2f_ros.contract import MASK_CHANNELS, ContractError  # noqa: E402
from c2f_train.config import TrainConfig, load_config  # noqa: E402
from c2f_train.data.store import SampleStore  # noqa: E402
from c2f_train.fitting import loop  # noqa: E402
from c2f_train.fitting.completion import (  # noqa: E402
    COVERED,
    CompletionStage,
    Occluded,
    completion_loss,
    completion_predictor,
    load_completion,
    occlude,
    train_completion,
)
from c2f_train.fitting.engine import Part  # noqa: E402
from c2f_train.model.completion import CompletionNetwork  # noqa: E402

SIZE = 32


def small_config(samples: int = 64) -> TrainConfig:
    config = load_config(Path(__file__).resolve().parent.parent / "configs" / "nano.yaml")
    stage = replace(config.refiner_stage, samples=samples, batch=16, learning_rate=0.005)
    return replace(
        config, crop=replace(config.crop, size=SIZE), network=replace(config.network, crop_size=SIZE),
        unet=replace(config.unet, crop_size=SIZE, widths=(8, 16, 24), blocks=1, bottleneck_blocks=1),
        transformer_stage=replace(stage, samples=0), refiner_stage=stage,
    )  # fmt: skip


def discs(count: int, seed: int = 0) -> np.ndarray:
    """bool [count, SIZE, SIZE]: discs in the middle."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    radii = np.random.default_rng(seed).uniform(6, 11, count)[:, None, None]
    return (rows - 15.5) ** 2 + (columns - 15.5) ** 2 < radii**2


def store_of(visible: np.ndarray, amodal: np.ndarray) -> SampleStore:
    """One track per record, masks of 0 and 255, a grey image."""
    count = len(visible)
    samples = np.full((count, 4 + len(MASK_CHANNELS), SIZE, SIZE), 128, np.uint8)
    samples[:, 3], samples[:, 4], samples[:, 5], samples[:, -1] = visible * 255, 0, 255, amodal * 255
    tracks = np.stack([np.arange(count), np.ones(count), np.zeros(count)], 1).astype(np.int64)
    crop = small_config().crop
    return SampleStore(
        samples, tracks, np.ones(count, bool), np.zeros(count, np.float32), MASK_CHANNELS, crop, 1
    )  # fmt: skip


def masks_of(arrays: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(arrays[:, None].astype(np.float32))


def test_a_mask_is_covered_by_the_eraser_or_stands_before_it():
    masks = masks_of(discs(400))
    pairs = occlude(masks, torch.Generator().manual_seed(0))
    assert torch.equal(pairs.whole, masks)
    assert (pairs.visible * pairs.eraser).sum() == 0
    assert torch.equal(torch.maximum(pairs.visible, pairs.whole * pairs.eraser), masks)
    covered = ((pairs.eraser * masks).sum((1, 2, 3)) > 0).float().mean().item()
    assert covered == pytest.approx(COVERED, abs=0.06)
    behind = pairs.visible.flatten(1).eq(masks.flatten(1)).all(1)
    assert pairs.eraser[behind].sum() > 0, "what lies behind is shown, so that the network learns not to grow"


def test_most_covered_masks_lose_a_share_that_can_be_learnt_from():
    masks = masks_of(discs(400))
    pairs = occlude(masks, torch.Generator().manual_seed(1))
    share = 1 - (pairs.visible.sum((1, 2, 3)) / masks.sum((1, 2, 3)))
    share = share[share > 0]
    assert ((share > 0.04) & (share < 0.76)).float().mean() > 0.9


def test_the_same_seed_gives_the_same_pairs_and_empty_masks_are_no_error():
    masks = masks_of(discs(8))
    masks[3] = 0
    first, again = (occlude(masks, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first.visible, again.visible) and torch.equal(first.eraser, again.eraser)
    other = occlude(masks, torch.Generator().manual_seed(6))
    assert not torch.equal(first.eraser, other.eraser)


def test_the_loss_weighs_a_pixel_in_the_eraser_five_times():
    whole, eraser = torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 0.0]]]])
    logits = torch.tensor([[[[2.0, -1.0]]]])
    inside, outside = np.log1p(np.exp([2.0, -1.0]))
    expected = (5 * inside + outside) / 6
    assert completion_loss(logits, Occluded(whole, eraser, whole)).item() == pytest.approx(expected, rel=1e-6)


def test_parts_of_a_batch_are_the_whole_batch():
    config = small_config()
    stage = CompletionStage(CompletionNetwork(config.unet), store_of(discs(40), discs(40)), config)
    whole = stage.draw(3, Part(0, 1))
    parts = [stage.draw(3, Part(index, 2)) for index in range(2)]
    for name in ("visible", "eraser", "whole"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts])), name


def test_outside_the_eraser_nothing_changes_and_the_image_does_not_matter():
    torch.manual_seed(0)
    predict = completion_predictor(CompletionNetwork(small_config().unet).eval())
    visible, others = discs(2), np.zeros((2, SIZE, SIZE), bool)
    others[:, :, 20:] = True
    masks = np.stack([visible, others, np.ones_like(visible)], 1).astype(np.float32)
    rng = np.random.default_rng(0)
    answers = [predict(rng.random((2, 3, SIZE, SIZE), np.float32), masks) for _ in range(2)]
    np.testing.assert_array_equal(*answers)
    outside = ~(others & ~visible)
    np.testing.assert_allclose(answers[0][outside], visible[outside])


def test_it_learns_from_visible_masks_alone(tmp_path):
    config, known = small_config(16 * 120), discs(128)
    noise = np.random.default_rng(0).random(known.shape) < 0.5
    network = train_completion(config, store_of(known, noise), tmp_path)
    whole, others = discs(32, seed=9), np.zeros((32, SIZE, SIZE), bool)
    others[:, :14, 12:] = True
    visible = whole & ~others
    masks = np.stack([visible, others, np.ones_like(whole)], 1).astype(np.float32)
    found = completion_predictor(network)(np.zeros((32, 3, SIZE, SIZE), np.float32), masks) > 0.5
    iou, before = (
        ((m & whole).sum((1, 2)) / (m | whole).sum((1, 2))).mean() for m in (found, visible)
    )  # fmt: skip
    assert iou > before + 0.05, (iou, before)


def test_a_finished_one_is_loaded_and_one_of_another_configuration_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "PICTURE_EVERY_S", -1.0)
    config, store = small_config(), store_of(discs(32), discs(32))
    with pytest.raises(FileNotFoundError, match="train --completion"):
        load_completion(config, tmp_path)
    trained = train_completion(config, store, tmp_path)
    assert list((tmp_path / "samples").glob("completion_*.png"))
    stamp = (tmp_path / "completion.pt").stat().st_mtime_ns
    again = train_completion(config, store, tmp_path)
    assert (tmp_path / "completion.pt").stat().st_mtime_ns == stamp
    for network in (again, load_completion(config, tmp_path)):
        for name, value in trained.state_dict().items():
            assert torch.equal(value, network.state_dict()[name]), name
    other = replace(config, unet=replace(config.unet, blocks=2))
    with pytest.raises(ContractError, match="another configuration"):
        load_completion(other, tmp_path)
    assert json.loads(torch.load(tmp_path / "completion.pt", weights_only=True)["about"])["seed"] == config.seed
