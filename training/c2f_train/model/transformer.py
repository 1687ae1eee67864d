"""Mask-and-predict transformer (paper sections 3.2 and 3.5): completes the mask in token space.

Parameter names are those of the published checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from c2f_train.model.config import TransformerConfig


class Attention(nn.Module):
    """Multi-head attention of every token to every other: [N, L, dim] -> the same."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.key, self.query, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.proj = nn.Linear(dim, dim)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        # Written out as two products: the fused kernel's backward pass is slow on a CPU.
        dim = x.shape[2]
        q, k, v = (
            part(x).unflatten(2, (self.heads, dim // self.heads)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        scores = (q * (dim // self.heads) ** -0.5) @ k.transpose(-2, -1)
        attended = scores.softmax(-1).to(v.dtype) @ v
        return self.drop(self.proj(attended.transpose(1, 2).flatten(2)))


def _mlp(dim: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim), nn.Dropout(dropout))


class Block(nn.Module):
    """Pre-norm attention inside a frame, then an MLP: [N, L, dim] -> the same."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(config.dim), nn.LayerNorm(config.dim)
        self.attn = Attention(config.dim, config.heads, config.dropout)
        self.mlp = _mlp(config.dim, config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class SpaceTimeBlock(nn.Module):
    """Attention inside each frame, attention inside windows of (window, space, space) cells, MLP (paper section 3.5).

    Frames come as [B * T, L, dim], T a multiple of `window` (ValueError otherwise).
    """

    def __init__(self, config: TransformerConfig, grid: int) -> None:
        super().__init__()
        self.ln1, self.ln2, self.ln3 = (nn.LayerNorm(config.dim) for _ in range(3))
        self.attn1 = Attention(config.dim, config.heads, config.dropout)
        self.attn2 = Attention(config.dim, config.heads, config.dropout)
        self.mlp = _mlp(config.dim, config.dropout)
        self.window, self.space, self.grid = config.window, config.space, grid

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn1(self.ln1(x))
        w = self._to_windows(x)
        x = self._from_windows(w + self.attn2(self.ln2(w)))
        return x + self.mlp(self.ln3(x))

    def _to_windows(self, x: Tensor) -> Tensor:
        """[B * T, L, dim] -> [B * T / window * (grid / space)^2, window * space^2, dim]."""
        per, s, t, dim = self.grid // self.space, self.space, self.window, x.shape[2]
        x = x.reshape(-1, t, per, s, per, s, dim).permute(0, 2, 4, 1, 3, 5, 6)
        return x.reshape(-1, t * s * s, dim)

    def _from_windows(self, w: Tensor) -> Tensor:
        per, s, t, dim = self.grid // self.space, self.space, self.window, w.shape[2]
        w = w.reshape(-1, per, per, t, s, s, dim).permute(0, 3, 1, 4, 2, 5, 6)
        return w.reshape(-1, self.grid * self.grid, dim)


class Head(nn.Module):
    """LayerNorm, linear, GELU, LayerNorm: the hidden states from which tokens are predicted."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.ln1, self.dense, self.ln2 = nn.LayerNorm(dim), nn.Linear(dim, dim), nn.LayerNorm(dim)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        return self.ln2(self.act(self.dense(self.ln1(x))))


class TokenTransformer(nn.Module):
    """Token logits from image features, the visible mask's tokens and the amodal tokens known so far."""

    def __init__(self, config: TransformerConfig, features: int, grid: int) -> None:
        super().__init__()
        self.config, self.grid = config, grid
        self.mask_index = config.vocabulary
        is_sequence = config.join == "sequence"
        dim, classes = config.dim, config.vocabulary + 1
        image, token = (dim, dim) if is_sequence else (dim // 2, dim // 4)
        kernel = config.image_kernel
        self.conv_in = nn.Conv2d(features, image, kernel, padding=kernel // 2)
        self.c_emb, self.z_emb = nn.Embedding(classes, token), nn.Embedding(classes, token)
        self.pos_emb = nn.Embedding((3 if is_sequence else 1) * grid * grid, dim)
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            SpaceTimeBlock(config, grid) if config.temporal else Block(config) for _ in range(config.layers)
        )
        self.dec = Head(dim)
        self.m_dec = nn.Linear(dim, classes, bias=False)
        self.m_bias = nn.Parameter(torch.zeros(classes))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def embed_image(self, features: Tensor) -> Tensor:
        """Image part of the embedding [N, L, width] of features [N, C, g, g]; the same in each of the K steps."""
        return self.conv_in(features).flatten(2).transpose(1, 2)

    def forward(self, image: Tensor, visible: Tensor, amodal: Tensor, frames: int = 1) -> tuple[Tensor, Tensor]:
        """image: of `embed_image`, [N, L, width]; visible, amodal: tokens [N, L]; N = B * frames, a clip's frames in a
        row. Returns logits [N, L, vocabulary + 1] and hidden states [N, L, dim]."""
        parts = [image, self.c_emb(visible), self.z_emb(amodal)]
        x = torch.cat(parts, 1 if self.config.join == "sequence" else 2)
        x = self.drop(x + self.pos_emb.weight)
        x = self._through_blocks(x, frames)
        hidden = self.dec(x[:, -self.grid * self.grid :])
        return self.m_dec(hidden) + self.m_bias, hidden

    def _through_blocks(self, x: Tensor, frames: int) -> Tensor:
        window = self.config.window
        if self.config.temporal and frames % window:
            raise ValueError(f"a clip has {frames} frames, expected a multiple of the window {window}; pad it")
        # With one window per clip the roll permutes a set (spec 9.4): it is left out.
        rolls = window // 2 if self.config.temporal and self.config.roll and frames > window else 0
        for block in self.blocks:
            x = block(x)
            if rolls:
                x = _roll(x, frames, rolls)
        return _roll(x, frames, -rolls * len(self.blocks)) if rolls else x


def _roll(x: Tensor, frames: int, shift: int) -> Tensor:
    """Frames of every clip shifted cyclically; x [B * frames, L, dim]."""
    return x.unflatten(0, (-1, frames)).roll(shift, 1).flatten(0, 1)
