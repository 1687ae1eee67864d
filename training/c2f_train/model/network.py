"""C2F-Seg for images: image features, mask-and-predict in token space, soft decoding, refinement."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from c2f_train.model.config import INPUT_PLANES, NetworkConfig
from c2f_train.model.layers import Pyramid
from c2f_train.model.refiner import Refiner
from c2f_train.model.tokenizer import MaskTokenizer
from c2f_train.model.transformer import TokenTransformer


@dataclass(frozen=True)
class Prediction:
    """token_logits [N, L, codes]; coarse, amodal, visible: mask logits [N, 1, S, S] (the last two None if
    the refiner was not run)."""

    token_logits: Tensor
    coarse: Tensor
    amodal: Tensor | None
    visible: Tensor | None


class C2FNetwork(nn.Module):
    """Inputs: image [N, 3, S, S] normalized, masks [N, 3, S, S] in 0..1 (visible, others, inside)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        length, codes = config.grid**2, config.tokenizer.codebook_size
        self.tokenizer = MaskTokenizer(config.tokenizer, config.grid)
        self.encoder = Pyramid(INPUT_PLANES, config.widths, config.blocks)
        self.transformer = TokenTransformer(config.widths[-1], config.dim, config.layers, config.heads, codes, length)
        self.refiner = Refiner(config.widths, config.dim, config.refiner_blocks)

    def freeze_tokenizer(self) -> None:
        """The tokenizer is trained first and then stays as it is (gradients still pass through it)."""
        self.tokenizer.requires_grad_(False)
        self.tokenizer.eval()

    def train(self, mode: bool = True) -> C2FNetwork:
        super().train(mode)
        self.tokenizer.eval()
        return self

    def predict(self, image: Tensor, masks: Tensor, visible_tokens: Tensor, known: Tensor, refine: bool) -> Prediction:
        """One training pass: tokens of the visible mask and the amodal tokens `known`, each [N, L] ([MASK] where
        unknown)."""
        features = self.encoder(torch.cat([image, masks], 1))
        logits, hidden = self.transformer(features[-1], visible_tokens, known)
        return self._decode(features, logits, hidden, refine)

    def _decode(self, features: list[Tensor], logits: Tensor, hidden: Tensor, refine: bool) -> Prediction:
        """Soft decoding: the expected code vector of every cell, so mask losses reach the transformer."""
        vectors = logits.float().softmax(-1) @ self.tokenizer.codebook.vectors
        coarse = self.tokenizer.decode_vectors(vectors)
        if not refine:
            return Prediction(logits, coarse, None, None)
        amodal, visible = self.refiner(features, hidden, coarse.sigmoid())
        return Prediction(logits, coarse, amodal, visible)

    def forward(self, image: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Deterministic inference: amodal and coarse probabilities [N, S, S], tokens [N, L].

        K mask-and-predict steps (paper section 3.3) without sampling: each step keeps its most confident
        tokens (cosine schedule), the last one decides all.
        """
        features = self.encoder(torch.cat([image, masks], 1))
        visible_tokens = self.tokenizer.encode(masks[:, :1])
        known = torch.full_like(visible_tokens, self.transformer.mask_index)
        for step in range(self.config.steps):
            logits, hidden = self.transformer(features[-1], visible_tokens, known)
            if step + 1 < self.config.steps:
                known = self._keep_confident(logits, known, step)
        result = self._decode(features, logits, hidden, refine=True)
        assert result.amodal is not None
        return result.amodal.sigmoid()[:, 0], result.coarse.sigmoid()[:, 0], logits.argmax(-1)

    def _keep_confident(self, logits: Tensor, known: Tensor, step: int) -> Tensor:
        length = self.config.grid**2
        hidden_after = max(1, math.floor(length * math.cos((step + 1) / self.config.steps * math.pi / 2)))
        confidence, best = logits.softmax(-1).max(-1)
        is_known = known != self.transformer.mask_index
        confidence = torch.where(is_known, torch.full_like(confidence, 2.0), confidence)
        tokens = torch.where(is_known, known, best)
        kept = confidence.topk(length - hidden_after, dim=-1).indices
        return torch.full_like(known, self.transformer.mask_index).scatter(1, kept, tokens.gather(1, kept))
