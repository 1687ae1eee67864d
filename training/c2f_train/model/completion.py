"""Mask-only completion in the manner of PCNet-M (Zhan et al., CVPR 2020): a U-Net that sees no pixel of the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from c2f_train.model.config import UNetConfig
from c2f_train.model.layers import Pyramid, Upward, mask_head, residuals

PLANES = 2
"""The mask as far as it is visible, and the eraser: where it may go on."""


class CompletionNetwork(nn.Module):
    """visible and eraser, each [N, 1, S, S] in 0..1 -> whole masks as probabilities [N, S, S].

    As wide and deep as the plain U-Net, so that the two differ in what they see alone.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        widths = config.widths
        self.encoder = Pyramid(PLANES, widths, config.blocks)
        self.bottleneck = residuals(widths[-1], config.bottleneck_blocks)
        self.rise = nn.ModuleList(
            Upward(width, finer, config.blocks) for width, finer in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = mask_head(widths[0])

    def logits(self, visible: Tensor, eraser: Tensor) -> Tensor:
        """Mask logits [N, 1, S, S]."""
        features = self.encoder(torch.cat([visible, eraser], 1))
        x = self.bottleneck(features[-1])
        for rise, skip in zip(self.rise, features[-2::-1], strict=True):
            x = rise(x, skip)
        return self.head(x)

    def forward(self, visible: Tensor, eraser: Tensor) -> Tensor:
        """Partial completion: inside the eraser the network's answer, outside it the visible mask as it is."""
        answer = self.logits(visible, eraser).sigmoid()
        return (answer * eraser + visible * (1 - eraser)).clamp(0, 1)[:, 0]
