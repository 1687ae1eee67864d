"""Image features: a ResNet with torchvision's parameter names, at any size (paper section 3.2, "visual features")."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from c2f_train.model.config import EncoderConfig


def activation(name: str) -> nn.Module:
    """The activation of that name."""
    return nn.ReLU(inplace=True) if name == "relu" else nn.SiLU(inplace=True)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 to four times the width, plus the input."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, act: str) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1, self.bn1 = _conv(inputs, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = _conv(width, outputs, 1), nn.BatchNorm2d(outputs)
        self.relu = activation(act)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.bn1(self.conv1(x)))
        h = self.relu(self.bn2(self.conv2(h)))
        h = self.bn3(self.conv3(h))
        return self.relu(h + (x if self.downsample is None else self.downsample(x)))


class Basic(nn.Module):
    """Two 3x3 convolutions (the first with the stride), plus the input."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, act: str) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(inputs, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3), nn.BatchNorm2d(width)
        self.relu = activation(act)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.bn1(self.conv1(x)))
        h = self.bn2(self.conv2(h))
        return self.relu(h + (x if self.downsample is None else self.downsample(x)))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if inputs == outputs and stride == 1:
        return None
    return nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """Planes [N, P, S, S] -> one feature map per stage, finest first.

    With the `imagenet` stem, bottlenecks (3, 4, 6, 3) and strides (1, 2, 2, 1) it is ResNet-50 as the published model
    uses it: the last stage keeps the grid, 1/16 of the crop; the classifier is left out.
    """

    def __init__(self, config: EncoderConfig, planes: int) -> None:
        super().__init__()
        block = Bottleneck if config.block == "bottleneck" else Basic
        self.stem = config.stem
        if config.stem == "imagenet":
            before = 64
            self.conv1 = nn.Conv2d(planes, before, 7, 2, 3, bias=False)
        else:
            before = config.widths[0]
            self.unshuffle = nn.PixelUnshuffle(2)
            self.conv1 = _conv(4 * planes, before, 3)
        self.bn1, self.relu = nn.BatchNorm2d(before), activation(config.activation)
        self.stages = len(config.widths)
        for stage, (width, count, stride) in enumerate(zip(config.widths, config.blocks, config.strides, strict=True)):
            blocks = []
            for index in range(count):
                blocks.append(block(before, width, stride if index == 0 else 1, config.activation))
                before = width * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))

    def forward(self, x: Tensor, recalled: Tensor | None = None) -> list[Tensor]:
        """recalled: added to the stem's output, of its shape."""
        if self.stem == "imagenet":
            x = F.max_pool2d(self.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        else:
            x = self.relu(self.bn1(self.conv1(self.unshuffle(x))))
        if recalled is not None:
            x = x + recalled
        features = []
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
            features.append(x)
        return features
