"""Optimizers, learning rates, and which parameters are trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from c2f_train.config import OptimizerConfig, ScheduleConfig, StageConfig

NEVER_TRAINED = ("bias", "ln1.weight", "ln2.weight")
"""Endings of the transformer's parameter names that the published code hands to no optimizer group (spec B1)."""


def learning_rate(step: int, stage: StageConfig) -> float:
    """The learning rate of optimizer step `step`, from 0."""
    return stage.learning_rate * rate_share(step, stage.steps, stage.schedule)


def rate_share(step: int, steps: int, schedule: ScheduleConfig) -> float:
    """Share of the peak learning rate at `step` of `steps`.

    `linear` begins at 0 (spec 12.7), the others with the first fraction of the warm-up.
    """
    warm = schedule.warmup if schedule.warmup >= 1 else max(1, round(schedule.warmup * steps))
    if schedule.kind == "linear":
        return step / warm if step < warm else max(0.0, (steps - step) / max(1, steps - warm))
    if step < warm:
        return (step + 1) / warm
    if schedule.kind == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
    return 0.5 ** (step // schedule.halve_every) if schedule.kind == "halving" else 1.0


def optimizer_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Every trainable parameter in exactly one group: matrices decay, vectors (biases, norms) do not."""
    trained = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def make_optimizer(module: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimizer of `module`'s trainable parameters; the loop sets its learning rate."""
    groups = optimizer_groups(module, config.weight_decay)
    if config.name == "published":
        return PublishedAdamW(groups, 0.0, config.betas, config.eps)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(groups, lr=0.0, betas=config.betas, eps=config.eps)


def never_trained(transformer: nn.Module) -> list[str]:
    """Names of the parameters that the published code leaves as they were at the start (spec B1)."""
    return [name for name, _ in transformer.named_parameters() if name.endswith(NEVER_TRAINED)]


class PublishedAdamW(torch.optim.Optimizer):
    """AdamW as the published code has it (spec 12.7): bias correction in the step size, so that eps is not corrected,
    and the decay p -= lr * weight_decay * p after the step."""

    def __init__(
        self, params: Iterable[Tensor] | list[dict[str, Any]], lr: float, betas: tuple[float, float], eps: float,
        weight_decay: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step over all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, p.grad, group)
        return loss

    def _update(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state["step"], state["exp_avg"], state["exp_avg_sq"] = 0, torch.zeros_like(p), torch.zeros_like(p)
        state["step"] += 1
        (first, second), rate = group["betas"], group["lr"]
        state["exp_avg"].mul_(first).add_(gradient, alpha=1 - first)
        state["exp_avg_sq"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        size = rate * math.sqrt(1 - second ** state["step"]) / (1 - first ** state["step"])
        p.addcdiv_(state["exp_avg"], state["exp_avg_sq"].sqrt().add_(group["eps"]), value=-size)
        if group["weight_decay"]:
            p.mul_(1 - rate * group["weight_decay"])
