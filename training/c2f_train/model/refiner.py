"""Convolutional refiner (paper section 3.4): coarse mask and image features -> fine masks, two branches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from c2f_train.model.layers import Upward, conv_norm, mask_head


class CoarseAttention(nn.Module):
    """Where the image looks like what the coarse mask covers (paper eq. 8; the code's form, scaled).

    The mask-weighted mean feature is compared with every cell; a softmax over cells gives one map whose
    mean is 1.
    """

    def forward(self, features: Tensor, coarse_cells: Tensor) -> Tensor:
        """features [N, C, g, g], coarse_cells [N, 1, g, g] in 0..1 -> [N, 1, g, g]."""
        n, channels, rows, columns = features.shape
        cells = features.flatten(2)
        weights = coarse_cells.flatten(2)
        mean = (cells * weights).sum(2, keepdim=True) / (weights.sum(2, keepdim=True) + 1e-6)
        score = (mean * cells).sum(1, keepdim=True) * channels**-0.5
        return (score.softmax(-1) * float(rows * columns)).reshape(n, 1, rows, columns)


class Refiner(nn.Module):
    """Two branches (amodal, visible) on one trunk; each returns logits [N, 1, S, S]."""

    def __init__(self, widths: tuple[int, ...], dim: int, blocks: int) -> None:
        super().__init__()
        top, finest = widths[-1], widths[0]
        self.adapt = nn.Conv2d(top, top, 1)
        self.attention = CoarseAttention()
        self.trunk = conv_norm(top + dim + 2, top)
        self.rise = nn.ModuleList(
            Upward(width, finer, blocks) for width, finer in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.unshuffle = nn.PixelUnshuffle(2)
        self.join = conv_norm(finest + 4, finest)
        self.amodal = mask_head(finest)
        self.visible = nn.Sequential(conv_norm(finest, 16), mask_head(16))

    def forward(self, features: list[Tensor], hidden: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """features: finest first; hidden [N, L, dim] of the transformer; coarse [N, 1, S, S] in 0..1."""
        top = features[-1]
        cells = F.avg_pool2d(coarse, coarse.shape[-1] // top.shape[-1])
        adapted = self.adapt(top)
        grid = hidden.transpose(1, 2).unflatten(2, top.shape[2:])
        x = self.trunk(torch.cat([adapted, grid, self.attention(adapted, cells), cells], 1))
        for rise, skip in zip(self.rise, features[-2::-1], strict=True):
            x = rise(x, skip)
        x = self.join(torch.cat([x, self.unshuffle(coarse)], 1))
        return self.amodal(x), self.visible(x)
