"""Random batches from a sample store, with augmentation; the order depends on the seed and the step alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from c2f_train.config import AugmentConfig
from c2f_train.samples import AMODAL, INSIDE, OTHERS, RGB, VISIBLE, SampleStore

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
"""(rgb / 255 - MEAN) / STD; the manifest repeats these numbers."""


@dataclass(frozen=True)
class TrainBatch:
    """image [B, 3, S, S] normalized; masks [B, 3, S, S] (visible, others, inside), amodal and
    visible_truth [B, 1, S, S], all 0..1."""

    image: Tensor
    masks: Tensor
    amodal: Tensor
    visible_truth: Tensor


def batch_at(store: SampleStore, step: int, size: int, seed: int, augment: AugmentConfig) -> TrainBatch:
    """The batch of training step `step`: epochs are permutations, so every sample comes once per epoch."""
    per_epoch = max(1, len(store) // size)
    epoch, place_in_epoch = divmod(step, per_epoch)
    rows = _order(len(store), seed, epoch)[place_in_epoch * size : (place_in_epoch + 1) * size]
    rng = np.random.default_rng([seed, 7, step])
    planes = torch.from_numpy(store.samples[np.sort(rows)])
    mirrored = torch.from_numpy(rng.random(len(rows)) < augment.flip)
    planes = torch.where(mirrored[:, None, None, None], planes.flip(3), planes)
    return _to_batch(planes.float() / 255.0, augment, rng)


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)


def _to_batch(planes: Tensor, augment: AugmentConfig, rng: np.random.Generator) -> TrainBatch:
    image = (planes[:, RGB] - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    truth = planes[:, VISIBLE : VISIBLE + 1]
    visible = truth.clone()
    for row in np.flatnonzero(rng.random(len(planes)) < augment.ragged):
        visible[row] = ragged(truth[row], rng)
    masks = torch.cat([visible, planes[:, OTHERS : OTHERS + 1], planes[:, INSIDE : INSIDE + 1]], 1)
    return TrainBatch(image, masks, planes[:, AMODAL : AMODAL + 1], truth)


def ragged(mask: Tensor, rng: np.random.Generator) -> Tensor:
    """`mask` [1, S, S] as an imperfect segmenter would give it: grown, shrunk or with a wavy border.

    A mask that would vanish is returned unchanged: an upstream segmenter never sends an empty one.
    """
    kind, radius = rng.integers(3), int(rng.integers(1, 3))
    window = 2 * radius + 1
    if kind == 0:
        out = F.max_pool2d(mask[None], window, 1, radius)[0]
    elif kind == 1:
        out = 1 - F.max_pool2d(1 - mask[None], window, 1, radius)[0]
    else:
        noise = torch.from_numpy(rng.standard_normal((1, 1, 16, 16)).astype(np.float32)) * 0.25
        blurred = F.avg_pool2d(mask[None], window, 1, radius, count_include_pad=False)
        out = (blurred + F.interpolate(noise, mask.shape[-2:], mode="bilinear") > 0.5).float()[0]
    return out if out.sum() > 4 else mask
