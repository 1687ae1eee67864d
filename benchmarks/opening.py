"""Engines for the benchmarks: the default one, and others of its kind for models with random weights."""

from __future__ import annotations

from pathlib import Path

from c2f_ros.bundle import Bundle
from c2f_ros.engines.settings import DeviceSettings
from c2f_ros.steps.step6_engine import SLOTS, Engine, open_engine


def open_default(bundle: Bundle, threads: int, cache: Path, precision: str = "auto") -> Engine:
    """The engine that `auto` chooses here and now: what it measured in other runs, in the user's cache, is not used.

    cache: a folder of this run. Raises ContractError if none can be had.
    """
    return open_engine("auto", bundle, threads, device=DeviceSettings(precision=precision, cache=cache))


def open_same(engine: Engine, bundle: Bundle, threads: int) -> Engine:
    """Another model in an engine of the same kind and precision. On the CPU without its golden sample: in bf16 random
    weights, whose tokens are nearly tied, would fail what trained ones pass."""
    if is_openvino(engine):
        return open_openvino(bundle, threads, getattr(engine, "precision", "fp32"))
    return open_engine("onnxruntime" if "CPU" in engine.name else "auto", bundle, threads)


def open_openvino(bundle: Bundle, threads: int, precision: str) -> Engine:
    """OpenVINO, unproven. Raises ContractError where the CPU cannot compute in this precision; ImportError if OpenVINO
    is not installed."""
    from c2f_ros.engines.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(bundle, threads, SLOTS, precision)


def is_openvino(engine: Engine) -> bool:
    return engine.name.startswith("OpenVINO")
