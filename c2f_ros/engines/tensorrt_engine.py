"""The TensorRT engine: a model's plans on a GPU, where the states of its objects stay from frame to frame.

Per frame: masks and crops go up, states are gathered, one call for all objects, masks come down; all on one stream,
which is waited for once. States are stored after the masks have been checked, in the stream's order, waited for by
nobody.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from numpy.typing import NDArray

from c2f_ros.bundle import Arrays, Bundle
from c2f_ros.contract import ContractError, EngineError, GraphSpec, Manifest
from c2f_ros.engine_plans import BuildRequest, plan_specs, plans_of
from c2f_ros.engines.call_size import CallSize
from c2f_ros.engines.cuda_device import OutOfDeviceMemory, open_device, why_no_gpu
from c2f_ros.engines.device_frames import DeviceFrames, frame_bytes
from c2f_ros.engines.device_graph import DeviceGraph, failure, row_bytes
from c2f_ros.engines.device_memory import DeviceRoom, DeviceStates, why_no_room
from c2f_ros.engines.frame_cache import TwoGraphs, kept_of_frames
from c2f_ros.engines.kernel_cache import KernelCache
from c2f_ros.engines.modes import ModeEngine, joined
from c2f_ros.engines.profiles import Profile, from_most, profiles_of
from c2f_ros.engines.settings import MEGABYTE, DeviceSettings
from c2f_ros.engines.tensorrt_library import is_installed, library_version, open_library
from c2f_ros.plan_store import PlanStore
from c2f_ros.records import Batch, MaskProbabilities

TITLES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT for RTX"}
AUTO = "fp16"
"""What plans are built in where the user does not say: half the time and memory, proven on the golden sample."""
COMPLAINTS = 4
"""Lines kept of what the library complains of."""

T = TypeVar("T")


def why_not(backend: str) -> str:
    """Why this backend cannot run here, in one sentence; "" if its library and a GPU are there."""
    if not is_installed(backend):
        return f"{TITLES[backend]} is not installed"
    return why_no_gpu()


class TensorRTEngine(ModeEngine):
    """A bundle's plans on the first GPU, for `device.most_rows` objects a call, or as many as there is memory for.

    `device_bytes` says what it has taken there, by kind. When the GPU's memory runs out in use, calls take half as many
    objects, until larger ones are found to work again (`call_size.py`); `name` says both.
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: str,
        slots: int,
        device: DeviceSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """slots: objects remembered at most. clock: seconds. Raises ContractError in one sentence; nothing stays taken
        then."""
        self._graphs: list[DeviceGraph] = []
        self._plans: list[Any] = []
        self._needs: dict[str, int] = {}
        self._room: DeviceRoom | None = None
        self._runtime: Any = None
        self._log: deque[str] = deque(maxlen=COMPLAINTS)
        self._library, self._device = open_library(backend), open_device()
        self.precision = AUTO if device.precision == "auto" else device.precision
        self._title = f"{TITLES[backend]} {library_version(self._library)} {self.precision} on {self._device.name}"
        try:
            self._open(bundle, backend, slots, device, clock)
        except EngineError as error:
            self._close_quietly()
            raise ContractError(self._explained(error)) from error
        except BaseException:
            self._close_quietly()
            raise

    @property
    def name(self) -> str:
        remarks = [graph.remark for graph in self._graphs] + [self._size.remark]
        return ", ".join([self._title, f"{sum(self.device_bytes.values()) >> 20} MB", *filter(None, remarks)])

    @property
    def device_bytes(self) -> Mapping[str, int]:
        """Bytes of the GPU's memory by kind: weights, activations, buffers, states, frames."""
        return dict(self._room.taken) if self._room else {}

    def run(self, batch: Batch) -> MaskProbabilities:
        found: list[MaskProbabilities] = []
        first, count = 0, len(batch.image)
        while first < count:
            part = batch.part(slice(first, first + self._size.rows))
            result = self._unless_out_of_memory(self._mode.run, part, len(part.image))
            if result is not None:
                found.append(result)
                first += len(part.image)
        return joined(found)

    def compute(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        while True:
            rows = min(self._size.rows, len(inputs["image"]))  # a graph makes several calls of more
            found = self._unless_out_of_memory(self._mode.compute, inputs, rows)
            if found is not None:
                return found

    def close(self) -> None:
        """Give back everything on the GPU. Closing twice does nothing."""
        if self._room is not None:
            with suppress(EngineError):  # of work that failed already; its memory is given back all the same
                self._room.wait()
        for graph in self._graphs:
            graph.close()
        self._graphs.clear()
        self._plans.clear()  # a plan gives its weights back when nobody holds it
        self._runtime = None
        room, self._room = self._room, None
        if room is not None:
            room.close()

    def _open(
        self, bundle: Bundle, backend: str, slots: int, settings: DeviceSettings, clock: Callable[[], float]
    ) -> None:
        manifest, library = bundle.manifest, self._library
        request = BuildRequest(backend, self.precision, settings.most_rows)
        store = PlanStore(settings.cache)
        plans = plans_of(bundle, request, store, self._device.name, settings.build)
        self._load(plans)
        specs = plan_specs(manifest)
        profiles = self._choose(manifest, specs, plans, slots, settings)
        self._size = CallSize(profiles[-1].rows, clock)
        room = self._room = DeviceRoom(self._device, settings.low_priority)
        room.count("weights", self._needs["weights"])
        activations = room.allocate("activations", self._needs["activations"])
        for plan, spec, profile, data in zip(self._plans, specs, profiles, plans, strict=True):
            kernels = KernelCache(store, data, self._device.name)
            self._graphs.append(DeviceGraph(library, plan, spec, profile, room, activations, self._log, kernels))
        graphs = self._graphs
        states = DeviceStates(manifest.temporal, slots, graphs[-1], room) if manifest.temporal.state else None
        frames = None
        if manifest.frame_graph is not None:
            first, second = graphs
            capacity = self._needs["frames"] // frame_bytes(kept_of_frames(manifest))
            frames = DeviceFrames(TwoGraphs(first, second, manifest), first, second, capacity, room)
        super().__init__(manifest, graphs, slots, states, frames)

    def _choose(
        self,
        manifest: Manifest,
        specs: Sequence[GraphSpec],
        plans: Sequence[bytes],
        slots: int,
        settings: DeviceSettings,
    ) -> list[Profile]:
        """Of every plan, the profile with most objects a call for which there is memory. Raises ContractError if there
        is not enough for any."""
        library = self._library
        every = [
            profiles_of(library, plan, spec, settings.most_rows) for plan, spec in zip(self._plans, specs, strict=True)
        ]
        weights = sum(_weights(library, plan, data) for plan, data in zip(self._plans, plans, strict=True))
        for profiles in from_most(every):
            self._needs = {
                "weights": weights,
                "activations": max(1, *(profile.activation_bytes for profile in profiles)),
                "buffers": sum(one.rows * _all_row_bytes(spec) for one, spec in zip(profiles, specs, strict=True)),
                "states": slots * manifest.temporal.state_bytes,
            }
            if manifest.frame_graph is not None:
                self._needs["frames"] = self._frames_needed(manifest, slots, profiles[-1].rows, settings.memory_mb)
            reason = why_no_room(self._needs, settings.memory_mb, self._device)
            if not reason:
                if profiles[-1].rows < every[-1][-1].rows:
                    self._title += f", {profiles[-1].rows} objects a call for want of memory"
                return profiles
        raise ContractError(reason)

    def _frames_needed(self, manifest: Manifest, slots: int, rows: int, limit_mb: int) -> int:
        """Bytes of frames kept on the GPU: all windows that may be alive, or as many frames as fit beside all else, but
        at least the windows of one call."""
        size, window = frame_bytes(kept_of_frames(manifest)), manifest.temporal.window
        free, _ = self._device.memory_info()
        needed = sum(self._needs.values())
        spare = (free - needed + self._needs["weights"]) // 2  # half for others, and for what TensorRT takes later
        if limit_mb:
            spare = min(spare, limit_mb * MEGABYTE - needed)
        return size * max(rows * window, min(slots * window, spare // max(size, 1)))

    def _load(self, plans: list[bytes]) -> None:
        self._logger = _make_log(self._library, self._log)  # the library keeps no reference of its own
        self._runtime = self._library.Runtime(self._logger)
        for plan in plans:
            self._log.clear()
            engine = self._runtime.deserialize_cuda_engine(plan)
            if engine is None:
                self._needs = {"weights": len(plan)}
                said = f"a plan does not load on {self._device.name}; build it anew with c2f-build-engine --again"
                raise failure(said, self._log)
            self._plans.append(engine)

    def _explained(self, error: EngineError) -> str:
        if not isinstance(error, OutOfDeviceMemory):
            return str(error)
        free, _ = self._device.memory_info()
        needed = sum(self._needs.values()) >> 20
        return (
            f"the model needs {needed} MB of {self._device.name}'s memory and {free >> 20} MB are free now ({error}); "
            "lower max_objects, choose a lower engine_precision, or end another program on this GPU"
        )

    def _close_quietly(self) -> None:
        with suppress(EngineError):  # what went wrong first is what is said
            self.close()

    def _unless_out_of_memory(self, call: Callable[[Any], T], argument: Any, count: int) -> T | None:
        """What `call` returns, which makes calls of `count` objects; None if the GPU ran out of memory, and calls take
        fewer objects from now on."""
        try:
            found = call(argument)
        except OutOfDeviceMemory:
            if not self._size.failed():
                raise
            found = None
            for graph in self._graphs:
                graph.drop_captured()
        else:
            self._size.worked(count)
        is_bounded = self._size.rows < self._size.most
        for graph in self._graphs:
            graph.rows = min(graph.most_rows, self._size.rows) if is_bounded else graph.most_rows
        return found


def _weights(library: Any, plan: Any, data: bytes) -> int:
    """Bytes; older versions of TensorRT do not say them, then those of the plan, which holds them."""
    if not hasattr(library, "EngineStat"):
        return len(data)
    return int(plan.get_engine_stat(library.EngineStat.TOTAL_WEIGHTS_SIZE))


def _all_row_bytes(spec: GraphSpec) -> int:
    return sum(row_bytes(tensor) for tensor in (*spec.inputs, *spec.outputs))


def _make_log(library: Any, complaints: deque[str]) -> Any:
    """A logger that keeps errors for the sentence that is raised, and drops the rest."""
    severity = library.ILogger.Severity
    serious = (severity.INTERNAL_ERROR, severity.ERROR)

    class Log(library.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            library.ILogger.__init__(self)

        def log(self, level: Any, message: str) -> None:
            if level in serious:
                complaints.append(message)

    return Log()
