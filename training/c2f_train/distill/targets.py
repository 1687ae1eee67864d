"""What the teacher says of made-up masks, kept on the disk: it costs far more than its students do."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from c2f_ros.contract import ContractError
from c2f_train.distill.mask_pairs import MaskSource
from c2f_train.model.refiner import coarse_cells
from c2f_train.model.tokenizer import MaskTokenizer

PASS_BYTES = 1 << 28
"""Of the teacher's finest map in one pass."""
NEIGHBOURS = 8
"""Codes beside a code that stand for what a transformer mistakes it for."""
DONE = "done.json"

Grid = NDArray[np.int64]


@dataclass(frozen=True)
class Labels:
    """Everything of M samples; sample i is pair i // 2, its visible mask if i is even, its whole mask else.

    masks: uint8 [M, S, S] (packed to bits where masks are binary). latents: float16 [M, L, C]. tokens: uint16 [M, L].
    Of the M / 2 pairs: first, second: uint16 [P, L] tokens for the decoder, share: uint8 [P, L], how much of the second
    is in a mixture of both, of 255. values: float16 [P, 1, g, g] or [P, 1, S, S], the decoder's coverage of it.
    """

    masks: NDArray[np.uint8]
    latents: NDArray[np.float16]
    tokens: NDArray[np.uint16]
    first: NDArray[np.uint16]
    second: NDArray[np.uint16]
    share: NDArray[np.uint8]
    values: NDArray[np.float16]
    size: int
    is_binary: bool

    def crops(self, chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Masks uint8 [N, 1, S, S], 0..255."""
        rows = self.masks[chosen]
        if self.is_binary:
            rows = np.unpackbits(rows, axis=1) * np.uint8(255)
        return rows.reshape(-1, 1, self.size, self.size)

    @property
    def samples(self) -> int:
        """M."""
        return len(self.masks)


@dataclass(frozen=True)
class Labelling:
    """How labels are made. is_soft: decoders get mixtures of codes too. reads_cells: only the corner of every token's
    cell is kept of a decoded mask."""

    source: MaskSource
    is_soft: bool
    reads_cells: bool

    def shapes(self, teacher: MaskTokenizer, pairs: int) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
        """Every field of `Labels` that is an array, with its shape and type."""
        size, cells, side = self.source.size, teacher.grid**2, teacher.grid
        pixels = size * size // 8 if self.source.is_binary else size * size
        read = side if self.reads_cells else size
        return {
            "masks": ((2 * pairs, pixels), np.uint8),
            "latents": ((2 * pairs, cells, teacher.config.code_dim), np.float16),
            "tokens": ((2 * pairs, cells), np.uint16),
            "first": ((pairs, cells), np.uint16),
            "second": ((pairs, cells), np.uint16),
            "share": ((pairs, cells), np.uint8),
            "values": ((pairs, 1, read, read), np.float16),
        }


@contextmanager
def exact_float32() -> Iterator[None]:
    """Convolutions and products in float32 as it is, also on a GPU that would rather shorten them."""
    precision, is_short = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = is_short


def label(
    teacher: MaskTokenizer, labelling: Labelling, pairs: int, folder: Path, about: str, name: str = "labels"
) -> Labels:
    """Labels of the source's first `pairs` objects, in `folder`; those of an earlier call are taken up.

    about: what decides them, as text. Raises ContractError if the folder holds others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chunk = _chunk(teacher)
    about = json.dumps([about, pairs, chunk, labelling.source.seed])
    done = _done(folder, about)
    fields = {
        field: np.lib.format.open_memmap(
            folder / f"{field}.npy", "r+" if (folder / f"{field}.npy").exists() else "w+", kind, shape
        )
        for field, (shape, kind) in labelling.shapes(teacher, pairs).items()
    }
    near = _neighbours(teacher.quantize.vectors)
    with tqdm(total=pairs, initial=done, desc=name, unit="mask pair", mininterval=2) as bar, exact_float32():
        for start in range(done, pairs, chunk):
            stop = min(pairs, start + chunk)
            for field, rows in _labels_of(teacher, labelling, start, stop, near).items():
                times = len(fields[field]) // pairs
                fields[field][start * times : stop * times] = rows
            _save_done(folder, about, stop, fields)
            bar.update(stop - start)
    return Labels(**fields, size=labelling.source.size, is_binary=labelling.source.is_binary)


def _done(folder: Path, about: str) -> int:
    file = folder / DONE
    if not file.exists():
        for stale in folder.glob("*.npy"):
            stale.unlink()
        return 0
    found = json.loads(file.read_text())
    if found["about"] != about:
        raise ContractError(
            f"{folder} holds labels of another teacher or of other masks; give this distillation a folder of its own, "
            "or delete that one"
        )
    return int(found["pairs"])


def _save_done(folder: Path, about: str, pairs: int, fields: dict[str, np.memmap]) -> None:
    for rows in fields.values():
        rows.flush()
    part = folder / f"{DONE}.part"
    part.write_text(json.dumps({"about": about, "pairs": pairs}))
    os.replace(part, folder / DONE)


def _chunk(teacher: MaskTokenizer) -> int:
    config = teacher.config
    finest = 4 * config.channels * (teacher.grid * config.reduction // config.patch) ** 2
    return max(1, min(64, PASS_BYTES // finest))


@torch.no_grad()
def _labels_of(
    teacher: MaskTokenizer, labelling: Labelling, start: int, stop: int, near: Grid
) -> dict[str, NDArray[np.generic]]:
    """The rows of pairs `start` to `stop`, which are a chunk: a decoder's tokens come from pairs of the same chunk."""
    source, device = labelling.source, teacher.quantize.vectors.device
    masks = np.stack([mask for index in range(start, stop) for mask in source.pair(index)])
    crops = torch.from_numpy(masks).to(device).unsqueeze(1).float() / 255
    latents = torch.cat([teacher.embed(half) for half in crops.chunk(2)])
    tokens = teacher.quantize.nearest(latents).cpu().numpy()
    rng = np.random.default_rng([source.seed, start, 1])
    first, second, share = mixed_tokens(rng, tokens[0::2], tokens[1::2], near, labelling.is_soft)
    values = teacher.coverage(teacher.decode_vectors(mixture(teacher.quantize.vectors, first, second, share)))
    if labelling.reads_cells:
        values = coarse_cells(values, teacher.grid, "corner")
    packed = np.packbits(masks > 127, axis=None).reshape(len(masks), -1) if source.is_binary else masks
    return {
        "masks": packed.reshape(len(masks), -1),
        "latents": latents.cpu().numpy().astype(np.float16),
        "tokens": tokens.astype(np.uint16),
        "first": first.astype(np.uint16),
        "second": second.astype(np.uint16),
        "share": share,
        "values": values.cpu().numpy().astype(np.float16),
    }


def mixture(
    vectors: Tensor, first: NDArray[np.integer], second: NDArray[np.integer], share: NDArray[np.uint8]
) -> Tensor:
    """Code vectors [P, L, C] of tokens [P, L], mixed with those of others by a share of 255."""
    one, other = (vectors[torch.from_numpy(t.astype(np.int64)).to(vectors.device)] for t in (first, second))
    weight = torch.from_numpy(share.astype(np.float32) / 255).to(vectors.device).unsqueeze(-1)
    return torch.lerp(one, other, weight)


def _neighbours(vectors: Tensor) -> Grid:
    """[codes, NEIGHBOURS]: of every code the nearest others."""
    distance = torch.cdist(vectors.float(), vectors.float())
    return distance.argsort(1)[:, 1 : NEIGHBOURS + 1].cpu().numpy()


def mixed_tokens(
    rng: Generator, visible: Grid, whole: Grid, near: Grid, is_soft: bool
) -> tuple[Grid, Grid, NDArray[np.uint8]]:
    """Tokens [P, L] as a transformer might choose them, others [P, L], and how much of these is mixed in (of 255).

    A third are codes of whole masks. The rest are no codes of any mask: parts from the visible mask, from another
    object, from a neighbouring cell, codes beside the right ones, or any codes at all.
    """
    pairs, cells = whole.shape
    side = round(cells**0.5)
    first = whole.copy()
    for row in range(pairs):
        kind = rng.choice(["whole", "visible", "other", "shifted", "near", "any"], p=[0.35, 0.15, 0.15, 0.1, 0.2, 0.05])
        if kind == "whole":
            continue
        strange = {
            "visible": visible[row],
            "other": whole[int(rng.integers(pairs))],
            "shifted": np.roll(whole[row].reshape(side, side), rng.integers(-1, 2, 2), (0, 1)).ravel(),
            "near": near[whole[row], rng.integers(near.shape[1], size=cells)],
            "any": rng.integers(len(near), size=cells),
        }[str(kind)]
        where = _region(rng, side) if rng.random() < 0.5 else rng.random(cells) < rng.uniform(0.02, 0.4)
        first[row] = np.where(where, strange, first[row])
    share = np.zeros((pairs, cells), np.uint8)
    second = np.roll(first, 1, 0)
    if is_soft:
        is_near = rng.random((pairs, 1)) < 0.7
        second = np.where(is_near, near[first, rng.integers(near.shape[1], size=first.shape)], visible)
        is_mixed = rng.random((pairs, 1)) < 0.7
        share = np.where(is_mixed, rng.beta(0.5, 0.9, (pairs, cells)) * 255, 0).astype(np.uint8)
    return first, second, share


def _region(rng: Generator, side: int) -> NDArray[np.bool_]:
    """A rectangle of cells, flat."""
    found = np.zeros((side, side), bool)
    (y0, y1), (x0, x1) = (sorted(rng.integers(0, side + 1, 2)) for _ in range(2))
    found[y0:y1, x0:x1] = True
    return found.ravel()
