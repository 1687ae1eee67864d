"""A configuration small enough to train in a test, and samples to train on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from c2f_train.config import StageConfig, TrainConfig, load_config
from c2f_train.samples import PLANES, SampleStore

torch = pytest.importorskip("torch", reason="torch is not installed; `make test` installs it")
CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def tiny_config(samples: int = 64) -> TrainConfig:
    config = load_config(CONFIGS / "nano.yaml")
    tokenizer = replace(config.network.tokenizer, widths=(8, 8, 16), codebook_size=32)
    network = replace(config.network, widths=(8, 8, 16), blocks=1, dim=32, layers=1, heads=2, tokenizer=tokenizer)
    stage = StageConfig(samples, 8, 0.001, 0.1, 0.01)
    return replace(
        config, network=network, unet=replace(config.unet, widths=(8, 8, 16), blocks=1),
        tokenizer_stage=stage, transformer_stage=stage, refiner_stage=stage,
    )  # fmt: skip


def random_store(count: int = 32, size: int = 64) -> SampleStore:
    """Samples whose masks are rectangles, the visible one a part of the whole one."""
    rng = np.random.default_rng(0)
    samples = rng.integers(0, 255, (count, PLANES, size, size)).astype(np.uint8)
    samples[:, 3:] = 0
    samples[:, 5] = 255
    for sample in samples:
        x, y = rng.integers(5, 25, 2)
        sample[6, y : y + 30, x : x + 30] = 255
        sample[3, y : y + 30, x : x + 15] = 255
        sample[4, y : y + 30, x + 15 : x + 30] = 255
    return SampleStore(samples)
