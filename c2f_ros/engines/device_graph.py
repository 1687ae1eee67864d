"""One plan of a model on a device: its buffers, its execution contexts, and the CUDA graphs of calls that repeat."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from c2f_ros.bundle import Arrays
from c2f_ros.contract import EngineError, GraphSpec, TensorSpec
from c2f_ros.engines.cuda_device import OutOfDeviceMemory
from c2f_ros.engines.device_memory import DeviceRoom
from c2f_ros.engines.kernel_cache import KernelCache
from c2f_ros.engines.profiles import Profile

CAPTURED_AT_MOST = 8
"""Calls kept as CUDA graphs, one per number of objects; each holds an execution context on the host."""
NEVER = -1


@dataclass
class _Captured:
    """A CUDA graph and the context it was captured from, which must not change as long as it is used."""

    graph: int
    context: Any


class DeviceGraph:
    """A plan ready for calls of 1..`rows` objects, which may be lowered from `most_rows`; an `engines.Graph`.

    A call uploads the inputs it is given, runs, fetches the outputs that are wanted, and waits once for them; for
    nothing if none is wanted. Inputs it is not given are those that were put into this graph's buffers before, on the
    stream. `remark` says what became slower than it should be; "" if nothing.
    """

    def __init__(
        self,
        library: Any,
        plan: Any,
        spec: GraphSpec,
        profile: Profile,
        room: DeviceRoom,
        activations: int,
        log: deque[str],
        kernels: KernelCache,
    ) -> None:
        """library: TensorRT. plan: its ICudaEngine, checked. profile: of it, whose rows the buffers are made for.
        activations: address of memory that all graphs of this stream may use in turn. log: what the library complains
        of. kernels: for libraries that compile when the plan is loaded."""
        self._library, self._plan, self._room, self._log, self._kernels = library, plan, room, log, kernels
        self._profile, self._activations = profile, activations
        self._tensors = {tensor.name: tensor for tensor in (*spec.inputs, *spec.outputs)}
        self._inputs = [tensor.name for tensor in spec.inputs]
        self.rows = self.most_rows = rows = profile.rows
        self._address = {n: room.allocate("buffers", rows * row_bytes(t)) for n, t in self._tensors.items()}
        self._host = {n: room.pinned((rows, *t.shape[1:]), t.dtype) for n, t in self._tensors.items()}  # type: ignore[arg-type]
        self.remark = ""
        self._captures_itself = not hasattr(library, "CudaGraphStrategy")
        self._captured: OrderedDict[tuple[Any, ...], _Captured] = OrderedDict()
        self._last: tuple[Any, ...] = ()
        self._uploading = NEVER
        self._context = self._make_context()

    def address(self, name: str) -> int:
        """Of the first row of this input or output."""
        return self._address[name]

    def __call__(self, inputs: Arrays, wanted: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The outputs wanted for any number of rows, in several calls where they are more than `rows`; then all inputs
        must be given."""
        count = len(next(iter(inputs.values())))
        if count <= self.rows:
            return self.run(count, inputs, wanted)
        if set(inputs) != set(self._inputs):
            raise ValueError(f"{count} rows do not fit the {self.rows} of the buffers; split the batch before")
        parts = [
            self.run(min(self.rows, count - k), {n: a[k : k + self.rows] for n, a in inputs.items()}, wanted)
            for k in range(0, count, self.rows)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in wanted}

    def run(self, count: int, inputs: Arrays, wanted: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The outputs wanted for `count` rows, at most `rows`."""
        if inputs and self._uploading == self._room.waits:
            self._room.wait()  # the last upload may still be reading what is written next
        for name, array in inputs.items():
            room = self._host[name][:count]
            if array.shape != room.shape:
                raise EngineError(f"{name} is {array.shape}, expected {room.shape}; nothing is run")
            np.copyto(room, array, casting="no")
        key = count, tuple(inputs), tuple(wanted)
        self._uploading = self._room.waits
        captured = self._captured.get(key)
        if captured is not None:
            self._captured.move_to_end(key)
            self._room.device.launch(captured.graph, self._room.stream)
            self._wait_for(wanted)
        else:
            self._run_plainly(key, repeats=key == self._last)
        self._last = key
        return {name: self._host[name][:count].copy() for name in wanted}

    def drop_captured(self) -> None:
        """Give back all CUDA graphs; calls that repeat are captured again."""
        while self._captured:
            self._room.device.drop_graph(self._captured.popitem()[1].graph)
        self._last = ()

    def close(self) -> None:
        """Give back what the library holds; buffers belong to the room."""
        self.drop_captured()
        self._kernels.save()
        self._context = self._plan = None

    def _run_plainly(self, key: tuple[Any, ...], repeats: bool) -> None:
        """Run, and capture for the next time what was the same last time already."""
        is_captured = repeats and self._captures_itself
        context = self._try_context() if is_captured else None
        used = self._context if context is None else context
        self._set_shapes(used, key[0])
        self._enqueue(used, key)
        self._wait_for(key[2])
        if context is not None:
            self._capture(context, key)

    def _wait_for(self, wanted: Sequence[str]) -> None:
        if wanted:
            self._room.wait()

    def _capture(self, context: Any, key: tuple[Any, ...]) -> None:
        try:
            graph = self._room.device.capture(self._room.stream, lambda: self._enqueue(context, key))
        except EngineError as error:
            self._capture_no_more(error)
            return
        self._captured[key] = _Captured(graph, context)
        if len(self._captured) > CAPTURED_AT_MOST:
            self._room.device.drop_graph(self._captured.popitem(last=False)[1].graph)

    def _try_context(self) -> Any:
        try:
            return self._make_context()
        except EngineError as error:
            self._capture_no_more(error)
            return None

    def _capture_no_more(self, error: EngineError) -> None:
        self._captures_itself = False
        self.drop_captured()
        self.remark = f"without CUDA graphs ({error})"

    def _enqueue(self, context: Any, key: tuple[Any, ...]) -> None:
        """Uploads, the plan, downloads: the same for equal keys, whatever the values."""
        count, inputs, wanted = key
        device, stream = self._room.device, self._room.stream
        for name in inputs:
            device.copy_to_device(self._address[name], self._host[name][:count], stream)
        self._log.clear()
        if not context.execute_async_v3(stream):
            raise failure("TensorRT did not run the plan", self._log)
        for name in wanted:
            device.copy_to_host(self._host[name][:count], self._address[name], stream)

    def _set_shapes(self, context: Any, count: int) -> None:
        for name in self._inputs:
            if not context.set_input_shape(name, (count, *self._tensors[name].shape[1:])):
                raise failure(f"TensorRT refused {count} rows of {name}", self._log)

    def _make_context(self) -> Any:
        """One that uses the memory of activations and the buffers. TensorRT for RTX captures CUDA graphs by itself: it
        alone knows when its kernels for a shape are ready."""
        strategy = self._library.ExecutionContextAllocationStrategy.USER_MANAGED
        self._log.clear()
        if hasattr(self._library, "CudaGraphStrategy"):
            config = self._plan.create_runtime_config()
            config.set_execution_context_allocation_strategy(strategy)
            config.cuda_graph_strategy = self._library.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            self._kernels.attach(config)
            context = self._plan.create_execution_context(config)
        else:
            context = self._plan.create_execution_context(strategy)
        if context is None:
            raise failure("TensorRT made no execution context", self._log)
        profile, stream = self._profile, self._room.stream
        if profile.index and not context.set_optimization_profile_async(profile.index, stream):  # the first is set
            raise failure(f"TensorRT refused profile {profile.index}", self._log)
        context.set_device_memory(self._activations, profile.activation_bytes)
        for name, address in self._address.items():
            if not context.set_tensor_address(name, address):
                raise failure(f"TensorRT refused the buffer of {name}", self._log)
        return context


def failure(what: str, log: Sequence[str]) -> EngineError:
    """The error that says `what` and the last that the library complained of."""
    said = " ".join(log[-1].split()) if log else "it says nothing"
    is_out_of_memory = any("out of memory" in line.lower() or "outofmemory" in line.lower() for line in log)
    return (OutOfDeviceMemory if is_out_of_memory else EngineError)(f"{what}: {said}")


def row_bytes(tensor: TensorSpec) -> int:
    """Bytes of one object's row."""
    return math.prod(int(side) for side in tensor.shape[1:]) * np.dtype(tensor.dtype).itemsize
