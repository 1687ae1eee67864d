"""What an object's memory costs: time per frame with a memory of 24 frames and of 1, and of windows cached or not.

    python -m benchmarks.memory --out benchmarks/results/memory.json

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

import onnxruntime
import torch

from benchmarks.random_models import engine_run, random_bundle, window_run
from c2f_ros.bundle import Bundle
from c2f_ros.steps.step6_engine import open_engine
from c2f_train.config import load_config
from c2f_train.model.config import NO_MEMORY, MemoryConfig, NetworkConfig

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
            bundles = {frames: random_bundle(c, folder / f"{name}{frames}") for frames, c in configs.items()}
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


def _compare_streams(bundles: dict[int, Bundle], options: argparse.Namespace) -> dict[str, object]:
    runs = {
        frames: engine_run(open_engine("auto", bundle, options.threads), bundle.manifest, options.objects)
        for frames, bundle in bundles.items()
    }
    found = _in_turn(list(runs.values()), options.rounds)
    times = {f"ms_T{frames}": round(ms, 3) for frames, ms in zip(runs, found, strict=True)}
    sizes = {f"state_bytes_T{frames}": bundle.manifest.temporal.state_bytes for frames, bundle in bundles.items()}
    ratio = {"ratio": round(found[0] / found[1], 3)} if len(found) == 2 else {}
    return {**times, **ratio, **sizes}


def _compare_window(
    network: NetworkConfig, frames: int, folder: Path, options: argparse.Namespace
) -> dict[str, object]:
    """The spatio-temporal transformer over windows of `frames`: earlier frames cached, or all computed again."""
    transformer = replace(network.transformer, temporal=True, window=frames)
    bundle = random_bundle(replace(network, transformer=transformer, memory=NO_MEMORY), folder)
    cached, again = (
        window_run(open_engine("auto", bundle, options.threads), bundle.manifest, options.objects, is_cached)
        for is_cached in (True, False)
    )
    found = _in_turn([cached, again], options.rounds)
    return {"ms_cached": round(found[0], 3), "ms_again": round(found[1], 3), "speedup": round(found[1] / found[0], 2)}


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
