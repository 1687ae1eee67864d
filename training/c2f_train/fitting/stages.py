"""What one stage trains: its module, the loss of one part of a batch, and one optimizer step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from c2f_train.config import StageConfig
from c2f_train.data.ahead import Ahead
from c2f_train.fitting.engine import Engine, Part
from c2f_train.fitting.optimizer import make_optimizer

Inputs = Mapping[str, Tensor]
THREADS = 6
"""That make batches while a GPU trains."""


def seed_step(seed: int, step: int, part: int) -> None:
    """Set torch's random numbers for one pass; nothing else decides them, so that a resumed run draws the same."""
    torch.manual_seed(((seed * 1_000_003 + step) * 8191 + part) & 0x7FFF_FFFF_FFFF)


class Stage(ABC):
    """One stage of training.

    module: what is trained, averaged, saved. objective: a module around it whose forward pass turns inputs into named
    losses, `total` the one to minimize; gradients are averaged over ranks because they come through it. decay: of the
    weights' moving average. torch's own random numbers depend on seed, step and part alone.
    """

    def __init__(
        self, name: str, module: nn.Module, objective: nn.Module, config: StageConfig, decay: float, seed: int
    ) -> None:
        self.name, self.module, self.objective = name, module, objective
        self.config, self.decay, self.seed = config, decay, seed

    def open(self, engine: Engine) -> None:
        """Make the optimizer and move everything to the engine's device."""
        self.engine = engine
        self.optimizer = make_optimizer(self.objective, self.config.optimizer)
        self.wrapped, self.stepper = engine.wrap(self.objective, self.optimizer)
        # On a CPU nothing is gained: making batches takes the time of the training itself.
        threads = THREADS if engine.device.type == "cuda" else 0
        self.batches = Ahead(self._pass, threads, 2 * threads)

    def close(self) -> None:
        """End the threads and forget the optimizer."""
        self.batches.close()
        del self.wrapped, self.stepper, self.optimizer, self.batches

    @abstractmethod
    def draw(self, step: int, part: Part) -> Any:
        """One part of the step's batch as it comes from the store; it may run in a thread."""

    @abstractmethod
    def inputs(self, drawn: Any) -> Inputs:
        """The objective's arguments, on the engine's device, of what `draw` gave."""

    @abstractmethod
    def picture(self, step: int, file: Path) -> None:
        """Write a contact sheet of some samples of this step."""

    def _pass(self, number: int) -> Any:
        step, accumulated = divmod(number, self.config.accumulate)
        return self.draw(step, self.engine.part(accumulated, self.config.accumulate))

    def inputs_at(self, step: int, accumulated: int = 0) -> dict[str, Tensor]:
        """The objective's arguments for one pass of this rank, images in the layout that convolutions like."""
        inputs = self.inputs(self.batches(step * self.config.accumulate + accumulated))
        return {k: v.contiguous(memory_format=torch.channels_last) if v.ndim == 4 else v for k, v in inputs.items()}

    def step(self, step: int, rate: float) -> dict[str, Tensor]:
        """One optimizer step; the mean losses of this rank's parts."""
        set_rate(self.optimizer, rate)
        self.optimizer.zero_grad(set_to_none=True)
        passes, sums = self.config.accumulate, {}
        for accumulated in range(passes):
            part = self.engine.part(accumulated, passes)
            inputs = self.inputs_at(step, accumulated)
            seed_step(self.seed, step, part.index)
            with self.engine.fabric.no_backward_sync(self.wrapped, enabled=accumulated + 1 < passes):
                terms = self.wrapped(**inputs)
                self.engine.fabric.backward(terms["total"] / passes)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value.detach() / passes
        self.clip_and_step(self.wrapped, self.stepper)
        return sums

    def clip_and_step(self, wrapped: nn.Module, stepper: torch.optim.Optimizer) -> None:
        """Cut the gradient's norm to what the configuration allows, then step."""
        if self.config.optimizer.clip:
            self.engine.fabric.clip_gradients(
                wrapped, stepper, max_norm=self.config.optimizer.clip, error_if_nonfinite=False
            )
        stepper.step()

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of this stage."""
        scaler = self.engine.fabric.strategy.precision.state_dict()
        return {"module": self.module.state_dict(), "optimizer": self.optimizer.state_dict(), "scaler": scaler}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up a checkpoint."""
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state.get("scaler"):
            self.engine.fabric.strategy.precision.load_state_dict(state["scaler"])


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all groups."""
    for group in optimizer.param_groups:
        group["lr"] = rate
