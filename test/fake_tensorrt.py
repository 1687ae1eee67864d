"""A TensorRT that is not there: plans of ONNX files that ONNX Runtime runs, in the memory and order of a fake device.

What these classes offer is what the real ones have: `test_fake_tensorrt.py` compares them where the library is
installed.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from enum import Enum
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
from fake_device import FakeDevice

from c2f_ros.contract import EngineError
from c2f_ros.engines.cuda_device import OutOfDeviceMemory

WEIGHTS, ACTIVATIONS = 1000, 512
"""Bytes that every plan takes by itself, and that it needs while it runs."""


class Strategy(Enum):
    STATIC = 0
    USER_MANAGED = 2


class CudaGraphs(Enum):
    DISABLED = 0
    WHOLE_GRAPH_CAPTURE = 1


class Mode(Enum):
    INPUT = 1
    OUTPUT = 2


class Stat(Enum):
    TOTAL_WEIGHTS_SIZE = 0


class Logger:
    Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2)


class FakeTensorRT:
    """A module such as `tensorrt` or, with `is_rtx`, `tensorrt_rtx`, on a device. `calls` go to the device's."""

    __version__ = "10.9.0.34"
    ILogger = Logger
    ExecutionContextAllocationStrategy = Strategy
    TensorIOMode = Mode
    EngineStat = Stat

    def __init__(self, device: FakeDevice, is_rtx: bool = False) -> None:
        self.device, self.is_rtx = device, is_rtx
        if is_rtx:
            self.CudaGraphStrategy = CudaGraphs

    def Runtime(self, log: Any) -> FakeRuntime:
        return FakeRuntime(self.device, log)

    @staticmethod
    def nptype(dtype: str) -> type:
        return np.dtype(dtype).type


class FakeRuntime:
    def __init__(self, device: FakeDevice, log: Any) -> None:
        self._device, self._log = device, log

    def deserialize_cuda_engine(self, plan: bytes) -> FakePlan | None:
        return _unless_error(self._device, self._log, "deserialize", lambda: FakePlan(self._device, self._log, plan))


class FakeCache:
    """IRuntimeCache: what it was given, and a word more for every context that compiled."""

    def __init__(self) -> None:
        self._content = b""

    def deserialize(self, blob: bytes) -> bool:
        is_ours = blob.startswith(b"compiled")
        self._content = blob if is_ours else b""
        return is_ours

    def serialize(self) -> bytearray:
        return bytearray(self._content or b"compiled")


class FakeConfig:
    """IRuntimeConfig of TensorRT for RTX."""

    cuda_graph_strategy = CudaGraphs.DISABLED

    def __init__(self, device: FakeDevice) -> None:
        self._device = device
        self._strategy = Strategy.STATIC

    def set_execution_context_allocation_strategy(self, strategy: Strategy) -> None:
        self._strategy = strategy

    def create_runtime_cache(self) -> FakeCache:
        return FakeCache()

    def set_runtime_cache(self, cache: FakeCache) -> bool:
        self._device.calls.append("warm" if cache._content else "compile")
        return True


