"""Vector-quantized mask tokenizer (paper section 3.1): mask crop <-> grid of codebook indices.

Parameter names are those of the published checkpoints, so that these load as they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from c2f_train.distributed import from_first_rank, rows_of_all_ranks
from c2f_train.model.config import TokenizerConfig

GROUPS = 32


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(min(GROUPS, channels), channels, eps=1e-6)


class ResidualBlock(nn.Module):
    """Twice norm, swish and 3x3 convolution, plus the input: [N, C, h, w] -> [N, outputs, h, w]."""

    def __init__(self, inputs: int, outputs: int, norm: str) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(norm, inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2, self.conv2 = _norm(norm, outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        if inputs != outputs:
            self.nin_shortcut = nn.Conv2d(inputs, outputs, 1)
        self.is_widening = inputs != outputs

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return (self.nin_shortcut(x) if self.is_widening else x) + h


class Downsample(nn.Module):
    """Halves the grid; a row of zeros at the bottom and a column at the right come first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Doubles the grid by repetition, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """Residual blocks of one grid size, and the change to the next."""

    def __init__(self, inputs: int, outputs: int, blocks: int, norm: str, change: str) -> None:
        super().__init__()
        widths = [inputs] + [outputs] * blocks
        self.block = nn.ModuleList(ResidualBlock(a, b, norm) for a, b in zip(widths, widths[1:], strict=False))
        if change == "down":
            self.downsample = Downsample(outputs)
        elif change == "up":
            self.upsample = Upsample(outputs)
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        if self.change == "down":
            return self.downsample(x)
        return self.upsample(x) if self.change == "up" else x


class Middle(nn.Module):
    """Two residual blocks at the token grid."""

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels, norm)
        self.block_2 = ResidualBlock(channels, channels, norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.block_1(x))


