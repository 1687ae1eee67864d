"""How fast each CPU engine runs a model on this machine: measured once, when the model is configured, then remembered.

Which engine is faster depends on the processor, the versions of both libraries and the graph. What is measured is CPU
time of the process, all threads: unlike wall time it hardly depends on what else runs, and it is what the node takes
from other programs.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from c2f_ros.bundle import Bundle
from c2f_ros.contract import ContractError
from c2f_ros.engines.choosing import EXACT, Candidate
from c2f_ros.engines.cpu_features import Cpu

if TYPE_CHECKING:
    from c2f_ros.steps.step6_engine import Engine

DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "openvino")
OBJECTS, RUNS, BUDGET_S = 8, 8, 1.0
"""Objects in a call; calls at most; seconds after which no further one is made."""
LARGE_BYTES = 64 << 20
"""Of a graph whose objects are computed one by one: each takes so long that a call of several is no faster."""
MOST_VERDICTS = 64
FILE = "cpu_engines.json"
VERSION = 1
"""Of what is measured and how it is judged: verdicts of another one do not count."""

Verdict = tuple[Mapping[Candidate, float], Mapping[Candidate, str]]
"""Seconds of CPU time per object of every candidate that works; why the others do not."""


def measure(bundle: Bundle, candidates: Sequence[Candidate], open_candidate: Callable[[Candidate], Engine]) -> Verdict:
    """Opens every candidate, one after the other, and times it on the golden sample, which it must reproduce.

    What fails in fp32 is not tried in a lower precision, whose tolerance is wider.
    """
    times: dict[Candidate, float] = {}
    broken: dict[Candidate, str] = {}
    for candidate in sorted(candidates, key=lambda one: one.precision != EXACT):
        exact = Candidate(candidate.kind, EXACT)
        if exact in broken:
            broken[candidate] = broken[exact]
            continue
        try:
            with closing(open_candidate(candidate)) as engine:
                times[candidate] = time_per_object(engine, bundle)
        except ContractError as error:
            broken[candidate] = str(error)
    return times, broken


def time_per_object(engine: Engine, bundle: Bundle) -> float:
    """Seconds of CPU time, of the fastest of some calls."""
    rows = np.arange(_objects(bundle)) % len(bundle.golden_inputs["image"])
    inputs = {name: array[rows] for name, array in bundle.golden_inputs.items()}
    taken: list[float] = []
    begun = time.monotonic()
    while not taken or len(taken) < RUNS and time.monotonic() - begun < BUDGET_S:
        start = time.process_time()
        engine.compute(inputs)
        taken.append(time.process_time() - start)
    return min(taken) / len(rows)


def _objects(bundle: Bundle) -> int:
    """In one call, to time it."""
    is_large = any(bundle.path(graph).stat().st_size > LARGE_BYTES for graph in bundle.manifest.graphs)
    return 1 if is_large else min(OBJECTS, bundle.manifest.graph.batch_limit or OBJECTS)


def verdict_key(bundle: Bundle, threads: int, candidates: Sequence[Candidate], cpu: Cpu) -> str:
    """A hash of all that a verdict depends on."""
    libraries = [_version(name) for name in DISTRIBUTIONS]
    about = [VERSION, cpu.name, sorted(cpu.flags), libraries, repr(bundle.manifest), threads]
    return hashlib.sha256(json.dumps([*about, *(str(one) for one in candidates)]).encode()).hexdigest()


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


class VerdictStore:
    """Times of earlier measurements, in one small file of the cache folder. It is a convenience: a file that cannot be
    read or written costs measuring again, nothing else."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE

    def load(self, key: str, candidates: Sequence[Candidate]) -> Verdict | None:
        """What was measured under this key for exactly these candidates, or None."""
        kept = self._read().get(key)
        names = {str(one): one for one in candidates}
        try:
            times = {names[name]: float(seconds) for name, seconds in kept["times"].items()}
            broken = {names[name]: str(reason) for name, reason in kept["broken"].items()}
        except (TypeError, KeyError, AttributeError, ValueError):
            return None
        return (times, broken) if len(times) + len(broken) == len(names) else None

    def save(self, key: str, verdict: Verdict) -> None:
        """Keep it, and the newest others."""
        times, broken = ({str(one): value for one, value in part.items()} for part in verdict)
        others = {other: value for other, value in self._read().items() if other != key}
        kept = {**dict(list(others.items())[1 - MOST_VERDICTS :]), key: {"times": times, "broken": broken}}
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile("w", dir=self._file.parent, suffix=".part", delete=False) as file:
                json.dump(kept, file, indent=1)
            os.replace(file.name, self._file)
        except OSError:
            return  # a read-only home: measured again next time

    def _read(self) -> dict[str, Any]:
        try:
            kept = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}