class FakePlan:
    """ICudaEngine: an ONNX file that ONNX Runtime runs with one thread. profiles: rows at most, and bytes while it
    runs."""

    def __init__(self, device: FakeDevice, log: Any, plan: bytes) -> None:
        said = json.loads(plan)
        if said["gpu"] != device.name:
            raise EngineError(f"a plan for {said['gpu']}")
        self.device, self.log, self.least = device, log, said["least"]
        self.profiles: list[tuple[int, int]] = [tuple(profile) for profile in said["profiles"]]
        self.num_optimization_profiles = len(self.profiles)
        self.session = session(said["graph"])
        self._tensors = [(tuple(t), Mode.INPUT) for t in said["inputs"]]
        self._tensors += [(tuple(t), Mode.OUTPUT) for t in said["outputs"]]
        self._by_name = {name: (dtype, shape, mode) for (name, dtype, shape), mode in self._tensors}
        if WEIGHTS > device.unused():
            raise OutOfDeviceMemory("weights")
        device.weights += WEIGHTS
        weakref.finalize(self, _give_back_weights, device)
        self.num_io_tensors = len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return self._tensors[index][0][0]

    def get_tensor_dtype(self, name: str) -> str:
        return self._by_name[name][0]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, *self._by_name[name][1])

    def get_tensor_mode(self, name: str) -> Mode:
        return self._by_name[name][2]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        shape, (rows, _) = tuple(self._by_name[name][1]), self.profiles[profile_index]
        return [(self.least, *shape), (rows, *shape), (rows, *shape)]

    def get_device_memory_size_for_profile_v2(self, profile_index: int) -> int:
        return self.profiles[profile_index][1]

    def get_engine_stat(self, stat: Stat) -> int:
        assert stat is Stat.TOTAL_WEIGHTS_SIZE
        return WEIGHTS

    def create_runtime_config(self) -> FakeConfig:
        return FakeConfig(self.device)

    def create_execution_context(self, how: Strategy | FakeConfig) -> FakeContext | None:
        strategy = how if isinstance(how, Strategy) else how._strategy
        assert strategy is Strategy.USER_MANAGED, "the engine takes its memory itself"
        return _unless_error(self.device, self.log, "create_execution_context", lambda: FakeContext(self))


class FakeContext:
    """IExecutionContext. A graph captured from it is broken by any later change of shapes or addresses."""

    def __init__(self, plan: FakePlan) -> None:
        self._plan, self._version = plan, 0
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._memory = (0, 0)
        self._rows, self._bytes = plan.profiles[0]

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        assert stream_handle in self._plan.device.streams
        assert self._memory == (0, 0) and not self._addresses and not self._shapes, "what was set before is lost"
        self._rows, self._bytes = self._plan.profiles[profile_index]
        return True

    def set_device_memory(self, memory: int, size: int) -> None:
        assert size >= self._bytes and memory % 256 == 0
        self._memory = memory, size

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._version += 1
        self._addresses[name] = memory
        return name in self._plan._by_name and memory % 256 == 0

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._version += 1
        self._shapes[name] = tuple(shape)
        return 1 <= shape[0] <= self._rows and tuple(shape[1:]) == tuple(self._plan._by_name[name][1])

    def execute_async_v3(self, stream_handle: int) -> bool:
        device, version = self._plan.device, self._version
        if _unless_error(device, self._plan.log, "execute_async_v3", lambda: True) is None:
            return False
        counts = {shape[0] for shape in self._shapes.values()}
        assert len(counts) == 1, "inputs of different numbers of rows"
        is_captured, count, addresses = device.is_capturing, counts.pop(), dict(self._addresses)
        if not is_captured:
            device.calls.append("execute_async_v3")

        def run() -> None:
            assert not is_captured or version == self._version, "the context was changed after its graph was captured"
            device.bytes_at(self._memory[0], self._bytes).fill(0xAB)
            self._run(count, addresses)

        device.put(stream_handle, run)
        return True

    def _run(self, count: int, addresses: dict[str, int]) -> None:
        device, tensors = self._plan.device, self._plan._by_name
        views = {}
        for name, (dtype, shape, _) in tensors.items():
            size = count * int(np.prod(shape)) * np.dtype(dtype).itemsize
            views[name] = device.bytes_at(addresses[name], size).view(dtype).reshape(count, *shape)
        inputs = {name: views[name].copy() for name, (_, _, mode) in tensors.items() if mode is Mode.INPUT}
        names = [name for name, (_, _, mode) in tensors.items() if mode is Mode.OUTPUT]
        for name, array in zip(names, self._plan.session.run(names, inputs), strict=True):
            np.copyto(views[name], array)


@cache
def session(path: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _give_back_weights(device: FakeDevice) -> None:
    device.weights -= WEIGHTS


def _unless_error(device: FakeDevice, log: Any, call: str, work: Callable[[], Any]) -> Any:
    """As TensorRT does: None, and a line in the log, where anything goes wrong."""
    try:
        device.fail_if_told(call)
        return work()
    except OutOfDeviceMemory as error:
        log.log(1, f"[defaultAllocator.cpp] Cuda Runtime (out of memory) {error}")
    except EngineError as error:
        log.log(1, f"IRuntime: Error Code 6: {error}")
    return None
