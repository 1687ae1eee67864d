"""The GPU behind CUDA's own names: what is asked of CUDA, what its errors become, and that the names exist.

CUDA is a fake that answers as NVIDIA's bindings do, with tuples that begin with an error.
"""

from __future__ import annotations

import ctypes
import inspect
from collections.abc import Callable
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from c2f_ros.contract import ContractError, EngineError
from c2f_ros.engines.cuda_device import CudaDevice, OutOfDeviceMemory, open_device, why_no_gpu


class Error(IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100
    cudaErrorIllegalAddress = 700
    cudaErrorStreamCaptureUnsupported = 900


OK = Error.cudaSuccess


class Kind(IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2
    cudaMemcpyDeviceToDevice = 3


class CaptureMode(IntEnum):
    cudaStreamCaptureModeThreadLocal = 1


class FakeCuda:
    """`cuda.bindings.runtime`. calls: names and arguments, in order; errors: what a call answers instead, by name."""

    cudaMemcpyKind, cudaStreamCaptureMode = Kind, CaptureMode
    cudaHostAllocDefault, cudaStreamNonBlocking, cudaEventBlockingSync, cudaEventDisableTiming = 0, 1, 1, 2

    def __init__(self, **errors: Error) -> None:
        self.errors, self.calls, self.devices, self.versions = errors, [], 1, (13000, 13050)
        self._host: dict[int, Any] = {}

    def _answer(self, name: str, *found: Any, given: tuple[Any, ...] = ()) -> tuple[Any, ...]:
        self.calls.append((name, *given))
        error = self.errors.get(name, OK)
        return (error, *(None if error else one for one in found))

    def cudaGetDeviceCount(self) -> tuple[Any, ...]:
        return self._answer("cudaGetDeviceCount", self.devices)

    def cudaDriverGetVersion(self) -> tuple[Any, ...]:
        return OK, self.versions[0]

    def cudaRuntimeGetVersion(self) -> tuple[Any, ...]:
        return OK, self.versions[1]

    def cudaGetDeviceProperties(self, device: int) -> tuple[Any, ...]:
        return self._answer("cudaGetDeviceProperties", SimpleNamespace(name=b"A card"), given=(device,))

    def cudaMemGetInfo(self) -> tuple[Any, ...]:
        return self._answer("cudaMemGetInfo", 3, 8)

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:
        return self._answer("cudaMalloc", 4096, given=(size,))

    def cudaFree(self, devPtr: int) -> tuple[Any, ...]:
        return self._answer("cudaFree", given=(devPtr,))

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[Any, ...]:
        memory = ctypes.create_string_buffer(size)
        self._host[ctypes.addressof(memory)] = memory
        return self._answer("cudaHostAlloc", ctypes.addressof(memory), given=(size, flags))

    def cudaFreeHost(self, ptr: int) -> tuple[Any, ...]:
        del self._host[ptr]
        return self._answer("cudaFreeHost")

    def cudaDeviceGetStreamPriorityRange(self) -> tuple[Any, ...]:
        return self._answer("cudaDeviceGetStreamPriorityRange", 0, -5)

    def cudaStreamCreateWithPriority(self, flags: int, priority: int) -> tuple[Any, ...]:
        return self._answer("cudaStreamCreateWithPriority", 77, given=(flags, priority))

    def cudaStreamDestroy(self, stream: int) -> tuple[Any, ...]:
        return self._answer("cudaStreamDestroy", given=(stream,))

    def cudaEventCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        return self._answer("cudaEventCreateWithFlags", "event", given=(flags,))

    def cudaEventRecord(self, event: Any, stream: int) -> tuple[Any, ...]:
        return self._answer("cudaEventRecord", given=(event, stream))

    def cudaEventSynchronize(self, event: Any) -> tuple[Any, ...]:
        return self._answer("cudaEventSynchronize", given=(event,))

    def cudaEventDestroy(self, event: Any) -> tuple[Any, ...]:
        return self._answer("cudaEventDestroy", given=(event,))

    def cudaMemcpyAsync(self, dst: int, src: int, count: int, kind: Kind, stream: int) -> tuple[Any, ...]:
        return self._answer("cudaMemcpyAsync", given=(dst, src, count, kind, stream))

    def cudaMemsetAsync(self, devPtr: int, value: int, count: int, stream: int) -> tuple[Any, ...]:
        return self._answer("cudaMemsetAsync", given=(devPtr, value, count, stream))

    def cudaStreamBeginCapture(self, stream: int, mode: CaptureMode) -> tuple[Any, ...]:
        return self._answer("cudaStreamBeginCapture", given=(stream, mode))

    def cudaStreamEndCapture(self, stream: int) -> tuple[Any, ...]:
        return self._answer("cudaStreamEndCapture", "graph", given=(stream,))

    def cudaGraphInstantiate(self, graph: Any, flags: int) -> tuple[Any, ...]:
        return self._answer("cudaGraphInstantiate", 55, given=(graph, flags))

    def cudaGraphDestroy(self, graph: Any) -> tuple[Any, ...]:
        return self._answer("cudaGraphDestroy", given=(graph,))

    def cudaGraphLaunch(self, graphExec: int, stream: int) -> tuple[Any, ...]:
        return self._answer("cudaGraphLaunch", given=(graphExec, stream))

    def cudaGraphExecDestroy(self, graphExec: int) -> tuple[Any, ...]:
        return self._answer("cudaGraphExecDestroy", given=(graphExec,))

    def cudaGetLastError(self) -> tuple[Any, ...]:
        return self._answer("cudaGetLastError")


def opened(**errors: Error) -> tuple[CudaDevice, FakeCuda]:
    cuda = FakeCuda()
    device = CudaDevice(cuda)
    cuda.calls.clear()
    cuda.errors = errors
    return device, cuda


def test_copies_name_addresses_bytes_and_directions():
    device, cuda = opened()
    array = device.pinned((2, 3), np.float32)
    array[:] = 1.0
    address = array.ctypes.data
    cuda.calls.clear()
    device.copy_to_device(4096, array, 7)
    device.copy_to_device(4096, array[:1], 7)
    device.copy_to_host(array[1:], 4096, 7)
    device.copy_on_device(1, 2, 3, 7)
    device.clear(4096, 9, 7)
    assert cuda.calls == [
        ("cudaMemcpyAsync", 4096, address, 24, Kind.cudaMemcpyHostToDevice, 7),
        ("cudaMemcpyAsync", 4096, address, 12, Kind.cudaMemcpyHostToDevice, 7),
        ("cudaMemcpyAsync", address + 12, 4096, 12, Kind.cudaMemcpyDeviceToHost, 7),
        ("cudaMemcpyAsync", 1, 2, 3, Kind.cudaMemcpyDeviceToDevice, 7),
        ("cudaMemsetAsync", 4096, 0, 9, 7),
    ]
    device.unpin(array)


@pytest.mark.parametrize(("is_low", "priority"), [(True, 0), (False, -5)])
def test_a_stream_waits_for_no_other_and_is_waited_for_asleep(is_low, priority):
    device, cuda = opened()
    stream = device.create_stream(is_low)
    device.synchronize(stream)
    device.destroy_stream(stream)
    assert cuda.calls[1:] == [
        ("cudaStreamCreateWithPriority", 1, priority), ("cudaEventCreateWithFlags", 1 | 2),
        ("cudaEventRecord", "event", 77), ("cudaEventSynchronize", "event"),
        ("cudaEventDestroy", "event"), ("cudaStreamDestroy", 77),
    ]  # fmt: skip


def test_a_graph_is_captured_launched_and_given_back():
    device, cuda = opened()
    graph = device.capture(7, lambda: device.clear(1, 2, 7))
    device.launch(graph, 7)
    device.drop_graph(graph)
    assert [call[0] for call in cuda.calls] == [
        "cudaStreamBeginCapture", "cudaMemsetAsync", "cudaStreamEndCapture", "cudaGraphInstantiate", "cudaGraphDestroy",
        "cudaGraphLaunch", "cudaGraphExecDestroy",
    ]  # fmt: skip


@pytest.mark.parametrize("call", ["cudaMemsetAsync", "cudaStreamEndCapture", "cudaGraphInstantiate"])
def test_a_capture_that_fails_is_left_and_named(call):
    device, cuda = opened(**{call: Error.cudaErrorStreamCaptureUnsupported})
    with pytest.raises(EngineError, match="failed with cudaErrorStreamCaptureUnsupported"):
        device.capture(7, lambda: device.clear(1, 2, 7))
    names = [call[0] for call in cuda.calls]
    assert names.count("cudaStreamEndCapture") == 1 and "cudaGetLastError" in names
    assert ("cudaGraphDestroy" in names) == (call != "cudaStreamEndCapture")


CALLS: list[tuple[str, Callable[[CudaDevice], Any]]] = [
    ("cudaMalloc", lambda device: device.allocate(10)),
    ("cudaHostAlloc", lambda device: device.pinned((10,), np.float32)),
    ("cudaMemcpyAsync", lambda device: device.copy_on_device(1, 2, 3, 7)),
    ("cudaMemGetInfo", lambda device: device.memory_info()),
    ("cudaStreamCreateWithPriority", lambda device: device.create_stream(True)),
]


@pytest.mark.parametrize(("name", "call"), CALLS, ids=[name for name, _ in CALLS])
def test_an_error_of_cuda_is_one_sentence_with_its_name(name, call):
    device, cuda = opened(**{name: Error.cudaErrorIllegalAddress})
    with pytest.raises(EngineError, match="failed with cudaErrorIllegalAddress; ") as caught:
        call(device)
    assert not isinstance(caught.value, OutOfDeviceMemory) and cuda.calls[-1] == ("cudaGetLastError",)
    cuda.errors = {name: Error.cudaErrorMemoryAllocation}
    with pytest.raises(OutOfDeviceMemory, match="out of memory: .* failed with cudaErrorMemoryAllocation"):
        call(device)


def refused(cuda: FakeCuda) -> str:
    with pytest.raises(ContractError) as caught:
        CudaDevice(cuda)
    return str(caught.value)


def test_a_machine_without_gpu_driver_or_with_an_old_one_is_refused_with_what_to_do():
    cuda = FakeCuda(cudaGetDeviceCount=Error.cudaErrorInsufficientDriver)
    cuda.versions = 12060, 13050
    assert "driver is for CUDA 12, the CUDA bindings are for CUDA 13 (cudaErrorInsuff" in refused(cuda)
    assert "pip install 'cuda-bindings<13'" in refused(cuda)
    cuda.versions = 0, 13050
    assert refused(cuda).startswith("no NVIDIA GPU can be used here (cudaErrorInsufficientDriver); install its driver")
    assert "(cudaErrorNoDevice)" in refused(FakeCuda(cudaGetDeviceCount=Error.cudaErrorNoDevice))
    cuda = FakeCuda()
    cuda.devices = 0
    assert "(no device)" in refused(cuda)


def test_missing_bindings_are_said_with_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cuda.bindings", None)
    assert "pip install cuda-bindings" in why_no_gpu()


def test_the_fake_asks_nothing_that_the_real_bindings_lack():
    """The bindings' docstrings begin with the signature, which is compared argument by argument."""
    real = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    for name, ours in inspect.getmembers(FakeCuda, inspect.isfunction):
        if name.startswith("_"):
            continue
        signature = (getattr(real, name).__doc__ or "").strip().split("\n")[0]
        theirs = [one.split(":")[0].split()[-1] for one in signature[len(name) + 1 : -1].split(",") if one]
        assert theirs == list(inspect.signature(ours).parameters)[1:], signature
    for kind, fake in (
        (real.cudaError_t, Error),
        (real.cudaMemcpyKind, Kind),
        (real.cudaStreamCaptureMode, CaptureMode),
    ):
        assert all(getattr(kind, one.name) == one.value and getattr(kind, one.name).name == one.name for one in fake)
    flags = ("cudaHostAllocDefault", "cudaStreamNonBlocking", "cudaEventBlockingSync", "cudaEventDisableTiming")
    assert all(getattr(real, flag) == getattr(FakeCuda, flag) for flag in flags)


def test_here_a_gpu_opens_or_the_reason_is_said():
    reason = why_no_gpu()
    if not reason:
        assert open_device().memory_info()[1] > 0
        return
    with pytest.raises(ContractError) as caught:
        open_device()
    assert str(caught.value) == reason and "; " in reason
