"""`c2f-train export`: the trained network as a model bundle that the node runs."""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path

from c2f_ros.contract import to_plain
from c2f_train.commands.options import RUN, STORE, add_out, add_work
from c2f_train.config import TrainConfig, load_config, save_config
from c2f_train.data_config import AugmentConfig

NAME = "export"
HELP = "Write the model bundle, with golden sample and parity check."
GOLDEN_SAMPLES = 4


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_work(parser)
    add_out(parser)


def run(options: argparse.Namespace) -> None:
    """The bundle; the numbers of an earlier evaluation go into its manifest."""
    import torch

    from c2f_train.data.batches import batch_at
    from c2f_train.data.store import open_store
    from c2f_train.export import export_bundle
    from c2f_train.scores.predictors import load_network

    torch.set_num_threads(1)
    config, store = load_config(options.config), open_store(options.work / STORE)
    network, frames = load_network(config, options.work / RUN), config.network.frames
    batch = batch_at(store, 0, GOLDEN_SAMPLES, 0, AugmentConfig(flip=0.0, ragged=0.0), frames)
    golden = (batch.image, batch.masks)
    if frames > 1:
        golden = (batch.image.unflatten(0, (-1, frames)), batch.masks.unflatten(0, (-1, frames)))
    made = _made(config, options.work / RUN)
    difference = export_bundle(
        network, config.crop, store.input, config.name, describe(config), golden, made, options.out
    )
    save_config(config, options.out / "config.yaml")
    print(f"wrote {options.out}; torch and ONNX Runtime differ by at most {difference:.1e}")


def describe(config: TrainConfig) -> str:
    """One sentence about the network, for its manifest."""
    network = config.network
    kind = f"windows of {network.frames} frames" if network.frames > 1 else "single images"
    if network.is_stream:
        kind = f"video, frame by frame with {network.temporal_spec().state_bytes // 1024} KiB of memory per object"
    made = "clips of its own generator" if not config.data.recorded else "recorded data"
    return (
        f"C2F-Seg for {kind}, {config.crop.size}x{config.crop.size} crops, {network.grid}x{network.grid} tokens, "
        f"transformer {network.transformer.layers} x {network.transformer.dim}; trained on {made}"
    )


def _made(config: TrainConfig, run: Path) -> dict[str, object]:
    results = run / "evaluation.json"
    metrics = json.loads(results.read_text()) if results.exists() else {}
    sets = {"train": config.data.train, "tracks": config.data.tracks, "recorded": config.data.recorded}
    data = {name: to_plain(found) for name, found in sets.items() if found or name != "tracks"}
    return {"git": _git_hash(), "data": data, "seed": config.seed, "metrics": metrics}


def _git_hash() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    )
    return found.stdout.strip() or "unknown"
