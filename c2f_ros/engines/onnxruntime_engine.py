"""The ONNX Runtime engine: CPU, deterministic; the only file that imports onnxruntime."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from c2f_ros.bundle import Arrays, Bundle
from c2f_ros.contract import ContractError, GraphSpec, TensorSpec
from c2f_ros.engines.modes import make_mode
from c2f_ros.records import Batch, MaskProbabilities

DTYPES = {"tensor(float)": "float32", "tensor(int64)": "int64"}


class OnnxRuntimeEngine:
    """Sessions on the CPU with `threads` threads. Two runs on equal input and memory give equal bytes."""

    def __init__(self, bundle: Bundle, threads: int, slots: int) -> None:
        manifest = bundle.manifest
        graphs = [_Session(bundle.path(graph), graph, threads) for graph in manifest.graphs]
        self._mode = make_mode(manifest, graphs, slots)
        self.name = f"ONNX Runtime {onnxruntime.__version__} CPU, {threads} threads"

    def run(self, batch: Batch) -> MaskProbabilities:
        return self._mode.run(batch)

    def compute(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        return self._mode.compute(inputs)

    def keep(self, serials: Collection[int]) -> None:
        self._mode.keep(serials)

    def reset(self) -> None:
        self._mode.reset()

    def state_bytes(self) -> tuple[int, int]:
        return self._mode.state_bytes()

    def close(self) -> None:
        del self._mode


class _Session:
    """One graph, loaded and compared with the manifest."""

    def __init__(self, path: Path, spec: GraphSpec, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises types of its own for every kind of broken file
            raise ContractError(
                f"{path.name} does not load in ONNX Runtime: {error}; export the bundle again"
            ) from error
        _check("inputs", self._session.get_inputs(), spec.inputs)
        _check("outputs", self._session.get_outputs(), spec.outputs)

    def __call__(self, inputs: Arrays, wanted: Sequence[str]) -> dict[str, NDArray[Any]]:
        return dict(zip(wanted, self._session.run(list(wanted), dict(inputs)), strict=True))


def _check(side: str, found: list[onnxruntime.NodeArg], expected: tuple[TensorSpec, ...]) -> None:
    shown = tuple(TensorSpec(a.name, DTYPES.get(a.type, a.type), tuple(a.shape)) for a in found)
    if shown != expected:
        raise ContractError(f"graph {side} are {shown}, the manifest says {expected}; export the bundle again")
