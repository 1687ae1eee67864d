"""What other processes of this machine have used: CPU time and memory."""

from __future__ import annotations

import ctypes
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

MB = 1024 * 1024
MESSAGES = "/dev/shm/"
_MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ ([0-9a-f]+) \S+ \d+ *(.*)$")


def cpu_seconds(pid: int) -> float:
    """Seconds of the CPU that all threads of a process have used, ended ones too, to the nanosecond.

    The same as the ticks of /proc/PID/stat, of which a turn of a few frames has too few. Raises OSError if it is gone.
    """
    clock = ctypes.c_int()
    failed = ctypes.CDLL(None).clock_getcpuclockid(ctypes.c_int(pid), ctypes.byref(clock))
    if failed:
        raise OSError(failed, f"process {pid} has no clock: {os.strerror(failed)}")
    return time.clock_gettime(clock.value)


def memory_mb(pids: Iterable[int]) -> tuple[float, float] | None:
    """MB (2^20 bytes) in memory that these processes hold together, and the sum of their PSS; None without /proc.

    In the first, a file that several have mapped counts once, and segments of /dev/shm do not count: they hold
    messages, most of them others'. PSS gives a part of a file to every other process of the machine that has it open,
    so it depends on what else runs, and favours many processes over one.
    """
    try:
        return together_mb([Path(f"/proc/{pid}/smaps").read_text() for pid in pids])
    except OSError:
        return None


def together_mb(maps: Iterable[str]) -> tuple[float, float]:
    """`memory_mb` of processes whose /proc/PID/smaps say this.

    Of a stretch of a file that several have mapped, the most that one of them has in memory: they run the same program.
    """
    files: dict[tuple[str, str], int] = defaultdict(int)
    own = pss = 0
    for text in maps:
        where, resident = ("", ""), 0
        for line in text.splitlines():
            if found := _MAPPING.match(line):
                where = (found[2], found[1])
            elif line.startswith("Rss:"):
                resident = _bytes(line)
            elif line.startswith("Pss:"):
                pss += _bytes(line)
            elif line.startswith("Anonymous:"):
                own += _bytes(line)
                if not where[0].startswith(MESSAGES):
                    files[where] = max(files[where], resident - _bytes(line))
    return (own + sum(files.values())) / MB, pss / MB


def _bytes(line: str) -> int:
    return int(line.split()[1]) * 1024
