"""A memory that goes along with the video beside windows of past frames, at equal sizes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.measuring import in_turn, ratio
from benchmarks.opening import open_same
from benchmarks.random_models import engine_run, random_bundle, window_run
from benchmarks.section import Section
from c2f_ros.bundle import Bundle
from c2f_ros.steps.step6_engine import Engine
from c2f_train.model.config import NO_MEMORY, NetworkConfig

OBJECTS, WINDOW = 4, 8
COLUMNS = {"kind": "", "objects": "objects", "ms": "ms per frame", "ratio": "of the stream"}


def window_bundle(network: NetworkConfig, frames: int, folder: Path) -> Bundle:
    """The network with the spatio-temporal transformer over windows of `frames` instead of its memory."""
    transformer = replace(network.transformer, temporal=True, window=frames)
    return random_bundle(replace(network, transformer=transformer, memory=NO_MEMORY), folder / f"window{frames}")


def window_against_stream(network: NetworkConfig, default: Engine, folder: Path, effort: Effort) -> Section:
    """A row per way to see the past. network: one with a memory; default: what all of them run in."""
    stream, image = (
        random_bundle(config, folder / name)
        for name, config in (("stream", network), ("alone", replace(network, memory=NO_MEMORY)))
    )
    window = window_bundle(network, WINDOW, folder)
    engines = {
        key: open_same(default, bundle, effort.threads)
        for key, bundle in (("stream", stream), ("alone", image), ("cached", window), ("again", window))
    }
    runs = {
        "stream": engine_run(engines["stream"], stream.manifest, OBJECTS),
        "alone": engine_run(engines["alone"], image.manifest, OBJECTS),
        "cached": window_run(engines["cached"], window.manifest, OBJECTS, is_cached=True),
        "again": window_run(engines["again"], window.manifest, OBJECTS, is_cached=False),
    }
    ms = in_turn(runs, effort.rounds(25), effort.seconds(10))
    names = {
        "stream": "stream: a memory of fixed size",
        "alone": "no memory: each frame alone",
        "cached": f"window of {WINDOW}, earlier frames kept",
        "again": f"window of {WINDOW}, all computed again",
    }
    rows = [
        {"kind": names[key], "objects": OBJECTS, "ms": ms[key], "ratio": ratio(ms[key], ms["stream"])} for key in runs
    ]
    for engine in engines.values():
        engine.close()
    note = (
        "One more frame of all objects with the past known. Random weights, the sizes of the default model; "
        f"{default.name}."
    )
    return Section("window_against_stream", "Window against stream", note, COLUMNS, rows)
