"""Sample stores in memory, and the configuration of samples that are cut without any random change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from c2f_ros.contract import MASK_CHANNELS, CropSpec
from c2f_train.data.store import SampleStore
from c2f_train.data_config import DataConfig, SetConfig

STILL = DataConfig(
    train=(SetConfig("train", clips=2, frames=3, seed=1),),
    min_visible_pixels=1,
    scale_jitter=0.0,
    shift_jitter=0.0,
    unsegmented_fraction=0.0,
)


def rectangle_store(
    counts: Sequence[int] = (1,) * 32,
    size: int = 32,
    frames: int = 1,
    rule: str = "square",
    hidden: Sequence[int] = (),
    mask_channels: tuple[str, ...] = MASK_CHANNELS,
) -> SampleStore:
    """Tracks of `counts` records. The first rgb plane of record k has the value k; the right half of the object is
    hidden behind another; in the records `hidden` it is not seen."""
    rng = np.random.default_rng(0)
    total, side = sum(counts), size // 2
    samples = np.zeros((total, 4 + len(mask_channels), size, size), np.uint8)
    for k, record in enumerate(samples):
        record[0] = k
        record[1:3] = rng.integers(0, 255, (2, size, size))
        x, y = rng.integers(2, size // 3, 2)
        planes = dict(zip(mask_channels, record[3:], strict=False))
        planes["visible"][y : y + side, x : x + side // 2] = 0 if k in hidden else 255
        if "others" in planes:
            planes["others"][y : y + side, x + side // 2 : x + side] = 255
            planes["inside"][:] = 255
        record[-1, y : y + side, x : x + side] = 255
    ends = np.cumsum(counts)
    tracks = np.stack([ends - counts, np.array(counts), np.zeros(len(counts), int)], 1)
    seen = ~np.isin(np.arange(total), hidden)
    occlusion = np.where(seen, 0.5, 1).astype(np.float32)
    crop = CropSpec(rule, size, 2.0, 0.0)
    return SampleStore(samples, tracks, seen, occlusion, mask_channels, crop, frames)
