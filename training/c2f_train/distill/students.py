"""Students of a mask tokenizer: small convolutional networks that give its tokens and its decoder's values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from c2f_ros.contract import ContractError
from c2f_train.model.config import NetworkConfig
from c2f_train.model.refiner import coarse_cells
from c2f_train.model.tokenizer import MaskTokenizer

CELLS, PIXELS = "cells", "pixels"
NEAREST, CLASSES = "nearest", "classes"
LEVELS = 3
"""Grids that the students work on: the tokens', twice and four times as fine."""


@dataclass(frozen=True)
class StudentConfig:
    """Sizes of both students, finest grid first.

    reads: what the rest of the network reads of a decoded mask: `cells`, one value per token, or all `pixels`.
    tokens: `nearest` (the student gives a vector, its token is the nearest code, as published) or `classes` (it gives
    every code a score). widths, encoder_blocks, head_blocks: per grid; of a head for cells only the last one counts.
    """

    reads: str
    tokens: str
    widths: tuple[int, ...]
    encoder_blocks: tuple[int, ...]
    head_blocks: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.reads not in (CELLS, PIXELS) or self.tokens not in (NEAREST, CLASSES):
            raise ContractError(
                f"students read {self.reads!r} and choose tokens by {self.tokens!r}, expected {CELLS} or {PIXELS}, and "
                f"{NEAREST} or {CLASSES}; distill them again"
            )
        sizes = {len(self.widths), len(self.encoder_blocks), len(self.head_blocks)}
        if sizes != {LEVELS}:
            raise ContractError(f"students have {sorted(sizes)} grids, expected {LEVELS}; distill them again")


def student_config(network: NetworkConfig, width: float = 1.0, tokens: str = CLASSES) -> StudentConfig:
    """The students that suit a network. width: factor of all widths.

    Raises ContractError if tokens are smaller than the students' grids allow.
    """
    if network.tokenizer.reduction % 4:
        raise ContractError(
            f"a token of this model covers {network.tokenizer.reduction} pixels per side, students need a multiple of "
            "4; this tokenizer is too small to be worth a student"
        )
    widths = tuple(max(8, 8 * round(width * w / 8)) for w in (48, 96, 192))
    return StudentConfig(CELLS if network.reads_cells else PIXELS, tokens, widths, (1, 2, 4), (1, 1, 4))


class Block(nn.Module):
    """x + two convolutions; between them every channel is scaled and shifted by what the whole grid holds, in place of
    the teacher's group norms. [N, C, h, w] -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        self.whole = nn.Linear(channels, 2 * channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        nn.init.zeros_(self.whole.weight)
        nn.init.zeros_(self.whole.bias)
        nn.init.zeros_(self.second[1].weight)

    def forward(self, x: Tensor) -> Tensor:
        h = F.silu(self.first(x))
        scale, shift = self.whole(h.mean((2, 3))).unsqueeze(-1).unsqueeze(-1).chunk(2, 1)
        return x + self.second(h * (1 + scale) + shift)


def _change(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.SiLU(inplace=True)
    )


def _blocks(channels: int, count: int) -> list[nn.Module]:
    return [Block(channels) for _ in range(count)]


class EncoderStudent(nn.Module):
    """Masks [N, 1, S, S] in 0..1 -> scores of all codes [N, L, codes] for tokens by `classes`, else latents [N, L, C].

    sharpness: how much a difference of distances to codes says, learned, and used while learning alone.
    """

    def __init__(self, config: StudentConfig, reduction: int, code_dim: int, codes: int) -> None:
        super().__init__()
        patch = reduction >> (LEVELS - 1)
        layers: list[nn.Module] = [nn.PixelUnshuffle(patch)]
        before = patch * patch
        for level, (width, blocks) in enumerate(zip(config.widths, config.encoder_blocks, strict=True)):
            layers += [_change(before, width, 1 if level == 0 else 2), *_blocks(width, blocks)]
            before = width
        self.layers = nn.Sequential(*layers, nn.SiLU(inplace=True))
        self.latents = nn.Conv2d(before, code_dim, 1)
        self.scores = nn.Conv2d(before, codes, 1) if config.tokens == CLASSES else None
        self.sharpness = nn.Parameter(torch.zeros(()), requires_grad=config.tokens == NEAREST)

    def forward(self, masks: Tensor) -> Tensor:
        last = self.latents if self.scores is None else self.scores
        return _rows(last(self.layers(masks)))

    def lesson(self, masks: Tensor) -> tuple[Tensor, Tensor | None]:
        """Latents, and scores where there are some: what is compared with the teacher's while learning."""
        x = self.layers(masks)
        return _rows(self.latents(x)), None if self.scores is None else _rows(self.scores(x))


