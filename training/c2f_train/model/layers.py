"""Convolution blocks shared by every part; batch norm folds away at export."""

from __future__ import annotations

from torch import Tensor, nn


def conv_norm(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, batch norm, SiLU; stride 2 halves the grid."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.SiLU(inplace=True)
    )


class Residual(nn.Module):
    """x + two convolutions, both at the input's width: [N, C, h, w] -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv_norm(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))
        self.activation = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x + self.second(self.first(x)))


def residuals(channels: int, count: int) -> nn.Sequential:
    """`count` residual blocks in a row."""
    return nn.Sequential(*(Residual(channels) for _ in range(count)))


class Pyramid(nn.Module):
    """Features at crop/2, crop/4, ...: [N, planes, S, S] -> one [N, widths[i], S/2^(i+1), ...] per level."""

    def __init__(self, planes: int, widths: tuple[int, ...], blocks: int) -> None:
        super().__init__()
        self.unshuffle = nn.PixelUnshuffle(2)
        self.levels = nn.ModuleList()
        before = planes * 4
        for level, width in enumerate(widths):
            self.levels.append(
                nn.Sequential(conv_norm(before, width, 1 if level == 0 else 2), residuals(width, blocks))
            )
            before = width

    def forward(self, x: Tensor) -> list[Tensor]:
        x, features = self.unshuffle(x), []
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features


class Upward(nn.Module):
    """One step up: nearest x2, a convolution, plus the encoder's features of that level, residual blocks."""

    def __init__(self, inputs: int, outputs: int, blocks: int) -> None:
        super().__init__()
        self.up = nn.Sequential(conv_norm(inputs, outputs), nn.Upsample(scale_factor=2.0, mode="nearest"))
        self.skip = nn.Conv2d(outputs, outputs, 1)
        self.blocks = residuals(outputs, blocks)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.blocks(self.up(x) + self.skip(skip))


def mask_head(channels: int) -> nn.Sequential:
    """Logits at twice the grid: [N, C, h, w] -> [N, 1, 2h, 2w] by sub-pixel convolution."""
    return nn.Sequential(nn.Conv2d(channels, 4, 3, 1, 1), nn.PixelShuffle(2))
