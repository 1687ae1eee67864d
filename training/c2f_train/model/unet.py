"""A plain U-Net on the same inputs: the rival of equal compute that every table shows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from c2f_train.model.config import UNetConfig
from c2f_train.model.layers import Pyramid, Upward, mask_head, residuals


class UNet(nn.Module):
    """image [N, 3, S, S], masks [N, M, S, S] -> amodal probabilities [N, S, S]."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        widths = config.widths
        self.encoder = Pyramid(3 + len(config.mask_channels), widths, config.blocks)
        self.bottleneck = residuals(widths[-1], config.bottleneck_blocks)
        self.rise = nn.ModuleList(
            Upward(width, finer, config.blocks) for width, finer in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = mask_head(widths[0])

    def logits(self, image: Tensor, masks: Tensor) -> Tensor:
        """Amodal mask logits [N, 1, S, S]."""
        features = self.encoder(torch.cat([image, masks], 1))
        x = self.bottleneck(features[-1])
        for rise, skip in zip(self.rise, features[-2::-1], strict=True):
            x = rise(x, skip)
        return self.head(x)

    def forward(self, image: Tensor, masks: Tensor) -> Tensor:
        return self.logits(image, masks).sigmoid()[:, 0]