def _rows(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


class HeadStudent(nn.Module):
    """Code vectors [N, C, g, g] -> logits of what the network reads of the decoded mask: [N, 1, g, g] for `cells`,
    [N, 1, S, S] for `pixels`."""

    def __init__(self, config: StudentConfig, reduction: int, code_dim: int) -> None:
        super().__init__()
        before = config.widths[-1]
        layers = [_change(code_dim, before), *_blocks(before, config.head_blocks[-1])]
        patch = 1
        if config.reads == PIXELS:
            patch = reduction >> (LEVELS - 1)
            for width, blocks in zip(config.widths[-2::-1], config.head_blocks[-2::-1], strict=True):
                layers += [nn.Upsample(scale_factor=2.0, mode="nearest"), _change(before, width)]
                layers += _blocks(width, blocks)
                before = width
        layers += [nn.SiLU(inplace=True), nn.Conv2d(before, patch * patch, 3, padding=1)]
        self.layers = nn.Sequential(*layers, nn.PixelShuffle(patch) if patch > 1 else nn.Identity())

    def forward(self, grid: Tensor) -> Tensor:
        return self.layers(grid)


class FastTokenizer(nn.Module):
    """Both students in the place of a `MaskTokenizer`, with its codebook: what a network calls, nothing else."""

    def __init__(self, teacher: MaskTokenizer, config: StudentConfig) -> None:
        super().__init__()
        self.config, self.grid, self.students = teacher.config, teacher.grid, config
        sizes = teacher.config
        self.quantize = teacher.quantize
        self.encoder = EncoderStudent(config, sizes.reduction, sizes.code_dim, sizes.codebook_size)
        self.head = HeadStudent(config, sizes.reduction, sizes.code_dim)

    def encode(self, masks: Tensor) -> Tensor:
        """Tokens [N, L] of masks [N, 1, S, S]."""
        found = self.encoder(masks)
        return self.quantize.nearest(found) if self.students.tokens == NEAREST else found.argmax(-1)

    def decode_vectors(self, vectors: Tensor) -> Tensor:
        """Logits [N, 1, S, S] of code vectors [N, L, code_dim]; of a head for cells every cell is of one value."""
        found = self.head(self.on_grid(vectors))
        if self.students.reads == PIXELS:
            return found
        return F.interpolate(found, scale_factor=float(self.config.reduction), mode="nearest")

    def decode_cells(self, tokens: Tensor) -> Tensor:
        """Logits at the top-left pixel of every token's cell, [N, 1, g, g], of tokens [N, L]."""
        found = self.head(self.on_grid(self.quantize.embedding(tokens)))
        return found if self.students.reads == CELLS else coarse_cells(found, self.grid, "corner")

    def on_grid(self, vectors: Tensor) -> Tensor:
        """Vectors [N, L, C] as a map [N, C, g, g]."""
        return vectors.transpose(1, 2).reshape(-1, self.config.code_dim, self.grid, self.grid)

    def decode(self, tokens: Tensor) -> Tensor:
        """Logits [N, 1, S, S] of tokens [N, L]."""
        return self.decode_vectors(self.quantize.embedding(tokens))

    def coverage(self, values: Tensor) -> Tensor:
        """Logits as coverage 0..1."""
        return values.sigmoid()


def fast_tokenizer(teacher: MaskTokenizer, config: StudentConfig, seed: int) -> FastTokenizer:
    """Untrained students of a teacher, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FastTokenizer(teacher, config)
