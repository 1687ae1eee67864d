"""Sizes of the network. Small and large models are presets of the same classes."""

from __future__ import annotations

from dataclasses import dataclass

INPUT_PLANES = 6
"""rgb, then the mask planes visible, others, inside (order of `contract.MASK_CHANNELS`)."""


@dataclass(frozen=True)
class TokenizerConfig:
    """Mask tokenizer: `widths` per level from the finest (crop / 2) to the token grid (crop / 8)."""

    widths: tuple[int, ...]
    code_dim: int
    codebook_size: int
    commitment: float
    decay: float


@dataclass(frozen=True)
class NetworkConfig:
    """Image encoder `widths` per level, residual `blocks` per level, transformer size, refiner, steps K.

    steps: mask-and-predict steps K (paper section 3.3); 1 predicts every token at once.
    """

    crop_size: int
    widths: tuple[int, ...]
    blocks: int
    dim: int
    layers: int
    heads: int
    refiner_blocks: int
    steps: int
    tokenizer: TokenizerConfig

    @property
    def grid(self) -> int:
        """Tokens per side: the crop is halved once per level."""
        return self.crop_size >> len(self.widths)


@dataclass(frozen=True)
class UNetConfig:
    """The plain U-Net of equal compute: same input, same blocks, no tokens, no transformer."""

    crop_size: int
    widths: tuple[int, ...]
    blocks: int
    bottleneck_blocks: int
