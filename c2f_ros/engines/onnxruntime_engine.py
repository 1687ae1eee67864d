"""The ONNX Runtime engine, on the CPU or with its CUDA provider; the only file that imports onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from c2f_ros.bundle import Arrays, Bundle
from c2f_ros.contract import ContractError, GraphSpec, TensorSpec
from c2f_ros.engines.modes import HostEngine
from c2f_ros.engines.settings import MEGABYTE, DeviceSettings

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
DTYPES = {"tensor(float)": "float32", "tensor(int64)": "int64"}


def why_not_cuda() -> str:
    """ "" if the installed onnxruntime can use a GPU by CUDA, else what is missing."""
    if CUDA in onnxruntime.get_available_providers():
        return ""
    return "the installed onnxruntime has no CUDA provider (pip install onnxruntime-gpu)"


class OnnxRuntimeEngine(HostEngine):
    """Sessions on the CPU with `threads` threads, deterministic: two runs on equal input and memory give equal bytes.

    cuda: None for the CPU, else the sessions run on the GPU, and never silently elsewhere. Both compute in fp32.
    watch: is shown the inputs of every graph before it runs (`calibration.py`).
    """

    precision = "fp32"

    def __init__(
        self,
        bundle: Bundle,
        threads: int,
        slots: int,
        cuda: DeviceSettings | None = None,
        watch: Callable[[GraphSpec, Arrays], None] | None = None,
    ) -> None:
        if cuda is not None and cuda.precision not in ("auto", "fp32"):
            raise ContractError(
                f"engine onnxruntime_cuda computes in fp32, not in {cuda.precision}; set engine_precision to auto"
            )
        manifest = bundle.manifest
        if cuda is not None:  # each session has memory of its own
            cuda = replace(cuda, memory_mb=cuda.memory_mb // len(manifest.graphs))
        graphs = [_Session(bundle.path(graph), graph, threads, cuda, watch) for graph in manifest.graphs]
        super().__init__(manifest, graphs, slots)
        where = f"CPU, {threads} threads" if cuda is None else "CUDA"
        self.name = f"ONNX Runtime {onnxruntime.__version__} {where}"


class _Session:
    """One graph, loaded and compared with the manifest."""

    def __init__(
        self,
        path: Path,
        spec: GraphSpec,
        threads: int,
        cuda: DeviceSettings | None,
        watch: Callable[[GraphSpec, Arrays], None] | None,
    ) -> None:
        self._spec, self._watch = spec, watch
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers: list[Any] = [CPU] if cuda is None else [(CUDA, cuda_options(cuda)), CPU]
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # onnxruntime raises types of its own for every kind of broken file
            raise ContractError(
                f"{path.name} does not load in ONNX Runtime: {error}; export the bundle again"
            ) from error
        self._session.disable_fallback()
        used = self._session.get_providers()
        if cuda is not None and CUDA not in used:
            raise ContractError(
                f"onnxruntime opened {path.name} on {', '.join(used)}, expected {CUDA}; install the CUDA and cuDNN "
                "libraries that this onnxruntime needs, or choose another engine"
            )
        _check("inputs", self._session.get_inputs(), spec.inputs)
        _check("outputs", self._session.get_outputs(), spec.outputs)

    def __call__(self, inputs: Arrays, wanted: Sequence[str]) -> dict[str, NDArray[Any]]:
        if self._watch is not None:
            self._watch(self._spec, inputs)
        return dict(zip(wanted, self._session.run(list(wanted), dict(inputs)), strict=True))


def cuda_options(device: DeviceSettings) -> dict[str, str]:
    """Options of the CUDA provider: bounded memory, no search for algorithms, full float32."""
    options = {"arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}
    if device.memory_mb:
        options["gpu_mem_limit"] = str(device.memory_mb * MEGABYTE)
    return options


def _check(side: str, found: list[onnxruntime.NodeArg], expected: tuple[TensorSpec, ...]) -> None:
    shown = tuple(TensorSpec(a.name, DTYPES.get(a.type, a.type), tuple(a.shape)) for a in found)
    if shown != expected:
        raise ContractError(f"graph {side} are {shown}, the manifest says {expected}; export the bundle again")
