"""Step 6: run the engine on all objects of a frame, and trust nothing that it returns unchecked."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from c2f_ros.bundle import Bundle
from c2f_ros.contract import ContractError, EngineError
from c2f_ros.records import Batch, MaskProbabilities

ENGINES = ("auto", "onnxruntime")


class Engine(Protocol):
    """An opened model. `name` says what runs where, for people."""

    name: str

    def run(self, batch: Batch) -> MaskProbabilities:
        """Probabilities [N, S, S] for a batch with N >= 1. May raise anything; `run_engine` translates."""
        ...

    def close(self) -> None:
        """Give back memory and threads."""
        ...


def open_engine(kind: str, bundle: Bundle, threads: int) -> Engine:
    """The engine of that kind with the bundle's graph loaded and its golden sample reproduced.

    Raises ContractError if the kind is unknown, its library is missing, the graph does not fit the manifest, or the
    golden output is not met.
    """
    if kind not in ENGINES:
        raise ContractError(f"engine is {kind!r}, expected one of {', '.join(ENGINES)}; correct the parameter")
    from c2f_ros.engines.onnxruntime_engine import OnnxRuntimeEngine

    engine = OnnxRuntimeEngine(bundle, threads)
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
    if step >= count:
        return _run_checked(engine, batch)
    parts = [slice(first, first + step) for first in range(0, count, step)]
    found = [_run_checked(engine, Batch(batch.image[part], batch.masks[part])).amodal for part in parts]
    return MaskProbabilities(np.concatenate(found))


def _run_checked(engine: Engine, batch: Batch) -> MaskProbabilities:
    count, size = batch.image.shape[0], batch.image.shape[-1]
    try:
        result = engine.run(batch)
    except Exception as error:  # whatever the library raises: the frame is lost, the node goes on
        raise EngineError(f"engine {engine.name} failed on {count} objects: {error}") from error
    amodal = result.amodal
    if amodal.shape != (count, size, size):
        raise EngineError(
            f"engine {engine.name} returned {amodal.shape}, expected {(count, size, size)}; nothing is published"
        )
    low, high = float(amodal.min()), float(amodal.max())
    if not (low >= 0.0 and high <= 1.0):
        raise EngineError(f"engine {engine.name} returned values in {low}..{high}, expected 0..1; nothing is published")
    return result


def check_golden(engine: Engine, bundle: Bundle) -> float:
    """Largest absolute difference from the bundle's stored output. Raises ContractError above the tolerance."""
    try:
        golden = Batch(bundle.golden_image, bundle.golden_masks)
        found = run_engine(engine, golden, bundle.manifest.graph.batch_limit).amodal
    except EngineError as error:
        raise ContractError(f"golden sample of {bundle.manifest.model_id}: {error}; build the bundle again") from error
    difference = float(np.abs(found - bundle.golden_amodal).max())
    tolerance = bundle.manifest.golden.tolerance
    if not difference <= tolerance:
        raise ContractError(
            f"golden sample of {bundle.manifest.model_id} differs by {difference:.2g} on {engine.name}, at most "
            f"{tolerance:.2g} is allowed; do not use this engine here, or export the bundle again"
        )
    return difference
