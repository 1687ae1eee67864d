"""`make bench`: measures everything that the README claims about speed, side by side in one run.

    python -m benchmarks.bench [--quick] [--only NAME ...] [--official DIR] [--out FOLDER]

Writes bench.json (every round of every measurement), bench.md (tables) and bench.png (costs with their fitted lines),
where there is ROS 2 cameras.json and cameras.md, under five minutes on two cores; with --official, which takes some
more, official.json and official.md too.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before torch is loaded: its threads wait for each other by spinning, for as long as they get; on a machine that does
# something else too, they then wait for what they keep from running. A tenth of a millisecond is longer than PyTorch
# needs from one operation to the next.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import torch

from benchmarks.against_eager import against_eager
from benchmarks.alone import alone
from benchmarks.cameras import cameras
from benchmarks.costs import Curve, costs
from benchmarks.effort import Effort
from benchmarks.machine import ROOT, about_machine
from benchmarks.opening import open_default
from benchmarks.peaks import Peaks, measure_peaks
from benchmarks.pictures import save_costs
from benchmarks.published_code import check_checkout
from benchmarks.random_models import network_config
from benchmarks.roofline import peak_rows, roofline
from benchmarks.section import Section, markdown
from benchmarks.whole_path import whole_path
from benchmarks.window_against_stream import window_against_stream
from c2f_ros.bundle import load_bundle
from c2f_ros.contract import ContractError, InputError
from c2f_ros.steps.step6_engine import Engine

MODELS = [ROOT / "models" / name for name in ("c2f_nano", "c2f_nano_video")]
PARTS = ("against_eager", "window_against_stream", "engines", "costs", "whole_path", "roofline", "cameras", "official")
OWN_FILES = ("cameras", "official")
"""Their results have files of their own, which outlive a run without what they need: ROS 2, the published code."""


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results")
    parser.add_argument(
        "--models", type=Path, nargs="+", default=MODELS, metavar="FOLDER",
        help="bundles with their config.yaml; the last one has a memory (c2f_nano c2f_nano_video)",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=2, help="of engines and of PyTorch (%(default)s)")
    parser.add_argument(
        "--quick", action="store_true", help="two rounds of each: shows that it works, measures nothing"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--official", type=Path, metavar="DIR", help="a checkout of the published implementation")
    parser.add_argument("--weights", type=Path, nargs=2, metavar=("VQ", "C2F"), help="its checkpoints (random ones)")
    parser.add_argument("--students", type=Path, help="folder of `c2f-train distill` for them (untrained ones)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Measure and write. Exit 1, after one sentence, for what cannot be measured."""
    options = make_parser().parse_args(arguments)
    try:
        measure(options)
    except (ContractError, InputError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def measure(options: argparse.Namespace) -> None:
    """All parts that are asked for, written to the folder. Raises ContractError in one sentence."""
    if (options.weights or options.students or "official" in (options.only or ())) and not options.official:
        raise ContractError("--weights, --students and the part official need the published code; give --official DIR")
    if options.official:
        check_checkout(options.official)
    start, machine = time.perf_counter(), about_machine(options.threads)  # first, since what follows is load
    wanted = options.only or [part for part in PARTS if part != "official" or options.official]
    sections: list[Section] = []
    curves: list[Curve] = []
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary, _torch_threads(options.threads):
        parts = _parts(options, Path(temporary), curves)
        for name in [part for part in PARTS if part in wanted]:
            print(f"{name} ...", end=" ", flush=True)
            began, worked = time.perf_counter(), time.process_time()
            sections += parts[name]()
            seconds[name] = round(time.perf_counter() - began, 1)
            print(f"{seconds[name]:.0f} s, of the CPU {time.process_time() - worked:.0f} s", flush=True)
    results = {
        "about": "milliseconds: median, quartiles, every round; ratios round by round; the tables are beside this file",
        "is_quick": options.quick,
        "machine": {**machine, "load_at_end": [round(value, 2) for value in os.getloadavg()]},
        "seconds": {**seconds, "all": round(time.perf_counter() - start, 1)},
    }
    _write(results, sections, curves, options.out)


@contextlib.contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    """Inside the block PyTorch has so many threads and makes no gradients."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(before)


def _write(results: dict[str, Any], sections: list[Section], curves: list[Curve], folder: Path) -> None:
    """JSON and tables, but for a part of `OWN_FILES` that found nothing: only its sentence is printed."""
    folder.mkdir(parents=True, exist_ok=True)
    for section in sections:
        if section.key in OWN_FILES and not section.rows:
            print(f"{section.key}: {section.note}")
    for name in ("bench", *OWN_FILES):
        mine = [section for section in sections if section.rows or section.key not in OWN_FILES]
        mine = [section for section in mine if (section.key if section.key in OWN_FILES else "bench") == name]
        if mine:
            about = {**results, "sections": {section.key: section.plain() for section in mine}}
            (folder / f"{name}.json").write_text(json.dumps(about, indent=1) + "\n")
            picture = _picture(curves, folder) if name == "bench" else ""
            (folder / f"{name}.md").write_text(markdown(mine, results["machine"]) + picture)
            print(f"wrote {folder / name}.md after {results['seconds']['all']:.0f} s")


def _parts(options: argparse.Namespace, folder: Path, curves: list[Curve]) -> dict[str, Callable[[], list[Section]]]:
    """What measures each part; `curves` gets what the picture shows."""
    effort, models = Effort(options.threads, options.quick), options.models
    network = network_config(models[-1])
    peaks: list[Peaks] = []

    def measured_peaks() -> Peaks:
        if not peaks:
            peaks.append(measure_peaks(effort))
        return peaks[0]

    def against_sizes() -> list[Section]:
        section, found = costs(models, network, default(), folder, effort)
        curves.extend(found)
        return [section]

    def default() -> Engine:
        return open_default(load_bundle(models[-1]), effort.threads, folder / "cache")

    def of_engines() -> list[Section]:
        from benchmarks.engines import engines

        return [engines(models, effort)]

    def beside_published() -> list[Section]:
        from benchmarks.official import Official, official

        given = Official(options.official, tuple(options.weights) if options.weights else None, options.students)
        return official(given, models[-1], folder, measured_peaks(), effort)

    return {
        "against_eager": lambda: [against_eager(models, folder, effort)],
        "window_against_stream": lambda: [window_against_stream(network, default(), folder, effort)],
        "engines": of_engines,
        "costs": against_sizes,
        "whole_path": lambda: [alone(whole_path, models[-1], effort)],
        "cameras": lambda: [alone(cameras, models[-1], effort)],
        "roofline": lambda: [peak_rows(measured_peaks()), roofline(models, measured_peaks(), folder, effort)],
        "official": beside_published,
    }


def _picture(curves: list[Curve], folder: Path) -> str:
    """Draws the costs, if they were measured; the lines that show the picture."""
    if not curves:
        return ""
    save_costs(curves, folder / "bench.png")
    return "\n![costs with their fitted lines](bench.png)\n"


if __name__ == "__main__":
    sys.exit(main())
