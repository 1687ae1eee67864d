"""What the stages minimize. Mask losses are in logits; targets are coverage 0..1."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from c2f_train.config import LossConfig
from c2f_train.model.network import Prediction


def mask_loss(logits: Tensor, target: Tensor, iou_weight: float) -> Tensor:
    """Binary cross entropy plus `iou_weight` times (1 - soft IoU), per sample: [B, 1, S, S] -> [B]."""
    logits = logits.float()
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((1, 2, 3))
    probability = logits.sigmoid()
    common = (probability * target).sum((1, 2, 3))
    either = (probability + target - probability * target).sum((1, 2, 3))
    return entropy + iou_weight * (1 - (common + 1) / (either + 1))


def masked_tokens(
    tokens: Tensor, mask_index: int, full_mask: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Known tokens for training, and which samples are masked completely.

    tokens [B, L] -> known [B, L] with [MASK] at random places: everywhere for a share `full_mask` of the samples
    (inference starts there), else at a ratio drawn from U(0.5, 1) (paper A.2).
    """
    count, length = tokens.shape
    is_full = torch.rand(count, generator=generator) < full_mask
    ratio = torch.where(is_full, torch.ones(count), torch.rand(count, generator=generator) * 0.5 + 0.5)
    hide = torch.rand(count, length, generator=generator) < ratio[:, None]
    return torch.where(hide, torch.full_like(tokens, mask_index), tokens), is_full


def network_loss(
    prediction: Prediction,
    known: Tensor,
    is_full: Tensor,
    tokens: Tensor,
    amodal: Tensor,
    visible: Tensor,
    weights: LossConfig,
    mask_index: int,
) -> dict[str, Tensor]:
    """Named terms and their weighted `total`. Token cross entropy (paper eq. 7) counts masked positions;
    mask losses count samples that started from nothing, as inference does (paper eq. 10)."""
    hidden = (known == mask_index).float()
    entropy = F.cross_entropy(
        prediction.token_logits.float().transpose(1, 2),
        tokens,
        reduction="none",
        label_smoothing=weights.label_smoothing,
    )
    terms = {"tokens": (entropy * hidden).sum() / hidden.sum().clamp_min(1)}
    share = is_full.float() / is_full.float().sum().clamp_min(1)
    terms["coarse"] = (mask_loss(prediction.coarse, amodal, weights.iou) * share).sum()
    total = weights.tokens * terms["tokens"] + weights.coarse * terms["coarse"]
    if prediction.amodal is not None and prediction.visible is not None:
        terms["refined"] = (mask_loss(prediction.amodal, amodal, weights.iou) * share).sum()
        terms["visible"] = F.binary_cross_entropy_with_logits(prediction.visible.float(), visible)
        total = total + terms["refined"] + weights.visible * terms["visible"]
    return {**terms, "total": total}
