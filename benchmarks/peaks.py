"""What this machine reaches at best, through the libraries that run the models: matrix products, and copying."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from benchmarks.effort import Effort
from benchmarks.measuring import Run, in_turn

SIDE = 1536
"""Of the square matrices: large enough that starting threads does not count, small enough for a few milliseconds."""
COPIED_MB = 256
"""More than any cache of the machines that this runs on."""
LIBRARIES = ("onnxruntime", "openvino", "torch")


@dataclass(frozen=True)
class Peaks:
    """gflops: giga floating point operations per second (a multiply-add is two) by `library precision`; the fastest
    round. copy_gbs: gigabytes per second, read and written, of memory copied by all threads."""

    gflops: dict[str, float]
    copy_gbs: float

    def best(self, precision: str) -> float:
        """Of any library in this precision. Raises KeyError if none was measured."""
        found = [value for name, value in self.gflops.items() if name.endswith(f" {precision}")]
        if not found:
            raise KeyError(f"no library was measured in {precision}; there are {', '.join(self.gflops)}")
        return max(found)


def measure_peaks(effort: Effort) -> Peaks:
    """The peaks with the effort's threads. OpenVINO is left out where it is not installed."""
    side = 256 if effort.is_quick else SIDE
    runs: dict[str, Run] = {"onnxruntime fp32": _onnxruntime(side, effort.threads)}
    runs |= {f"torch {name}": _torch(side, kind) for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16))}
    for precision in ("fp32", "bf16"):
        run = _openvino(side, precision, effort.threads)
        if run is not None:
            runs[f"openvino {precision}"] = run
    source = torch.ones((8 if effort.is_quick else COPIED_MB) << 18)
    target = torch.empty_like(source)
    runs["copy"] = lambda: target.copy_(source)
    ms = {name: min(measured.ms) for name, measured in in_turn(runs, effort.rounds(7), effort.seconds(8)).items()}
    copied = 2 * source.nbytes / ms.pop("copy") * 1e-6
    return Peaks({name: 2 * side**3 / taken * 1e-6 for name, taken in ms.items()}, copied)


def product_model(side: int) -> onnx.ModelProto:
    """One product of a [side, side] input with a constant matrix, as networks have it."""
    weight = onnx.numpy_helper.from_array(_matrix(side), "w")
    value = [make_tensor_value_info(name, TensorProto.FLOAT, [side, side]) for name in ("x", "y")]
    graph = make_graph([make_node("MatMul", ["x", "w"], ["y"], "product")], "product", value[:1], value[1:], [weight])
    return make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8)


def _matrix(side: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((side, side)).astype(np.float32)


def _onnxruntime(side: int, threads: int) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        product_model(side).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    x = {"x": _matrix(side)}
    return lambda: session.run(None, x)


def _openvino(side: int, precision: str, threads: int) -> Run | None:
    try:
        from c2f_ros.engines.openvino_engine import openvino  # which keeps its telemetry out
    except ImportError:
        return None
    settings = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    core = openvino.Core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return None
    compiled = core.compile_model(core.read_model(product_model(side).SerializeToString()), "CPU", settings)
    request, x = compiled.create_infer_request(), _matrix(side)
    return lambda: request.infer([x], share_inputs=True)


def _torch(side: int, kind: torch.dtype) -> Callable[[], object]:
    x, w = (torch.from_numpy(_matrix(side)).to(kind) for _ in range(2))
    return lambda: x @ w
