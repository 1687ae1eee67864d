"""Our engine beside the same network with the same weights in plain PyTorch, eager."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.measuring import Run, in_turn, ratio
from benchmarks.opening import open_default, open_same
from benchmarks.random_models import eager_run, engine_run, network_config, random_model
from benchmarks.section import Row, Section
from c2f_ros.bundle import load_bundle

COUNTS = (1, 4, 16)
COLUMNS = {
    "model": "model", "objects": "objects", "eager": "PyTorch eager, ms", "exact": "ours float32, ms",
    "ours": "ours default, ms", "exact_ratio": "eager / float32", "ratio": "eager / default",
}  # fmt: skip


def against_eager(models: Sequence[Path], folder: Path, effort: Effort) -> Section:
    """A row per model and number of objects. models: folders of bundles with the configuration they were trained with;
    folder: for bundles made here."""
    rows: list[Row] = []
    engines: set[str] = set()
    for model in models:
        network, same = random_model(network_config(model), folder / f"eager_{model.name}")
        bundle = load_bundle(model)
        shipped = open_default(bundle, effort.threads, folder / "cache")
        opened = {
            "exact": open_default(same, effort.threads, folder / "cache", "fp32"),
            "ours": open_same(shipped, same, effort.threads),
            "shipped": shipped,
        }
        for count in effort.few(COUNTS):
            runs: dict[str, Run] = {"eager": eager_run(network, same.manifest, count)}
            runs |= {name: engine_run(engine, bundle.manifest, count) for name, engine in opened.items()}
            ms = in_turn(runs, effort.rounds(21), effort.seconds(5))
            ratios = {"exact_ratio": ratio(ms["eager"], ms["exact"]), "ratio": ratio(ms["eager"], ms["ours"])}
            names = {name: engine.name for name, engine in opened.items()}
            about = {"model": model.name, "objects": count, "engines": names}
            rows.append({**about, **ms, **ratios, "shipped_ratio": ratio(ms["eager"], ms["shipped"])})
        engines |= {engine.name for engine in opened.values()}
        for engine in opened.values():
            engine.close()
    note = (
        "A frame's network, all its objects in one call, the same weights everywhere (random ones of the shipped "
        "model's configuration; the shipped bundle itself is beside them in the JSON). Ours: memory of the objects and "
        "checks of the output included; float32: the best engine that computes exactly; default: the engine and "
        "precision that `auto` chooses. Median and quartiles over rounds in turn; ratios are taken round by round. "
        f"Engines: {'; '.join(sorted(engines))}."
    )
    return Section("against_eager", "Against plain PyTorch", note, COLUMNS, rows)
