"""Step 6: run the engine on all objects of a frame, and trust nothing that it returns unchecked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from c2f_ros.bundle import Arrays, Bundle
from c2f_ros.contract import ContractError, EngineError
from c2f_ros.engines.checks import check_amodal
from c2f_ros.engines.choosing import KINDS, Candidate, Probes, choose_engine
from c2f_ros.engines.cpu_features import read_cpu
from c2f_ros.engines.cpu_verdict import Verdict, VerdictStore, measure, verdict_key
from c2f_ros.engines.golden import check_golden
from c2f_ros.engines.installed import why_not
from c2f_ros.engines.settings import DeviceSettings
from c2f_ros.plan_store import default_folder
from c2f_ros.records import Batch, MaskProbabilities

ENGINES = KINDS
UNSET = DeviceSettings()
SLOTS = 32
"""Objects that an engine remembers at most where its user does not say."""


class Engine(Protocol):
    """An opened model, and what it remembers of objects where the model has a memory. `name` says what runs where, for
    people; precision: of `settings.PRECISIONS`, not auto. One thread only. How many objects a call of its graphs takes,
    it decides itself.

    An engine on a device of its own has `device_bytes`, the bytes it takes there by kind. `open_engine` adds `why`, the
    reason for which it was chosen.
    """

    precision: str

    @property
    def name(self) -> str: ...

    def run(self, batch: Batch) -> MaskProbabilities:
        """Probabilities [N, S, S] for a batch with N >= 1. May raise anything; `run_engine` translates. Nothing is
        remembered of a batch that raised."""
        ...

    def compute(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """`amodal`, and NAME_next of every state, of the arrays that `Manifest.inputs` lists; past all memory."""
        ...

    def keep(self, serials: Collection[int]) -> None:
        """Forget all objects but these."""
        ...

    def reset(self) -> None:
        """Forget all objects."""
        ...

    def state_bytes(self) -> tuple[int, int]:
        """Bytes of the memory of objects: in use, and in all. (0, 0) where the model has none."""
        ...

    def close(self) -> None:
        """Give back memory and threads."""
        ...


def open_engine(kind: str, bundle: Bundle, threads: int, slots: int = SLOTS, device: DeviceSettings = UNSET) -> Engine:
    """The engine of that kind with the bundle's graphs loaded and its golden sample reproduced; `auto` chooses.

    threads: of the CPU, at most, that work for the engine. slots: objects that it remembers at most, if the model has a
    memory: as many as a frame may have, hidden ones too.
    Raises ContractError if the kind is unknown, its library or device is missing, a graph does not fit the manifest, or
    the golden output is not met. Where `auto` meets one of these it goes on to the next engine, and says why.
    """
    failed: dict[Candidate, str] = {}
    while True:
        choice = choose_engine(kind, device.precision, _probes(bundle, threads, slots, device), failed)
        try:
            engine = _open(choice.candidate, bundle, threads, slots, device)
        except ContractError as error:
            failed[choice.candidate] = str(error)
        else:
            engine.why = choice.why  # type: ignore[attr-defined]
            return engine


def engine_line(engine: Engine) -> str:
    """What runs, and why, for people: one line."""
    why = getattr(engine, "why", "")
    return f"{engine.name} ({why})" if why else engine.name


def engine_values(engine: Engine) -> dict[str, str]:
    """What diagnostics says of the engine: what runs and why, precision, bytes on a device by kind."""
    taken = ", ".join(f"{kind} {size}" for kind, size in getattr(engine, "device_bytes", {}).items())
    return {
        "engine": engine_line(engine),
        "engine_precision": getattr(engine, "precision", ""),
        "engine_device_bytes": taken or "none",
    }


def _probes(bundle: Bundle, threads: int, slots: int, device: DeviceSettings) -> Probes:
    cpu = read_cpu()

    def measured(candidates: Sequence[Candidate]) -> Verdict:
        store, key = VerdictStore(device.cache or default_folder()), verdict_key(bundle, threads, candidates, cpu)
        verdict = store.load(key, candidates)
        if verdict is None:
            verdict = measure(bundle, candidates, lambda one: _open(one, bundle, threads, slots, device))
            if verdict[0]:
                store.save(key, verdict)
        return verdict

    return Probes(why_not, lambda: cpu.has_bf16, measured)


def _open(wanted: Candidate, bundle: Bundle, threads: int, slots: int, device: DeviceSettings) -> Engine:
    """The engine, proven on the golden sample."""
    engine = _load(wanted, bundle, threads, slots, device)
    try:
        check_golden(engine, bundle)
    except ContractError:
        engine.close()
        raise
    return engine


def _load(wanted: Candidate, bundle: Bundle, threads: int, slots: int, device: DeviceSettings) -> Engine:
    if wanted.kind == "openvino":
        from c2f_ros.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(bundle, threads, slots, wanted.precision)
    device = replace(device, precision=wanted.precision)
    if wanted.kind in ("onnxruntime", "onnxruntime_cuda"):
        from c2f_ros.engines.onnxruntime_engine import OnnxRuntimeEngine

        return OnnxRuntimeEngine(bundle, threads, slots, device if wanted.kind == "onnxruntime_cuda" else None)
    from c2f_ros.engines.tensorrt_engine import TensorRTEngine

    return TensorRTEngine(bundle, wanted.kind, slots, device)


def run_engine(engine: Engine, batch: Batch) -> MaskProbabilities:
    """The engine's probabilities, checked. N = 0 costs nothing.

    Raises EngineError if the engine fails or returns a wrong shape, a value that is not finite or one outside 0..1.
    """
    count, size = batch.image.shape[0], batch.image.shape[-1]
    if count == 0:
        return MaskProbabilities(np.zeros((0, size, size), np.float32))
    try:
        result = engine.run(batch)
    except Exception as error:  # whatever the library raises: the frame is lost, the node goes on
        raise EngineError(f"engine {engine.name} failed on {count} objects: {error}") from error
    check_amodal(f"engine {engine.name}", result.amodal, count, size)
    if len(result.frames) == count:
        return result
    return MaskProbabilities(result.amodal, np.array(batch.frames or (1,) * count, np.int64))
