"""Processes with nodes for cameras, as `c2f-node --namespaces` starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from benchmarks.machine import ROOT
from benchmarks.processes import cpu_seconds, memory_mb
from c2f_ros.contract import ContractError

STOP_S = 15.0
"""Most seconds for a process to stop."""
Processes = Mapping[str, tuple[str, ...]]
"""The cameras of each process, by the process's name."""


class Nodes:
    """The running processes. Opened with `with`; at its end they are stopped.

    model, engine: of every node. folder: for their logs, and for what they remember of engines. domain: of ROS.
    """

    def __init__(self, model: Path, engine: str, folder: Path, domain: int) -> None:
        values = {"model": model.resolve(), "engine": engine, "engine_threads": 1, "engine_cache": folder / "cache"}
        self._parameters = [word for name, value in values.items() for word in ("-p", f"{name}:={value}")]
        # OpenMP waits as it does in a node by itself: what the benchmarks set for PyTorch is not handed on.
        kept = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
        self._environment = {**kept, "ROS_DOMAIN_ID": str(domain), "PYTHONUNBUFFERED": "1"}
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, processes: Processes) -> None:
        """Those that do not run yet, with one thread of the engine for each node."""
        for name, cameras in processes.items():
            if name not in self._running:
                command = [sys.executable, "-m", "c2f_ros.node", "--autostart", "--namespaces", *cameras, "--ros-args"]
                with open(self._log(name), "wb") as log:
                    self._running[name] = subprocess.Popen(
                        [*command, *self._parameters], cwd=ROOT, env=self._environment, stdout=log, stderr=log
                    )

    def all_run(self) -> bool:
        """True. Raises ContractError with the last words of one that has ended."""
        for name, process in self._running.items():
            if process.poll() is not None:
                last = self._log(name).read_text(errors="replace").strip().splitlines()[-1:]
                raise ContractError(
                    f"a node ended with status {process.returncode}, expected it to run on; it said: {' '.join(last)}"
                )
        return True

    def cpu_s(self, processes: Iterable[str]) -> float:
        """Seconds of the CPU that these have used so far. Raises ContractError if any process has ended."""
        self.all_run()
        return sum(cpu_seconds(self._running[name].pid) for name in processes)

    def memory_mb(self, processes: Iterable[str]) -> tuple[float, float] | None:
        """`benchmarks.processes.memory_mb` of these."""
        return memory_mb(self._running[name].pid for name in processes)

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def __enter__(self) -> Nodes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
