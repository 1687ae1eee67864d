"""Random batches from a sample store, images or windows of frames; all of it depends on the seed and the step alone.

Items are drawn from an endless row of permutations, so that each comes once per epoch whatever the batch size. Several
processes take shares of one batch: together they see what one process would.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from c2f_ros.contract import ContractError, InputSpec
from c2f_ros.geometry import ByteArray
from c2f_train.data.augment import change_masks, draw_changes
from c2f_train.data.samples import AMODAL, MEAN, RGB, STD, VISIBLE
from c2f_train.data.store import SampleStore
from c2f_train.data_config import AugmentConfig

__all__ = ["MEAN", "STD", "RawBatch", "TrainBatch", "batch_at", "masks_at", "raw_batch", "rows_at", "to_tensors"]


@dataclass(frozen=True, eq=False)
class RawBatch:
    """B clips of T frames, a clip's in a row, n = B * T; all uint8: rgb [n, 3, S, S], masks [n, M, S, S], amodal and
    visible_truth [n, 1, S, S]."""

    rgb: ByteArray
    masks: ByteArray
    amodal: ByteArray
    visible_truth: ByteArray
    frames: int
    input: InputSpec


@dataclass(frozen=True, eq=False)
class TrainBatch:
    """As `RawBatch`, in float32: image [n, 3, S, S] in the network's value range, the others 0..1."""

    image: Tensor
    masks: Tensor
    amodal: Tensor
    visible_truth: Tensor
    frames: int = 1


def batch_at(
    store: SampleStore,
    step: int,
    size: int,
    seed: int,
    augment: AugmentConfig,
    frames: int = 1,
    rank: int = 0,
    world: int = 1,
) -> TrainBatch:
    """The batch of training step `step` on the CPU: `raw_batch` in float32."""
    return to_tensors(raw_batch(store, step, size, seed, augment, frames, rank, world))


def raw_batch(
    store: SampleStore,
    step: int,
    size: int,
    seed: int,
    augment: AugmentConfig,
    frames: int = 1,
    rank: int = 0,
    world: int = 1,
) -> RawBatch:
    """The share of process `rank` of `world` in the batch of `size` clips of step `step`; the visible masks of the
    input are changed as `augment` says.

    Raises ContractError if the store has no windows of `frames`, or if `world` does not divide `size`.
    """
    if augment.flip and store.crop.rule == "stretched" and store.frames > 1:
        raise ContractError(
            f"augment.flip is {augment.flip}, but stretched windows are padded at the right; set it to 0"
        )
    rows = rows_at(store, step, size, seed, frames)
    rng = np.random.default_rng([seed, 7, step])
    mirrored = rng.random(size) < augment.flip
    changes = draw_changes(size * frames, augment, rng)
    clips = _share(size, rank, world)
    planes = np.asarray(store.samples[rows[clips].reshape(-1)])
    flips = np.repeat(mirrored[clips], frames)
    planes[flips] = planes[flips][..., ::-1]
    truth = planes[:, [store.truth]]
    masks = planes[:, VISIBLE : VISIBLE + len(store.mask_channels)]
    masks[:, 0] = change_masks(masks[:, 0], changes[clips.start * frames : clips.stop * frames])
    return RawBatch(planes[:, RGB], masks, planes[:, [AMODAL]], truth, frames, store.input)


def to_tensors(raw: RawBatch, device: torch.device | str = "cpu") -> TrainBatch:
    """`raw` in float32 on `device`; what travels there is uint8."""
    std = torch.tensor(raw.input.std, device=device)[:, None, None]
    scale, offset = 1 / (255 * std), torch.tensor(raw.input.mean, device=device)[:, None, None] / std
    image = _moved(raw.rgb, device).mul_(scale).sub_(offset)
    planes = (_moved(array, device).div_(255) for array in (raw.masks, raw.amodal, raw.visible_truth))
    return TrainBatch(image, *planes, raw.frames)


def masks_at(
    store: SampleStore,
    step: int,
    size: int,
    seed: int,
    amodal_share: float,
    flip: float,
    rank: int = 0,
    world: int = 1,
) -> Tensor:
    """[n, 1, S, S] in 0..1: the tokenizer's batch of step `step`, a share of whole masks, the others visible ones.

    Raises ContractError as `raw_batch` does.
    """
    clips = _share(size, rank, world)
    rows = rows_at(store, step, size, seed, 1)[clips, 0]
    rng = np.random.default_rng([seed, 8, step])
    is_amodal, mirrored = (rng.random(size)[clips] < share for share in (amodal_share, flip))
    masks = np.asarray(store.samples[rows, np.where(is_amodal, AMODAL, store.truth)])
    masks[mirrored] = masks[mirrored][..., ::-1]
    return torch.from_numpy(masks)[:, None].float() / 255


def rows_at(store: SampleStore, step: int, size: int, seed: int, frames: int) -> NDArray[np.int64]:
    """int [size, frames]: the records of the batch of step `step`.

    Images: every record in which the object is seen, once per epoch. Windows: every track once for each `frames`
    records that it has, rounded up; where a window begins is random, but the object is seen in it. Shorter tracks
    repeat their first record in front, as the runtime does.
    """
    if frames > store.frames or (frames > 1 and store.crop.rule == "stretched" and frames != store.frames):
        raise ContractError(
            f"the store was cut for windows of {store.frames} frames, the network has {frames}; prepare it again"
        )
    if frames == 1:
        seen = np.flatnonzero(store.seen)
        return seen[_drawn(len(seen), step, size, seed)][:, None]
    counts = store.tracks[:, 1]
    items = np.repeat(np.arange(len(counts)), -(-counts // frames))
    tracks = store.tracks[items[_drawn(len(items), step, size, seed)], :2]
    rng = np.random.default_rng([seed, 9, step])
    return np.stack([_window(store.seen, *track, frames, u) for track, u in zip(tracks, rng.random(size), strict=True)])


def _window(seen: NDArray[np.bool_], first: np.int64, count: np.int64, frames: int, drawn: float) -> NDArray[np.int64]:
    if count <= frames:
        return first + np.maximum(np.arange(frames) - (frames - count), 0)
    sums = np.concatenate([[0], np.cumsum(seen[first : first + count])])
    starts = np.flatnonzero(sums[frames:] > sums[:-frames])
    return first + starts[int(drawn * len(starts))] + np.arange(frames)


def _drawn(count: int, step: int, size: int, seed: int) -> NDArray[np.int64]:
    """int [size]: which of `count` items are in the batch of step `step`."""
    places = step * size + np.arange(size)
    epochs = places // count
    return np.concatenate(
        [_order(count, seed, int(epoch))[places[epochs == epoch] % count] for epoch in np.unique(epochs)]
    )


@lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(count)


def _share(size: int, rank: int, world: int) -> slice:
    if size % world:
        raise ContractError(f"a batch of {size} cannot be shared by {world} processes; make it a multiple of {world}")
    each = size // world
    return slice(rank * each, (rank + 1) * each)


def _moved(array: ByteArray, device: torch.device | str) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device, non_blocking=True).float()
