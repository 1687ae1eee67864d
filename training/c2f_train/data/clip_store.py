"""The clip store: whole sequences on disk, for training models with memory; crops are cut when they are drawn.

A folder: `frames.u8` (per frame the image, then the label image, uint16), `masks.u8` (bits of the whole masks),
`clips.npz` (everything else) and `store.yaml`, written last. Motions are measured once, by the runtime's own code.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from tqdm import tqdm

from c2f_ros.contract import CropSpec, InputError
from c2f_ros.follower import Flow, Follower
from c2f_ros.geometry import EMPTY_MASK, Box, ByteArray, FloatArray, PlacedMask
from c2f_ros.motion import Similarity
from c2f_ros.parallax import Parallax
from c2f_ros.records import SourceFrame
from c2f_train.data.samples import visible_masks
from c2f_train.data.training_sources import Source, read_sequence, sequence_names

VERSION = 6
AHEAD = 4
FOLLOWED = CropSpec("followed", 64, 2.0, 0.0)
KEEP_S = 10.0
"""Objects are followed while motions are measured: hidden ones for so many seconds. No crop is cut."""


@dataclass(frozen=True, eq=False)
class ClipArrays:
    """C clips, F frames, R rows: one for each frame and object of its clip.

    frame_start [C + 1], source [C] (which of the store's sources), row_start [F + 1], offset [F] in frames.u8, size
    [F, 2] rows and columns, stamp_ns [F], scene [F, 3] (scale, dx, dy from the frame before; nan: unknown),
    parallax [F, 6] (middle, velocity x, y, slope x, y, spread; nan: unknown). Of rows, objects in the clip's order:
    motion [R, 3], box [R, 4] and bit [R] of the whole mask (x0, y0, x1, y1; first bit in masks.u8), area [R] of the
    whole mask, seen [R] visible pixels, seen_box [R, 4].
    """

    frame_start: NDArray[np.int64]
    source: NDArray[np.int32]
    row_start: NDArray[np.int64]
    offset: NDArray[np.int64]
    size: NDArray[np.int32]
    stamp_ns: NDArray[np.int64]
    scene: FloatArray
    parallax: FloatArray
    motion: FloatArray
    box: NDArray[np.int32]
    bit: NDArray[np.int64]
    area: NDArray[np.int32]
    seen: NDArray[np.int32]
    seen_box: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class ClipStore:
    """Sequences, memory-mapped. Label k + 1 stands for object k of the clip; 0 is the background."""

    arrays: ClipArrays
    frames: ByteArray
    masks: ByteArray

    def __len__(self) -> int:
        return len(self.arrays.frame_start) - 1

    def objects(self, clip: int) -> int:
        """How many objects a clip has."""
        first = self.arrays.frame_start[clip]
        return int(self.arrays.row_start[first + 1] - self.arrays.row_start[first])

    def rgb(self, frame: int) -> ByteArray:
        """uint8 [H, W, 3], a view."""
        height, width = self.arrays.size[frame]
        start = self.arrays.offset[frame]
        return self.frames[start : start + height * width * 3].reshape(height, width, 3)

    def labels(self, frame: int) -> NDArray[np.uint16]:
        """uint16 [H, W], a view."""
        height, width = self.arrays.size[frame]
        start = self.arrays.offset[frame] + height * width * 3
        return self.frames[start : start + height * width * 2].view(np.uint16).reshape(height, width)

    def visible(self, frame: int, index: int) -> PlacedMask:
        """The visible mask of an object."""
        box = Box(*(int(v) for v in self.arrays.seen_box[self.arrays.row_start[frame] + index]))
        if box.is_empty:
            return EMPTY_MASK
        return PlacedMask(box, self.labels(frame)[box.slices] == index + 1)

    def amodal(self, frame: int, index: int) -> PlacedMask:
        """The whole mask of an object inside the image."""
        row, box = self.arrays.row_start[frame] + index, self.whole_box(frame, index)
        if box.is_empty:
            return EMPTY_MASK
        first, count = int(self.arrays.bit[row]), box.width * box.height
        bits = np.unpackbits(self.masks[first // 8 : (first + count + 7) // 8])[:count]
        return PlacedMask(box, bits.reshape(box.height, box.width).view(np.bool_))

    def motion(self, frame: int, index: int) -> Similarity | None:
        """How an object moved from the frame before to this one; None if nothing of it is seen or found again."""
        row = self.arrays.row_start[frame] + index
        return _similarity(self.arrays.motion[row]) if self.arrays.seen[row] else None

    def scene(self, frame: int) -> Similarity | None:
        """The same of the scene, by the camera's turning."""
        return _similarity(self.arrays.scene[frame])

    def parallax(self, frame: int) -> Parallax | None:
        """How fast what stands still moved into this frame; None: unknown."""
        middle, vx, vy, slope_x, slope_y, spread = (float(value) for value in self.arrays.parallax[frame])
        return None if np.isnan(spread) else Parallax(middle, (vx, vy), (slope_x, slope_y), spread)

    def whole_box(self, frame: int, index: int) -> Box:
        """The box of the whole mask of an object inside the image, empty where it has none."""
        return Box(*(int(v) for v in self.arrays.box[self.arrays.row_start[frame] + index]))


def _similarity(values: FloatArray) -> Similarity | None:
    return None if np.isnan(values[0]) else Similarity(*(float(v) for v in values))


@dataclass(frozen=True, eq=False)
class _Piece:
    """One sequence: bytes of its frames and masks, and its arrays, offsets counted from its own beginning."""

    frames: bytes
    masks: bytes
    arrays: ClipArrays


def write_clip_store(sources: Sequence[Source], folder: Path, workers: int) -> None:
    """Read every sequence of `sources` into the store `folder`; does nothing if it is there already.

    Raises InputError if a source cannot be opened or holds no sequence with true whole masks.
    """
    names = [sequence_names(source) for source in sources]
    jobs = [(source, part) for source, found in zip(sources, names, strict=True) for part in range(len(found))]
    about = [[str(s.path), s.split, s.kind, str(s.results), found] for s, found in zip(sources, names, strict=True)]
    key = hashlib.sha256(json.dumps([VERSION, about]).encode()).hexdigest()
    note = folder / "store.yaml"
    if note.exists() and yaml.safe_load(note.read_text())["key"] == key:
        return
    folder.mkdir(parents=True, exist_ok=True)
    note.unlink(missing_ok=True)
    pieces = []
    frame_bytes = mask_bytes = 0
    with open(folder / "frames.u8", "wb") as frames, open(folder / "masks.u8", "wb") as masks:
        read = tqdm(_run(jobs, workers), total=len(jobs), desc=f"reading into {folder.name}", unit="clip")
        for (source, _), piece in zip(jobs, read, strict=True):
            if len(piece.arrays.offset):
                own = replace(piece.arrays, source=np.array([sources.index(source)], np.int32))
                pieces.append(_shifted(own, frame_bytes, mask_bytes * 8))
                frame_bytes += frames.write(piece.frames)
                mask_bytes += masks.write(piece.masks)
    if not pieces:
        raise InputError(f"{folder}: no sequence of its sources has a frame; check their folders")
    np.savez(folder / "clips.npz", **_joined(pieces))
    part = folder / "store.part"
    part.write_text(yaml.safe_dump({"key": key, "clips": len(pieces), "frame_bytes": frame_bytes}))
    os.replace(part, note)


def open_clip_store(folder: Path) -> ClipStore:
    """What `write_clip_store` wrote. Raises FileNotFoundError with what to do if it is not there or not whole."""
    note = folder / "store.yaml"
    if not note.exists():
        raise FileNotFoundError(f"{folder} holds no finished clip store; run `c2f-train prepare` first")
    expected = yaml.safe_load(note.read_text())["frame_bytes"]
    if os.path.getsize(folder / "frames.u8") != expected:
        raise FileNotFoundError(f"{folder}/frames.u8 is not {expected} bytes as store.yaml says; prepare it again")
    with np.load(folder / "clips.npz") as content:
        arrays = ClipArrays(**{field.name: content[field.name] for field in fields(ClipArrays)})
    return ClipStore(arrays, *(np.memmap(folder / f"{name}.u8", np.uint8, "r") for name in ("frames", "masks")))


def _run(jobs: Sequence[tuple[Source, int]], workers: int) -> Iterator[_Piece]:
    """The pieces in the order of the jobs; only a few are ahead, so that memory stays bounded."""
    if workers <= 1:
        yield from map(_piece, jobs)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        ahead: deque[Future[_Piece]] = deque()
        for job in jobs:
            ahead.append(pool.submit(_piece, job))
            if len(ahead) > AHEAD * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _piece(job: tuple[Source, int]) -> _Piece:
    return piece_of(list(read_sequence(*job)))


def piece_of(sequence: Sequence[SourceFrame]) -> _Piece:
    """The bytes and arrays of one sequence, of source 0; objects are numbered by rising id."""
    ids = sorted({identity for frame in sequence for identity in frame.objects})
    table = np.zeros(max(ids, default=0) + 1, np.uint16)
    table[ids] = np.arange(1, len(ids) + 1)
    frames, masks = bytearray(), bytearray()
    offset, size, scene, standing, motions, boxes, bits, areas, seen, seen_boxes = ([] for _ in range(10))
    follower = Follower(FOLLOWED, (), KEEP_S)
    for frame in sequence:
        known = np.where(frame.labels < len(table), frame.labels, 0)
        labels = table[known]
        visible = visible_masks(labels.astype(np.int32))
        shown = [visible.get(index + 1, EMPTY_MASK) for index in range(len(ids))]
        flow = _flow(follower, frame, labels, shown)
        offset.append(len(frames))
        size.append(labels.shape)
        frames += np.ascontiguousarray(frame.rgb).tobytes() + labels.tobytes()
        scene.append(_values(flow.scene))
        standing.append(_parallax_values(flow.parallax))
        motions += [_values(flow.moved.get(str(index))) for index in range(len(ids))]
        for index, identity in enumerate(ids):
            about = frame.objects.get(identity)
            whole = about.amodal if about is not None and about.amodal is not None else EMPTY_MASK
            boxes.append(_corners(whole.box))
            bits.append(len(masks) * 8)
            areas.append(whole.area)
            masks += np.packbits(whole.mask.ravel()).tobytes()
            seen.append(shown[index].area)
            seen_boxes.append(_corners(shown[index].box))
    count = len(sequence)
    arrays = ClipArrays(
        np.array([0, count], np.int64), np.zeros(1, np.int32),
        np.arange(count + 1, dtype=np.int64) * len(ids), np.array(offset, np.int64),
        np.array(size, np.int32).reshape(-1, 2), np.array([f.stamp_ns for f in sequence], np.int64),
        np.array(scene, np.float32).reshape(-1, 3), np.array(standing, np.float32).reshape(-1, 6),
        np.array(motions, np.float32).reshape(-1, 3),
        np.array(boxes, np.int32).reshape(-1, 4), np.array(bits, np.int64), np.array(areas, np.int32),
        np.array(seen, np.int32), np.array(seen_boxes, np.int32).reshape(-1, 4),
    )  # fmt: skip
    return _Piece(bytes(frames), bytes(masks), arrays)


Values = tuple[float, float, float]
NOTHING: Values = (float("nan"),) * 3


def _flow(follower: Follower, frame: SourceFrame, labels: NDArray[np.uint16], shown: Sequence[PlacedMask]) -> Flow:
    """What moved since the frame before, as the runtime measures it; objects are named by their indices."""
    visible = {str(index): mask for index, mask in enumerate(shown) if not mask.is_empty}
    follower.advance(frame.rgb, "rgb8", labels, visible, frame.stamp_ns)
    assert follower.newest is not None
    return follower.newest


def _parallax_values(parallax: Parallax | None) -> tuple[float, ...]:
    if parallax is None:
        return (float("nan"),) * 6
    return (parallax.middle, *parallax.velocity, *parallax.slope, parallax.spread)


def _values(motion: Similarity | None) -> Values:
    return NOTHING if motion is None else (motion.scale, motion.dx, motion.dy)


def _corners(box: Box) -> tuple[int, int, int, int]:
    return box.x0, box.y0, box.x1, box.y1


def _shifted(arrays: ClipArrays, frame_bytes: int, bits: int) -> ClipArrays:
    values = {field.name: getattr(arrays, field.name) for field in fields(ClipArrays)}
    return ClipArrays(**{**values, "offset": arrays.offset + frame_bytes, "bit": arrays.bit + bits})


def _joined(pieces: Sequence[ClipArrays]) -> dict[str, NDArray]:
    """All pieces' arrays in a row; starts are counted on."""
    out = {}
    for field in fields(ClipArrays):
        parts = [getattr(piece, field.name) for piece in pieces]
        if field.name in ("frame_start", "row_start"):
            lengths = np.concatenate([np.diff(part) for part in parts])
            out[field.name] = np.append(0, np.cumsum(lengths)).astype(np.int64)
        else:
            out[field.name] = np.concatenate(parts)
    return out
