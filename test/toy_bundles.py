"""Bundles of toy models, complete with graph, golden sample and hashes, for tests that open them like any other."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import yaml
from frames import SIZE, plain_manifest
from onnx import TensorProto, helper

from c2f_ros.bundle import Bundle, load_bundle


def toy_bundle(folder: Path, rule: str, window: int | None, shares: list[float], limit: int = 0) -> Bundle:
    """A bundle whose amodal map is the sum of the window's visible masks, oldest first, weighted by `shares`.

    window: T of mode `window`, or None for mode `image`. The graph takes as many frames as there are shares, whatever
    the manifest says, and has a second output, `extra`, which the runtime has no use for.
    """
    folder.mkdir()
    onnx.save(_graph(window is not None, shares), str(folder / "c2f.onnx"))
    rng, frames = np.random.default_rng(0), () if window is None else (window,)
    image = rng.random((2, *frames, 3, SIZE, SIZE)).astype(np.float32)
    masks = (rng.random((2, *frames, 1, SIZE, SIZE)) > 0.5).astype(np.float32)
    weights = np.resize(np.float32(shares), window or 1)
    amodal = np.tensordot(masks.reshape(2, -1, SIZE, SIZE), weights, ([1], [0]))
    np.savez(folder / "golden.npz", image=image, masks=masks, amodal=amodal.astype(np.float32))
    (folder / "manifest.yaml").write_text(yaml.safe_dump(_manifest(folder, rule, frames, limit)))
    return load_bundle(folder)


def _graph(is_window: bool, shares: list[float]) -> onnx.ModelProto:
    frames = [len(shares)] if is_window else []
    weights = np.asarray(shares, np.float32).reshape(len(shares), 1, 1, 1)
    constants = [
        onnx.numpy_helper.from_array(weights if is_window else weights[0], "shares"),
        onnx.numpy_helper.from_array(np.array([1, 2] if is_window else [1]), "axes"),
    ]
    nodes = [
        helper.make_node("Mul", ["masks", "shares"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "axes"], ["amodal"], keepdims=0),
        helper.make_node("ReduceMean", ["image"], ["extra"], axes=list(range(1, 4 + len(frames))), keepdims=0),
    ]

    def tensor(name: str, *shape: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])

    inputs = [tensor("image", *frames, 3, SIZE, SIZE), tensor("masks", *frames, 1, SIZE, SIZE)]
    graph = helper.make_graph(nodes, "toy", inputs, [tensor("amodal", SIZE, SIZE), tensor("extra")], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def _manifest(folder: Path, rule: str, frames: tuple[int, ...], limit: int) -> dict:
    plain = plain_manifest()
    plain["crop"] |= {"rule": rule, "min_side_fraction": 0.0}
    plain["input"] |= {"mean": [0.0] * 3, "std": [1.0] * 3, "mask_channels": ["visible"]}
    if frames:
        plain["temporal"] = {"mode": "window", "window": frames[0]}
    shapes = {"image": ["N", *frames, 3, SIZE, SIZE], "masks": ["N", *frames, 1, SIZE, SIZE]}
    plain["graph"]["inputs"] = [{"name": n, "dtype": "float32", "shape": s} for n, s in shapes.items()]
    plain["graph"]["batch_limit"] = limit
    plain["graph"]["outputs"].append({"name": "extra", "dtype": "float32", "shape": ["N"]})
    for part in ("graph", "golden"):
        data = (folder / plain[part]["file"]).read_bytes()
        plain[part]["sha256"] = hashlib.sha256(data).hexdigest()
    return plain
