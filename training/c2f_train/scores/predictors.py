"""Trained networks as functions from crops to probabilities, for evaluation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from c2f_ros.bundle import load_bundle
from c2f_ros.geometry import FloatArray
from c2f_train.config import TrainConfig
from c2f_train.model.decoding import Draw, most_likely
from c2f_train.model.network import C2FNetwork
from c2f_train.model.unet import UNet

Predictor = Callable[[FloatArray, FloatArray], FloatArray]
"""image [N, 3, S, S] normalized, masks [N, M, S, S] (video: [N, T, ...]) -> amodal probabilities [N, S, S]."""


def bundle_predictor(folder: Path, threads: int) -> Predictor:
    """What ships: the bundle's graph in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    path = load_bundle(folder).graph_path
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda image, masks: session.run(["amodal"], {"image": image, "masks": masks})[0]


def network_predictor(network: C2FNetwork, draw: Draw = most_likely) -> Predictor:
    """The torch network; draw: how it chooses tokens, deterministically or by `decoding.seeded`."""

    def predict(image: FloatArray, masks: FloatArray) -> FloatArray:
        with torch.no_grad():
            return network(torch.from_numpy(image), torch.from_numpy(masks), draw)[0].numpy().astype(np.float32)

    return predict


def unet_predictor(unet: UNet) -> Predictor:
    """The plain U-Net of equal compute."""

    def predict(image: FloatArray, masks: FloatArray) -> FloatArray:
        with torch.no_grad():
            return unet(torch.from_numpy(image), torch.from_numpy(masks)).numpy().astype(np.float32)

    return predict


def load_network(config: TrainConfig, folder: Path) -> C2FNetwork:
    """The network with the averaged weights of the last stage in `folder`, finished or not."""
    network = C2FNetwork(config.network)
    network.load_state_dict(_averaged(folder / "refiner.pt"))
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
