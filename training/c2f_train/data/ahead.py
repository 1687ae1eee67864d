"""Batches that are made in the background while the last one is trained on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """`make(step)` for any step; meanwhile threads make the following ones. The results are those of `make` itself."""

    def __init__(self, make: Callable[[int], T], threads: int, depth: int) -> None:
        """make: depends on the step alone; it may run in several threads. threads: 0 makes everything when it is asked
        for. depth: steps made ahead."""
        self._make, self._depth = make, depth if threads else 0
        self._pool = ThreadPoolExecutor(threads, "batches") if threads else None
        self._made: dict[int, Future[T]] = {}

    def __call__(self, step: int) -> T:
        """`make(step)`; raises what it raises."""
        wanted = range(step + 1, step + 1 + self._depth)
        found = self._made.pop(step, None)
        for stale in self._made.keys() - set(wanted):
            self._made.pop(stale).cancel()
        if self._pool is not None:
            for later in wanted:
                if later not in self._made:
                    self._made[later] = self._pool.submit(self._make, later)
        return self._make(step) if found is None else found.result()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._made.clear()

    def __enter__(self) -> Ahead[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
