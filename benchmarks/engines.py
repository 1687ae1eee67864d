"""Engine against engine on this CPU: how fast, and how far the masks are from those of float32.

    python -m benchmarks.engines [--quick] [--threads N] [--out FOLDER]

Writes engines.json and engines.md in under a minute; a part of `make bench` too.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np

from benchmarks.clip import FRAMES, generated_frames, golden_rows, infer_all, mask_iou
from benchmarks.effort import Effort
from benchmarks.int8 import int8_bundle
from benchmarks.machine import ROOT, about_machine
from benchmarks.measuring import Measured, Ratio, Run, in_turn, ratio
from benchmarks.section import Row, Section, markdown
from c2f_ros.bundle import Bundle, load_bundle
from c2f_ros.contract import ContractError
from c2f_ros.engines.cpu_features import read_cpu
from c2f_ros.engines.installed import why_not
from c2f_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from c2f_ros.records import PairedFrame
from c2f_ros.steps.step6_engine import SLOTS, Engine

MODELS = ("c2f_nano", "c2f_nano_video")
COUNTS = (1, 4, 16)
REFERENCE = "onnxruntime fp32"
COLUMNS = {
    "model": "model", "engine": "engine", **{f"ratio_{n}": f"N = {n}: times as fast" for n in COUNTS},
    **{f"ms_{n}": f"N = {n}: CPU ms" for n in COUNTS}, "iou": "mask IoU with float32",
}  # fmt: skip

Opening = Callable[[], Engine]


def engines(models: Sequence[Path], effort: Effort) -> Section:
    """A row per model and engine. models: folders of bundles without a frame graph."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        frames = generated_frames(Path(folder), 3 if effort.is_quick else FRAMES)
        for model in models:
            rows += _rows(load_bundle(model), frames, effort, Path(folder))
    note = (
        f"N objects in one call, {effort.threads} threads, the graph alone: CPU time of all threads, median and "
        f"quartiles over rounds, in ms; ratios are {REFERENCE} over the engine of the row, round by round. Inputs: the "
        f"bundle's golden objects, repeated, with noise. The last column: {len(frames)} frames of a generated clip "
        "through the whole pipeline, memory of the objects included, mean IoU of all amodal masks with those of the "
        "first engine. int8: convolutions alone, calibrated on golden objects; it is measured here and not offered."
    )
    return Section("engines", "Engine against engine", note, COLUMNS, rows)


def _rows(bundle: Bundle, frames: Sequence[PairedFrame], effort: Effort, folder: Path) -> Iterator[Row]:
    with ExitStack() as opened:
        running = {name: opened.enter_context(closing(one)) for name, one in _opened(bundle, effort.threads, folder)}
        times: dict[int, dict[str, Measured]] = {}
        counts = effort.few(COUNTS)
        for count in counts:
            inputs = golden_rows(bundle, count, np.random.default_rng(count))
            runs: dict[str, Run] = {name: _calling(one, inputs) for name, one in running.items()}
            times[count] = in_turn(runs, effort.rounds(15), effort.seconds(4), time.process_time)
        expected = infer_all(bundle, running[REFERENCE], frames)
        for name, engine in running.items():
            iou = mask_iou(infer_all(bundle, engine, frames), expected)
            ratios = {f"ratio_{n}": _against(times[n], name) for n in counts}
            ms = {f"ms_{n}": times[n][name] for n in counts}
            yield {"model": bundle.manifest.model_id, "engine": name, **ratios, **ms, "iou": f"{iou:.4f}"}


def _calling(engine: Engine, inputs: dict[str, np.ndarray]) -> Run:
    return lambda: engine.compute(inputs)


def _against(times: dict[str, Measured], name: str) -> Ratio | None:
    return None if name == REFERENCE else ratio(times[REFERENCE], times[name])


def _opened(bundle: Bundle, threads: int, folder: Path) -> Iterator[tuple[str, Engine]]:
    """All that there is to compare here, by name. Unproven: what is far off shows in the table."""
    yield REFERENCE, OnnxRuntimeEngine(bundle, threads, SLOTS)
    try:
        small = int8_bundle(bundle, folder / f"{bundle.manifest.model_id}_int8")
    except ImportError:
        small = None  # without the training package's onnx
    if small is not None:
        yield "onnxruntime int8", OnnxRuntimeEngine(small, threads, SLOTS)
    if why_not("openvino"):
        return
    from c2f_ros.engines.openvino_engine import OpenVinoEngine

    for precision in ("fp32", "bf16") if read_cpu().has_bf16 else ("fp32",):
        yield f"openvino {precision}", OpenVinoEngine(bundle, threads, SLOTS, precision)
    if small is not None:
        yield "openvino int8", OpenVinoEngine(small, threads, SLOTS, "fp32")


def main(arguments: list[str] | None = None) -> int:
    """Measure and write. Exit 1, after one sentence, for what cannot be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    parser.add_argument("--models", type=Path, nargs="+", default=[ROOT / "models" / name for name in MODELS])
    parser.add_argument("--threads", type=int, default=1, help="of every engine (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="two rounds: shows that it works, measures nothing")
    options = parser.parse_args(arguments)
    machine = about_machine(options.threads)
    try:
        section = engines(options.models, Effort(options.threads, options.quick))
    except ContractError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    found = {"is_quick": options.quick, "machine": machine, "sections": {section.key: section.plain()}}
    (options.out / "engines.json").write_text(json.dumps(found, indent=1) + "\n")
    (options.out / "engines.md").write_text(markdown([section], machine))
    print((options.out / "engines.md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
