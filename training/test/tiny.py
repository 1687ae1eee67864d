"""A configuration small enough to train in a test, and samples to train on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from c2f_ros.contract import MASK_CHANNELS, CropSpec
from c2f_train.config import TrainConfig, load_config

torch = pytest.importorskip("torch", reason="torch is not installed; `make test` installs it")
CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def tiny_config(samples: int = 64) -> TrainConfig:
    """The tiny preset, smaller still: `samples` samples per stage in batches of 8."""
    config = load_config(CONFIGS / "tiny.yaml")
    network = replace(
        config.network,
        tokenizer=replace(config.network.tokenizer, channels=4, z_channels=16, codebook_size=32),
        encoder=replace(config.network.encoder, widths=(8, 8, 16)),
        transformer=replace(config.network.transformer, dim=32, heads=2, vocabulary=32),
        refiner=replace(config.network.refiner, adapter=8, widths=(16, 8, 8)),
    )
    stage = replace(config.refiner_stage, samples=samples, batch=8)
    return replace(
        config, network=network, unet=replace(config.unet, widths=(8, 8, 16)),
        tokenizer_stage=stage, transformer_stage=stage, refiner_stage=stage,
    )  # fmt: skip


def random_store(count: int = 32, size: int = 64, frames: int = 1):
    """Samples whose masks are rectangles, the visible one a part of the whole one; tracks of `frames` records."""
    from c2f_train.data.store import SampleStore

    rng = np.random.default_rng(0)
    samples = rng.integers(0, 255, (count, 4 + len(MASK_CHANNELS), size, size)).astype(np.uint8)
    samples[:, 3:] = 0
    samples[:, 5] = 255
    side = size * 30 // 64
    for sample in samples:
        x, y = rng.integers(5 * size // 64, 25 * size // 64, 2)
        sample[6, y : y + side, x : x + side] = 255
        sample[3, y : y + side, x : x + side // 2] = 255
        sample[4, y : y + side, x + side // 2 : x + side] = 255
    starts = np.arange(0, count, frames)
    tracks = np.stack([starts, np.full_like(starts, frames), np.zeros_like(starts)], 1)
    seen, occlusion = np.ones(count, bool), np.full(count, 0.5, np.float32)
    crop = CropSpec("square", size, 2.0, 0.22)
    return SampleStore(samples, tracks, seen, occlusion, MASK_CHANNELS, crop, frames)
