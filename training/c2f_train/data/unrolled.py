"""Batches of tracks that are followed through some frames, cut as the runtime cuts them (crop rule `followed`).

A batch depends on the seed and the step alone. Several processes take shares of one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from c2f_ros.contract import CropSpec, InputSpec
from c2f_ros.crops import cut_object
from c2f_ros.extents import Extent, extent_of, moved_extent
from c2f_ros.following import Place, alignment, first_place, followed_crop, next_place
from c2f_ros.geometry import Box, ByteArray, FloatArray, PlacedMask, crop_mask, place, square_crop
from c2f_ros.motion import STILL, Similarity
from c2f_train.data.augment import change_masks, draw_changes
from c2f_train.data.clip_store import ClipStore
from c2f_train.data_config import AugmentConfig, UnrollConfig

PARTLY_HIDDEN, PARTLY_WEIGHT = 0.3, 4.0
"""Windows in which the object is hidden by more than this at some time are drawn so many times more often."""
WHOLLY_WEIGHT = 6.0
"""And those in which it is hidden completely for a while."""
LOOK_AHEAD = 12
"""Frames after a window's first that decide this."""
BELIEVED = 0.3, 1.2
"""How far a model takes an object to reach beyond what is seen of it, as shares of the truth."""


class Faults(Protocol):
    """Changes of the label images of one window, as a segmenter's faults make them."""

    def apply(self, labels: NDArray[np.integer], index: int) -> NDArray[np.integer]:
        """The labels [H, W] of the window's frame `index` as upstream sends them."""
        ...


class FaultSource(Protocol):
    """Draws faults for a window, given its label images, whose trained object has label `own`."""

    def __call__(
        self, rng: np.random.Generator, frames: Sequence[NDArray[np.uint16]], own: int, /
    ) -> Faults | None: ...


@dataclass(frozen=True, eq=False)
class Windows:
    """Where tracks may begin: clip [W], object [W], first frame [W] (in the store), frames from there on [W] and the
    running sum of how often each is drawn [W]."""

    clip: NDArray[np.int64]
    index: NDArray[np.int64]
    first: NDArray[np.int64]
    left: NDArray[np.int64]
    weight: FloatArray

    @cached_property
    def drawn(self) -> NDArray[np.float64]:
        return np.cumsum(self.weight, dtype=np.float64)


def find_windows(store: ClipStore, min_visible_pixels: int, shares: Sequence[float] = ()) -> Windows:
    """Every object in every frame in which enough of it is seen, with at least one more frame in the image.

    shares: how often those of each source of the store are drawn, against 1 for those that it does not reach.
    """
    parts: list[tuple[NDArray, ...]] = []
    arrays = store.arrays
    for clip in range(len(store)):
        first, end, count = int(arrays.frame_start[clip]), int(arrays.frame_start[clip + 1]), store.objects(clip)
        rows = slice(int(arrays.row_start[first]), int(arrays.row_start[first]) + (end - first) * count)
        area, seen = (a[rows].reshape(end - first, count) for a in (arrays.area, arrays.seen))
        hidden = 1 - seen / np.maximum(area, 1)
        left = np.zeros_like(area)
        for frame in range(end - first - 1, -1, -1):
            after = left[frame + 1] if frame + 1 < end - first else 0
            left[frame] = np.where(area[frame] > 0, after + 1, 0)
        frames, objects = np.nonzero((seen >= max(1, min_visible_pixels)) & (left >= 2))
        ahead = [slice(f, min(f + LOOK_AHEAD, f + int(left[f, o]))) for f, o in zip(frames, objects, strict=True)]
        partly = np.array([hidden[s, o].max() > PARTLY_HIDDEN for s, o in zip(ahead, objects, strict=True)], bool)
        wholly = np.array([(seen[s, o] == 0).any() for s, o in zip(ahead, objects, strict=True)], bool)
        source = int(arrays.source[clip])
        weight = 1 + (PARTLY_WEIGHT - 1) * partly + (WHOLLY_WEIGHT - 1) * wholly
        weight *= shares[source] if source < len(shares) else 1.0
        parts.append((np.full(len(frames), clip), objects, frames + first, left[frames, objects], weight))
    clips, index, starts, left, weight = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Windows(clips, index, starts, left.astype(np.int64), weight.astype(np.float32))


