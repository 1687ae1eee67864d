"""From the published checkpoints to a model bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from c2f_ros.contract import CropSpec, InputSpec
from c2f_train.export import GOLDEN_TOLERANCE, export_bundle
from c2f_train.model.config import NetworkConfig
from c2f_train.model.network import C2FNetwork
from c2f_train.official.checkpoints import load_official
from c2f_train.official.synthetic_input import steady_seeds, synthetic_batch
from c2f_train.onnx_graph import sha256

INPUT = InputSpec("rgb", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), ("visible",))
"""The published input: RGB in 0..1, not normalized, and the visible mask (spec 1.7, 1.9)."""
StandIn = Callable[[C2FNetwork], tuple[nn.Module, Mapping[str, Any]]]
"""The imported network -> what takes its tokenizer's place (see `C2FNetwork.infer`), and what the manifest tells."""
ROWS, TRIES = {"image": 2, "video": 1}, {"image": 8, "video": 3}
"""Made-up objects in the golden sample, and how many are looked at to find steady ones."""


def published_crop(size: int) -> CropSpec:
    """Twice the visible box, clipped to the image and stretched (spec 1.2 to 1.4, 2.2, 2.3)."""
    return CropSpec("stretched", size, 2.0, 0.0)


@dataclass(frozen=True)
class Imported:
    """What an import measured. kind: image or video; graph_mb: of all graphs; difference: of any output, torch - ONNX
    Runtime, on `rows` made-up objects, whose tokens were equal; steady: how many of them rounding cannot turn over."""

    kind: str
    parameters: int
    graph_mb: float
    seconds: float
    difference: float
    rows: int
    steady: int


def import_official(
    vq: Path,
    c2f: Path,
    configs: Sequence[Path],
    out: Path,
    name: str,
    window: int | None,
    steps: int,
    stand_in: StandIn | None = None,
) -> Imported:
    """Write the bundle `out` (replaced as a whole) and return what was measured.

    stand_in: makes another module for the tokenizer's place. Raises ContractError, one sentence, for files that are not
    the published model; ValueError if ONNX Runtime differs.
    """
    start = time.monotonic()
    network = load_official(vq, c2f, configs, window, steps)
    about: Mapping[str, Any] = {}
    if stand_in is not None:
        network.tokenizer, about = stand_in(network)
    config = network.config
    kind = "video" if config.frames > 1 else "image"
    seeds, steady = steady_seeds(network, ROWS[kind], TRIES[kind], GOLDEN_TOLERANCE / 2)
    parts = [synthetic_batch(config, 1, seed) for seed in seeds]
    golden = torch.cat([image for image, _ in parts]), torch.cat([masks for _, masks in parts])
    made = {
        "from": {file.name: sha256(file) for file in (vq, c2f, *configs)},
        "golden": f"made-up inputs, seeds {seeds}, {steady} of them steady under rounding",
        **about,
    }
    crop = published_crop(config.crop_size)
    difference = export_bundle(network, crop, INPUT, name, _describe(config), golden, made, out)
    return Imported(
        kind,
        sum(parameter.numel() for parameter in network.parameters()),
        sum(file.stat().st_size for file in out.glob("*.onnx")) / 1e6,
        time.monotonic() - start,
        difference,
        len(seeds),
        steady,
    )


def _describe(config: NetworkConfig) -> str:
    kind = f"clips of {config.frames} frames" if config.frames > 1 else "single images"
    transformer = config.transformer
    return (
        f"C2F-Seg, published weights, for {kind}: {config.crop_size}x{config.crop_size} crops, "
        f"{config.grid}x{config.grid} tokens, {config.tokenizer.codebook_size} codes, "
        f"transformer {transformer.layers} x {transformer.dim}, K = {config.inference.steps}"
    )
