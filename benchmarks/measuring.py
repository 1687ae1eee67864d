"""Times that can be compared: everything that is compared runs in turn, round after round, in one process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np

Run = Callable[[], object]
Clock = Callable[[], float]
"""Seconds that have passed since some moment."""

TURN_MS = 12.0
"""What is quicker than this is called several times a turn, so that the clock's own cost does not count."""
SETTLE_MS = 120.0
"""Before a turn of what is quicker than this, one call is not counted: the threads and caches of the run before are
still busy or cold then, and would be charged to the wrong one."""
LEAST_ROUNDS = 3


@dataclass(frozen=True)
class Measured:
    """Milliseconds of one call, one value per round, in the order of the rounds."""

    ms: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.ms)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Between these lie half of the rounds."""
        low, high = np.percentile(self.ms, (25, 75))
        return float(low), float(high)

    def plain(self) -> dict[str, object]:
        """For JSON: median, quartiles and every round, in ms."""
        low, high = self.quartiles
        rounds = [round(ms, 3) for ms in self.ms]
        return {"median": round(self.median, 3), "low": round(low, 3), "high": round(high, 3), "rounds": rounds}


@dataclass(frozen=True)
class Ratio:
    """How many times slower one is than another, taken round by round: median, and the quartiles."""

    median: float
    low: float
    high: float

    def plain(self) -> dict[str, float]:
        return {"median": round(self.median, 3), "low": round(self.low, 3), "high": round(self.high, 3)}


def ratio(slow: Measured, fast: Measured) -> Ratio:
    """`slow` over `fast`, round by round: what slows the machine for a while slows both, and cancels."""
    each = [a / b for a, b in zip(slow.ms, fast.ms, strict=True)]
    low, high = np.percentile(each, (25, 75))
    return Ratio(median(each), float(low), float(high))


def in_turn(
    runs: Mapping[str, Run], rounds: int, seconds: float = math.inf, clock: Clock = time.perf_counter
) -> dict[str, Measured]:
    """Each run's milliseconds, in `rounds` rounds; each round begins with another one of them.

    seconds: after so long no further round begins, but for the first `LEAST_ROUNDS`, or `rounds` if that is fewer.
    clock: `time.process_time` for CPU time of all threads, which hardly depends on what else runs.
    """
    names, taken = list(runs), {name: [] for name in runs}
    about = {name: _first(run, clock) for name, run in runs.items()}
    start = time.perf_counter()
    for index in range(rounds):
        if index >= LEAST_ROUNDS and time.perf_counter() - start > seconds:
            break
        first = index % len(names)
        for name in names[first:] + names[:first]:
            taken[name].append(_turn(runs[name], about[name], clock))
    return {name: Measured(tuple(ms)) for name, ms in taken.items()}


def _first(run: Run, clock: Clock) -> float:
    """Milliseconds of the second call, roughly; of the first where one is enough to know."""
    ms = _timed(run, 1, clock)
    return ms if ms > 10 * SETTLE_MS else _timed(run, 1, clock)


def _turn(run: Run, about_ms: float, clock: Clock) -> float:
    if about_ms < SETTLE_MS:
        run()
    return _timed(run, max(1, min(50, math.ceil(TURN_MS / max(about_ms, 1e-3)))), clock)


def _timed(run: Run, calls: int, clock: Clock) -> float:
    start = clock()
    for _ in range(calls):
        run()
    return (clock() - start) * 1e3 / calls
