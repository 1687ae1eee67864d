"""A network in the form that is exported: the same function in fewer operations, every size but the batch a constant.

Only modules that an engine would otherwise run in a worse way are replaced; what each one costs and saves is in
training/LOG.md. Results differ by rounding alone.
"""

from __future__ import annotations

import copy
from itertools import chain
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from c2f_train.model.refiner import CoarseJoin, Rise
from c2f_train.model.resnet import ResNet
from c2f_train.model.tokenizer import Encoder, Upsample

Module = TypeVar("Module", bound=nn.Module)
WIDE = 64
"""Channels from which a grid is convolved before it is doubled; with fewer, moving the pixels costs what is saved."""


def engine_form(network: Module) -> Module:
    """The network with its costly modules replaced; weights that stay as they are are shared with `network`."""
    kept = {id(tensor): tensor for tensor in chain(network.parameters(), network.buffers())}
    network = copy.deepcopy(network, kept)
    for module in list(network.modules()):
        if isinstance(module, ResNet) and module.stem == "unshuffle":
            module.conv1, module.unshuffle = unfolded(module.conv1, 2), nn.Identity()
        if isinstance(module, Encoder) and isinstance(module.patch, nn.PixelUnshuffle):
            module.conv_in, module.patch = unfolded(module.conv_in, module.patch.downscale_factor), nn.Identity()
        if isinstance(module, Rise) and module.layer.conv.in_channels >= WIDE:
            early = EarlyConvolution(nn.utils.fuse_conv_bn_eval(module.layer.conv, module.layer.norm))
            module.layer, module.doubling = nn.Sequential(early, module.layer.act), nn.Identity()
        for name, part in list(module.named_children()):
            if isinstance(part, nn.GroupNorm):
                setattr(module, name, FixedGroupNorm(part))
            elif isinstance(part, Upsample) and part.conv.in_channels >= WIDE:
                setattr(module, name, EarlyConvolution(part.conv))
            elif isinstance(part, CoarseJoin):
                setattr(module, name, SplitJoin(part))
    return network


@torch.no_grad()
def unfolded(convolution: nn.Conv2d, factor: int) -> nn.Conv2d:
    """One convolution for `PixelUnshuffle(factor)` and then `convolution` (stride 1, size kept): strided by `factor`,
    its kernel as many times as large."""
    weight = convolution.weight
    outputs, inputs, kernel, _ = weight.shape
    taps = weight.reshape(outputs, inputs // factor**2, factor, factor, kernel, kernel).permute(0, 1, 4, 2, 5, 3)
    size, has_bias = kernel * factor, convolution.bias is not None
    found = nn.Conv2d(
        inputs // factor**2, outputs, size, factor, factor * (kernel // 2), bias=has_bias, device=weight.device
    )
    found.weight.copy_(taps.reshape(outputs, -1, size, size))
    if found.bias is not None:
        found.bias.copy_(convolution.bias)
    return found.requires_grad_(False)


class EarlyConvolution(nn.Module):
    """Doubles the grid by repetition, then a 3x3 convolution, as `Upsample`, with 16 of 36 multiplications.

    The four fine pixels that meet in a corner of coarse ones see those four coarse pixels and no others: one 2x2
    convolution over the corners gives them all, each with the sums of the taps that fall on one coarse pixel.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        # taps[side][near][k]: whether tap k of the fine pixel before (0) or behind (1) the corner reads coarse pixel
        # `near` (before or behind it).
        taps = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]])
        weight = torch.einsum("oiyx,apy,bqx->oabipq", convolution.weight.detach(), taps, taps)
        self.register_buffer("weight", weight.reshape(4 * convolution.out_channels, -1, 2, 2), persistent=False)
        self.register_buffer("bias", convolution.bias.detach().repeat_interleave(4), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(F.conv2d(x, self.weight, self.bias, padding=1), 2)[:, :, 1:-1, 1:-1]


class FixedGroupNorm(nn.Module):
    """`nn.GroupNorm` whose sizes are constants of the graph."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups, self.eps = norm.num_groups, norm.eps
        self.weight, self.bias = norm.weight, norm.bias
        self.register_buffer("ones", torch.ones(self.groups), persistent=False)
        self.register_buffer("zeros", torch.zeros(self.groups), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        channels, rows, columns = (int(size) for size in x.shape[1:])
        flat = x.reshape(-1, self.groups, channels // self.groups * rows * columns)
        normal = F.instance_norm(flat, weight=self.ones, bias=self.zeros, eps=self.eps).reshape(
            -1, channels, rows, columns
        )
        return normal * self.weight.reshape(-1, 1, 1) + self.bias.reshape(-1, 1, 1)


class SplitJoin(nn.Module):
    """`CoarseJoin` without folding the coarse mask or joining it: a convolution of each, and their sum."""

    def __init__(self, join: CoarseJoin) -> None:
        super().__init__()
        joined = nn.utils.fuse_conv_bn_eval(join.conv, join.norm)
        inputs = joined.in_channels - 4
        self.conv = nn.Conv2d(inputs, joined.out_channels, 3, padding=1)
        coarse = nn.Conv2d(4, joined.out_channels, 3, padding=1, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(joined.weight[:, :inputs])
            self.conv.bias.copy_(joined.bias)
            coarse.weight.copy_(joined.weight[:, inputs:])
        self.coarse, self.act = unfolded(coarse, 2), join.act

    def forward(self, x: Tensor, coarse: Tensor) -> Tensor:
        return self.act(self.conv(x) + self.coarse(coarse))
