"""The sample store: records of `samples.py` on disk, written once, read as flat arrays.

A folder: `samples.u8` (uint8 [M, P, S, S], memory-mapped), `tracks.npy` (int64 [K, 3]: first record, count, source; the
frames of a track in their order), `seen.npy` (bool [M]), `occlusion.npy` (float32 [M]) and `store.yaml`, written last.
While it is being cut, `progress.jsonl` has a line for every sequence that is done.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from tqdm import tqdm

from c2f_ros.contract import ContractError, CropSpec, InputError, InputSpec, parse, to_plain
from c2f_ros.geometry import ByteArray, FloatArray
from c2f_train.data.samples import VISIBLE, Cutting, Track, cut_tracks, input_spec
from c2f_train.data.training_sources import Source, read_sequence, sequence_names
from c2f_train.data_config import DataConfig

VERSION = 1
"""Raised whenever the same configuration gives other records, so that old stores are cut again."""

COUNTED = 16
"""Sequences that are read beforehand to tell how many records there will be."""

AHEAD = 4
"""Sequences per worker that may be cut and not yet written."""

SYNC_BYTES = 1 << 26
"""At most this much is cut again after a kill."""


@dataclass(frozen=True, eq=False)
class SampleStore:
    """samples: uint8 [M, P, S, S], memory-mapped. tracks: int64 [K, 3], first record, count, source. seen: bool [M],
    False where the object is hidden. occlusion: float32 [M], hidden share of the object. frames: longest window."""

    samples: ByteArray
    tracks: NDArray[np.int64]
    seen: NDArray[np.bool_]
    occlusion: FloatArray
    mask_channels: tuple[str, ...]
    crop: CropSpec
    frames: int

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def truth(self) -> int:
        """Plane of the true visible mask."""
        return VISIBLE if self.samples.shape[1] == 4 + len(self.mask_channels) else -2

    @property
    def input(self) -> InputSpec:
        """What the network trained on it gets."""
        return input_spec(self.crop, self.mask_channels)


@dataclass(frozen=True)
class _About:
    key: str
    records: int
    planes: int
    mask_channels: tuple[str, ...]
    crop: CropSpec
    frames: int
    without_truth: int


@dataclass(frozen=True)
class _Job:
    source: Source
    part: int
    cutting: Cutting
    seed: tuple[int, ...]


def write_store(
    sources: Sequence[Source],
    folder: Path,
    crop: CropSpec,
    data: DataConfig,
    mask_channels: tuple[str, ...],
    seed: int,
    workers: int,
    frames: int = 1,
) -> None:
    """Cut every sequence of `sources` into the store `folder`; goes on where it was killed, does nothing if it is done.

    frames: the longest window that will be trained on; 1: images. The store is the same whatever the number of workers
    and however often it was killed. Objects without truth are left out and counted.
    Raises ContractError if the disk has not the room, InputError if a source cannot be opened or nothing is left of it.
    """
    is_predicted = any(source.results is not None for source in sources)
    cutting = Cutting(crop, data, mask_channels, frames, is_predicted)
    names = [sequence_names(source) for source in sources]
    jobs = [
        _Job(source, part, cutting, (seed, number, part))
        for number, source in enumerate(sources)
        for part in range(len(names[number]))
    ]
    key = _key(sources, names, cutting, seed)
    if (folder / "store.yaml").exists() and yaml.safe_load((folder / "store.yaml").read_text())["key"] == key:
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "store.yaml").unlink(missing_ok=True)
    done = len(_resume(folder, key, cutting.record_bytes))
    _announce(jobs[done:], cutting, folder)
    _cut(jobs, done, folder, workers)
    _finish(folder, key, cutting, jobs)


def _key(sources: Sequence[Source], names: Sequence[Sequence[str]], cutting: Cutting, seed: int) -> str:
    """A hash of everything that decides the records."""
    data = cutting.data
    content = {
        "version": VERSION,
        "sources": [[str(s.path), s.split, s.kind, str(s.results)] for s in sources],
        "sequences": names,
        "crop": to_plain(cutting.crop),
        "masks": cutting.mask_channels,
        "frames": cutting.frames,
        "drawn": [data.min_visible_pixels, data.scale_jitter, data.shift_jitter],
        "chosen": [data.unsegmented_fraction, list(data.scale_range)],
        "seed": seed,
    }
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _pieces(job: _Job) -> tuple[list[Track], int]:
    return cut_tracks(read_sequence(job.source, job.part), job.cutting, job.seed)


def _announce(jobs: Sequence[_Job], cutting: Cutting, folder: Path) -> None:
    """Prints how large the store will be. Raises ContractError if the disk is too small for it."""
    if not jobs:
        return
    quick = replace(cutting, crop=CropSpec("square", 8, 2.0, 0.0))
    chosen = sorted({round(i) for i in np.linspace(0, len(jobs) - 1, min(len(jobs), COUNTED))})
    counts = [sum(len(track.seen) for track in _pieces(replace(jobs[i], cutting=quick))[0]) for i in chosen]
    records = round(sum(counts) / len(counts) * len(jobs))
    each = cutting.record_bytes
    free = shutil.disk_usage(folder).free
    print(f"{folder}: about {records} records of {each} bytes to cut, {records * each / 1e9:.2f} GB", flush=True)
    if records * each > free:
        raise ContractError(
            f"{folder} needs about {records * each / 1e9:.2f} GB and {free / 1e9:.2f} GB are free; make room or choose "
            "another folder"
        )


def _resume(folder: Path, key: str, record_bytes: int) -> list[dict[str, Any]]:
    """What `progress.jsonl` says is done; both files are cut back to it. Another configuration's is begun
    anew."""
    path, samples = folder / "progress.jsonl", folder / "samples.u8"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    done: list[dict[str, Any]] = []
    total = 0
    if lines and samples.exists() and json.loads(lines[0]) == {"key": key}:
        for entry in map(json.loads, lines[1:]):
            total += len(entry["seen"]) * record_bytes
            if total > samples.stat().st_size:
                total -= len(entry["seen"]) * record_bytes
                break
            done.append(entry)
    with open(samples, "ab") as file:
        file.truncate(total)
    part = path.with_suffix(".part")
    part.write_text("".join(json.dumps(entry) + "\n" for entry in [{"key": key}, *done]))
    os.replace(part, path)
    return done


def _cut(jobs: Sequence[_Job], done: int, folder: Path, workers: int) -> None:
    """Append the records of all jobs but the first `done`, in their order."""
    lines: list[str] = []
    size = 0
    with (
        open(folder / "samples.u8", "ab") as samples,
        open(folder / "progress.jsonl", "a") as progress,
        tqdm(total=len(jobs), initial=done, desc=f"cutting {folder.name}", unit="clip") as bar,
    ):
        for tracks, without_truth in _run(jobs[done:], workers):
            for track in tracks:
                size += samples.write(np.ascontiguousarray(track.records).data)
            lines.append(_line(tracks, without_truth))
            if size >= SYNC_BYTES:
                _sync(samples, progress, lines)
                lines, size = [], 0
            bar.update()
        _sync(samples, progress, lines)


def _line(tracks: Sequence[Track], without_truth: int) -> str:
    entry = {
        "counts": [len(track.seen) for track in tracks],
        "seen": [int(seen) for track in tracks for seen in track.seen],
        "occlusion": [float(rate) for track in tracks for rate in track.occlusion],
        "without_truth": without_truth,
    }
    return json.dumps(entry) + "\n"


def _sync(samples: BinaryIO, progress: TextIO, lines: Sequence[str]) -> None:
    """Records first: a line stands for records that are on the disk."""
    samples.flush()
    os.fsync(samples.fileno())
    progress.writelines(lines)
    progress.flush()


def _run(jobs: Sequence[_Job], workers: int) -> Iterator[tuple[list[Track], int]]:
    """The results in the order of the jobs; only a few are ahead, so that memory stays bounded."""
    if workers <= 1:
        yield from map(_pieces, jobs)
        return
    # Spawned, not forked: the caller may hold threads. Each worker keeps to one core.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,))
    with pool:
        ahead: deque[Future[tuple[list[Track], int]]] = deque()
        for job in jobs:
            ahead.append(pool.submit(_pieces, job))
            if len(ahead) > AHEAD * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _finish(folder: Path, key: str, cutting: Cutting, jobs: Sequence[_Job]) -> None:
    """Write the arrays and, last, store.yaml. Raises InputError if there is no record."""
    lines = (folder / "progress.jsonl").read_text().splitlines()[1:]
    entries = [json.loads(line) for line in lines]
    counts = np.array([count for entry in entries for count in entry["counts"]], np.int64)
    origin = [job.seed[1] for job, entry in zip(jobs, entries, strict=True) for _ in entry["counts"]]
    if not len(counts):
        raise InputError(f"{folder}: no object could be cut from its sources; check that they have whole masks")
    tracks = np.stack([np.cumsum(counts) - counts, counts, np.array(origin, np.int64)], axis=1)
    np.save(folder / "tracks.npy", tracks)
    np.save(folder / "seen.npy", np.array([seen for entry in entries for seen in entry["seen"]], bool))
    np.save(folder / "occlusion.npy", np.array([r for entry in entries for r in entry["occlusion"]], np.float32))
    without_truth = sum(entry["without_truth"] for entry in entries)
    about = _About(
        key, int(counts.sum()), cutting.planes, cutting.mask_channels, cutting.crop, cutting.frames, without_truth
    )
    print(f"{folder}: {about.records} records of {len(counts)} tracks; {without_truth} left out for want of truth")
    part = folder / "store.part"
    part.write_text(yaml.safe_dump(to_plain(about), sort_keys=False))
    os.replace(part, folder / "store.yaml")
    (folder / "progress.jsonl").unlink()


def open_store(folder: Path) -> SampleStore:
    """The samples written by `write_store`. Raises FileNotFoundError with what to do if they are not there or not
    whole, and ContractError if store.yaml is of another version."""
    note = folder / "store.yaml"
    if not note.exists():
        raise FileNotFoundError(f"{folder} holds no finished sample store; run `c2f-train prepare` first")
    about = parse(_About, yaml.safe_load(note.read_text()), str(note))
    shape = (about.records, about.planes, about.crop.size, about.crop.size)
    expected = int(np.prod(shape, dtype=np.int64))
    if os.path.getsize(folder / "samples.u8") != expected:
        raise FileNotFoundError(f"{folder}/samples.u8 is not {expected} bytes as store.yaml says; prepare it again")
    samples = np.memmap(folder / "samples.u8", np.uint8, "r", shape=shape)
    arrays = (np.load(folder / f"{name}.npy") for name in ("tracks", "seen", "occlusion"))
    return SampleStore(samples, *arrays, about.mask_channels, about.crop, about.frames)
