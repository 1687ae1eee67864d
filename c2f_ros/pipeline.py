"""Steps 3 to 7 in a row, without ROS: what the node's threads call, and what offline replay calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import cv2

from c2f_ros.bundle import Bundle, find_model, load_bundle
from c2f_ros.endings import Endings, Findings, Prediction
from c2f_ros.geometry import PlacedMask
from c2f_ros.latency import LatencyLog
from c2f_ros.parameters import Parameters
from c2f_ros.records import AmodalFrame, Batch, MaskProbabilities, ObservedFrame, PairedFrame
from c2f_ros.statistics import TrackCounts
from c2f_ros.steps.step3_identity import Identities
from c2f_ros.steps.step4_follow import TrackStore
from c2f_ros.steps.step4_observe import WindowStore
from c2f_ros.steps.step5_batch import make_batch
from c2f_ros.steps.step6_engine import Engine, open_engine, run_engine
from c2f_ros.steps.step7_paste import paste_back, predict_whole

MOST_FINDINGS = 16
"""Findings that wait at most: more than a worker with a mailbox of one makes between two frames."""
SLOTS_PER_OBJECT = 2
"""Objects that the engine remembers per object of a frame: as many hidden ones are followed."""


class Pipeline:
    """One model at work on one stream of frames.

    `observe` and `reset` must be called by one thread, with every paired frame in order; `infer` by one thread too,
    maybe another, on observed frames in order, any of which may be left out. The engine is touched by `infer` alone.
    The two share records that never change, and one mailbox: what inference found out waits in it for `observe`.
    `latency` holds the milliseconds of every stage.
    """

    def __init__(
        self, bundle: Bundle, engine: Engine, parameters: Parameters, latency: LatencyLog | None = None
    ) -> None:
        self.manifest, self.engine, self.parameters = bundle.manifest, engine, parameters
        self.latency = latency or LatencyLog()
        self._identities = Identities(
            parameters.tracking_ids == "own", parameters.tracking_min_iou, parameters.tracking_max_missed
        )
        self._follows = bundle.manifest.crop.rule == "followed"
        self._streams = bundle.manifest.temporal.mode == "stream"
        sizes = bundle.manifest, parameters.max_objects, parameters.window_max_gap_s
        self._tracks = TrackStore(*sizes, parameters.tracking_invisible_s) if self._follows else None
        self._windows = WindowStore(*sizes)
        self._findings: deque[Findings] = deque(maxlen=MOST_FINDINGS)
        self._endings = Endings(parameters.hidden_under == "other_instances")
        self._epoch = 0

    @property
    def tracks(self) -> int:
        """Tracks in memory."""
        return len(self._windows if self._tracks is None else self._tracks)

    @property
    def counts(self) -> TrackCounts | None:
        """What became of tracks; None for models that do not follow objects."""
        if self._tracks is None:
            return None
        self._tracks.counts.reassociated = self._identities.reassociated
        return self._tracks.counts

    def reset(self, why: str = "another recording begins") -> None:
        """Forget all tracks, in the engine too before it infers again. why: for people."""
        self._identities.reset()
        self._windows.reset()
        if self._tracks is not None:
            self._tracks.reset(why)

    def observe(self, paired: PairedFrame) -> ObservedFrame:
        """Steps 3 and 4: ids, crops, windows. Raises InputError if the frame is stale."""
        if self._tracks is not None:
            return self._follow(paired, self._tracks)
        with self.latency.timed("identity"):
            tracked = self._identities.assign(paired)
        with self.latency.timed("observe"):
            return self._windows.observe(tracked)

    def _follow(self, paired: PairedFrame, tracks: TrackStore) -> ObservedFrame:
        with self.latency.timed("identity"):
            tracks.begin(paired.frame)
            while self._findings:
                tracks.learn(self._findings.popleft())
            is_reassociating = self._streams and self.parameters.tracking_reassociate
            tracked = self._identities.assign(paired, tracks if is_reassociating else None)
        with self.latency.timed("observe"):
            return tracks.observe(tracked)

    def infer(self, observed: ObservedFrame) -> AmodalFrame:
        """Steps 5 to 7: batch, engine, paste. Raises EngineError if the engine fails."""
        with self.latency.timed("batch"):
            if self._streams:
                observed = self._remember(observed)
            batch = make_batch(observed, self.manifest)
        with self.latency.timed("engine"):
            probabilities = run_engine(self.engine, batch)
        with self.latency.timed("paste"):
            predicted = predict_whole(observed, probabilities, self.manifest)
            ended = self._find(observed, batch, probabilities, predicted) if self._streams else frozenset()
            rule = self.parameters.hidden_under
            return paste_back(observed, probabilities, predicted, self.manifest, rule, ended)

    def _remember(self, observed: ObservedFrame) -> ObservedFrame:
        """Make the engine's memory that of the tracks alive, and leave out hidden ones that are known to be over."""
        if observed.epoch != self._epoch:
            self.engine.reset()
            self._endings.reset()
            self._epoch = observed.epoch
        self.engine.keep(observed.alive)
        return self._endings.without_ended(observed)

    def _find(
        self, observed: ObservedFrame, batch: Batch, probabilities: MaskProbabilities, predicted: Sequence[PlacedMask]
    ) -> frozenset[int]:
        """The serials of hidden tracks that are over now; `observe` is told of them, and of what was predicted."""
        hidden, first = observed.hidden, len(predicted) - len(observed.hidden)
        labels = observed.tracked.paired.instances.labels
        over = self._endings.judge(hidden, predicted[first:], probabilities.frames[first:].tolist(), labels)
        rows = zip(batch.serials, predicted, batch.anchors, strict=True)
        predictions = {serial: Prediction(mask, anchor) for serial, mask, anchor in rows}
        self._findings.append(Findings(self._epoch, predictions, self._endings.ends, self.engine.state_bytes()))
        return frozenset(track.serial for track, is_over in zip(hidden, over, strict=True) if is_over)

    def close(self) -> None:
        """Give back the engine."""
        self.engine.close()


def open_pipeline(parameters: Parameters) -> Pipeline:
    """The pipeline for `parameters.model`, its engine opened and checked. Raises ContractError in one sentence."""
    bundle = load_bundle(find_model(parameters.model))
    slots = SLOTS_PER_OBJECT * parameters.max_objects
    cv2.setNumThreads(1)  # of the whole process: by default OpenCV takes every core of the machine
    engine = open_engine(parameters.engine, bundle, parameters.engine_threads, slots, parameters.device)
    return Pipeline(bundle, engine, parameters)
