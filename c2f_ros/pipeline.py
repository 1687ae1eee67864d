"""Steps 3 to 7 in a row, without ROS: what the node's threads call, and what offline replay calls."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from c2f_ros.bundle import Bundle, find_model, load_bundle
from c2f_ros.latency import LatencyLog
from c2f_ros.parameters import Parameters
from c2f_ros.records import AmodalFrame, ObservedFrame, PairedFrame
from c2f_ros.steps.step3_identity import Identities
from c2f_ros.steps.step4_observe import WindowStore
from c2f_ros.steps.step5_batch import make_batch
from c2f_ros.steps.step6_engine import Engine, open_engine, run_engine
from c2f_ros.steps.step7_paste import paste_back


class Pipeline:
    """One model at work on one stream of frames.

    `observe` must be called by one thread, with every paired frame in order; `infer` may run in another thread, on any
    observed frame: it reads nothing but its argument. `latency` holds the milliseconds of every stage.
    """

    def __init__(self, bundle: Bundle, engine: Engine, parameters: Parameters) -> None:
        self.manifest, self.engine, self.parameters = bundle.manifest, engine, parameters
        self.latency = LatencyLog()
        self._identities = Identities(
            parameters.tracking_ids == "own", parameters.tracking_min_iou, parameters.tracking_max_missed
        )
        self._windows = WindowStore(bundle.manifest, parameters.max_objects, parameters.window_max_gap_s)

    @property
    def tracks(self) -> int:
        """Tracks in memory."""
        return len(self._windows)

    def reset(self) -> None:
        """Forget all tracks: another recording begins."""
        self._identities.reset()
        self._windows.reset()

    def observe(self, paired: PairedFrame) -> ObservedFrame:
        """Steps 3 and 4: ids, crops, windows. Raises InputError if the frame is stale."""
        with self._timed("identity"):
            tracked = self._identities.assign(paired)
        with self._timed("observe"):
            return self._windows.observe(tracked)

    def infer(self, observed: ObservedFrame) -> AmodalFrame:
        """Steps 5 to 7: batch, engine, paste. Raises EngineError if the engine fails."""
        with self._timed("batch"):
            batch = make_batch(observed, self.manifest)
        with self._timed("engine"):
            probabilities = run_engine(self.engine, batch, self.manifest.graph.batch_limit)
        with self._timed("paste"):
            return paste_back(observed, probabilities, self.manifest, self.parameters.hidden_under)

    def close(self) -> None:
        """Give back the engine."""
        self.engine.close()

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.latency.add(stage, (time.perf_counter() - start) * 1e3)


def open_pipeline(parameters: Parameters) -> Pipeline:
    """The pipeline for `parameters.model`, its engine opened and checked. Raises ContractError in one sentence."""
    bundle = load_bundle(find_model(parameters.model))
    return Pipeline(bundle, open_engine(parameters.engine, bundle, parameters.engine_threads), parameters)
