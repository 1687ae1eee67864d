"""What keeps an engine from running on this machine."""

from __future__ import annotations

from importlib.util import find_spec


def why_not(kind: str) -> str:
    """ "" if the library of this kind of engine and the device that it needs are there, else what is missing."""
    if kind == "openvino":
        return "" if find_spec("openvino") else "openvino is not installed (pip install openvino)"
    if find_spec("onnxruntime") is None and kind.startswith("onnxruntime"):
        return "onnxruntime is not installed (pip install onnxruntime)"
    if kind == "onnxruntime":
        return ""
    if kind == "onnxruntime_cuda":
        from c2f_ros.engines.onnxruntime_engine import why_not_cuda

        return why_not_cuda()
    from c2f_ros.engines import tensorrt_engine

    return tensorrt_engine.why_not(kind)
