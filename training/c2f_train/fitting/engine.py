"""Where training runs: devices, ranks and precision, through Lightning Fabric."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.precision import MixedPrecision, Precision
from lightning.fabric.strategies import DDPStrategy
from torch import nn

from c2f_ros.contract import ContractError

PRECISIONS = ("32", "bf16", "16")


class Autocast(Precision):
    """Forward passes in bfloat16 where that is safe; inputs, so targets and weights of losses, stay float32."""

    precision = "bf16-mixed"

    def __init__(self, device: str) -> None:
        self._device = device

    def forward_context(self) -> AbstractContextManager[Any]:
        return torch.autocast(self._device, torch.bfloat16)


class ScaledAutocast(MixedPrecision):
    """The same in float16, with the loss scaled."""

    def convert_input(self, data: Any) -> Any:
        return data


@dataclass(frozen=True)
class EngineConfig:
    """accelerator: `auto`, `cpu` or `gpu`. devices: processes on this machine. precision: `32`, or mixed `bf16`, `16`.

    Started by torchrun, the number of processes is torchrun's.
    """

    accelerator: str = "auto"
    devices: int = 1
    precision: str = "bf16"


@dataclass(frozen=True)
class Part:
    """Part `index` of the `count` equal parts of a step's batch: one pass of one rank."""

    index: int
    count: int


class Engine:
    """This process's place among the ranks. Every rank runs the same code on its parts of a batch."""

    def __init__(self, config: EngineConfig) -> None:
        is_torchrun = "TORCHELASTIC_RUN_ID" in os.environ
        devices = int(os.environ["LOCAL_WORLD_SIZE"]) if is_torchrun else config.devices
        nodes = int(os.environ["WORLD_SIZE"]) // devices if is_torchrun else 1
        if config.precision not in PRECISIONS:
            raise ContractError(f"--precision is {config.precision}, expected 32, bf16 or 16; correct it")
        has_gpu = config.accelerator != "cpu" and torch.cuda.is_available()
        if config.accelerator == "gpu" and not has_gpu:
            raise ContractError("--accelerator is gpu and torch finds none; use cpu, or install torch with CUDA")
        if config.precision == "16" and not has_gpu:
            raise ContractError("--precision is 16, which needs a GPU; use bf16 or 32 on a CPU")
        if has_gpu and devices > torch.cuda.device_count():
            raise ContractError(f"--devices is {devices} and {torch.cuda.device_count()} GPUs are there; use as many")
        self.fabric = Fabric(
            accelerator="cuda" if has_gpu else "cpu",
            devices=devices,
            num_nodes=nodes,
            plugins=_precision(config.precision, "cuda" if has_gpu else "cpu"),
            strategy=DDPStrategy() if devices * nodes > 1 else "auto",
        )
        self.fabric.launch()
        if has_gpu:
            torch.backends.cudnn.benchmark = True
            if config.precision != "32":
                torch.set_float32_matmul_precision("high")

    @property
    def device(self) -> torch.device:
        """Where this rank computes."""
        return self.fabric.device

    @property
    def is_scaled(self) -> bool:
        """Whether losses are scaled before the backward pass, as float16 needs."""
        return isinstance(self.fabric.strategy.precision, ScaledAutocast)

    @property
    def ranks(self) -> int:
        """How many processes train together."""
        return self.fabric.world_size

    @property
    def is_first(self) -> bool:
        """Whether this rank writes files and shows progress."""
        return self.fabric.global_rank == 0

    def part(self, accumulated: int, accumulate: int) -> Part:
        """This rank's part of the batch in pass `accumulated` of `accumulate`."""
        return Part(self.fabric.global_rank * accumulate + accumulated, self.ranks * accumulate)

    def check_batch(self, batch: int, accumulate: int, stage: str) -> None:
        """Raises ContractError if a batch cannot be parted equally among ranks and passes."""
        if batch % (self.ranks * accumulate):
            raise ContractError(
                f"{stage}: batch {batch} cannot be parted among {self.ranks} ranks with {accumulate} passes each; "
                "change batch, accumulate or --devices"
            )

    def wrap(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        """The module whose forward pass prepares the averaging of gradients over ranks, and its optimizer.

        Several GPUs share the statistics of batch norm; on CPUs torch cannot, there each rank has its own and rank 0's
        running statistics are kept (they are sent to the others before every pass).
        """
        if self.ranks > 1 and self.device.type == "cuda":
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return self.fabric.setup(module, optimizer)


def _precision(name: str, device: str) -> Precision:
    if name == "32":
        return Precision()
    return Autocast(device) if name == "bf16" else ScaledAutocast("16-mixed", device)
