"""`c2f-bench`: times everything from a camera's message to the published one, stage by stage, on this machine.

One thread, scenes of its own, no camera, no bag. The engine is timed beside it, on as many threads as --threads says,
or left out with --no-engine. Needs ROS 2 only to build and serialize messages; without it these stages are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from c2f_ros.bench import ROS_STAGES, STAGES, Case, EchoEngine, Timing, fitted_cost, ros_side, time_case
from c2f_ros.bundle import Bundle, find_model, load_bundle
from c2f_ros.contract import ContractError, InputError
from c2f_ros.parameters import Parameters, make_parameters
from c2f_ros.pipeline import SLOTS_PER_OBJECT
from c2f_ros.steps.step6_engine import Engine, open_engine

MODELS = ("c2f_nano_video", "c2f_nano")
SIZES = ("640x480", "1280x720")
OBJECTS = (1, 10, 30)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="c2f-bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", nargs="+", default=MODELS, help=f"names or folders of bundles ({' '.join(MODELS)})")
    parser.add_argument("--size", nargs="+", default=SIZES, help=f"images, columns x rows ({' '.join(SIZES)})")
    parser.add_argument("--objects", nargs="+", type=int, default=OBJECTS, help="how many move in them (1 10 30)")
    parser.add_argument("--frames", type=int, default=60, help="frames that count (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of the engine (%(default)s)")
    parser.add_argument("--no-engine", action="store_true", help="time what surrounds the engine alone")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all numbers here too, as JSON")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Time and print. Exit 1, after one sentence, if a model or an option does not work."""
    options = make_parser().parse_args(arguments)
    cv2.setNumThreads(1)
    try:
        report = run(options)
    except (ContractError, InputError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(table(report["timings"], options.no_engine)))
    for model_id, fit in report["fits"].items():
        print(f"{model_id}: " + ", ".join(f"{name} {value:.3f}" for name, value in fit.items()))
    if report["left_out"]:
        print(f"left out: {', '.join(report['left_out'])}; rclpy or c2f_ros.msg cannot be imported, source a ROS 2")
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(plain(report), indent=1) + "\n")
    return 0


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All cases' timings and what they were taken on. Raises InputError on a malformed size, ContractError on a model
    that does not load."""
    sizes = [parse_size(text) for text in options.size]
    ros = ros_side()
    models = [str(model) for model in options.model]
    timings: list[Timing] = []
    engines = {}
    with tqdm(total=len(models) * len(sizes) * len(options.objects), desc="cases", disable=None) as progress:
        for model in models:
            bundle = load_bundle(find_model(model))
            parameters = make_parameters(
                {"model": model, "engine_threads": options.threads, "max_objects": max(32, *options.objects)}
            )
            engine = open_for(bundle, parameters, options.no_engine)
            engines[bundle.manifest.model_id] = engine.name
            for height, width in sizes:
                for objects in options.objects:
                    case = Case(bundle.manifest.model_id, height, width, objects)
                    timings.append(time_case(bundle, engine, parameters, case, options.frames, ros))
                    progress.update()
            engine.close()
    fits = {model_id: fitted_cost([t for t in timings if t.case.model_id == model_id]) for model_id in engines}
    return {
        "machine": machine(),
        "engines": engines,
        "left_out": list(ROS_STAGES) if ros is None else [],
        "timings": timings,
        "fits": {model_id: fit for model_id, fit in fits.items() if fit is not None},
    }


def open_for(bundle: Bundle, parameters: Parameters, is_left_out: bool) -> Engine:
    """The model's engine, or the one that stands in for it."""
    if is_left_out:
        return EchoEngine(bundle)
    slots = SLOTS_PER_OBJECT * parameters.max_objects
    return open_engine(parameters.engine, bundle, parameters.engine_threads, slots, parameters.device)


def parse_size(text: str) -> tuple[int, int]:
    """(rows, columns) of "640x480". Raises InputError if it is none."""
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if found is None or min(int(part) for part in found.groups()) < 32:
        raise InputError(f"--size is {text!r}, expected columns x rows of at least 32 each, as in 640x480")
    return int(found[2]), int(found[1])


def machine() -> dict[str, Any]:
    """What the times depend on."""
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def plain(report: dict[str, Any]) -> dict[str, Any]:
    """The report for JSON."""
    timings = [
        {
            **asdict(timing),
            "sum_of_medians_ms": round(timing.sum_of_medians_ms, 4),
            "cpu_sum_of_medians_ms": round(timing.cpu_sum_of_medians_ms, 4),
        }
        for timing in report["timings"]
    ]
    return {**report, "timings": timings}


def table(timings: Sequence[Timing], is_engine_left_out: bool) -> list[str]:
    """Lines of a table per model: a row per stage, a column per case; milliseconds, CPU time, median and 95 %."""
    lines = []
    for model_id in dict.fromkeys(timing.case.model_id for timing in timings):
        chosen = [timing for timing in timings if timing.case.model_id == model_id]
        heads = [f"{t.case.width}x{t.case.height} N={t.case.objects}" for t in chosen]
        rows = [[model_id, *heads]]
        names = [name for name in STAGES if name in chosen[0].stages and name != "engine"]
        rows += [
            [name, *(_cell(t.stages[name].cpu_median_ms, t.stages[name].cpu_p95_ms) for t in chosen)] for name in names
        ]
        rows.append(["sum of medians", *(f"{t.cpu_sum_of_medians_ms:.2f}" for t in chosen)])
        rows.append(["... wall time", *(f"{t.sum_of_medians_ms:.2f}" for t in chosen)])
        if not is_engine_left_out:
            cells = [_cell(t.stages["engine"].median_ms, t.stages["engine"].p95_ms) for t in chosen]
            rows.append(["engine, wall", *cells])
        rows.append(["seen + remembered", *(f"{t.visible:.1f} + {t.hidden:.1f}" for t in chosen)])
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
        lines.append("")
    return ["milliseconds of CPU time: median (95 %)", *lines]


def _cell(median: float, p95: float) -> str:
    return f"{median:.2f} ({p95:.2f})"


if __name__ == "__main__":
    sys.exit(main())
