"""Milliseconds per stage: the last ones only, so that memory stays flat however long the node runs."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

KEPT = 1000


class LatencyLog:
    """The last `KEPT` durations of each stage, in order of first use. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages: dict[str, deque[float]] = {}

    def add(self, stage: str, milliseconds: float) -> None:
        """Note one duration."""
        with self._lock:
            self._stages.setdefault(stage, deque(maxlen=KEPT)).append(milliseconds)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Note how long the block takes; nothing if it raises."""
        start = time.perf_counter()
        yield
        self.add(stage, (time.perf_counter() - start) * 1e3)

    def summary(self) -> dict[str, dict[str, float]]:
        """Per stage: `median_ms`, `p95_ms`, `max_ms` over the kept durations, and their `count`."""
        with self._lock:
            copied = {stage: list(values) for stage, values in self._stages.items()}
        out = {}
        for stage, values in copied.items():
            median, p95 = np.percentile(values, [50, 95])
            out[stage] = {
                "median_ms": round(float(median), 3),
                "p95_ms": round(float(p95), 3),
                "max_ms": round(max(values), 3),
                "count": len(values),
            }
        return out
