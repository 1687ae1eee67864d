"""What an object's memory costs: time per frame with a memory of 24 frames and of 1, and of windows cached or not.

    python benchmarks/memory.py --out benchmarks/results/memory.json

The networks have the sizes of training/configs/nano_video.yaml and random weights, which cost what trained ones cost.
Everything that is compared runs in turn, round after round, so that a busy machine slows all alike.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from c2f_ros.bundle import Bundle, load_bundle
from c2f_ros.contract import CropSpec, InputSpec
from c2f_ros.crops import frame_inputs
from c2f_ros.geometry import Box
from c2f_ros.motion import STILL
from c2f_ros.records import Batch, Observation
from c2f_ros.steps.step6_engine import open_engine, run_engine
from c2f_train.config import load_config
from c2f_train.export import export_bundle
from c2f_train.model.config import NO_MEMORY, MemoryConfig, NetworkConfig
from c2f_train.model.stream import make_network
from c2f_train.official.synthetic_input import synthetic_batch

ROOT = Path(__file__).resolve().parent.parent
LONG, SHORT, WINDOW = 24, 1, 8
Run = Callable[[], object]


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "memory.json")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--objects", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = load_config(ROOT / "training" / "configs" / "nano_video.yaml").network
    results: dict[str, object] = {
        "about": f"ms per frame of {options.objects} objects, the fastest of {options.rounds} rounds, run in turn",
        "machine": {"kind": platform.machine(), "threads": options.threads, "onnxruntime": onnxruntime.__version__},
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, configs in _streams(network).items():
            bundles = {frames: _bundle(c, folder / f"{name}{frames}") for frames, c in configs.items()}
            results[name] = _compare_streams(bundles, options)
        for frames in (WINDOW, LONG):
            results[f"window_{frames}"] = _compare_window(network, frames, folder / f"window{frames}", options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


def _streams(network: NetworkConfig) -> dict[str, dict[int, NetworkConfig]]:
    """The networks that are compared: by name and frames in memory."""
    aligned = {T: replace(network, memory=replace(network.memory, ring=0, warm=T)) for T in (LONG, SHORT)}
    rings = {T: replace(network, memory=MemoryConfig(ring=T)) for T in (LONG, SHORT)}
    return {"aligned": aligned, "ring": rings, "none": {0: replace(network, memory=NO_MEMORY)}}


def _bundle(config: NetworkConfig, folder: Path) -> Bundle:
    rule = "followed" if config.is_stream else "square"
    spec = InputSpec("rgb", (0.5,) * 3, (0.25,) * 3, config.mask_channels)
    golden = synthetic_batch(config, 1 if config.frames > 1 else 2, 0)
    export_bundle(
        make_network(config), CropSpec(rule, config.crop_size, 2.0, 0.2), spec, "random", "", golden, {}, folder
    )
    return load_bundle(folder)


def _compare_streams(bundles: dict[int, Bundle], options: argparse.Namespace) -> dict[str, object]:
    runs = {frames: _stream_run(bundle, options) for frames, bundle in bundles.items()}
    found = _in_turn(list(runs.values()), options.rounds)
    times = {f"ms_T{frames}": round(ms, 3) for frames, ms in zip(runs, found, strict=True)}
    sizes = {f"state_bytes_T{frames}": bundle.manifest.temporal.state_bytes for frames, bundle in bundles.items()}
    ratio = {"ratio": round(found[0] / found[1], 3)} if len(found) == 2 else {}
    return {**times, **ratio, **sizes}


def _stream_run(bundle: Bundle, options: argparse.Namespace) -> Run:
    """A frame with all objects, their memories full."""
    engine, count, manifest = open_engine("auto", bundle, options.threads), options.objects, bundle.manifest
    rng, size = np.random.default_rng(0), manifest.crop.size
    image = rng.standard_normal((count, 3, size, size)).astype(np.float32)
    masks = (rng.random((count, len(manifest.input.mask_channels), size, size)) > 0.5).astype(np.float32)
    box = Box(0, 0, 100, 100)
    batch = Batch(image, masks, tuple(range(count)), (box,) * count, (STILL,) * count)
    for _ in range(manifest.temporal.window):
        run_engine(engine, batch, manifest.graph.batch_limit)
    return lambda: run_engine(engine, batch, manifest.graph.batch_limit)


def _compare_window(
    network: NetworkConfig, frames: int, folder: Path, options: argparse.Namespace
) -> dict[str, object]:
    """The spatio-temporal transformer over windows of `frames`: earlier frames cached, or all computed again."""
    transformer = replace(network.transformer, temporal=True, window=frames)
    bundle = _bundle(replace(network, transformer=transformer, memory=NO_MEMORY), folder)
    cached, again = (_window_run(bundle, options, is_cached) for is_cached in (True, False))
    found = _in_turn([cached, again], options.rounds)
    return {"ms_cached": round(found[0], 3), "ms_again": round(found[1], 3), "speedup": round(found[1] / found[0], 2)}


def _window_run(bundle: Bundle, options: argparse.Namespace, is_cached: bool) -> Run:
    """One more frame with all objects each time; batching included."""
    manifest, rng = bundle.manifest, np.random.default_rng(0)
    engine, size, planes = (
        open_engine("auto", bundle, options.threads),
        manifest.crop.size,
        len(manifest.input.mask_channels),
    )
    crop, spec, window = manifest.crop, manifest.input, manifest.temporal.window
    windows: list[list[Observation]] = [[] for _ in range(options.objects)]

    def run() -> None:
        for seen in windows:
            rgb = rng.integers(0, 255, (size, size, 3)).astype(np.uint8)
            masks = rng.integers(0, 255, (planes, size, size)).astype(np.uint8)
            seen.append(Observation(0, Box(0, 0, size, size), rgb, masks))
            del seen[:-window]
        if not is_cached:
            engine.reset()
        image, masks = frame_inputs([seen[-1] for seen in windows], [(size, size)] * len(windows), crop, spec)
        batch = Batch(image, masks, windows=tuple(map(tuple, windows)))
        run_engine(engine, batch, manifest.graph.batch_limit)

    for _ in range(window):
        run()
    return run


def _in_turn(runs: Sequence[Run], rounds: int) -> list[float]:
    """Milliseconds of each, the fastest round: what else the machine does only adds to it."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, taken in zip(runs, times, strict=True):
            start = time.perf_counter()
            run()
            taken.append((time.perf_counter() - start) * 1e3)
    return [min(taken) for taken in times]


if __name__ == "__main__":
    main()
