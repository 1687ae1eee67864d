"""Times the way of the data stage by stage, from a message's arrival to the bytes that are sent, in one thread.

Steps 1 to 8 as the node runs them, on scenes of `bench_scene.py`; without ROS all but making messages.
"""

from __future__ import annotations

import array
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from c2f_ros.bench_scene import MovingScene
from c2f_ros.bundle import Arrays, Bundle
from c2f_ros.geometry import ByteArray
from c2f_ros.latency import LatencyLog
from c2f_ros.parameters import Parameters
from c2f_ros.pipeline import Pipeline
from c2f_ros.records import Batch, MaskProbabilities, Status
from c2f_ros.steps.step1_read import read_image, read_label_image
from c2f_ros.steps.step2_pairing import StampPairing
from c2f_ros.steps.step6_engine import Engine
from c2f_ros.steps.step8_publish import to_message

STAGES = ("decode", "pair", "identity", "observe", "batch", "engine", "paste", "message", "serialize")
ROS_STAGES = ("message", "serialize")
"""Stages that need rclpy and this package's generated messages."""
WARM_UP = 5
"""Frames before the first that counts: what is made once is made then."""
RATE_HZ = 30.0
SPREAD = 5
"""Side, in pixels of the crop, of the stamp by which `EchoEngine` widens what is seen."""


@dataclass(frozen=True)
class StageTime:
    """Milliseconds of one stage over the counted frames; cpu: of this process, all threads."""

    median_ms: float
    p95_ms: float
    cpu_median_ms: float
    cpu_p95_ms: float


@dataclass(frozen=True)
class Case:
    """What is timed: a model by its id, the image's size, and how many objects move in it."""

    model_id: str
    height: int
    width: int
    objects: int


@dataclass(frozen=True)
class Timing:
    """One case's result. stages: by name, in order; those left out are missing. path: all but the engine together,
    frame by frame. visible, hidden: published objects per frame that are seen, and that are remembered only, on
    average. message_bytes: of a published message, on average; 0 without ROS."""

    case: Case
    frames: int
    stages: dict[str, StageTime]
    path: StageTime
    visible: float
    hidden: float
    message_bytes: float

    @property
    def sum_of_medians_ms(self) -> float:
        """Of all stages but the engine."""
        return sum(time.median_ms for name, time in self.stages.items() if name != "engine")

    @property
    def cpu_sum_of_medians_ms(self) -> float:
        """The same in CPU time, which other programs on the machine disturb less."""
        return sum(time.cpu_median_ms for name, time in self.stages.items() if name != "engine")


class StageClock(LatencyLog):
    """Wall and CPU milliseconds of every stage, frame by frame, of one thread that works alone."""

    def __init__(self) -> None:
        super().__init__()
        self.wall: dict[str, list[float]] = defaultdict(list)
        self.cpu: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Note how long the block takes, by both clocks."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.cpu[stage].append((time.process_time() - cpu) * 1e3)
        self.wall[stage].append((time.perf_counter() - wall) * 1e3)

    def forget(self) -> None:
        """Begin anew."""
        self.wall.clear()
        self.cpu.clear()

    def of(self, stage: str) -> StageTime:
        """One stage's times."""
        return _summary(self.wall[stage], self.cpu[stage])

    def path(self) -> StageTime:
        """Those of all stages but the engine, added up frame by frame."""
        wall, cpu = ([part[name] for name in part if name != "engine"] for part in (self.wall, self.cpu))
        return _summary(np.sum(wall, axis=0), np.sum(cpu, axis=0))


def _summary(wall: Sequence[float] | NDArray[np.float64], cpu: Sequence[float] | NDArray[np.float64]) -> StageTime:
    values = (float(v) for part in (wall, cpu) for v in np.percentile(part, [50, 95]))
    return StageTime(*(round(value, 4) for value in values))


