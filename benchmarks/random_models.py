"""Models with random weights, which cost what trained ones cost, and what runs them: an engine, or plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml

from c2f_ros.bundle import Bundle, load_bundle
from c2f_ros.contract import CropSpec, InputSpec, Manifest, parse
from c2f_ros.crops import frame_inputs
from c2f_ros.geometry import Box
from c2f_ros.motion import STILL
from c2f_ros.records import Batch, MaskProbabilities, Observation
from c2f_ros.steps.step6_engine import Engine, run_engine
from c2f_train.export import export_bundle
from c2f_train.model.config import NetworkConfig
from c2f_train.model.network import C2FNetwork
from c2f_train.model.stream import make_network
from c2f_train.official.synthetic_input import synthetic_batch

BOX = Box(0, 0, 100, 100)


def network_config(model: Path) -> NetworkConfig:
    """The network of the bundle in this folder, by the configuration that lies in it."""
    return parse(NetworkConfig, yaml.safe_load((model / "config.yaml").read_text())["network"], "config.yaml.network")


def random_model(config: NetworkConfig, folder: Path, seed: int = 0) -> tuple[C2FNetwork, Bundle]:
    """A network and, with the same weights, its bundle in `folder`. Raises ValueError if ONNX Runtime and torch differ
    on them."""
    torch.manual_seed(seed)
    network = make_network(config).eval()
    rule = "followed" if config.is_stream else "square"
    spec = InputSpec("rgb", (0.5,) * 3, (0.25,) * 3, config.mask_channels)
    golden = synthetic_batch(config, 1 if config.frames > 1 else 2, 0)
    crop = CropSpec(rule, config.crop_size, 2.0, 0.2)
    export_bundle(network, crop, spec, folder.name, "", golden, {}, folder)
    return network, load_bundle(folder)


def random_bundle(config: NetworkConfig, folder: Path) -> Bundle:
    """A bundle alone."""
    return random_model(config, folder)[1]


def made_up_batch(manifest: Manifest, count: int) -> Batch:
    """A frame of `count` objects for models of one frame: noise, and masks of noise."""
    rng, size, planes = np.random.default_rng(0), manifest.crop.size, len(manifest.input.mask_channels)
    image = rng.standard_normal((count, 3, size, size)).astype(np.float32)
    masks = (rng.random((count, planes, size, size)) > 0.5).astype(np.float32)
    return Batch(image, masks, tuple(range(count)), (BOX,) * count, (STILL,) * count)


def engine_run(engine: Engine, manifest: Manifest, count: int) -> Callable[[], MaskProbabilities]:
    """A frame of `count` objects each time, checked as the node does it; their memories are full, if they have any."""
    batch = made_up_batch(manifest, count)
    for _ in range(manifest.temporal.window):
        run_engine(engine, batch)
    return lambda: run_engine(engine, batch)


def eager_run(network: C2FNetwork, manifest: Manifest, count: int) -> Callable[[], None]:
    """The same frames in plain PyTorch, eager, without gradients, states kept as tensors; as many rows a call as the
    manifest allows."""
    batch = made_up_batch(manifest, count)
    step = manifest.graph.batch_limit or count
    states = [
        torch.zeros(count, *tensor.shape[1:], dtype=getattr(torch, tensor.dtype)) for tensor in manifest.inputs[2:]
    ]
    kept = [index for index, tensor in enumerate(manifest.inputs[2:]) if tensor.name not in ("warp", "ages")]
    for index, tensor in enumerate(manifest.inputs[2:]):
        if tensor.name == "warp":
            states[index][:, 0] = 1.0
    image, masks = torch.from_numpy(batch.image), torch.from_numpy(batch.masks)

    @torch.inference_mode()
    def run() -> None:
        for first in range(0, count, step):
            rows = slice(first, first + step)
            _, _, _, *found = network(image[rows], masks[rows], *(state[rows] for state in states))
            for index, state in zip(kept, found, strict=True):
                states[index][rows] = state

    return run


def window_run(engine: Engine, manifest: Manifest, count: int, is_cached: bool) -> Callable[[], None]:
    """One more frame of `count` objects each time, for models of windows: what a frame gave once is kept, or all frames
    are computed again. Making the inputs is included."""
    rng, size, planes = np.random.default_rng(0), manifest.crop.size, len(manifest.input.mask_channels)
    crop, spec, window = manifest.crop, manifest.input, manifest.temporal.window
    windows: list[list[Observation]] = [[] for _ in range(count)]

    def run() -> None:
        for seen in windows:
            rgb = rng.integers(0, 255, (size, size, 3)).astype(np.uint8)
            masks = rng.integers(0, 255, (planes, size, size)).astype(np.uint8)
            seen.append(Observation(0, Box(0, 0, size, size), rgb, masks))
            del seen[:-window]
        if not is_cached:
            engine.reset()
        image, masks = frame_inputs([seen[-1] for seen in windows], [(size, size)] * count, crop, spec)
        batch = Batch(image, masks, windows=tuple(map(tuple, windows)))
        run_engine(engine, batch)

    for _ in range(window):
        run()
    return run
