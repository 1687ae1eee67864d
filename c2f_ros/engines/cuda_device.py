"""A GPU as an engine uses it: memory, streams, copies, graphs; the only file that imports the CUDA bindings."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from c2f_ros.contract import ContractError, EngineError

INSTALL = "pip install cuda-bindings"


class OutOfDeviceMemory(EngineError):
    """The device has not the memory that was asked for; fewer objects at a time may fit."""


class Device(Protocol):
    """One GPU. Addresses, streams and graphs are numbers; sizes are bytes. What takes a stream returns at once and
    happens in the stream's order; a host array given to it must be pinned, and stay as it is until `synchronize`.

    Every method raises EngineError that names what failed, `OutOfDeviceMemory` for want of memory. One thread only.
    """

    name: str

    def memory_info(self) -> tuple[int, int]:
        """Bytes that are free now, and bytes in all, of all programs."""
        ...

    def allocate(self, size: int) -> int:
        """The address of new memory, aligned to 256 bytes; its content is arbitrary."""
        ...

    def free(self, address: int) -> None:
        """Give back what `allocate` gave."""
        ...

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """A new array in host memory that the device reads and writes by itself."""
        ...

    def unpin(self, array: NDArray[Any]) -> None:
        """Give back what `pinned` gave; the array must not be used again."""
        ...

    def create_stream(self, low_priority: bool) -> int:
        """A new queue of work, which waits for no other. low_priority: other programs' work goes first."""
        ...

    def destroy_stream(self, stream: int) -> None:
        """Give back what `create_stream` gave."""
        ...

    def copy_to_device(self, target: int, source: NDArray[Any], stream: int) -> None:
        """All bytes of the contiguous pinned array `source` to the address `target`."""
        ...

    def copy_to_host(self, target: NDArray[Any], source: int, stream: int) -> None:
        """The bytes at the address `source` to all of the contiguous pinned array `target`."""
        ...

    def copy_on_device(self, target: int, source: int, size: int, stream: int) -> None:
        """`size` bytes from one address to another; they do not overlap."""
        ...

    def clear(self, address: int, size: int, stream: int) -> None:
        """`size` bytes become zero."""
        ...

    def synchronize(self, stream: int) -> None:
        """Wait, asleep, until the stream's work is done."""
        ...

    def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
        """A graph of the work that `enqueue` puts on the stream, none of which is done now.

        Raises EngineError if it cannot be captured, also of the kind that `enqueue` raises; the stream is usable after.
        """
        ...

    def launch(self, graph: int, stream: int) -> None:
        """Do the graph's work."""
        ...

    def drop_graph(self, graph: int) -> None:
        """Give back what `capture` gave."""
        ...


def open_device() -> Device:
    """The GPU that CUDA shows first (`CUDA_VISIBLE_DEVICES` chooses). Raises ContractError in one sentence."""
    return CudaDevice(_bindings())


def why_no_gpu() -> str:
    """Why no GPU can be used, in one sentence; "" if one can."""
    try:
        _check_driver(_bindings())
    except ContractError as error:
        return str(error)
    return ""


def _bindings() -> Any:
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise ContractError(f"the CUDA bindings are missing ({error}); {INSTALL}, or use another engine") from error
    return runtime


def _check_driver(cuda: Any) -> None:
    """Raises ContractError unless the driver fits the bindings and there is a GPU."""
    error, count = cuda.cudaGetDeviceCount()
    if not int(error) and count:
        return
    if error.name == "cudaErrorInsufficientDriver":
        driver, needed = cuda.cudaDriverGetVersion()[1] // 1000, cuda.cudaRuntimeGetVersion()[1] // 1000
        if driver:
            raise ContractError(
                f"the NVIDIA driver is for CUDA {driver}, the CUDA bindings are for CUDA {needed} ({error.name}); "
                f"pip install 'cuda-bindings<{driver + 1}', or install a newer driver"
            )
    found = error.name if int(error) else "no device"
    raise ContractError(f"no NVIDIA GPU can be used here ({found}); install its driver, or use another engine")


