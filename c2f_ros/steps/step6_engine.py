"""Step 6: run the engine on all objects of a frame, and trust nothing that it returns unchecked."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from c2f_ros.bundle import Arrays, Bundle
from c2f_ros.contract import ContractError, EngineError
from c2f_ros.engines.checks import check_amodal
from c2f_ros.records import Batch, MaskProbabilities

ENGINES = ("auto", "onnxruntime")
SLOTS = 32
"""Objects that an engine remembers at most where its user does not say."""


class Engine(Protocol):
    """An opened model, and what it remembers of objects where the model has a memory. `name` says what runs where, for
    people. One thread only."""

    name: str

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


def open_engine(kind: str, bundle: Bundle, threads: int, slots: int = SLOTS) -> Engine:
    """The engine of that kind with the bundle's graphs loaded and its golden sample reproduced.

    slots: objects that it remembers at most, if the model has a memory: as many as a frame may have, hidden ones too.
    Raises ContractError if the kind is unknown, its library is missing, a graph does not fit the manifest, or the
    golden output is not met.
    """
    if kind not in ENGINES:
        raise ContractError(f"engine is {kind!r}, expected one of {', '.join(ENGINES)}; correct the parameter")
    from c2f_ros.engines.onnxruntime_engine import OnnxRuntimeEngine

    engine = OnnxRuntimeEngine(bundle, threads, slots)
    check_golden(engine, bundle)
    return engine


def run_engine(engine: Engine, batch: Batch, batch_limit: int = 0) -> MaskProbabilities:
    """The engine's probabilities, checked: one call, or as many as `batch_limit` objects a call ask for (0: no limit).

    N = 0 costs nothing.
    Raises EngineError if the engine fails or returns a wrong shape, a value that is not finite or one outside 0..1.
    """
    count, size = batch.image.shape[0], batch.image.shape[-1]
    if count == 0:
        return MaskProbabilities(np.zeros((0, size, size), np.float32))
    step = batch_limit or count
    parts = [batch.part(slice(first, first + step)) for first in range(0, count, step)]
    found = [_run_checked(engine, part) for part in parts]
    if len(found) == 1:
        return found[0]
    return MaskProbabilities(*(np.concatenate([getattr(one, name) for one in found]) for name in ("amodal", "frames")))


def _run_checked(engine: Engine, batch: Batch) -> MaskProbabilities:
    count = len(batch.image)
    try:
        result = engine.run(batch)
    except Exception as error:  # whatever the library raises: the frame is lost, the node goes on
        raise EngineError(f"engine {engine.name} failed on {count} objects: {error}") from error
    check_amodal(f"engine {engine.name}", result.amodal, count, batch.image.shape[-1])
    if len(result.frames) == count:
        return result
    return MaskProbabilities(result.amodal, np.array(batch.frames or (1,) * count, np.int64))


def check_golden(engine: Engine, bundle: Bundle) -> float:
    """Largest absolute difference from the bundle's stored outputs. Raises ContractError above the tolerance."""
    model, size = bundle.manifest.model_id, bundle.manifest.crop.size
    count = len(bundle.golden_outputs["amodal"])
    step = bundle.manifest.graph.batch_limit or count
    try:
        parts = [
            engine.compute({name: array[first : first + step] for name, array in bundle.golden_inputs.items()})
            for first in range(0, count, step)
        ]
        found = {name: np.concatenate([part[name] for part in parts]) for name in bundle.golden_outputs}
        check_amodal(f"engine {engine.name}", found["amodal"], count, size)
    except Exception as error:  # whatever the library raises: the engine is not to be used
        raise ContractError(f"golden sample of {model}: {error}; build the bundle again") from error
    differences = {name: _difference(found[name], expected) for name, expected in bundle.golden_outputs.items()}
    worst = max(differences, key=lambda name: differences[name])
    tolerance = bundle.manifest.golden.tolerance
    if not differences[worst] <= tolerance:
        raise ContractError(
            f"golden sample of {model} differs by {differences[worst]:.2g} in {worst} on {engine.name}, at most "
            f"{tolerance:.2g} is allowed; do not use this engine here, or export the bundle again"
        )
    return differences[worst]


def _difference(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Largest absolute difference; infinite where it is no number, or the shapes differ."""
    if found.shape != expected.shape:
        return float("inf")
    difference = float(np.abs(found - expected).max())
    return difference if difference == difference else float("inf")
