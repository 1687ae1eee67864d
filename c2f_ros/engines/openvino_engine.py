"""The OpenVINO engine: CPU, deterministic; the only file that imports openvino."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from c2f_ros.bundle import Arrays, Bundle
from c2f_ros.contract import ContractError, GraphSpec, TensorSpec
from c2f_ros.engines.cpu_verdict import LARGE_BYTES
from c2f_ros.engines.modes import HostEngine

TELEMETRY = "openvino_telemetry"
_telemetry = sys.modules.get(TELEMETRY)
sys.modules[TELEMETRY] = None  # type: ignore[assignment] # else importing openvino reports it to a web service
import openvino  # noqa: E402
from openvino.properties import hint, inference_num_threads, num_streams  # noqa: E402

if _telemetry is None:
    del sys.modules[TELEMETRY]
else:
    sys.modules[TELEMETRY] = _telemetry

TYPES = {"fp32": "f32", "bf16": "bf16"}
DTYPES = {"f32": "float32", "i64": "int64"}
ROWS = (8, 4, 2, 1)
"""Rows of the calls that a batch is cut into. A graph compiled for a number of rows is faster than one for any number,
and these are compiled when the engine is opened, so no number of objects makes a frame wait for the compiler. A call of
more than 8 rows is hardly faster per row."""
VERSION = openvino.__version__.partition("-")[0]


class OpenVinoEngine(HostEngine):
    """Compiled graphs on the CPU with `threads` threads. Two runs on equal input and memory give equal bytes.

    precision: fp32, or bf16: inputs, outputs and states stay float32. Raises ContractError for another, and where the
    CPU cannot compute in it.
    """

    def __init__(self, bundle: Bundle, threads: int, slots: int, precision: str) -> None:
        if precision not in TYPES:
            raise ContractError(f"OpenVINO runs in {' or '.join(TYPES)}, not in {precision}; set engine_precision")
        manifest = bundle.manifest
        core = openvino.Core()
        graphs = [_Graph(core, bundle.path(graph), graph, threads, precision) for graph in manifest.graphs]
        super().__init__(manifest, graphs, slots)
        self.precision = precision
        self.name = f"OpenVINO {VERSION} CPU, {precision}, {threads} threads"


class _Graph:
    """One graph, compared with the manifest, and compiled for every number of rows in `ROWS`; a large one for a single
    row, since each compiled one holds all weights."""

    def __init__(self, core: openvino.Core, path: Path, spec: GraphSpec, threads: int, precision: str) -> None:
        limit = 1 if path.stat().st_size > LARGE_BYTES else spec.batch_limit or ROWS[0]
        wanted = {
            inference_num_threads(): threads, num_streams(): 1, hint.enable_cpu_pinning(): False,
            hint.inference_precision(): TYPES[precision],
        }  # fmt: skip
        self._requests: dict[int, openvino.InferRequest] = {}
        try:
            model = core.read_model(str(path))
            _check("inputs", model.inputs, spec.inputs)
            _check("outputs", model.outputs, spec.outputs)
            for rows in (rows for rows in ROWS if rows <= limit):
                model.reshape({tensor.name: [rows, *tensor.shape[1:]] for tensor in spec.inputs})
                compiled = core.compile_model(model, "CPU", wanted)
                self._requests[rows] = compiled.create_infer_request()
        except RuntimeError as error:
            raise ContractError(f"{path.name} does not load in OpenVINO: {error}; export the bundle again") from error
        used = compiled.get_property(hint.inference_precision()).get_type_name()
        if used != TYPES[precision]:
            raise ContractError(f"OpenVINO computes in {used} on this CPU, {precision} was asked for; set another")
        self._outputs = {tensor.name: tensor for tensor in spec.outputs}

    def __call__(self, inputs: Arrays, wanted: Sequence[str]) -> dict[str, NDArray[Any]]:
        count = len(next(iter(inputs.values())))
        specs = {name: self._outputs[name] for name in wanted}
        found = {name: np.empty((count, *spec.shape[1:]), spec.dtype) for name, spec in specs.items()}
        for part in parts(count, tuple(self._requests)):
            request = self._requests[part.stop - part.start]
            request.infer({name: array[part] for name, array in inputs.items()}, share_inputs=True, share_outputs=True)
            for name, array in found.items():
                array[part] = request.get_tensor(name).data
        return found


def parts(count: int, sizes: Sequence[int]) -> Iterator[slice]:
    """`count` rows cut into slices of these sizes, given largest first and with 1 among them."""
    first = 0
    for size in sizes:
        while count - first >= size:
            yield slice(first, first + size)
            first += size


def _check(side: str, found: Sequence[Any], expected: tuple[TensorSpec, ...]) -> None:
    shown = tuple(_as_spec(port) for port in found)
    if shown != tuple((t.name, t.dtype, tuple(s if isinstance(s, int) else -1 for s in t.shape)) for t in expected):
        raise ContractError(f"graph {side} are {shown}, the manifest says {expected}; export the bundle again")


def _as_spec(port: Any) -> tuple[str, str, tuple[int, ...]]:
    """Name, type and shape of a graph's input or output, -1 for sizes that are left open."""
    shape = tuple(-1 if size.is_dynamic else size.get_length() for size in port.get_partial_shape())
    kind = port.get_element_type().get_type_name()
    return port.get_any_name(), DTYPES.get(kind, kind), shape
