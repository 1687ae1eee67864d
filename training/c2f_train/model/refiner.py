"""Convolutional refiner (paper section 3.4): coarse mask and image features -> fine masks, two branches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from c2f_ros.contract import ContractError
from c2f_train.model.config import PAPER, EncoderConfig, RefinerConfig
from c2f_train.model.layers import residuals
from c2f_train.model.resnet import activation


def coarse_attention(features: Tensor, cells: Tensor, kind: str) -> Tensor:
    """Where the image looks like what the coarse mask covers: features [N, C, g, g], cells [N, 1, g, g] in 0..1.

    The mask-weighted mean feature is compared with every cell, a softmax over cells gives a map [N, 1, g, g].
    kind: `published` (no scaling, sum 1), `scaled` (1/sqrt(C), mean 1) or `paper` (eq. 8: 1/sqrt(C), mean 1, times the
    features: [N, C, g, g]).
    """
    channels, rows, columns = (int(size) for size in features.shape[1:])
    flat, weights = features.reshape(-1, channels, rows * columns), cells.reshape(-1, 1, rows * columns)
    mean = (flat * weights).sum(2, keepdim=True) / (weights.sum(2, keepdim=True) + 1e-6)
    score = (mean * flat).sum(1, keepdim=True)
    if kind == "published":
        return score.softmax(-1).reshape(-1, 1, rows, columns)
    attention = (score * channels**-0.5).softmax(-1).reshape(-1, 1, rows, columns) * float(rows * columns)
    return attention * features if kind == PAPER else attention


def coarse_cells(coarse: Tensor, grid: int, how: str) -> Tensor:
    """Coverage [N, 1, S, S] on the token grid [N, 1, grid, grid]: `corner` or `mean` of every cell; what is
    on the token grid already stays as it is."""
    cell = int(coarse.shape[-1]) // grid
    if cell == 1:
        return coarse
    return coarse[:, :, ::cell, ::cell] if how == "corner" else F.avg_pool2d(coarse, cell)


class Layer(nn.Module):
    """3x3 convolution (with bias, as published), batch norm, activation."""

    def __init__(self, inputs: int, outputs: int, act: str) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs)
        self.act = activation(act)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))


class CoarseJoin(Layer):
    """A `Layer` over features [N, C, g, g] and the coarse mask [N, 1, 2g, 2g], folded 2x2."""

    def __init__(self, width: int, act: str) -> None:
        super().__init__(width + 4, width, act)

    def forward(self, x: Tensor, coarse: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(torch.cat([x, F.pixel_unshuffle(coarse, 2)], 1))


class Rise(nn.Module):
    """Adds the encoder's features of this grid, where there are some, doubles the grid, convolves."""

    def __init__(self, inputs: int, outputs: int, skip: int, config: RefinerConfig) -> None:
        super().__init__()
        self.adapter = nn.Conv2d(skip, inputs, 1) if skip else None
        self.blocks = residuals(inputs, config.blocks)
        self.doubling = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.layer = Layer(inputs, outputs, config.activation)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        if self.adapter is not None and skip is not None:
            x = x + self.adapter(skip)
        return self.layer(self.doubling(self.blocks(x)))


class Finest(nn.Module):
    """At the finest grid: the encoder's features, where there are some, the coarse mask once more, residual blocks."""

    def __init__(self, width: int, skip: int, config: RefinerConfig) -> None:
        super().__init__()
        self.adapter = nn.Conv2d(skip, width, 1) if skip else None
        self.join = CoarseJoin(width, config.activation) if config.join_coarse else None
        self.blocks = residuals(width, config.blocks)

    def forward(self, x: Tensor, skip: Tensor | None, coarse: Tensor) -> Tensor:
        if self.adapter is not None and skip is not None:
            x = x + self.adapter(skip)
        if self.join is not None:
            x = self.join(x, coarse)
        return self.blocks(x)


class Branch(nn.Module):
    """What a branch has for itself of the way up, and its mask logits, folded 2x2 into channels where the head is
    `shuffle`."""

    def __init__(self, rise: list[Rise], finest: Finest | None, width: int, config: RefinerConfig) -> None:
        super().__init__()
        self.rise, self.finest = nn.ModuleList(rise), finest
        self.out = nn.Conv2d(width, 4 if config.head == "shuffle" else 1, 3, padding=1)

    def forward(self, x: Tensor, skips: list[Tensor | None], coarse: Tensor) -> Tensor:
        for rise, skip in zip(self.rise, skips, strict=False):
            x = rise(x, skip)
        if self.finest is not None:
            x = self.finest(x, skips[-1], coarse)
        return self.out(x)


