"""Checkpoints that survive a kill at any moment, and the moving average of the weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from c2f_ros.contract import ContractError


def save_checkpoint(state: dict[str, Any], file: Path) -> None:
    """Write `state`; until all of it is on the disk, `file` stays as it was."""
    part = file.with_suffix(".part")
    with open(part, "wb") as out:
        torch.save(_on_cpu(state), out)
        out.flush()
        os.fsync(out.fileno())
    os.replace(part, file)


def _on_cpu(value: Any) -> Any:
    """`value` with all tensors on the CPU, so that a machine without a GPU opens the file."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {key: _on_cpu(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_on_cpu(item) for item in value)
    return value


def load_checkpoint(file: Path, about: str) -> dict[str, Any] | None:
    """The state in `file`, on the CPU; None if there is none yet.

    about: what decides the stage, as text. Raises ContractError if the checkpoint was made from another.
    """
    if not file.exists():
        return None
    state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    if state.get("about", about) != about:
        raise ContractError(
            f"{file} was trained with another configuration of this stage; give the new one a folder of its own, or "
            "delete this checkpoint and those of later stages"
        )
    return state


class Average:
    """Exponential moving average of a module's floating-point state: what is evaluated and shipped."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.state = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """One step towards the module's state; counters are copied."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        kept: list[Tensor] = []
        values: list[Tensor] = []
        for name, value in module.state_dict().items():
            if value.dtype.is_floating_point:
                kept.append(self.state[name])
                values.append(value)
            else:
                self.state[name].copy_(value)
        torch._foreach_lerp_(kept, values, 1 - decay)

    def load(self, state: dict[str, Tensor], updates: int) -> None:
        """Go on from an average of before."""
        for name, value in state.items():
            self.state[name].copy_(value)
        self.updates = updates
