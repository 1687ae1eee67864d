"""Mask-and-predict transformer (paper sections 3.2 and 3.5): completes the mask in token space.

Parameter names are those of the published checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
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
        length, dim = int(x.shape[1]), int(x.shape[2])
        q, k, v = (
            part(x).reshape(-1, length, self.heads, dim // self.heads) for part in (self.query, self.key, self.value)
        )
        scores = (q.transpose(1, 2) * (dim // self.heads) ** -0.5) @ k.permute(0, 2, 3, 1)
        attended = scores.softmax(-1).to(v.dtype) @ v.transpose(1, 2)
        return self.drop(self.proj(attended.transpose(1, 2).reshape(-1, length, dim)))


class RingAttention(nn.Module):
    """Attention of the newest frame's cells to those of the last frames, itself included, inside windows of space^2
    cells; how old a frame is adds a learned bias per head. Causal: a frame never sees a later one."""

    def __init__(self, config: TransformerConfig, grid: int, ring: int) -> None:
        super().__init__()
        dim, self.heads, self.ring = config.dim, config.heads, ring
        self.space, self.grid = config.space, grid
        self.key, self.query, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.proj = nn.Linear(dim, dim)
        self.age_bias = nn.Parameter(torch.zeros(ring + 1, config.heads))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, ages: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step. x [N, L, dim]; keys, values [N, T, L, dim] of earlier frames; ages [N, T]: 0 the newest of them, -1
        an empty place. Returns the attended x and the newest frame's keys and values [N, L, dim]."""
        k, v = self.key(x), self.value(x)
        ages = torch.cat([ages[:, :1] * 0, ages + 1], 1)  # itself first; 0 is also an empty place behind it
        is_empty = torch.cat([ages[:, :1] < 0, ages[:, 1:] < 1], 1)
        bias = self.age_bias[ages.clamp(0, self.ring)].masked_fill(is_empty[..., None], float("-inf"))
        keys, values = torch.cat([k[:, None], keys], 1), torch.cat([v[:, None], values], 1)
        return self._attend(self.query(x)[:, None], keys, values, bias[:, None])[:, 0], k, v

    def whole(self, x: Tensor, frames: int) -> Tensor:
        """All frames of clips at once, x [B * frames, L, dim]: the same as one step after another."""
        q, k, v = (part(x).unflatten(0, (-1, frames)) for part in (self.query, self.key, self.value))
        age = torch.arange(frames, device=x.device)
        age = age[:, None] - age[None]
        bias = self.age_bias[age.clamp(0, self.ring)]
        bias = bias.masked_fill(((age < 0) | (age > self.ring))[..., None], float("-inf"))
        return self._attend(q, k, v, bias[None]).flatten(0, 1)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        """q [N, A, L, dim], k and v [N, T, L, dim], bias [N or 1, A, T, heads] -> [N, A, L, dim]."""
        asked, frames, cells = int(q.shape[1]), int(k.shape[1]), self.space * self.space
        q, k, v = self._windows(q), self._windows(k), self._windows(v)  # [N, windows, heads, frames * cells, d]
        scores = (q * int(q.shape[-1]) ** -0.5) @ k.transpose(-2, -1)
        scores = scores.reshape(-1, *(int(size) for size in scores.shape[1:3]), asked, cells, frames, cells)
        scores = scores + bias.permute(0, 3, 1, 2)[:, None, :, :, None, :, None]
        joined = scores.reshape(-1, *(int(size) for size in scores.shape[1:3]), asked * cells, frames * cells)
        weights = joined.softmax(-1).to(v.dtype)
        return self.proj(self._cells(weights @ v, asked))

    def _windows(self, x: Tensor) -> Tensor:
        """[N, T, L, dim] -> [N, windows, heads, T * cells, dim / heads]."""
        per, s, frames, dim = self.grid // self.space, self.space, int(x.shape[1]), int(x.shape[3])
        x = x.reshape(-1, frames, per, s, per, s, self.heads, dim // self.heads)
        x = x.permute(0, 2, 4, 6, 1, 3, 5, 7)
        return x.reshape(-1, per * per, self.heads, frames * s * s, dim // self.heads)

    def _cells(self, x: Tensor, frames: int) -> Tensor:
        """The inverse of `_windows`."""
        per, s, width = self.grid // self.space, self.space, int(x.shape[-1])
        x = x.reshape(-1, per, per, self.heads, frames, s, s, width)
        x = x.permute(0, 4, 1, 5, 2, 6, 3, 7)
        return x.reshape(-1, frames, self.grid * self.grid, self.heads * width)


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
        per, s, t, dim = self.grid // self.space, self.space, self.window, int(x.shape[2])
        x = x.reshape(-1, t, per, s, per, s, dim).permute(0, 2, 4, 1, 3, 5, 6)
        return x.reshape(-1, t * s * s, dim)

    def _from_windows(self, w: Tensor) -> Tensor:
        per, s, t, dim = self.grid // self.space, self.space, self.window, int(w.shape[2])
        w = w.reshape(-1, per, per, t, s, s, dim).permute(0, 3, 1, 4, 2, 5, 6)
        return w.reshape(-1, self.grid * self.grid, dim)


class RingBlock(nn.Module):
    """Attention inside the frame, attention to the object's last frames, MLP: the spatio-temporal block made causal."""

    def __init__(self, config: TransformerConfig, grid: int, ring: int) -> None:
        super().__init__()
        self.ln1, self.ln2, self.ln3 = (nn.LayerNorm(config.dim) for _ in range(3))
        self.attn = Attention(config.dim, config.heads, config.dropout)
        self.ring = RingAttention(config, grid, ring)
        self.mlp = _mlp(config.dim, config.dropout)

    def step(self, x: Tensor, keys: Tensor, values: Tensor, ages: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One frame: as `RingAttention.forward`."""
        x = x + self.attn(self.ln1(x))
        attended, k, v = self.ring(self.ln2(x), keys, values, ages)
        x = x + attended
        return x + self.mlp(self.ln3(x)), k, v

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """Whole clips: as `RingAttention.whole`."""
        x = x + self.attn(self.ln1(x))
        x = x + self.ring.whole(self.ln2(x), frames)
        return x + self.mlp(self.ln3(x))


@dataclass(frozen=True)
class Past:
    """What the transformer keeps of earlier frames: keys and values [N, T, layers, L, dim], ages [N, T]."""

    keys: Tensor
    values: Tensor
    ages: Tensor


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

    def __init__(self, config: TransformerConfig, features: int, grid: int, ring: int = 0) -> None:
        super().__init__()
        self.config, self.grid, self.ring = config, grid, ring
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
            RingBlock(config, grid, ring)
            if ring
            else SpaceTimeBlock(config, grid)
            if config.temporal
            else Block(config)
            for _ in range(config.layers)
        )
        self.dec = Head(dim)
        self.m_dec = nn.Linear(dim, classes, bias=False)
        self.m_bias = nn.Parameter(torch.zeros(classes))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def embed_image(self, features: Tensor) -> Tensor:
        """Image part of the embedding [N, L, width] of features [N, C, g, g]; the same in each of the K steps."""
        return self.conv_in(features).reshape(-1, self.conv_in.out_channels, self.grid * self.grid).transpose(1, 2)

    @property
    def unknown(self) -> Tensor:
        """Amodal tokens [1, L] of which none is known."""
        return torch.full((1, self.grid * self.grid), self.mask_index, device=self.m_bias.device)

    def given(self, image: Tensor, visible: Tensor) -> Tensor:
        """The embedding [N, L, dim] without the amodal tokens, which all K steps share: image of `embed_image`,
        visible tokens [N, L]. Joined in a sequence it has three tokens per cell."""
        position = self.pos_emb.weight
        if self.config.join == "sequence":
            return torch.cat([image, self.c_emb(visible), image * 0], 1) + position
        # The amodal tokens' channels are zeros of the table, so that no tensor of N rows has to be made for them.
        table = F.pad(self.c_emb.weight, (0, self.z_emb.embedding_dim))
        return torch.cat([image, F.embedding(visible, table)], 2) + position

    def _with(self, given: Tensor, amodal: Tensor) -> Tensor:
        """The whole embedding; amodal [N, L], or [1, L] for all alike."""
        if self.config.join == "sequence":
            x = given + F.pad(self.z_emb(amodal), (0, 0, 2 * self.grid * self.grid, 0))
        else:
            before = int(given.shape[2]) - self.z_emb.embedding_dim
            x = given + F.embedding(amodal, F.pad(self.z_emb.weight, (before, 0)))
        return self.drop(x)

    def forward(self, image: Tensor, visible: Tensor, amodal: Tensor, frames: int = 1) -> tuple[Tensor, Tensor]:
        """image: of `embed_image`, [N, L, width]; visible, amodal: tokens [N, L]; N = B * frames, a clip's frames in a
        row. Returns logits [N, L, vocabulary + 1] and hidden states [N, L, dim]."""
        return self.from_given(self.given(image, visible), amodal, frames)

    def from_given(self, given: Tensor, amodal: Tensor, frames: int = 1) -> tuple[Tensor, Tensor]:
        """`forward` of what `given` returns; amodal may be [1, L], for all alike."""
        return self._predict(self._through_blocks(self._with(given, amodal), frames))

    def step(self, given: Tensor, amodal: Tensor, past: Past) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The newest frame of N objects after earlier ones: logits, hidden states, and its keys and values
        [N, layers, L, dim], to be kept; given, amodal: as in `from_given`."""
        x, keys, values = self._with(given, amodal), [], []
        for layer, block in enumerate(self.blocks):
            x, k, v = block.step(x, past.keys[:, :, layer], past.values[:, :, layer], past.ages)
            keys.append(k)
            values.append(v)
        return *self._predict(x), torch.stack(keys, 1), torch.stack(values, 1)

    def _predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.dec(x[:, -self.grid * self.grid :])
        return self.m_dec(hidden) + self.m_bias, hidden

    def _through_blocks(self, x: Tensor, frames: int) -> Tensor:
        if self.ring:
            for block in self.blocks:
                x = block(x, frames)
            return x
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
    length, dim = int(x.shape[1]), int(x.shape[2])
    return x.reshape(-1, frames, length, dim).roll(shift, 1).reshape(-1, length, dim)
