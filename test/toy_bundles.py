"""Bundles of toy models, complete with graph, golden sample and hashes, for tests that open them like any other."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
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
    return _with_hashes(plain, folder)


def _with_hashes(plain: dict, folder: Path) -> dict:
    for part in ("graph", "golden"):
        data = (folder / plain[part]["file"]).read_bytes()
        plain[part]["sha256"] = hashlib.sha256(data).hexdigest()
    return plain


def cached_bundle(folder: Path, rule: str, shares: list[float]) -> Bundle:
    """The model of `toy_bundle` with a window of as many frames as there are shares, in two graphs.

    The first gives each frame's visible mask, and its mean brightness, which the second hands on as `extra`.
    """
    window = len(shares)
    bundle = toy_bundle(folder, rule, window, shares)
    nodes = [
        helper.make_node("Squeeze", ["masks", "axes"], ["seen"]),
        helper.make_node("ReduceMean", ["image"], ["light"], axes=[1, 2, 3], keepdims=0),
    ]
    frames = _model(
        nodes, {"image": [3, SIZE, SIZE], "masks": [1, SIZE, SIZE]}, {"seen": [SIZE, SIZE], "light": []},
        {"axes": np.array([1])},
    )  # fmt: skip
    nodes = [
        helper.make_node("Mul", ["seen", "shares"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "axes"], ["amodal"], keepdims=0),
        helper.make_node("Identity", ["light"], ["extra"]),
    ]
    weights = np.float32(shares).reshape(window, 1, 1)
    whole = _model(
        nodes, {"seen": [window, SIZE, SIZE], "light": []}, {"amodal": [SIZE, SIZE], "extra": []},
        {"axes": np.array([1]), "shares": weights},
    )  # fmt: skip
    plain = yaml.safe_load((folder / "manifest.yaml").read_text())
    for key, file, model in (("frame_graph", "frame.onnx", frames), ("graph", "c2f.onnx", whole)):
        onnx.save(model, str(folder / file))
        sides = {"inputs": model.graph.input, "outputs": model.graph.output}
        plain[key] = {"file": file, "batch_limit": 0} | {side: _listed(values) for side, values in sides.items()}
    for key in ("frame_graph", "graph"):
        plain[key]["sha256"] = hashlib.sha256((folder / plain[key]["file"]).read_bytes()).hexdigest()
    (folder / "manifest.yaml").write_text(yaml.safe_dump(plain))
    return load_bundle(bundle.folder)


def _model(
    nodes: list[onnx.NodeProto], inputs: dict[str, list[int]], outputs: dict[str, list[int]], constants: dict
) -> onnx.ModelProto:
    """A graph of float32 tensors; shapes after N."""

    def tensors(shapes: dict[str, list[int]]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", *shape]) for n, shape in shapes.items()]

    stored = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "toy", tensors(inputs), tensors(outputs), stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def _listed(values: list[onnx.ValueInfoProto]) -> list[dict]:
    return [
        {
            "name": v.name,
            "dtype": "float32",
            "shape": [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim],
        }
        for v in values
    ]


STATES = {"memory": ("aligned", [1, SIZE, SIZE]), "past": ("ring", [SIZE, SIZE])}


def stream_bundle(folder: Path, kinds: tuple[str, ...] = ("aligned",), window: int = 3, limit: int = 0) -> Bundle:
    """A streaming bundle whose amodal map is where the object's mask was seen, now or in what its states remember.

    kinds: `aligned` remembers all earlier amodal maps, moved along with the object; `ring` the last `window` visible
    masks, each in its own crop. An image that is not finite makes states that are not, but not the amodal map.
    """
    folder.mkdir()
    states = {name: state for name, state in STATES.items() if state[0] in kinds}
    plain = _stream_manifest(states, window, limit)
    graph = _stream_graph(plain["graph"], list(states))
    onnx.save(graph, str(folder / "c2f.onnx"))
    rng, golden = np.random.default_rng(0), {}
    for tensor in plain["graph"]["inputs"]:
        golden[tensor["name"]] = rng.random((2, *tensor["shape"][1:])).astype(np.float32)
    golden["masks"] = (golden["masks"] > 0.9).astype(np.float32)
    if "ages" in golden:
        golden["ages"] = np.tile(np.arange(window) - 1, (2, 1))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [tensor["name"] for tensor in plain["graph"]["outputs"]]
    np.savez(folder / "golden.npz", **golden, **dict(zip(names, session.run(names, golden), strict=True)))
    (folder / "manifest.yaml").write_text(yaml.safe_dump(_with_hashes(plain, folder)))
    return load_bundle(folder)


def _stream_manifest(states: dict[str, tuple[str, list[int]]], window: int, limit: int) -> dict:
    plain, listed = plain_manifest(), []
    plain["crop"] |= {"rule": "followed"}
    plain["input"] |= {"mean": [0.0] * 3, "std": [1.0] * 3, "mask_channels": ["visible"]}
    tensors = [("image", [3, SIZE, SIZE]), ("masks", [1, SIZE, SIZE])]
    if "memory" in states:
        tensors += [("warp", [3]), ("memory", states["memory"][1])]
    if "past" in states:
        tensors += [("ages", [window]), ("past", [window, *states["past"][1]])]
    taken = 0
    for name, (kind, shape) in states.items():
        listed.append({"name": name, "kind": kind, "shape": shape})
        taken += 4 * int(np.prod(shape)) * (window if kind == "ring" else 1)
    plain["temporal"] = {"mode": "stream", "window": window, "state": listed, "state_bytes": taken}
    plain["graph"]["batch_limit"] = limit
    plain["graph"]["inputs"] = [
        {"name": n, "dtype": "int64" if n == "ages" else "float32", "shape": ["N", *s]} for n, s in tensors
    ]
    plain["graph"]["outputs"] += [
        {"name": f"{name}_next", "dtype": "float32", "shape": ["N", *shape]} for name, (_, shape) in states.items()
    ]
    return plain


def _stream_graph(plain: dict, states: list[str]) -> onnx.ModelProto:
    node, seen = helper.make_node, ["visible"]
    nodes = [
        node("Squeeze", ["masks", "channel"], ["visible"]),
        node("ReduceMean", ["image"], ["light"], axes=[1, 2, 3], keepdims=0),
        node("Mul", ["light", "zero"], ["nothing"]),
        node("Unsqueeze", ["nothing", "sides"], ["broken"]),
    ]
    if "memory" in states:
        nodes += _recalled()
        seen.append("recalled")
    if "past" in states:
        nodes += _ever()
        seen.append("ever")
    nodes.append(node("Max", seen, ["amodal"]))
    if "memory" in states:
        nodes.append(node("Add", ["amodal", "broken"], ["whole"]))
        nodes.append(node("Unsqueeze", ["whole", "channel"], ["memory_next"]))

    def values(tensors: list[dict]) -> list[onnx.ValueInfoProto]:
        kinds = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
        return [helper.make_tensor_value_info(t["name"], kinds[t["dtype"]], t["shape"]) for t in tensors]

    graph = helper.make_graph(nodes, "toy", values(plain["inputs"]), values(plain["outputs"]), _constants(nodes))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def _recalled() -> list[onnx.NodeProto]:
    """The memory as it lies in the newest crop."""
    node = helper.make_node
    return [
        node("Slice", ["warp", "0", "1", "channel"], ["a"]),
        node("Slice", ["warp", "1", "3", "channel"], ["b"]),
        node("Unsqueeze", ["a", "sides"], ["a4"]),
        node("Unsqueeze", ["b", "sides"], ["b4"]),
        node("Mul", ["flat", "a4"], ["scaled"]),
        node("Add", ["scaled", "b4"], ["grid"]),
        node("GridSample", ["memory", "grid"], ["laid"], mode="bilinear", padding_mode="zeros", align_corners=0),
        node("Squeeze", ["laid", "channel"], ["recalled"]),
    ]


def _ever() -> list[onnx.NodeProto]:
    """Where any of the ring's masks is."""
    node = helper.make_node
    return [
        node("Less", ["ages", "none"], ["is_empty"]),
        node("Unsqueeze", ["is_empty", "places"], ["is_empty4"]),
        node("Where", ["is_empty4", "zero", "past"], ["filled"]),
        node("ReduceMax", ["filled"], ["ever"], axes=[1], keepdims=0),
        node("Add", ["visible", "broken"], ["past_next"]),
    ]


def _constants(nodes: list[onnx.NodeProto]) -> list[TensorProto]:
    line = (np.arange(SIZE, dtype=np.float32) * 2 + 1) / SIZE - 1
    every = {
        "flat": np.stack(np.meshgrid(line, line), -1)[None], "zero": np.float32(0.0), "none": np.array(0),
        "channel": np.array([1]), "sides": np.array([1, 2]), "places": np.array([2, 3]),
        "0": np.array([0]), "1": np.array([1]), "3": np.array([3]),
    }  # fmt: skip
    used = {name for node in nodes for name in node.input}
    return [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in every.items() if name in used]
