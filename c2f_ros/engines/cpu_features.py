"""What the processor is and can do, as Linux tells it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
"""Instructions that multiply bfloat16 numbers, as /proc/cpuinfo calls them; without them bf16 is only imitated."""


@dataclass(frozen=True)
class Cpu:
    """name: as its maker calls it; "" if unknown. flags: instruction sets, as Linux calls them."""

    name: str
    flags: frozenset[str]

    @property
    def has_bf16(self) -> bool:
        return bool(self.flags & BF16_FLAGS)


def read_cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> Cpu:
    """This machine's processor. Where the file is absent or has other keys, nothing is known but the architecture."""
    try:
        lines = cpuinfo.read_text().partition("\n\n")[0].splitlines()
    except OSError:
        lines = []
    known = {key.strip(): value.strip() for key, colon, value in (line.partition(":") for line in lines) if colon}
    flags = known.get("flags") or known.get("Features") or ""
    parts = (known.get(key, "") for key in ("model name", "cpu family", "model", "stepping", "CPU part"))
    return Cpu(" ".join(filter(None, (platform.machine(), *parts))), frozenset(flags.split()))
