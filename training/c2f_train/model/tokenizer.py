"""Vector-quantized mask tokenizer (paper section 3.1): mask crop <-> grid of codebook indices."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from c2f_train.model.config import TokenizerConfig
from c2f_train.model.layers import Pyramid, conv_norm, mask_head, residuals


class Codebook(nn.Module):
    """Code vectors [codes, dim], learned by exponential moving averages; codes nobody uses are restarted."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.decay = config.decay
        self.register_buffer("vectors", torch.randn(config.codebook_size, config.code_dim))
        self.register_buffer("usage", torch.ones(config.codebook_size))
        self.register_buffer("sums", self.vectors.clone())
        self.register_buffer("is_started", torch.zeros((), dtype=torch.bool))

    def nearest(self, z: Tensor) -> Tensor:
        """Index of the nearest code (squared distance, first on ties) of each z [..., dim]."""
        distance = (self.vectors * self.vectors).sum(1) - 2.0 * z @ self.vectors.T
        return distance.argmin(-1)

    @torch.no_grad()
    def learn(self, z: Tensor, indices: Tensor) -> None:
        """Move codes towards the vectors z [M, dim] that chose them; start from data, restart dead codes."""
        codes = len(self.vectors)
        pick = torch.randint(len(z), (codes,))
        if not self.is_started:
            self._restart(torch.ones(codes, dtype=torch.bool), z[pick])
            self.is_started.fill_(True)
            indices = self.nearest(z)
        counts = torch.bincount(indices, minlength=codes).float()
        sums = torch.zeros_like(self.sums).index_add_(0, indices, z)
        self.usage.mul_(self.decay).add_(counts, alpha=1 - self.decay)
        self.sums.mul_(self.decay).add_(sums, alpha=1 - self.decay)
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
        widths, top = config.widths, config.widths[-1]
        self.encoder = Pyramid(1, widths, 1)
        self.to_code = nn.Conv2d(top, config.code_dim, 1)
        self.codebook = Codebook(config)
        steps: list[nn.Module] = [nn.Conv2d(config.code_dim, top, 1), residuals(top, 1)]
        for width, finer in zip(widths[:0:-1], widths[-2::-1], strict=True):
            steps += [conv_norm(width, finer), nn.Upsample(scale_factor=2.0, mode="nearest"), residuals(finer, 1)]
        self.decoder = nn.Sequential(*steps, mask_head(widths[0]))

    def embed(self, masks: Tensor) -> Tensor:
        """Continuous codes [N, L, dim] before quantization."""
        return self.to_code(self.encoder(masks)[-1]).flatten(2).transpose(1, 2)

    def encode(self, masks: Tensor) -> Tensor:
        """Tokens [N, L], int64."""
        return self.codebook.nearest(self.embed(masks))

    def decode_vectors(self, vectors: Tensor) -> Tensor:
        """Mask logits [N, 1, S, S] from code vectors [N, L, dim]; mixtures of codes are allowed."""
        return self.decoder(vectors.transpose(1, 2).reshape(-1, self.config.code_dim, self.grid, self.grid))

    def decode(self, tokens: Tensor) -> Tensor:
        """Mask logits [N, 1, S, S] from tokens [N, L]."""
        return self.decode_vectors(self.codebook.vectors[tokens])

    def forward(self, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction logits [N, 1, S, S] and the commitment loss; in training the codebook learns."""
        z = self.embed(masks).float()
        indices = self.codebook.nearest(z.detach())
        if self.training:
            self.codebook.learn(z.detach().flatten(0, 1), indices.flatten())
        quantized = self.codebook.vectors[indices]
        commitment = self.config.commitment * F.mse_loss(z, quantized)
        return self.decode_vectors(z + (quantized - z).detach()), commitment
