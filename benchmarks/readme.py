"""Prints the README's table of speed from the results that lie in benchmarks/results/.

python -m benchmarks.readme [--results FOLDER]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT
from benchmarks.section import machine_line, number

Results = Mapping[str, Any]


def main() -> int:
    """Print the lines. Exit 1, after one sentence, if nothing was measured yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    folder = parser.parse_args().results
    if not (folder / "bench.json").is_file():
        print(f"error: {folder} holds no bench.json; run `make bench`", file=sys.stderr)
        return 1
    bench = json.loads((folder / "bench.json").read_text())
    official = folder / "official.json"
    print("\n".join(summary(bench, json.loads(official.read_text()) if official.is_file() else None)))
    return 0


def summary(bench: Results, official: Results | None) -> list[str]:
    """A Markdown table, a row per claim with its ratio, and below it the machine. What was not measured is left out."""
    sections = {**bench["sections"], **(official["sections"] if official is not None else {})}
    rows = [row for key, lines in PARTS.items() if key in sections for row in lines(sections[key]["rows"])]
    quick = ["", "Two rounds only (--quick): nothing to rely on."] if bench["is_quick"] else []
    table = ["| | measured | ratio |", "| --- | ---: | ---: |", *(f"| {' | '.join(row)} |" for row in rows)]
    return [*table, "", machine_line(bench["machine"]), *quick]


def _against_eager(rows: list[Results]) -> Iterator[tuple[str, str, str]]:
    for row in rows:
        if row["objects"] == 4 or len(rows) < 4:
            what = f"`{row['model']}`, {row['objects']} objects, against the same network in PyTorch eager"
            yield what, _ms(row["ours"]), f"{_times(row['ratio'])}; in float32 {_times(row['exact_ratio'])}"


def _window_against_stream(rows: list[Results]) -> Iterator[tuple[str, str, str]]:
    stream = rows[0]
    for row in rows[2:]:
        yield f"stream against {row['kind']}", _ms(stream["ms"]), _times(row["ratio"])


def _costs(rows: list[Results]) -> Iterator[tuple[str, str, str]]:
    for row in rows:
        fit = row["fit"]
        if row["against"] != "frames T" or row["what"].startswith("stream"):
            yield f"{row['what']}, against {row['against']}", row["line"], f"R² {fit['r2']:.3f}"


def _whole_path(rows: list[Results]) -> Iterator[tuple[str, str, str]]:
    for row in rows:
        what = f"everything but the engine, {row['objects']} objects, {row['image']}"
        yield what, f"{number(row['path'])} ms of one core", "aim: at most 6 ms" if _is_aim(row) else ""


def _is_aim(row: Results) -> bool:
    return row["objects"] == 10 and row["image"] == "640x480"


def _roofline(rows: list[Results]) -> Iterator[tuple[str, str, str]]:
    for row in rows:
        if row["stage"] == "whole graph":
            what = f"`{row['model']}`, 4 objects, {row['engine']}"
            yield what, _ms(row["ms"]), f"{row['share']:.0f} % of what this machine can do at best"


def _official(rows: list[Results]) -> Iterator[tuple[str, str, str]]:
    for row in rows:
        iou = f"; mask IoU {row['iou']:.4f}" if row["iou"] is not None else ""
        times = f"{_times(row['ratio'])} (aim {row['aim']:g}x){iou}" if "ratio" in row else ""
        yield f"published model, one object: {row['what']}", _ms(row["ms"]), times


def _ms(measured: Results) -> str:
    return f"{number(measured['median'])} ms"


def _times(ratio: Results) -> str:
    return f"{number(ratio['median'])}x"


def _engines(rows: list[Results]) -> Iterator[tuple[str, str, str]]:
    for row in rows:
        if row.get("ratio_4"):
            what = f"`{row['model']}`, 4 objects, {row['engine']} against float32 in ONNX Runtime"
            yield what, f"{_ms(row['ms_4'])} of the CPU", f"{_times(row['ratio_4'])}; mask IoU {row['iou']}"


PARTS = {
    "against_eager": _against_eager,
    "window_against_stream": _window_against_stream,
    "engines": _engines,
    "costs": _costs,
    "whole_path": _whole_path,
    "roofline": _roofline,
    "official": _official,
}


if __name__ == "__main__":
    sys.exit(main())
