"""What the stages minimize. Targets are coverage 0..1; every loss is computed in float32."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from c2f_train.config import NetworkLossConfig, TokenizerLossConfig
from c2f_train.model.network import Prediction

LEAST_HIDDEN = 0.05
"""Objects of which a smaller share is hidden have no `hidden_loss`."""


def soft_iou(coverage: Tensor, target: Tensor) -> Tensor:
    """Intersection over union of two coverages [B, 1, S, S], plus one pixel on either side: [B]."""
    common = (coverage * target).sum((1, 2, 3))
    either = (coverage + target - coverage * target).sum((1, 2, 3))
    return (common + 1) / (either + 1)


def mask_loss(logits: Tensor, target: Tensor, iou_weight: float) -> Tensor:
    """Binary cross entropy plus `iou_weight` times (1 - soft IoU), per sample: [B, 1, S, S] -> [B]."""
    logits = logits.float()
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((1, 2, 3))
    if not iou_weight:
        return entropy
    return entropy + iou_weight * (1 - soft_iou(logits.sigmoid(), target))


def coverage_loss(values: Tensor, target: Tensor, iou_weight: float) -> Tensor:
    """Mean absolute difference plus `iou_weight` times (1 - soft IoU), per sample: [B, 1, S, S] -> [B].

    For decoders without a sigmoid. The difference is taken before the cut to 0..1: outside, a cut has no gradient.
    """
    values = values.float()
    return (values - target).abs().mean((1, 2, 3)) + iou_weight * (1 - soft_iou(values.clamp(0.0, 1.0), target))


def hidden_loss(logits: Tensor, amodal: Tensor, visible: Tensor) -> Tensor:
    """1 - soft IoU of the hidden part alone, per sample: [B, 1, S, S] each -> [B]; 0 where less than
    `LEAST_HIDDEN` of the object is hidden."""
    hidden = (amodal - visible).clamp_min(0)
    found = logits.float().sigmoid() * (1 - visible)
    share = hidden.sum((1, 2, 3)) / amodal.sum((1, 2, 3)).clamp_min(1)
    return (1 - soft_iou(found, hidden)) * (share > LEAST_HIDDEN)


def decoded_loss(values: Tensor, target: Tensor, output: str, iou_weight: float) -> Tensor:
    """The loss of a tokenizer's decoder values: `mask_loss` if they are logits, else `coverage_loss`; [B]."""
    kind = mask_loss if output == "sigmoid" else coverage_loss
    return kind(values, target, iou_weight)


def reconstruction_loss(values: Tensor, masks: Tensor, output: str, config: TokenizerLossConfig) -> Tensor:
    """How far the decoder's values [B, 1, S, S] are from the masks they stand for; scalar."""
    if config.reconstruction == "none":
        return values.new_zeros((), dtype=torch.float32)
    if config.reconstruction == "bce_iou":
        return mask_loss(values, masks, config.iou).mean()
    image = values.float().sigmoid() if output == "sigmoid" else values.float()
    return (image - masks).abs().mean()


def token_loss(logits: Tensor, tokens: Tensor, label_smoothing: float) -> Tensor:
    """Cross entropy with label smoothing over all classes, per position: [B, L, classes], [B, L] -> [B, L]."""
    return F.cross_entropy(logits.float().transpose(1, 2), tokens, reduction="none", label_smoothing=label_smoothing)


@dataclass(frozen=True)
class Masking:
    """Which tokens are hidden and what counts, for all samples of a step.

    hide: bool [B, L]. token_weight [B, L] and mask_weight [B]: mean 1 over the batch (or all 0): the mean of the
    weighted losses over any equal parts of the batch averages to the mean over the batch.
    """

    hide: Tensor
    token_weight: Tensor
    mask_weight: Tensor

    def rows(self, first: int, count: int) -> Masking:
        """The part of the batch from row `first` on."""
        part = slice(first, first + count)
        return Masking(self.hide[part], self.token_weight[part], self.mask_weight[part])


def draw_masking(
    samples: int, frames: int, length: int, config: NetworkLossConfig, generator: torch.Generator
) -> Masking:
    """Hidden positions of `samples` samples of `frames` frames with `length` tokens each, B = samples * frames.

    `uniform`: everywhere for a share `full_mask` of the samples (inference starts there), else at a ratio drawn from
    U(0.5, 1) per sample (paper A.2). `published`: one ratio max(cos(u pi / 2), 0.5) for all, exactly that many (12.2).
    """
    noise = torch.rand(samples * frames, length, generator=generator)
    if config.masking == "published":
        ratio = max(float(torch.cos(torch.rand((), generator=generator) * (torch.pi / 2))), 0.5)
        hide = noise.argsort(1).argsort(1) < int(ratio * length)
        is_full = torch.zeros(samples * frames, dtype=torch.bool)
    else:
        is_full = torch.rand(samples, generator=generator) < config.full_mask
        ratios = torch.where(is_full, torch.ones(samples), torch.rand(samples, generator=generator) * 0.5 + 0.5)
        is_full, ratios = is_full.repeat_interleave(frames), ratios.repeat_interleave(frames)
        hide = noise < ratios[:, None]
    token_weight = hide if config.tokens_over == "masked" else torch.ones_like(hide)
    mask_weight = is_full if config.mask_samples == "full" else torch.ones_like(is_full)
    return Masking(hide, _mean_one(token_weight), _mean_one(mask_weight))


def _mean_one(counted: Tensor) -> Tensor:
    return counted.float() * (counted.numel() / counted.sum().clamp_min(1))


def network_loss(
    prediction: Prediction, masking: Masking, tokens: Tensor, amodal: Tensor, visible: Tensor, output: str,
    config: NetworkLossConfig,
) -> dict[str, Tensor]:  # fmt: skip
    """Named terms and their weighted `total`: tokens (paper eq. 7), masks of both branches (eq. 10), coarse mask.

    tokens [N, L]; amodal, visible [N, 1, S, S]; output: the tokenizer's. A term whose gradient reaches nothing (the
    coarse mask of hard decoding) is there to be read.
    """

    def counted(losses: Tensor) -> Tensor:
        return (losses * masking.mask_weight).mean()

    entropy = token_loss(prediction.token_logits, tokens, config.label_smoothing)
    terms = {"tokens": (entropy * masking.token_weight).mean()}
    terms["coarse"] = counted(decoded_loss(prediction.coarse, amodal, output, config.iou))
    total = config.tokens * terms["tokens"] + config.coarse * terms["coarse"]
    if prediction.amodal is not None:
        terms["refined"] = counted(mask_loss(prediction.amodal, amodal, config.iou))
        total = total + config.refined * terms["refined"]
    if prediction.visible is not None:
        terms["visible"] = F.binary_cross_entropy_with_logits(prediction.visible.float(), visible)
        total = total + config.visible * terms["visible"]
    return {**terms, "total": total}
