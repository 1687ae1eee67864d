"""How much is measured: everything, or just enough to see that it works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Effort:
    """threads: of every engine and of PyTorch. is_quick: two rounds, the ends of every list, nothing to rely on."""

    threads: int
    is_quick: bool = False

    def rounds(self, full: int) -> int:
        return 2 if self.is_quick else full

    def seconds(self, full: float) -> float:
        return 0.0 if self.is_quick else full

    def few(self, values: Sequence[T]) -> tuple[T, ...]:
        """All of them, or the first and the last."""
        return tuple(values) if not self.is_quick or len(values) < 3 else (values[0], values[-1])
