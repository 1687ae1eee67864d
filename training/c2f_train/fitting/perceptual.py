"""Perceptual losses of the tokenizer: LPIPS with VGG16, and a substitute that needs no weights."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from c2f_ros.contract import ContractError
from c2f_train.fitting.weights import hub_weights, tensors_of

VGG16_URL = "https://download.pytorch.org/models/vgg16-397923af.pth"
LPIPS_URL = "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/vgg.pth"
VGG16 = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
"""torchvision's numbers of VGG16's convolutions, one tuple per depth at which LPIPS compares."""
WIDTHS = (64, 128, 256, 512, 512)


class PyramidLoss(nn.Module):
    """How differently two masks [N, 1, S, S] look at several scales; scalar.

    The substitute for LPIPS where its weights cannot be had: mean absolute difference of the masks' gradients (Sobel)
    and curvature (Laplacian) at every scale of a Gaussian pyramid, over the difference of what is left at the coarsest.
    Like LPIPS it weighs the outline rather than the area; unlike it, nothing in it was learned.
    """

    def __init__(self, levels: int = 4) -> None:
        super().__init__()
        self.levels = levels
        sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8.0
        laplacian = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]) / 4.0
        self.register_buffer("edges", torch.stack([sobel, sobel.T, laplacian])[:, None], persistent=False)
        taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0
        self.register_buffer("blur", (taps[:, None] * taps)[None, None], persistent=False)

    def forward(self, masks: Tensor, reconstruction: Tensor) -> Tensor:
        rest, total = (reconstruction - masks).float(), masks.new_zeros((), dtype=torch.float32)
        for _ in range(self.levels):
            total = total + F.conv2d(F.pad(rest, (1, 1, 1, 1), mode="replicate"), self.edges).abs().mean() * 3.0
            if min(rest.shape[-2:]) < 4:
                break
            rest = F.conv2d(F.pad(rest, (2, 2, 2, 2), mode="replicate"), self.blur, stride=2)
        return total + rest.abs().mean()


class Lpips(nn.Module):
    """LPIPS distance of two masks [N, 1, S, S], repeated to three channels; scalar.

    Parameter names are those of the published checkpoints (`d_model`, prefix `perceptual_loss.`). Always in evaluation
    mode: the published training left the dropout of the linear layers switched on (spec B3).
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.net, before = nn.ModuleDict(), 3
        for depth, (convolutions, width) in enumerate(zip(VGG16, WIDTHS, strict=True), start=1):
            layers = nn.ModuleDict()
            for number in convolutions:
                layers[str(number)] = nn.Conv2d(before, width, 3, padding=1)
                before = width
            self.net[f"slice{depth}"] = layers
        for depth, width in enumerate(WIDTHS):
            self.add_module(f"lin{depth}", nn.ModuleDict({"model": nn.ModuleDict({"1": _weighting(width)})}))
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188])[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450])[:, None, None], persistent=False)
        _load(self, weights)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Lpips:
        return super().train(False)

    def forward(self, masks: Tensor, reconstruction: Tensor) -> Tensor:
        found = (self._features(x.float().expand(-1, 3, -1, -1)) for x in (masks, reconstruction))
        total = masks.new_zeros((), dtype=torch.float32)
        for depth, (a, b) in enumerate(zip(*found, strict=True)):
            weighting = getattr(self, f"lin{depth}")["model"]["1"]
            total = total + weighting((a - b) ** 2).mean()
        return total

    def _features(self, x: Tensor) -> list[Tensor]:
        x, features = (x - self.shift) / self.scale, []
        for depth, layers in enumerate(self.net.values()):
            x = F.max_pool2d(x, 2) if depth else x
            for layer in layers.values():
                x = F.relu(layer(x))
            features.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return features


def _weighting(width: int) -> nn.Conv2d:
    return nn.Conv2d(width, 1, 1, bias=False)


def _load(lpips: Lpips, weights: Mapping[str, Tensor]) -> None:
    """Fill every parameter from `weights`: published names, torchvision's VGG16 names or those of the LPIPS files."""
    wanted = lpips.state_dict()
    names = {_own_name(name): name for name in weights}
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ContractError(
            f"the perceptual loss lacks {len(missing)} of {len(wanted)} tensors, first {missing[0]}; give in "
            "loss.tokenizer.perceptual_files torchvision's VGG16 file and LPIPS's vgg.pth, or a published vqgan file"
        )
    lpips.load_state_dict({name: weights[names[name]] for name in wanted})


def _own_name(name: str) -> str:
    name = name.removeprefix("d_model.").removeprefix("perceptual_loss.")
    found = re.fullmatch(r"features\.(\d+)\.(weight|bias)", name)
    if found is None:
        return name
    depth = next((d for d, numbers in enumerate(VGG16, start=1) if int(found[1]) in numbers), 0)
    return f"net.slice{depth}.{found[1]}.{found[2]}"


def make_perceptual(kind: str, files: Sequence[str]) -> nn.Module | None:
    """The perceptual loss of that name, None for `none`.

    Raises ContractError (one sentence) if the weights of `lpips` are neither in `files` nor in torch's hub cache and
    cannot be downloaded; `pyramid` needs none.
    """
    if kind == "none":
        return None
    if kind == "pyramid":
        return PyramidLoss()
    advice = "name files in loss.tokenizer.perceptual_files, or choose loss.tokenizer.perceptual: pyramid"
    weights: dict[str, Tensor] = {}
    if files:
        for file in files:
            weights |= tensors_of(Path(file))
    else:
        for url, name in ((VGG16_URL, "vgg16-397923af.pth"), (LPIPS_URL, "lpips_vgg.pth")):
            weights |= hub_weights(url, name, advice)
    return Lpips(weights)
