"""From clips to training samples: one crop per object and frame, written once, read as flat arrays.

A sample store is a folder: `samples.u8` holds records of uint8 [7, S, S] (rgb, visible, others, inside,
amodal; masks as coverage 0..255), `store.yaml` says how many and from which configuration.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import yaml
from tqdm import tqdm

from c2f_ros.contract import CropSpec
from c2f_ros.crops import cut_object
from c2f_ros.geometry import Box, ByteArray, crop_mask, place, square_crop
from c2f_train.config import DataConfig
from c2f_train.synth.clip import Clip

PLANES = 7
RGB, MASKS, AMODAL = slice(0, 3), slice(3, 6), 6
VISIBLE, OTHERS, INSIDE = 3, 4, 5


@dataclass(frozen=True)
class SampleStore:
    """samples: uint8 [M, 7, S, S], memory-mapped."""

    samples: ByteArray

    def __len__(self) -> int:
        return len(self.samples)


def cut_sample(
    clip: Clip, frame: int, index: int, crop: CropSpec, data: DataConfig, rng: np.random.Generator
) -> ByteArray | None:
    """uint8 [7, S, S] of object `index` in frame `frame`; None if too little of it is visible."""
    labels = clip.labels[frame]
    height, width = labels.shape
    visible = place(labels == index + 1)
    if visible.area < data.min_visible_pixels:
        return None
    box = _jitter(square_crop(visible.box, height, width, crop.scale, crop.min_side_fraction), data, rng)
    segmented = _segmented(labels, clip.amodal.shape[1], data, rng)
    out = np.empty((PLANES, crop.size, crop.size), np.uint8)
    rgb, out[MASKS] = cut_object(clip.rgb[frame], "rgb8", segmented, visible, box, crop.size)
    out[RGB] = rgb.transpose(2, 0, 1)
    out[AMODAL] = crop_mask(place(clip.amodal[frame, index]), box, crop.size)
    return out


def _jitter(box: Box, data: DataConfig, rng: np.random.Generator) -> Box:
    side = max(2, round(box.width * (1 + rng.uniform(-0.5, 1) * data.scale_jitter)))
    x0, y0 = (
        round(low + (box.width - side) / 2 + box.width * rng.uniform(-1, 1) * data.shift_jitter)
        for low in (box.x0, box.y0)
    )
    return Box(x0, y0, x0 + side, y0 + side)


def _segmented(labels: np.ndarray, count: int, data: DataConfig, rng: np.random.Generator) -> np.ndarray:
    """bool [H, W]: pixels of the objects an upstream segmenter is imagined to have found."""
    if rng.random() >= data.unsegmented_fraction:
        return labels != 0
    keep_share = rng.choice([0.0, rng.uniform(0.2, 0.9)])
    found = np.concatenate([[False], rng.random(count) < keep_share])
    return found[labels]


def _cut_clip(arguments: tuple[Path, CropSpec, DataConfig, int]) -> bytes:
    path, crop, data, seed = arguments
    clip, rng = Clip.load(path), np.random.default_rng(seed)
    parts = []
    for frame in range(len(clip.rgb)):
        for index in np.unique(clip.labels[frame])[1:] - 1:
            sample = cut_sample(clip, frame, int(index), crop, data, rng)
            if sample is not None:
                parts.append(sample.tobytes())
    return b"".join(parts)


def write_store(clip_folder: Path, folder: Path, crop: CropSpec, data: DataConfig, seed: int, workers: int) -> None:
    """Cut every clip of `clip_folder` into `folder`; does nothing if the same store is there already."""
    clips = sorted(clip_folder.glob("clip_*.npz"))
    if not clips:
        raise FileNotFoundError(f"{clip_folder} holds no clip_*.npz; run `c2f-train generate` first")
    key = hashlib.sha256(json.dumps([asdict(crop), asdict(data), seed, len(clips)]).encode()).hexdigest()
    note = folder / "store.yaml"
    if note.exists() and yaml.safe_load(note.read_text())["key"] == key:
        return
    folder.mkdir(parents=True, exist_ok=True)
    note.unlink(missing_ok=True)
    jobs = [(path, crop, data, seed + number) for number, path in enumerate(clips)]
    total = 0
    with open(folder / "samples.u8", "wb") as out:
        for block in tqdm(_map(jobs, workers), total=len(jobs), desc=f"cutting {folder.name}", unit="clip"):
            total += out.write(block)
    note.write_text(yaml.safe_dump({"key": key, "samples": total // (PLANES * crop.size**2), "size": crop.size}))


def _map(jobs: list[tuple[Path, CropSpec, DataConfig, int]], workers: int) -> Iterator[bytes]:
    if workers <= 1:
        yield from map(_cut_clip, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_cut_clip, jobs, chunksize=8)


def open_store(folder: Path) -> SampleStore:
    """The samples written by `write_store`. Raises FileNotFoundError with what to do if they are not there."""
    note = folder / "store.yaml"
    if not note.exists():
        raise FileNotFoundError(f"{folder} holds no finished sample store; run `c2f-train prepare` first")
    about = yaml.safe_load(note.read_text())
    count, size = about["samples"], about["size"]
    expected = count * PLANES * size * size
    if os.path.getsize(folder / "samples.u8") != expected:
        raise FileNotFoundError(f"{folder}/samples.u8 is not {expected} bytes as store.yaml says; prepare it again")
    return SampleStore(np.memmap(folder / "samples.u8", np.uint8, "r", shape=(count, PLANES, size, size)))
