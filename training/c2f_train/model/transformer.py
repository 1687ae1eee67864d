"""Mask-and-predict transformer (paper section 3.2, image version): completes the mask in token space."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """Pre-norm attention over all tokens, then an MLP: [N, L, dim] -> the same."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        n, length, dim = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(n, length, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q * (dim // self.heads) ** -0.5) @ k.transpose(-2, -1)
        attended = scores.softmax(-1).to(v.dtype) @ v
        x = x + self.proj(attended.transpose(1, 2).reshape(n, length, dim))
        return x + self.mlp(self.norm2(x))


class TokenTransformer(nn.Module):
    """Token logits from image features, the visible mask's tokens and the amodal tokens known so far.

    One embedding per cell: image features, visible token and amodal token concatenated along channels
    (half, a quarter, a quarter), plus a learned position. Index `codebook_size` stands for [MASK].
    """

    def __init__(self, features: int, dim: int, layers: int, heads: int, codebook_size: int, length: int) -> None:
        super().__init__()
        self.mask_index = codebook_size
        self.image = nn.Conv2d(features, dim // 2, 1)
        self.visible = nn.Embedding(codebook_size + 1, dim // 4)
        self.amodal = nn.Embedding(codebook_size + 1, dim // 4)
        self.position = nn.Parameter(torch.randn(length, dim) * 0.02)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, codebook_size)
        for table in (self.visible, self.amodal):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, features: Tensor, visible_tokens: Tensor, amodal_tokens: Tensor) -> tuple[Tensor, Tensor]:
        """features [N, C, g, g], tokens [N, L] -> logits [N, L, codebook], hidden states [N, L, dim]."""
        image = self.image(features).flatten(2).transpose(1, 2)
        x = torch.cat([image, self.visible(visible_tokens), self.amodal(amodal_tokens)], -1) + self.position
        for block in self.blocks:
            x = block(x)
        hidden = self.norm(x)
        return self.head(hidden), hidden