@dataclass(frozen=True, eq=False)
class RawUnroll:
    """B tracks of T frames, all uint8 but `warp`: rgb [B, T, 3, S, S], masks [B, T, M, S, S], amodal and visible_truth
    [B, T, 1, S, S]; warp float32 [B, T, 3]: `following.alignment` with the frame before, (1, 0, 0) in the first."""

    rgb: ByteArray
    masks: ByteArray
    amodal: ByteArray
    visible_truth: ByteArray
    warp: FloatArray
    input: InputSpec


def unrolled_batch(
    store: ClipStore,
    windows: Windows,
    crop: CropSpec,
    spec: InputSpec,
    step: int,
    size: int,
    seed: int,
    unroll: UnrollConfig,
    augment: AugmentConfig,
    faults: FaultSource | None = None,
    rank: int = 0,
    world: int = 1,
) -> RawUnroll:
    """The share of process `rank` of `world` in the batch of `size` tracks of step `step`."""
    frames = unroll.frames
    chosen = np.random.default_rng([seed, 11, step]).random(size) * windows.drawn[-1]
    rows = np.searchsorted(windows.drawn, chosen, side="right")
    share = range(rank * size // world, (rank + 1) * size // world)
    planes = len(spec.mask_channels)
    s = crop.size
    out = RawUnroll(
        np.empty((len(share), frames, 3, s, s), np.uint8), np.empty((len(share), frames, planes, s, s), np.uint8),
        np.empty((len(share), frames, 1, s, s), np.uint8), np.empty((len(share), frames, 1, s, s), np.uint8),
        np.empty((len(share), frames, 3), np.float32), spec,
    )  # fmt: skip
    for number, track in enumerate(share):
        rng = np.random.default_rng([seed, 13, step, track])
        _cut_track(store, windows, int(rows[track]), crop, unroll, faults, rng, out, number)
        if rng.random() < augment.flip:
            for array in (out.rgb, out.masks, out.amodal, out.visible_truth):
                array[number] = array[number, ..., ::-1].copy()
            out.warp[number, :, 1] *= -1
        if rng.random() < unroll.lost_share:
            out.warp[number, 1:] = _misplaced(out.warp[number, 1:], unroll.lost_by, rng)
        if rng.random() < unroll.ragged_tracks:
            changes = draw_changes(frames, augment, rng)
            out.masks[number, :, 0] = change_masks(out.masks[number, :, 0], changes)
    return out


def _cut_track(
    store: ClipStore,
    windows: Windows,
    row: int,
    crop: CropSpec,
    unroll: UnrollConfig,
    faults: FaultSource | None,
    rng: np.random.Generator,
    out: RawUnroll,
    number: int,
) -> None:
    """Fill track `number` of `out`."""
    index = int(windows.index[row])
    chosen = _frames(int(windows.first[row]), int(windows.left[row]), unroll, rng)
    fault = None
    if faults is not None and rng.random() < unroll.fault_share:
        fault = faults(rng, [store.labels(frame) for frame in chosen], index + 1)
    found = _segmented(store.objects(int(windows.clip[row])), index, unroll, rng)
    jitter = Similarity(
        float(np.exp(rng.uniform(-0.5, 1.0) * unroll.scale_jitter)), *(rng.uniform(-1, 1, 2) * unroll.shift_jitter)
    )
    at: Place | None = None
    box, anchor, before = Box(0, 0, 1, 1), STILL, chosen[0]
    believed = rng.uniform(*BELIEVED, 4) if rng.random() < unroll.whole_share else None
    whole: Extent | None = None
    for t, frame in enumerate(chosen):
        labels = store.labels(frame)
        sent = labels if fault is None else fault.apply(labels, t)
        shown = store.visible(frame, index) if fault is None else place(sent == index + 1)
        given = None if shown.is_empty else shown.box
        others = sent if found is None else found[sent]
        stamp = int(store.arrays.stamp_ns[frame])
        if at is None:
            truth = store.visible(frame, index)
            at = first_place(stamp, truth if given is None else shown)
        elif frame != before:
            motions = [None if given is None else store.motion(k, index) for k in range(before + 1, frame + 1)]
            behind = [store.scene(k) for k in range(before + 1, frame + 1)]
            at = next_place(
                at, stamp, None if given is None else shown, _composed(motions), _composed(behind),
                store.parallax(frame), others,
            )  # fmt: skip
        if crop.rule == "followed":
            there = None if whole is None else moved_extent(whole, at.anchor.after(anchor.inverse()))
            new_box = _jittered(followed_crop(at, given, *labels.shape, crop, there), jitter)
            if believed is not None:
                whole = there if given is None else _believed(given, store.whole_box(frame, index), believed)
        elif given is not None or t == 0:
            around = given or store.visible(frame, index).box
            new_box = _jittered(square_crop(around, *labels.shape, crop.scale, crop.min_side_fraction), jitter)
        else:
            new_box = box
        warp = alignment(box, anchor, new_box, at.anchor) if t else (1.0, 0.0, 0.0)
        box, anchor, before = new_box, at.anchor, frame
        rgb, masks = cut_object(store.rgb(frame), "rgb8", others, shown, box, crop.size, out.input.mask_channels)
        out.rgb[number, t] = rgb.transpose(2, 0, 1)
        out.masks[number, t] = masks
        out.amodal[number, t, 0] = crop_mask(store.amodal(frame, index), box, crop.size)
        out.visible_truth[number, t, 0] = crop_mask(_true(store, frame, index, fault, shown), box, crop.size)
        out.warp[number, t] = warp


def _true(store: ClipStore, frame: int, index: int, fault: Faults | None, shown: PlacedMask) -> PlacedMask:
    return shown if fault is None else store.visible(frame, index)


def _believed(seen: Box, truth: Box, shares: NDArray[np.float64]) -> Extent:
    """The box that a model takes for that of the whole: edges between those of what is seen and the true ones, or a
    little beyond."""
    edges = (s + share * (t - s) for s, t, share in zip(extent_of(seen), extent_of(truth), shares, strict=True))
    left, top, right, bottom = (float(edge) for edge in edges)
    return left, top, right, bottom


def _frames(first: int, left: int, unroll: UnrollConfig, rng: np.random.Generator) -> list[int]:
    """The frames of a window: every n-th, now and then with a gap; the last is repeated where the clip ends."""
    most = min(unroll.stride, max(1, (left - 1) // max(1, unroll.frames - 1)))
    stride = int(rng.integers(1, most + 1))
    steps = np.full(unroll.frames - 1, stride)
    steps[rng.random(len(steps)) < unroll.gap_share] += int(rng.integers(1, 4))
    offsets = np.minimum(np.append(0, np.cumsum(steps)), left - 1)
    return [first + int(offset) for offset in offsets]


def _segmented(objects: int, index: int, unroll: UnrollConfig, rng: np.random.Generator) -> NDArray[np.bool_] | None:
    """Which labels an upstream segmenter is imagined to have found, bool [65536]; None: all."""
    if rng.random() >= unroll.unsegmented_fraction:
        return None
    found = np.ones(1 << 16, bool)
    found[: objects + 1] = rng.random(objects + 1) < (0.0 if rng.random() < 0.5 else rng.uniform(0.2, 0.9))
    found[0], found[index + 1] = False, True
    return found


def _composed(motions: Sequence[Similarity | None]) -> Similarity | None:
    out = STILL
    for motion in motions:
        if motion is None:
            return None
        out = motion.after(out)
    return out


def _misplaced(warp: FloatArray, most: float, rng: np.random.Generator) -> FloatArray:
    """Alignments [T, 3] as a wrong measurement of motion gives them, by up to `most` of the crop's side a frame."""
    size = rng.uniform(0, most)
    scale = np.exp(rng.normal(0, size / 2, len(warp)))
    shift = rng.uniform(-2 * size, 2 * size, (len(warp), 2))  # the crop is 2 wide
    return np.column_stack([warp[:, 0] * scale, warp[:, 1:] + shift]).astype(np.float32)


def _jittered(box: Box, jitter: Similarity) -> Box:
    side = max(2, round(box.width * jitter.scale))
    x = (box.x0 + box.x1) / 2 + jitter.dx * box.width
    y = (box.y0 + box.y1) / 2 + jitter.dy * box.width
    x0, y0 = round(x - side / 2), round(y - side / 2)
    return Box(x0, y0, x0 + side, y0 + side)


def to_frames(raw: RawUnroll, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """image [T, B, 3, S, S] in the network's value range, masks, amodal and visible truth [T, B, ., S, S] in 0..1, and
    warp [T, B, 3]."""

    def on_device(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array.swapaxes(0, 1))).to(device)

    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (raw.input.mean, raw.input.std))
    image = (on_device(raw.rgb).float() / 255 - mean) / std
    masks, amodal, truth = (on_device(array).float() / 255 for array in (raw.masks, raw.amodal, raw.visible_truth))
    return image, masks, amodal, truth, on_device(raw.warp)