class Refiner(nn.Module):
    """Amodal (and visible) mask logits from the image features and the coarse mask.

    The trunk works on the token grid; then the grid is doubled once per further width, the encoder's features of the
    same grid are added before each doubling (and before the head, where there are some).
    """

    def __init__(self, config: RefinerConfig, encoder: EncoderConfig, hidden: int, crop_size: int) -> None:
        super().__init__()
        self.config = config
        top, widths = encoder.outputs[-1], config.widths
        self.adapt = nn.Conv2d(top, top, 1)
        self.project = nn.Conv2d(top, config.adapter, 3, padding=1)
        trunk = config.adapter + 1 + (hidden if config.hidden else 0)
        trunk += 0 if config.attention in (PAPER, "none") else 1
        self.trunk = nn.Sequential(Layer(trunk, trunk, config.activation), Layer(trunk, widths[0], config.activation))
        self.sources = _skip_sources(encoder, len(widths))
        skips = [0 if s is None else encoder.outputs[s] for s in self.sources]
        stages = list(zip(widths[:-1], widths[1:], skips[:-1], strict=True))

        def rises(part: slice) -> list[Rise]:
            return [Rise(a, b, skip, config) for a, b, skip in stages[part]]

        is_all_shared = config.shared == len(widths)
        self.rise = nn.ModuleList(rises(slice(0, config.shared)))
        self.finest = Finest(widths[-1], skips[-1], config) if is_all_shared else None
        self.branches = nn.ModuleDict()
        for name in ("amodal", "visible") if config.branches == "both" else ("amodal",):
            finest = None if is_all_shared else Finest(widths[-1], skips[-1], config)
            self.branches[name] = Branch(rises(slice(config.shared, None)), finest, widths[-1], config)
        self.grid, self.size = crop_size // encoder.reductions[-1], crop_size
        finest_grid = self.grid << (len(widths) - 1)
        if config.join_coarse and crop_size != 2 * finest_grid:
            raise ContractError(
                f"refiner.join_coarse is set and the finest grid is {finest_grid} of a crop of {crop_size}; "
                "give as many refiner.widths as make it half the crop"
            )
        self.times = crop_size // (2 * finest_grid if config.head == "shuffle" else finest_grid)

    def branch_logits(self, features: list[Tensor], hidden: Tensor, coarse: Tensor) -> dict[str, Tensor]:
        """Logits [N, 1, s, s] per branch at the refiner's own resolution s; features: finest first; hidden [N, L, dim]
        of the transformer; coarse [N, 1, S, S] in 0..1."""
        found = self.heads(self.shared_features(features, hidden, coarse), features, coarse)
        return {name: _unfolded(logits) for name, logits in found.items()}

    def shared_features(
        self, features: list[Tensor], hidden: Tensor, coarse: Tensor, recalled: Tensor | None = None
    ) -> Tensor:
        """What both branches share, [N, C, g, g] of the finest shared grid. recalled: added before its blocks."""
        config, top = self.config, features[-1]
        cells = coarse_cells(coarse, self.grid, config.coarse_cells)
        adapted = self.adapt(top)
        if config.attention == PAPER:
            parts = [self.project(coarse_attention(adapted, cells, PAPER))]
        elif config.attention == "none":
            parts = [self.project(adapted)]
        else:
            parts = [self.project(adapted), coarse_attention(adapted, cells, config.attention)]
        if config.hidden:
            parts.append(hidden.transpose(1, 2).reshape(-1, int(hidden.shape[2]), self.grid, self.grid))
        x = self.trunk(torch.cat([*parts, cells], 1))
        skips = [None if s is None else features[s] for s in self.sources]
        for rise, skip in zip(self.rise, skips, strict=False):
            x = rise(x, skip)
        if self.finest is None:
            return x
        return self.finest(x if recalled is None else x + recalled, skips[-1], coarse)

    def heads(self, x: Tensor, features: list[Tensor], coarse: Tensor) -> dict[str, Tensor]:
        """Logits per branch of what `shared_features` gave, [N, 1, s, s] or, where the head is `shuffle`, [N, 4, s/2,
        s/2]."""
        skips = [None if s is None else features[s] for s in self.sources]
        return {name: branch(x, skips[self.config.shared :], coarse) for name, branch in self.branches.items()}

    def forward(self, features: list[Tensor], hidden: Tensor, coarse: Tensor) -> dict[str, Tensor]:
        """Logits [N, 1, S, S] per branch: `branch_logits`, repeated up to the crop's size."""
        return self.at_crop_size(self.branch_logits(features, hidden, coarse))

    def at_crop_size(self, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits of `heads`, or [N, 1, S, S] already, repeated up to the crop's size."""
        return {name: self._to_crop(_unfolded(logits)) for name, logits in found.items()}

    def folded(self, logits: Tensor) -> Tensor:
        """Logits of `heads` at the crop's size, folded 2x2: [N, 4, S/2, S/2]."""
        return logits if self.config.head == "shuffle" else F.pixel_unshuffle(self._to_crop(logits), 2)

    def _to_crop(self, logits: Tensor) -> Tensor:
        if int(logits.shape[-1]) == self.size:
            return logits
        return F.interpolate(logits, scale_factor=float(self.times), mode="nearest")


def _unfolded(logits: Tensor) -> Tensor:
    return F.pixel_shuffle(logits, 2) if int(logits.shape[1]) == 4 else logits


def _skip_sources(encoder: EncoderConfig, grids: int) -> list[int | None]:
    """Per grid of the refiner, coarsest first, the encoder stage whose features have that grid (not the top one)."""
    reductions = list(encoder.reductions[:-1])
    wanted = (encoder.reductions[-1] >> step for step in range(grids))
    return [max((i for i, r in enumerate(reductions) if r == w), default=None) for w in wanted]
