"""How many objects one call takes on a device whose memory other programs take and give back."""

from __future__ import annotations

from collections.abc import Callable

FIRST_WAIT_S, LONGEST_WAIT_S = 10.0, 640.0
"""Seconds until a larger call is tried again; twice as long each time that it fails again, up to the second."""


class CallSize:
    """`rows`: objects in the next call at most; `most` as long as there is memory, half as many after each call that
    ran out of it. After a wait, a call of twice as many is tried; where it fails, the next wait is twice as long.
    """

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        """clock: seconds, never falling."""
        self.most = self.rows = most
        self._clock = clock
        self._proven = most
        self._has_failed = False
        self._wait, self._raised_at, self._due = FIRST_WAIT_S, float("-inf"), float("inf")

    @property
    def remark(self) -> str:
        """What is to be said of the objects per call; "" if memory never ran out."""
        if self._proven < self.most:
            return f"{self._proven} instead of {self.most} objects a call: the GPU ran out of memory"
        return f"{self.most} objects a call again, after the GPU ran out of memory" if self._has_failed else ""

    def failed(self) -> bool:
        """Note that a call ran out of memory. Whether it is to be made again, with the fewer objects that `rows` says
        now; False for a single one."""
        if self.rows == 1:
            return False
        now, is_trial = self._clock(), self.rows > self._proven
        is_again = is_trial or now < self._raised_at + self._wait  # what worked for so short a time does not count
        self._wait = min(2 * self._wait, LONGEST_WAIT_S) if is_again else FIRST_WAIT_S
        self.rows = self._proven = self._proven if is_trial else self.rows // 2
        self._due, self._has_failed = now + self._wait, True
        return True

    def worked(self, count: int) -> None:
        """Note that a call of `count` objects had the memory it needed. `rows` may be larger after it."""
        if count > self._proven:
            self._proven = self.rows
        if self._proven == self.rows < self.most and self._clock() >= self._due:
            self.rows = min(2 * self.rows, self.most)
            self._raised_at = self._clock()
