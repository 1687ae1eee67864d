"""How far the models are from what the machine can do: counted work beside measured peaks and measured times."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.effort import Effort
from benchmarks.measuring import Measured, in_turn
from benchmarks.opening import open_default
from benchmarks.operations import REST, Work, stage_of, total, work_of_graph
from benchmarks.peaks import Peaks
from benchmarks.random_models import engine_run
from benchmarks.section import Row, Section
from c2f_ros.bundle import Bundle, load_bundle
from c2f_ros.steps.step6_engine import open_engine

OBJECTS = 4
WHOLE = "whole graph"
NOTE = (
    f"One frame of {OBJECTS} objects. Counted from the graph: multiply-adds of convolutions and matrix products, and "
    "bytes of their weights, inputs and outputs in float32; what is element by element counts as fused. Least: at this "
    "machine's peak in the engine's precision and at its copying speed (small models stay in the caches, which are "
    "faster than the copy). Stages: ONNX Runtime's profile, whose clock costs time too."
)
COLUMNS = {
    "model": "model", "stage": "stage", "engine": "engine", "mmacs": "M multiply-adds", "mbytes": "MB",
    "intensity": "operations per byte", "least": "least ms", "bound": "bound by",
    "measured": "measured ms", "share": "% of the bound",
}  # fmt: skip


def roofline(models: Sequence[Path], peaks: Peaks, folder: Path, effort: Effort) -> Section:
    """Rows per model: its stages, by ONNX Runtime's own profile, and the whole graph in the default engine and in ONNX
    Runtime. The work is that of one frame with all its objects."""
    rows: list[Row] = []
    for model in models:
        bundle = load_bundle(model)
        work = work_of_graph(bundle.graph_path)
        stages = profile(bundle, effort)
        for stage in [*(name for name in work if name != REST), REST]:
            part = work.get(stage, Work()).rows(OBJECTS)
            ms = stages.get(stage, 0.0)
            rows.append(
                {"model": model.name, "stage": stage, "engine": "ONNX Runtime", **_bound(part, peaks, "fp32", ms)}
            )
        for name, ms in _whole(bundle, folder, effort).items():
            precision = "bf16" if "bf16" in name else "fp32"
            bound = _bound(total(work).rows(OBJECTS), peaks, precision, ms.median)
            rows.append({"model": model.name, "stage": WHOLE, "engine": name, **bound, "ms": ms})
    return Section("roofline", "Roofline", NOTE, COLUMNS, rows)


def peak_rows(peaks: Peaks) -> Section:
    """The machine's peaks as a table."""
    rows: list[Row] = [
        {"what": f"matrix product, {name}", "value": v, "unit": "GFLOP/s"} for name, v in peaks.gflops.items()
    ]
    rows.append({"what": "copy, read and written", "value": peaks.copy_gbs, "unit": "GB/s"})
    return Section(
        "peaks", "This machine's peaks", "The fastest round, all threads, in this run.",
        {"what": "", "value": "measured", "unit": "unit"}, rows,
    )  # fmt: skip


def least_ms(work: Work, peaks: Peaks, precision: str) -> tuple[float, str]:
    """Milliseconds below which the work cannot be done at the machine's peaks, and which of the two binds."""
    compute = 2 * work.macs / peaks.best(precision) * 1e-6
    memory = work.bytes / peaks.copy_gbs * 1e-6
    return max(compute, memory), "arithmetic" if compute >= memory else "memory"


def _bound(work: Work, peaks: Peaks, precision: str, measured_ms: float) -> Row:
    least, by = least_ms(work, peaks, precision)
    return {
        "mmacs": work.macs * 1e-6,
        "mbytes": work.bytes * 1e-6,
        "intensity": 2 * work.macs / work.bytes if work.bytes else None,
        "least": least if work.macs else None,
        "bound": by if work.macs else None,
        "measured": measured_ms,
        "share": 100 * least / measured_ms if work.macs and measured_ms else None,
    }


def _whole(bundle: Bundle, folder: Path, effort: Effort) -> dict[str, Measured]:
    """Milliseconds of the frame in ONNX Runtime and in the default engine, by the engine's name."""
    opened = [
        open_engine("onnxruntime", bundle, effort.threads),
        open_default(bundle, effort.threads, folder / "cache"),
    ]
    engines = {engine.name: engine for engine in opened}
    runs = {name: engine_run(engine, bundle.manifest, OBJECTS) for name, engine in engines.items()}
    ms = in_turn(runs, effort.rounds(15), effort.seconds(5))
    for engine in opened:
        engine.close()
    return ms


def profile(bundle: Bundle, effort: Effort) -> dict[str, float]:
    """Milliseconds of one frame per stage in ONNX Runtime, by its own profile: medians over runs of the sums."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = effort.threads
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(str(bundle.graph_path), options, providers=["CPUExecutionProvider"])
        for _ in range(2 + effort.rounds(20)):
            session.run(None, _inputs(bundle))
        events = json.loads(Path(session.end_profiling()).read_text())
    return stage_times(events)


def stage_times(events: list[Mapping[str, Any]]) -> dict[str, float]:
    """Milliseconds per stage from a profile's events: the median over runs, the first two left out."""
    runs: list[dict[str, float]] = []
    seen: set[str] = set()
    for event in events:
        name = event.get("name", "")
        if event.get("cat") != "Node" or not name.endswith("_kernel_time"):
            continue
        node = name.removesuffix("_kernel_time")
        if not runs or node in seen:  # a node comes once a run
            runs.append(defaultdict(float))
            seen = set()
        seen.add(node)
        runs[-1][stage_of(node)] += event["dur"] * 1e-3
    counted = runs[2:] or runs
    return {stage: median(run.get(stage, 0.0) for run in counted) for stage in {s for run in counted for s in run}}


def _inputs(bundle: Bundle) -> dict[str, NDArray[Any]]:
    """The golden sample's first row, as often as there are objects."""
    return {name: np.repeat(array[:1], OBJECTS, 0) for name, array in bundle.golden_inputs.items()}
