"""Mask-and-predict (paper section 3.3): from nothing known to all tokens, in K steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from c2f_train.model.config import PAPER, InferenceConfig

Draw = Callable[[int, Tensor], tuple[Tensor, Tensor | None]]
"""Step and probabilities [N, L, codes] -> chosen tokens [N, L] and standard Gumbel noise [N, L] (None: none)."""


def most_likely(step: int, probability: Tensor) -> tuple[Tensor, None]:
    """The deterministic draw: arg-max, no noise."""
    return probability.argmax(-1), None


def seeded(seed: int) -> Draw:
    """The published draw: tokens sampled from the probabilities, Gumbel noise on the confidences; repeats per seed."""
    generator = torch.Generator().manual_seed(seed)

    def draw(step: int, probability: Tensor) -> tuple[Tensor, Tensor]:
        flat = probability.flatten(0, 1).cpu()
        tokens = torch.multinomial(flat, 1, generator=generator).reshape(probability.shape[:2])
        uniform = torch.rand(tokens.shape, generator=generator).clamp_min(1e-20)
        gumbel = -torch.log((-torch.log(uniform)).clamp_min(1e-20))
        return tokens.to(probability.device), gumbel.to(probability.device)

    return draw


@dataclass(frozen=True)
class Step:
    """One step as it happened: tokens known before, logits, chosen tokens (known ones kept), their probability, which
    positions would be masked again (after the last step none is) and how many [N, 1]; all [N, L] but `logits`."""

    known: Tensor
    logits: Tensor
    tokens: Tensor
    probability: Tensor
    masked: Tensor
    count: Tensor


def kept_probability(logits: Tensor, top_k: int) -> Tensor:
    """Softmax over the `top_k` largest logits of each position (ties with the last one are kept; 0: over all)."""
    if 0 < top_k < logits.shape[-1]:
        least = logits.topk(top_k, dim=-1).values[..., -1:]
        logits = torch.where(logits < least, -math.inf, logits)
    return logits.softmax(-1)


def mask_target(step: int, steps: int, length: int) -> int:
    """How many positions stay unknown after `step` (cosine schedule; spec 6.4: 221, 128 of 256 for K = 3)."""
    return math.floor(length * math.cos((step + 1) / steps * math.pi / 2) + 1e-9)


def complete(
    logits_of: Callable[[Tensor], tuple[Tensor, Tensor]],
    unknown: Tensor,
    codes: int,
    config: InferenceConfig,
    draw: Draw = most_likely,
) -> tuple[list[Step], Tensor]:
    """All K steps, and the last one's hidden states [N, L, dim].

    logits_of: known tokens [N, L] -> logits [N, L, classes] and hidden states. unknown: full of [MASK], [N, L], or
    [1, L] for all alike. The final tokens are those of the last step: all positions that were still unknown are decided
    there.
    """
    known, steps, hidden, length = unknown, [], unknown, int(unknown.shape[1])
    for step in range(config.steps):
        logits, hidden = logits_of(known)
        probability = kept_probability(logits[..., :codes], config.top_k)
        drawn, gumbel = draw(step, probability)
        is_unknown = known == unknown if step else None
        tokens = drawn if is_unknown is None else torch.where(is_unknown, drawn, known)
        chosen = probability.gather(-1, drawn.unsqueeze(-1)).squeeze(-1)
        confidence = _confidence(chosen, is_unknown, gumbel, step, config)
        masked, count = _least_confident(confidence, is_unknown, mask_target(step, config.steps, length))
        steps.append(Step(known.expand_as(tokens), logits, tokens, chosen, masked, count))
        known = torch.where(masked, unknown, tokens)
    return steps, hidden


def _confidence(
    chosen: Tensor, is_unknown: Tensor | None, gumbel: Tensor | None, step: int, config: InferenceConfig
) -> Tensor:
    """is_unknown: None where all are."""
    is_paper = config.confidence == PAPER
    confidence = chosen if is_paper else chosen.log()
    if is_unknown is not None:
        confidence = torch.where(is_unknown, confidence, 1.0 if is_paper else math.inf)
    if gumbel is None or is_paper:
        return confidence
    return confidence + config.temperature * (1.0 - (step + 1) / config.steps) * gumbel


def _least_confident(confidence: Tensor, is_unknown: Tensor | None, target: int) -> tuple[Tensor, Tensor]:
    """Positions [N, L] strictly below the n-th smallest confidence, and n = max(1, min(unknown - 1, target)) [N, 1].

    No more than the target + 1 smallest are looked at; in the first step, all unknown, n is the same for every row.
    """
    length = int(confidence.shape[1])
    most = max(1, min(length - 1, target))
    smallest = confidence.topk(most + 1, -1, largest=False).values
    if is_unknown is None:
        return confidence < smallest[:, most:], torch.full_like(confidence[:, :1], most, dtype=torch.int64)
    count = (is_unknown.sum(-1, keepdim=True) - 1).clamp(max=target).clamp(min=1)
    return confidence < smallest.gather(-1, count), count
