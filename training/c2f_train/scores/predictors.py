"""Trained networks as functions from crops to probabilities, for evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from c2f_ros.bundle import Bundle, load_bundle
from c2f_ros.contract import state_inputs
from c2f_ros.geometry import FloatArray
from c2f_train.config import TrainConfig
from c2f_train.model.decoding import Draw, most_likely
from c2f_train.model.network import C2FNetwork
from c2f_train.model.stream import make_network
from c2f_train.model.unet import UNet
from c2f_train.scores.methods import Predictor, States, StreamPredictor, View


def open_bundle(folder: Path, threads: int) -> tuple[Predictor | StreamPredictor, View]:
    """A bundle's model, with memory or without, and how it sees objects."""
    view = View.of(load_bundle(folder).manifest)
    predictor = bundle_stream_predictor if view.temporal.state else bundle_predictor
    return predictor(folder, threads), view


def bundle_predictor(folder: Path, threads: int) -> Predictor:
    """What ships: the bundle's graphs in ONNX Runtime; of a model without memory."""
    bundle = load_bundle(folder)
    session, frames = _session(bundle.graph_path, threads), bundle.manifest.frame_graph
    if frames is None:
        return lambda image, masks: session.run(["amodal"], {"image": image, "masks": masks})[0]
    return _two_graphs(bundle, _session(bundle.path(frames), threads), session)


def bundle_stream_predictor(folder: Path, threads: int) -> StreamPredictor:
    """What ships: the bundle's graph in ONNX Runtime; of a model with memory."""
    bundle = load_bundle(folder)
    session = _session(bundle.graph_path, threads)
    names = ["amodal", *(f"{state.name}_next" for state in bundle.manifest.temporal.state)]

    def predict(image: FloatArray, masks: FloatArray, states: States) -> dict[str, NDArray[Any]]:
        return dict(zip(names, session.run(names, {"image": image, "masks": masks, **states}), strict=True))

    return predict


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _two_graphs(bundle: Bundle, frames: onnxruntime.InferenceSession, whole: onnxruntime.InferenceSession) -> Predictor:
    """Every frame through the first graph, whole windows or their newest frames through the second."""
    window = bundle.manifest.temporal.window
    wanted = {tensor.name: len(tensor.shape) for tensor in bundle.manifest.graph.inputs}

    def predict(image: FloatArray, masks: FloatArray) -> FloatArray:
        flat = {"image": image.reshape(-1, *image.shape[2:]), "masks": masks.reshape(-1, *masks.shape[2:])}
        found = dict(zip(wanted, frames.run(list(wanted), flat), strict=True))
        given = {}
        for name, values in found.items():
            in_window = values.reshape(-1, window, *values.shape[1:])
            given[name] = in_window if wanted[name] == in_window.ndim else np.ascontiguousarray(in_window[:, -1])
        return whole.run(["amodal"], given)[0]

    return predict


def network_predictor(network: C2FNetwork, draw: Draw = most_likely) -> Predictor:
    """The torch network; draw: how it chooses tokens, deterministically or by `decoding.seeded`."""

    def predict(image: FloatArray, masks: FloatArray) -> FloatArray:
        with torch.no_grad():
            return network(torch.from_numpy(image), torch.from_numpy(masks), draw)[0].numpy().astype(np.float32)

    return predict


def network_stream_predictor(network: C2FNetwork) -> StreamPredictor:
    """The torch network with a memory (`config.is_stream`)."""
    temporal = network.config.temporal_spec()
    given = [name for name, _ in state_inputs(temporal)]

    def predict(image: FloatArray, masks: FloatArray, states: States) -> dict[str, NDArray[Any]]:
        with torch.no_grad():
            tensors = [torch.from_numpy(array) for array in (image, masks, *(states[name] for name in given))]
            amodal, _, _, *kept = network(*tensors)
        found = zip(temporal.state, kept, strict=True)
        return {"amodal": amodal.float().numpy(), **{f"{s.name}_next": value.float().numpy() for s, value in found}}

    return predict


def unet_predictor(unet: UNet) -> Predictor:
    """The plain U-Net of equal compute."""

    def predict(image: FloatArray, masks: FloatArray) -> FloatArray:
        with torch.no_grad():
            return unet(torch.from_numpy(image), torch.from_numpy(masks)).numpy().astype(np.float32)

    return predict


def load_network(config: TrainConfig, folder: Path) -> C2FNetwork:
    """The network with the averaged weights of the last stage in `folder`, finished or not."""
    network = make_network(config.network)
    network.load_state_dict(_averaged(folder / f"{config.last_stage}.pt"))
    network.freeze_tokenizer()
    return network.eval()


def load_unet(config: TrainConfig, folder: Path) -> UNet:
    """The U-Net with its averaged weights in `folder`, finished or not."""
    unet = UNet(config.unet)
    unet.load_state_dict(_averaged(folder / "unet.pt"))
    return unet.eval()


def _averaged(file: Path) -> dict[str, torch.Tensor]:
    if not file.exists():
        raise FileNotFoundError(f"{file} does not exist; run `c2f-train train` first")
    return torch.load(file, weights_only=True)["average"]