class Encoder(nn.Module):
    """Masks [N, 1, S, S] -> features [N, z_channels, grid, grid]."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        widths = [config.channels * m for m in config.multipliers]
        self.patch = nn.PixelUnshuffle(config.patch) if config.patch > 1 else nn.Identity()
        self.conv_in = nn.Conv2d(config.patch**2, config.channels, 3, padding=1)
        before, last = [config.channels, *widths[:-1]], len(widths) - 1
        self.down = nn.ModuleList(
            Level(a, b, config.blocks, config.norm, "down" if i < last else "same")
            for i, (a, b) in enumerate(zip(before, widths, strict=True))
        )
        self.mid = Middle(widths[-1], config.norm) if config.middle else nn.Identity()
        self.norm_out = _norm(config.norm, widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], config.z_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(self.patch(x))
        for level in self.down:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    """Features [N, z_channels, grid, grid] -> one value per pixel [N, 1, S, S]."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        widths = [config.channels * m for m in config.multipliers]
        self.conv_in = nn.Conv2d(config.z_channels, widths[-1], 3, padding=1)
        self.mid = Middle(widths[-1], config.norm) if config.middle else nn.Identity()
        before = [*widths[1:], widths[-1]]
        self.up = nn.ModuleList(
            Level(a, b, config.blocks + 1, config.norm, "up" if i > 0 else "same")
            for i, (a, b) in enumerate(zip(before, widths, strict=True))
        )
        self.norm_out = _norm(config.norm, widths[0])
        self.conv_out = nn.Conv2d(widths[0], config.patch**2, 3, padding=1)
        self.patch = nn.PixelShuffle(config.patch) if config.patch > 1 else nn.Identity()
        self.pixels = config.patch

    def forward(self, x: Tensor) -> Tensor:
        return self.patch(self.conv_out(self._finest(x)))

    def corners(self, x: Tensor, cell: int) -> Tensor:
        """What `forward` gives at the top-left pixel of every `cell` x `cell` pixels, [N, 1, S / cell, S / cell]: the
        last convolution is evaluated there alone; the norms before it need every pixel."""
        last = self.conv_out
        weight, bias = (last.weight, last.bias) if self.pixels == 1 else (last.weight[:1], last.bias[:1])
        return F.conv2d(self._finest(x), weight, bias, stride=cell // self.pixels, padding=1)

    def _finest(self, x: Tensor) -> Tensor:
        x = self.mid(self.conv_in(x))
        for level in reversed(self.up):
            x = level(x)
        return F.silu(self.norm_out(x))


class Codebook(nn.Module):
    """Code vectors [codes, dim] and what they learn from.

    `gradient`: from the quantization loss. `average`: exponential moving averages; codes start from data, codes that
    nobody uses are restarted.
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        codes, dim = config.codebook_size, config.code_dim
        self.config = config
        self.embedding = nn.Embedding(codes, dim)
        if config.learning == "average":
            nn.init.normal_(self.embedding.weight)
            self.embedding.weight.requires_grad_(False)
            self.register_buffer("usage", torch.ones(codes))
            self.register_buffer("sums", self.embedding.weight.detach().clone())
            self.register_buffer("is_started", torch.zeros((), dtype=torch.bool))
        else:
            nn.init.uniform_(self.embedding.weight, -1.0 / codes, 1.0 / codes)

    @property
    def vectors(self) -> Tensor:
        return self.embedding.weight

    def nearest(self, z: Tensor) -> Tensor:
        """Index of the nearest code (squared distance, first on ties) of each z [..., dim]."""
        distance = z @ (-2.0 * self.vectors.T) + (self.vectors * self.vectors).sum(1)
        return distance.argmin(-1)

    def loss(self, z: Tensor, quantized: Tensor) -> Tensor:
        """Commitment (z moves to its code) and, with `gradient`, codebook term (the code moves to z)."""
        loss = self.config.commitment * F.mse_loss(z, quantized.detach())
        if self.config.learning == "gradient":
            loss = loss + self.config.codebook * F.mse_loss(quantized, z.detach())
        return loss

    @torch.no_grad()
    def learn(self, z: Tensor, indices: Tensor) -> None:
        """Move codes towards the vectors z [M, dim] that chose them (`average` only), those of all ranks together."""
        codes = len(self.vectors)
        z, indices = rows_of_all_ranks(z), rows_of_all_ranks(indices)
        pick = from_first_rank(torch.randint(len(z), (codes,), device=z.device))
        if not self.is_started:
            self._restart(torch.ones(codes, dtype=torch.bool, device=z.device), z[pick])
            self.is_started.fill_(True)
            indices = self.nearest(z)
        counts = torch.bincount(indices, minlength=codes).float()
        sums = torch.zeros_like(self.sums).index_add_(0, indices, z)
        decay = self.config.decay
        self.usage.mul_(decay).add_(counts, alpha=1 - decay)
        self.sums.mul_(decay).add_(sums, alpha=1 - decay)
        self.vectors.copy_(self.sums / self.usage.clamp_min(1e-5)[:, None])
        self._restart(self.usage < 0.03, z[pick])

    def _restart(self, dead: Tensor, candidates: Tensor) -> None:
        self.vectors[dead] = candidates[dead]
        self.sums[dead] = candidates[dead]
        self.usage[dead] = 1.0


class MaskTokenizer(nn.Module):
    """Masks [N, 1, S, S] in 0..1 <-> tokens [N, L] (L = grid * grid, row-major)."""

    def __init__(self, config: TokenizerConfig, grid: int) -> None:
        super().__init__()
        self.config, self.grid = config, grid
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quantize = Codebook(config)
        self.quant_conv = nn.Conv2d(config.z_channels, config.code_dim, 1)
        self.post_quant_conv = nn.Conv2d(config.code_dim, config.z_channels, 1)

    def embed(self, masks: Tensor) -> Tensor:
        """Continuous codes [N, L, code_dim] before quantization."""
        codes = self.quant_conv(self.encoder(masks))
        return codes.reshape(-1, self.config.code_dim, self.grid * self.grid).transpose(1, 2)

    def encode(self, masks: Tensor) -> Tensor:
        """Tokens [N, L], int64."""
        return self.quantize.nearest(self.embed(masks))

    def decode_vectors(self, vectors: Tensor) -> Tensor:
        """The decoder's values [N, 1, S, S] (see `coverage`) of code vectors [N, L, code_dim]; mixtures are allowed."""
        return self.decoder(self._features(vectors))

    def decode(self, tokens: Tensor) -> Tensor:
        """The decoder's values [N, 1, S, S] of tokens [N, L]."""
        return self.decode_vectors(self.quantize.embedding(tokens))

    def decode_cells(self, tokens: Tensor) -> Tensor:
        """`decode` at the top-left pixel of every cell of the token grid: [N, 1, grid, grid]."""
        return self.decoder.corners(self._features(self.quantize.embedding(tokens)), self.config.reduction)

    def _features(self, vectors: Tensor) -> Tensor:
        """The decoder's input of code vectors [N, L, code_dim]."""
        grid = vectors.transpose(1, 2).reshape(-1, self.config.code_dim, self.grid, self.grid)
        return self.post_quant_conv(grid)

    def coverage(self, values: Tensor) -> Tensor:
        """Decoder values as coverage 0..1."""
        return values.sigmoid() if self.config.output == "sigmoid" else values.clamp(0.0, 1.0)

    def forward(self, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction values [N, 1, S, S] and the quantization loss; gradients pass straight through."""
        z = self.embed(masks).float()
        indices = self.quantize.nearest(z.detach())
        if self.training and self.config.learning == "average":
            self.quantize.learn(z.detach().flatten(0, 1), indices.flatten())
        quantized = self.quantize.embedding(indices)
        return self.decode_vectors(z + (quantized - z).detach()), self.quantize.loss(z, quantized)
