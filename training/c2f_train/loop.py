"""One training stage: batches in, weights out; logs, saves, resumes to the same losses after a kill."""

from __future__ import annotations

import csv
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from c2f_train.config import StageConfig

SAVE_EVERY_S = 120.0
Losses = Callable[[int], dict[str, Tensor]]
"""Step number -> named loss terms; `total` is minimized. Random numbers depend on the step alone."""


def learning_rate(step: int, steps: int, stage: StageConfig) -> float:
    """Linear warm-up, then a cosine to zero."""
    warm = max(1, round(stage.warmup * steps))
    if step < warm:
        return stage.learning_rate * (step + 1) / warm
    return stage.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def optimizer_groups(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Every trainable parameter in exactly one group: matrices decay, vectors (biases, norms) do not."""
    trained = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


class Average:
    """Exponential moving average of a module's floating-point state: what is evaluated and shipped."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.state = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in module.state_dict().items():
            kept = self.state[name]
            if kept.dtype.is_floating_point:
                kept.lerp_(value, 1 - decay)
            else:
                kept.copy_(value)


def run_stage(name: str, module: nn.Module, losses: Losses, stage: StageConfig, decay: float, folder: Path) -> None:
    """Train `module` in place for `stage.samples` samples and leave it with its averaged weights.

    `folder/<name>.pt` is written every two minutes and at the end (crash-safe: a new file replaces the old
    one); a finished stage is only loaded. `folder/<name>.csv` logs the losses.
    """
    steps, start = max(1, stage.samples // stage.batch), 0
    optimizer = torch.optim.AdamW(optimizer_groups(module, stage.weight_decay), betas=(0.9, 0.98))
    average = Average(module, decay)
    file = folder / f"{name}.pt"
    if file.exists():
        saved = torch.load(file, weights_only=True)
        start = saved["step"]
        module.load_state_dict(saved["module"])
        optimizer.load_state_dict(saved["optimizer"])
        average.state, average.updates = saved["average"], saved["updates"]

    def save(step: int) -> None:
        state = {"step": step, "module": module.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save({**state, "average": average.state, "updates": average.updates}, file.with_suffix(".part"))
        os.replace(file.with_suffix(".part"), file)

    saved_at, shown = time.monotonic(), {}
    with tqdm(total=steps, initial=start, desc=name, unit="step", mininterval=5) as bar:
        for step in range(start, steps):
            terms = losses(step)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, stage)
            optimizer.zero_grad(set_to_none=True)
            terms["total"].backward()
            nn.utils.clip_grad_norm_([p for p in module.parameters() if p.requires_grad], 1.0)
            optimizer.step()
            average.update(module)
            bar.update()
            for key, value in terms.items():
                shown[key] = 0.98 * shown.get(key, value.item()) + 0.02 * value.item()
            if step % 50 == 0 or step + 1 == steps:
                _log(folder / f"{name}.csv", step, shown)
                bar.set_postfix({k: f"{v:.4f}" for k, v in shown.items()})
            if time.monotonic() - saved_at > SAVE_EVERY_S:
                save(step + 1)
                saved_at = time.monotonic()
    if start < steps:
        save(steps)
    module.load_state_dict(average.state)


def _log(file: Path, step: int, values: dict[str, float]) -> None:
    is_new = not file.exists()
    with open(file, "a", newline="") as out:
        writer = csv.writer(out)
        if is_new:
            writer.writerow(["step", *values])
        writer.writerow([step, *(f"{v:.5f}" for v in values.values())])