class CudaDevice:
    """The current CUDA device of this process, through the runtime API of NVIDIA's own bindings (12.6 or later)."""

    def __init__(self, cuda: Any) -> None:
        """cuda: the module `cuda.bindings.runtime`."""
        _check_driver(cuda)
        self._cuda = cuda
        self._events: dict[int, Any] = {}
        self._graphs: dict[int, Any] = {}
        self.name: str = self._done(cuda.cudaGetDeviceProperties(0), "reading the GPU's name").name.decode()

    def memory_info(self) -> tuple[int, int]:
        free, total = self._done(self._cuda.cudaMemGetInfo(), "asking for free memory")
        return free, total

    def allocate(self, size: int) -> int:
        return int(self._done(self._cuda.cudaMalloc(size), f"taking {size} bytes of GPU memory"))

    def free(self, address: int) -> None:
        self._done(self._cuda.cudaFree(address), "giving back GPU memory")

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        size = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
        address = self._done(self._cuda.cudaHostAlloc(size, self._cuda.cudaHostAllocDefault), f"pinning {size} bytes")
        memory = memoryview((ctypes.c_byte * size).from_address(address))
        return np.frombuffer(memory, dtype, math.prod(shape)).reshape(shape)

    def unpin(self, array: NDArray[Any]) -> None:
        self._done(self._cuda.cudaFreeHost(array.ctypes.data), "giving back pinned memory")

    def create_stream(self, low_priority: bool) -> int:
        cuda = self._cuda
        least, greatest = self._done(cuda.cudaDeviceGetStreamPriorityRange(), "reading the range of priorities")
        flags = cuda.cudaStreamNonBlocking
        made = cuda.cudaStreamCreateWithPriority(flags, least if low_priority else greatest)
        stream = int(self._done(made, "making a stream"))
        flags = cuda.cudaEventBlockingSync | cuda.cudaEventDisableTiming
        self._events[stream] = self._done(cuda.cudaEventCreateWithFlags(flags), "making an event")
        return stream

    def destroy_stream(self, stream: int) -> None:
        self._done(self._cuda.cudaEventDestroy(self._events.pop(stream)), "giving back an event")
        self._done(self._cuda.cudaStreamDestroy(stream), "giving back a stream")

    def copy_to_device(self, target: int, source: NDArray[Any], stream: int) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(target, source.ctypes.data, source.nbytes, kind, stream)

    def copy_to_host(self, target: NDArray[Any], source: int, stream: int) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(target.ctypes.data, source, target.nbytes, kind, stream)

    def copy_on_device(self, target: int, source: int, size: int, stream: int) -> None:
        self._copy(target, source, size, self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToDevice, stream)

    def clear(self, address: int, size: int, stream: int) -> None:
        self._done(self._cuda.cudaMemsetAsync(address, 0, size, stream), f"clearing {size} bytes")

    def synchronize(self, stream: int) -> None:
        """The thread sleeps on an event: waiting for the stream itself would keep a core busy that others need."""
        event = self._events[stream]
        self._done(self._cuda.cudaEventRecord(event, stream), "marking the stream's end")
        self._done(self._cuda.cudaEventSynchronize(event), "waiting for the GPU")

    def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
        cuda = self._cuda
        # this thread's alone: another node's thread may take memory while this one captures
        mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._done(cuda.cudaStreamBeginCapture(stream, mode), "beginning to capture")
        try:
            enqueue()
        except EngineError:
            self._leave_capture(stream)
            raise
        graph = self._done(cuda.cudaStreamEndCapture(stream), "capturing a graph")
        made = cuda.cudaGraphInstantiate(graph, 0)
        self._done(cuda.cudaGraphDestroy(graph), "giving back a captured graph")
        runnable = self._done(made, "preparing a graph")
        self._graphs[int(runnable)] = runnable
        return int(runnable)

    def launch(self, graph: int, stream: int) -> None:
        self._done(self._cuda.cudaGraphLaunch(self._graphs[graph], stream), "launching a graph")

    def drop_graph(self, graph: int) -> None:
        self._done(self._cuda.cudaGraphExecDestroy(self._graphs.pop(graph)), "giving back a graph")

    def _leave_capture(self, stream: int) -> None:
        error, graph = self._cuda.cudaStreamEndCapture(stream)
        if not int(error) and graph is not None:
            self._cuda.cudaGraphDestroy(graph)
        self._cuda.cudaGetLastError()  # what failed was raised already: the next call must not see it again

    def _copy(self, target: int, source: int, size: int, kind: Any, stream: int) -> None:
        self._done(self._cuda.cudaMemcpyAsync(target, source, size, kind, stream), f"copying {size} bytes")

    def _done(self, answer: tuple[Any, ...], doing: str) -> Any:
        """What a call returned besides its error. Raises EngineError if that is one."""
        error, *found = answer
        if int(error):
            self._cuda.cudaGetLastError()  # an error that can pass is kept by CUDA until it is read
            if error.name == "cudaErrorMemoryAllocation":
                raise OutOfDeviceMemory(f"the GPU is out of memory: {doing} failed with {error.name}")
            raise EngineError(f"{doing} failed with {error.name}; if it fails again, configure the node anew")
        return found[0] if len(found) == 1 else tuple(found)
