"""The ONNX Runtime engine: CPU, deterministic; the only file that imports onnxruntime."""

from __future__ import annotations

import onnxruntime

from c2f_ros.bundle import Bundle
from c2f_ros.contract import ContractError, TensorSpec
from c2f_ros.records import Batch, MaskProbabilities

DTYPES = {"tensor(float)": "float32", "tensor(int64)": "int64"}


class OnnxRuntimeEngine:
    """A session on the CPU with `threads` threads. Two runs on equal input give equal bytes."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = bundle.graph_path
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises types of its own for every kind of broken file
            raise ContractError(
                f"{path.name} does not load in ONNX Runtime: {error}; export the bundle again"
            ) from error
        _check("inputs", self._session.get_inputs(), bundle.manifest.graph.inputs)
        _check("outputs", self._session.get_outputs(), bundle.manifest.graph.outputs)
        self.name = f"ONNX Runtime {onnxruntime.__version__} CPU, {threads} threads"

    def run(self, batch: Batch) -> MaskProbabilities:
        (amodal,) = self._session.run(["amodal"], {"image": batch.image, "masks": batch.masks})
        return MaskProbabilities(amodal)

    def close(self) -> None:
        del self._session


def _check(side: str, found: list[onnxruntime.NodeArg], expected: tuple[TensorSpec, ...]) -> None:
    shown = tuple(TensorSpec(a.name, DTYPES.get(a.type, a.type), tuple(a.shape)) for a in found)
    if shown != expected:
        raise ContractError(f"graph {side} are {shown}, the manifest says {expected}; export the bundle again")
