"""What a user decides about the machine that runs a model, whichever engine it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MEGABYTE = 1 << 20
PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8")


@dataclass(frozen=True)
class DeviceSettings:
    """precision: of `PRECISIONS`; auto is what the engine is fast with and stays within its tolerance.

    memory_mb: of the GPU, at most, for plans, buffers and the memory of objects; 0: no bound. most_rows: objects in one
    call at most, for which plans are built. low_priority: other programs' GPU work goes first. cache: folder of built
    plans and of measured times; None: the user's cache folder. build: plans that are missing are built when the engine
    is opened, which can take minutes.
    """

    precision: str = "auto"
    memory_mb: int = 1024
    most_rows: int = 32
    low_priority: bool = True
    cache: Path | None = None
    build: bool = True