class EchoEngine:
    """Stands in for a model where only what surrounds it is timed: an object is what is seen of it and, beneath others,
    a little more; one that is hidden is what it was when it was seen last."""

    name = "none: what is seen comes back"

    def __init__(self, bundle: Bundle) -> None:
        self._channels = bundle.manifest.input.mask_channels
        self.reset()

    def run(self, batch: Batch) -> MaskProbabilities:
        planes = batch.masks if batch.masks.ndim == 4 else batch.masks[:, -1]
        amodal = planes[:, self._channels.index("visible")].copy()
        for row, seen in enumerate(amodal):
            wider = cv2.dilate(seen, np.ones((SPREAD, SPREAD), np.uint8))
            if "others" in self._channels:
                wider *= planes[row, self._channels.index("others")]
            np.maximum(seen, np.float32(0.7) * wider, out=seen)
        for row, serial in enumerate(batch.serials):
            if not amodal[row].any() and serial in self._last:
                amodal[row] = self._last[serial]
            self._last[serial] = amodal[row]
            self._frames[serial] = self._frames.get(serial, 0) + 1
        counts = [self._frames[serial] for serial in batch.serials]
        return MaskProbabilities(amodal, np.array(counts, np.int64))

    def compute(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        raise NotImplementedError("there is no model to compute with")

    def keep(self, serials: Collection[int]) -> None:
        for known in (self._last, self._frames):
            for serial in [s for s in known if s not in serials]:
                del known[serial]

    def reset(self) -> None:
        self._last: dict[int, NDArray[np.float32]] = {}
        self._frames: dict[int, int] = {}

    def state_bytes(self) -> tuple[int, int]:
        return 0, 0

    def close(self) -> None:
        self.reset()


def ros_side() -> Any | None:
    """The module that makes rclpy's messages; None where rclpy or this package's generated messages are missing."""
    try:
        from c2f_ros import ros_messages
    except ImportError:
        return None
    return ros_messages


def time_case(
    bundle: Bundle, engine: Engine, parameters: Parameters, case: Case, frames: int, ros: Any | None
) -> Timing:
    """The times of `frames` frames, after some to warm up. The engine's memory is emptied first; it is not closed.

    ros: of `ros_side`; with None the stages `ROS_STAGES` are left out.
    """
    scene, clock = MovingScene(case.height, case.width, case.objects), StageClock()
    line, pairing = Pipeline(bundle, engine, parameters, clock), StampPairing(parameters.sync_buffer, 1.0)
    engine.reset()
    visible, hidden, sizes = [], [], [0]
    for index in range(WARM_UP + frames):
        if index == WARM_UP:
            clock.forget()
        image, masks = _messages(scene, index, ros)
        with clock.timed("decode"):
            frame, instances = read_image(image, 0.0), read_label_image(masks)
        with clock.timed("pair"):
            pairing.add_frame(frame)
            paired = pairing.add_instances(instances)
        assert paired is not None
        result = line.infer(line.observe(paired))
        unseen = sum(item.status == Status.INVISIBLE for item in result.instances)
        hidden.append(unseen)
        visible.append(len(result.instances) - unseen)
        if ros is not None:
            with clock.timed("message"):
                message = to_message(result, ros.RclpyTypes, parameters.output_encoding)
            with clock.timed("serialize"):
                data = ros.serialized(message)
            sizes.append(len(data))
    stages = {name: clock.of(name) for name in STAGES if name in clock.wall}
    counts = (round(float(np.mean(values[-frames:])), 2) for values in (visible, hidden, sizes))
    return Timing(case, frames, stages, clock.path(), *counts)


def _messages(scene: MovingScene, index: int, ros: Any | None) -> tuple[Any, Any]:
    """The camera's and the segmenter's messages of a frame, by the fields that step 1 reads."""
    rgb, labels = scene.frame(index)
    stamp_ns = 1_000_000_000 + round(index * 1e9 / RATE_HZ)
    if ros is None:
        sec, nanosec = divmod(stamp_ns, 1_000_000_000)
        header: Any = SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=nanosec))
    else:
        header = ros.header_message(stamp_ns, "camera")
    return _image(header, rgb, "rgb8"), _image(header, labels, "mono8")


def _image(header: Any, values: ByteArray, encoding: str) -> Any:
    height, width = values.shape[:2]
    data = array.array("B")
    data.frombytes(values.tobytes())
    step = values.strides[0]
    return SimpleNamespace(
        header=header, height=height, width=width, encoding=encoding, is_bigendian=0, step=step, data=data
    )


def fitted_cost(timings: Sequence[Timing]) -> dict[str, float] | None:
    """CPU milliseconds of the path as constant + per_object N + per_megapixel P + per_object_megapixel N P, by least
    squares over the cases of one model; None for fewer than 5 cases. The last says what grows with both.
    """
    if len(timings) < 5:
        return None
    count = np.array([one.case.objects for one in timings], float)
    pixels = np.array([one.case.height * one.case.width * 1e-6 for one in timings])
    columns = np.stack([np.ones_like(count), count, pixels, count * pixels], 1)
    found, *_ = np.linalg.lstsq(columns, np.array([one.path.cpu_median_ms for one in timings]), rcond=None)
    names = ("constant_ms", "per_object_ms", "per_megapixel_ms", "per_object_megapixel_ms")
    return {name: round(float(value), 4) for name, value in zip(names, found, strict=True)}
