"""What needs a GPU: are the plans right, and how fast are they beside PyTorch on the same card?

    python -m benchmarks.gpu [--backend NAME] [--models NAME ...] [--quick] [--out FOLDER]

Every model in fp32 and fp16 against its golden sample; then a frame of 1, 4 and 16 objects, in turn with PyTorch eager.
Builds the plans first, which can take minutes. Writes gpu.json and gpu.md. Refuses in one sentence without a GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.effort import Effort
from benchmarks.machine import ROOT, about_machine
from benchmarks.measuring import Measured, Run, in_turn, ratio
from benchmarks.random_models import engine_run, network_config, random_model, window_run
from benchmarks.section import Section, markdown
from c2f_ros.bundle import Bundle, load_bundle
from c2f_ros.contract import ContractError
from c2f_ros.engines.golden import LEAST_IOU, mean_iou
from c2f_ros.engines.settings import DeviceSettings
from c2f_ros.engines.tensorrt_engine import TensorRTEngine, why_not
from c2f_ros.engines.tensorrt_library import BACKENDS
from c2f_ros.steps.step6_engine import SLOTS, Engine
from c2f_train.model.network import C2FNetwork
from c2f_train.official.official_config import IMAGE, VIDEO, published_config

MODELS = ("c2f_nano", "c2f_nano_video", "full_size", "full_size_video")
FULL_SIZE = {"full_size": IMAGE, "full_size_video": VIDEO}
"""The published image and video model, with random weights: cost does not depend on them."""
COUNTS = (1, 4, 16)
PRECISIONS = ("fp32", "fp16")
MOST_DIFFERENCE = 1e-3
"""What an fp32 plan may differ from the golden sample; one of lower precision must reach `LEAST_IOU`."""

OpenOne = Callable[[Bundle, str], Engine]
"""A bundle and a precision -> an engine, not proven."""


@dataclass(frozen=True)
class Subject:
    """A model to be measured: what runs in the engine, and the network that PyTorch runs, of the same size."""

    name: str
    bundle: Bundle
    network: C2FNetwork


def parity(subjects: Sequence[Subject], open_one: OpenOne) -> Section:
    """A row per model and precision: all graphs of a bundle, one after the other, against its golden sample."""
    rows = []
    for subject in subjects:
        for precision in PRECISIONS:
            engine = open_one(subject.bundle, precision)
            rows.append(
                {"model": subject.name, "engine": engine.name, **differences(engine, subject.bundle, precision)}
            )
            engine.close()
    columns = {
        "model": "model", "precision": "precision", "objects": "objects", "amodal": "masks, largest difference",
        "states": "states, largest difference", "iou": "mask IoU, mean", "verdict": "verdict",
    }  # fmt: skip
    note = (
        f"Against the golden sample, which ONNX Runtime and PyTorch agree on. Passes: fp32 with differences up to "
        f"{MOST_DIFFERENCE:g}, fp16 with a mean IoU of at least {LEAST_IOU:g}. Full-size models have random weights, "
        "whose tokens are nearly tied: there fp16 says little."
    )
    return Section("gpu_parity", "Parity on the GPU", note, columns, rows)


def differences(engine: Engine, bundle: Bundle, precision: str) -> dict[str, Any]:
    """How far the engine is from the golden sample, and whether that is allowed in this precision."""
    golden, threshold = bundle.golden_outputs, bundle.manifest.mask_threshold
    found = engine.compute(bundle.golden_inputs)
    off = {name: float(np.abs(found[name] - golden[name]).max()) for name in golden}
    iou = mean_iou(found["amodal"] >= threshold, golden["amodal"] >= threshold)
    passes = max(off.values()) <= MOST_DIFFERENCE if precision == "fp32" else iou >= LEAST_IOU
    states = [value for name, value in off.items() if name != "amodal"]
    return {
        "precision": precision, "objects": len(golden["amodal"]), "amodal": off["amodal"],
        "states": max(states) if states else None, "iou": iou, "verdict": "passes" if passes else "FAILS",
    }  # fmt: skip


def times(subjects: Sequence[Subject], open_one: OpenOne, card: torch.device, effort: Effort) -> Section:
    """A row per model and number of objects. card: where PyTorch runs."""
    rows = []
    for subject in subjects:
        engines = {precision: open_one(subject.bundle, precision) for precision in PRECISIONS}
        for count in effort.few(COUNTS):
            runs = {name: _engine_run(engine, subject.bundle, count) for name, engine in engines.items()}
            for name, is_half in (("eager", False), ("eager_half", True)):
                run = eager_frames(subject.network, subject.bundle, count, card, is_half)
                if run is not None:
                    runs[name] = run
            ms = in_turn(runs, effort.rounds(25), effort.seconds(10))
            rows.append(_row(subject, count, ms, engines))
        for engine in engines.values():
            engine.close()
    columns = {
        "model": "model", "objects": "objects", "fp32": "fp32, ms", "fp16": "fp16, ms", "eager": "eager fp32, ms",
        "eager_half": "eager fp16, ms", "ratio": "eager fp32 / fp32", "half_ratio": "eager fp16 / fp16",
        "rate": "objects/s, fp16", "mb": "GPU memory fp16, MB",
    }  # fmt: skip
    note = (
        "One frame: crops and masks go up, masks come down, everything in between; ours with the objects' memory and "
        "the checks of the output. Eager: the same architecture, states kept on the card, autocast for fp16; a window "
        "model computes all frames again, ours the newest. Median and quartiles over rounds in turn; – where the "
        "card's memory ran out."
    )
    return Section("gpu_times", "Times on the GPU", note, columns, rows)


def _row(subject: Subject, count: int, ms: Mapping[str, Measured], engines: Mapping[str, Engine]) -> dict[str, Any]:
    pairs = {"ratio": ("eager", "fp32"), "half_ratio": ("eager_half", "fp16")}
    ratios = {name: ratio(ms[a], ms[b]) for name, (a, b) in pairs.items() if a in ms}
    taken = getattr(engines["fp16"], "device_bytes", {})
    about = {"model": subject.name, "objects": count, "engines": {name: one.name for name, one in engines.items()}}
    rate = round(1e3 * count / ms["fp16"].median)
    return {**about, **ms, **ratios, "rate": rate, "mb": sum(taken.values()) >> 20, "bytes": dict(taken)}


def _engine_run(engine: Engine, bundle: Bundle, count: int) -> Run:
    manifest = bundle.manifest
    if manifest.frame_graph is not None:
        return window_run(engine, manifest, count, is_cached=True)
    return engine_run(engine, manifest, count)


def eager_frames(
    network: C2FNetwork, bundle: Bundle, count: int, card: torch.device, is_half: bool
) -> Callable[[], NDArray[np.float32]] | None:
    """Frames of `count` objects in plain PyTorch on `card`, the masks fetched; None if they do not fit its memory.

    Rows a call as the manifest allows. Image and masks are uploaded every time, states stay on the card.
    """
    inputs = {name: torch.from_numpy(_repeated(array, count)) for name, array in bundle.golden_inputs.items()}
    step = bundle.manifest.graph.batch_limit or count
    network = network.to(card)
    states = {name: tensor.to(card) for name, tensor in inputs.items() if name not in ("image", "masks")}
    frames = [inputs[name].pin_memory() if card.type == "cuda" else inputs[name] for name in ("image", "masks")]

    @torch.inference_mode()
    def run() -> NDArray[np.float32]:
        fetched = []
        for first in range(0, count, step):
            rows = slice(first, first + step)
            newest = [tensor[rows].to(card, non_blocking=True) for tensor in frames]
            with torch.autocast(card.type, torch.float16 if card.type == "cuda" else torch.bfloat16, enabled=is_half):
                found = network.infer(*newest, *(state[rows] for state in states.values()))
            outputs = dict(zip(network.outputs, found, strict=True))
            for name, state in states.items():
                if f"{name}_next" in outputs and state.shape[1:] == outputs[f"{name}_next"].shape[1:]:
                    state[rows] = outputs[f"{name}_next"]
            fetched.append(outputs["amodal"].float().cpu().numpy())
        return np.concatenate(fetched)

    try:
        run()
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
        return None
    return run


def _repeated(array: NDArray[Any], count: int) -> NDArray[Any]:
    """The first `count` rows of the array, repeated as often as that takes."""
    return np.concatenate([array] * -(-count // len(array)))[:count]


def subject(name: str, folder: Path) -> Subject:
    """A shipped model with a network of its configuration, or a full-size one made in `folder`."""
    if name in FULL_SIZE:
        network, bundle = random_model(published_config(FULL_SIZE[name]), folder / name)
        return Subject(name, bundle, network)
    model = ROOT / "models" / name
    network, _ = random_model(network_config(model), folder / name)
    return Subject(name, load_bundle(model), network)


def usable_backend(wanted: str | None) -> str:
    """The backend to measure: the one that is wanted, or the first that works. Raises ContractError if none does."""
    reasons = {backend: why_not(backend) for backend in ([wanted] if wanted else BACKENDS)}
    for backend, reason in reasons.items():
        if not reason:
            return backend
    said = "; ".join(f"{backend}: {reason}" for backend, reason in reasons.items())
    raise ContractError(f"nothing is measured, since no TensorRT engine runs here ({said})")


def about_card(card: torch.device) -> dict[str, Any]:
    """What PyTorch says of the GPU."""
    properties = torch.cuda.get_device_properties(card)
    about = {"gpu": properties.name, "gpu_memory_mb": properties.total_memory >> 20}
    return about | {"compute_capability": f"{properties.major}.{properties.minor}", "cuda": torch.version.cuda}


def write(sections: Sequence[Section], machine: Mapping[str, Any], out: Path, is_quick: bool) -> None:
    """gpu.json and gpu.md in the folder `out`. The page begins with the card's name."""
    out.mkdir(parents=True, exist_ok=True)
    results = {"is_quick": is_quick, "machine": machine, "sections": {one.key: one.plain() for one in sections}}
    (out / "gpu.json").write_text(json.dumps(results, indent=1) + "\n")
    page = markdown(sections, dict(machine))
    (out / "gpu.md").write_text(page.replace("# Benchmarks", f"# Benchmarks on {machine['gpu']}", 1))


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    parser.add_argument("--backend", choices=BACKENDS, help="the first that works here")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS, metavar="MODEL", help="of %(choices)s")
    parser.add_argument("--quick", action="store_true", help="two rounds of each: shows that it works")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Measure and write. Exit 1, after one sentence, for what cannot be measured."""
    options = make_parser().parse_args(arguments)
    try:
        backend = usable_backend(options.backend)
        if not torch.cuda.is_available():
            raise ContractError("PyTorch sees no GPU; install a build of it with CUDA, which is measured beside ours")
        measure(options, backend, torch.device("cuda"))
    except ContractError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def measure(options: argparse.Namespace, backend: str, card: torch.device) -> None:
    """Both sections, written to the folder. Raises ContractError in one sentence."""
    effort, machine = Effort(2, options.quick), about_machine(2) | about_card(card)

    def open_one(bundle: Bundle, precision: str) -> Engine:
        return TensorRTEngine(bundle, backend, SLOTS, DeviceSettings(precision, memory_mb=0))

    with tempfile.TemporaryDirectory() as folder:
        subjects = [subject(name, Path(folder)) for name in options.models]
        write(
            [parity(subjects, open_one), times(subjects, open_one, card, effort)], machine, options.out, options.quick
        )
    print(f"wrote {options.out / 'gpu.md'}")


if __name__ == "__main__":
    sys.exit(main())
