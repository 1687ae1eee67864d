"""Our engine beside the same network with the same weights in plain PyTorch, eager."""

from __future__ import annotations

from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.measuring import in_turn, ratio
from benchmarks.opening import open_default, open_same
from benchmarks.random_models import eager_run, engine_run, network_config, random_model
from benchmarks.section import Section
from c2f_ros.bundle import load_bundle

COUNTS = (1, 4, 16)
COLUMNS = {
    "model": "model", "objects": "objects", "eager": "PyTorch eager, ms", "ours": "ours, ms",
    "shipped": "shipped model, ms", "ratio": "eager / ours", "shipped_ratio": "eager / shipped",
}  # fmt: skip


def against_eager(models: list[Path], folder: Path, effort: Effort) -> Section:
    """A row per model and number of objects. models: folders of bundles with the configuration they were trained with;
    folder: for bundles made here."""
    rows, engines = [], set()
    for model in models:
        network, same = random_model(network_config(model), folder / f"eager_{model.name}")
        shipped = load_bundle(model)
        theirs = open_default(shipped, effort.threads, folder / "cache")
        ours = open_same(theirs, same, effort.threads)
        engines.add(theirs.name)
        for count in effort.few(COUNTS):
            runs = {
                "eager": eager_run(network, same.manifest, count),
                "ours": engine_run(ours, same.manifest, count),
                "shipped": engine_run(theirs, shipped.manifest, count),
            }
            ms = in_turn(runs, effort.rounds(25), effort.seconds(7))
            about = {"model": model.name, "objects": count, "engine": ours.name, "shipped_engine": theirs.name}
            ratios = {"ratio": ratio(ms["eager"], ms["ours"]), "shipped_ratio": ratio(ms["eager"], ms["shipped"])}
            rows.append({**about, **ms, **ratios})
        ours.close()
        theirs.close()
    note = (
        "A frame's network, all its objects in one call. Ours: the default engine, memory of the objects and checks of "
        "the output included, with the same weights as PyTorch (random ones: cost does not depend on them); shipped: "
        "the bundle in models/. Median and quartiles over rounds in turn; ratios are taken round by round. "
        f"Engines: {'; '.join(sorted(engines))}."
    )
    return Section("against_eager", "Against plain PyTorch", note, COLUMNS, rows)
