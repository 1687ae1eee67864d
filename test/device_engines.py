"""TensorRT engines on a fake GPU, opened as on a machine that has a real one, and what they are given to do."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_device import FakeDevice
from fake_tensorrt import ACTIVATIONS, FakeTensorRT

from c2f_ros.bundle import Bundle, load_bundle
from c2f_ros.contract import ContractError, GraphSpec
from c2f_ros.engine_plans import plan_specs
from c2f_ros.engines import tensorrt_engine
from c2f_ros.engines.settings import DeviceSettings
from c2f_ros.engines.tensorrt_engine import TensorRTEngine
from c2f_ros.geometry import Box
from c2f_ros.motion import Similarity
from c2f_ros.records import Batch

BACKENDS = ("tensorrt", "tensorrt_rtx")
TAKING = {"allocate", "free", "pinned", "unpin", "create_stream", "destroy_stream"}
"""Calls by which a device's memory is taken and given back."""


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Opening:
    """Opens engines as on a machine with a GPU, which is fake."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
        """cache: instead of the user's cache folder."""
        self._monkeypatch, self._cache, self.keeps_calls = monkeypatch, cache, False

    def __call__(
        self, bundle: Bundle, device: FakeDevice | None = None, backend: str = "tensorrt", slots: int = 8,
        rows: int = 8, plans: list[bytes] | None = None, precision: str = "fp32",
        clock: Callable[[], float] | None = None, **settings: Any,
    ) -> tuple[TensorRTEngine, FakeDevice]:  # fmt: skip
        """clock: stands still without."""
        device = device or FakeDevice()
        library = FakeTensorRT(device, backend == "tensorrt_rtx")
        replaced = {
            "open_device": lambda: device,
            "open_library": lambda _: library,
            "plans_of": lambda *_: fake_plans(bundle, rows) if plans is None else plans,
        }
        for name, value in replaced.items():
            self._monkeypatch.setattr(tensorrt_engine, name, value)
        chosen = DeviceSettings(precision, cache=self._cache, **settings)
        engine = TensorRTEngine(bundle, backend, slots, chosen, clock or Clock())
        if not self.keeps_calls:
            device.counted()
        return engine, device

    def refused(self, bundle: Bundle, device: FakeDevice, **given: Any) -> str:
        """Why the engine does not open; nothing may stay taken."""
        with pytest.raises(ContractError) as caught:
            self(bundle, device, **given)
        said = str(caught.value)
        del caught  # its traceback holds the plans
        gc.collect()
        assert device.is_empty()
        return said


def fake_plans(
    bundle: Bundle,
    *rows: int,
    gpu: str = "Fake GPU",
    least: int = 1,
    graphs: tuple[GraphSpec, ...] = (),
    activations: Sequence[int] = (),
) -> list[bytes]:
    """Plans of a bundle's graphs for this GPU, with a profile for `least`..n objects a call for every n of `rows`;
    graphs: with other tensors; activations: bytes of each profile."""
    found = []
    profiles = list(zip(rows, activations or (ACTIVATIONS,) * len(rows), strict=True))
    for spec, shown in zip(plan_specs(bundle.manifest), graphs or plan_specs(bundle.manifest), strict=True):
        sides = {
            side: [(t.name, t.dtype, list(t.shape[1:])) for t in getattr(shown, side)] for side in ("inputs", "outputs")
        }
        said = {"graph": str(bundle.path(spec)), "profiles": profiles, "least": least, "gpu": gpu, **sides}
        found.append(json.dumps(said).encode())
    return found


def shipped(checkout: Path, name: str) -> Bundle:
    """A bundle of models/."""
    return load_bundle(checkout / "models" / name)


def random_batch(bundle: Bundle, serials: tuple[int, ...], rng: np.random.Generator) -> Batch:
    """Any image and masks; boxes and motions that move the crops about."""
    manifest, count = bundle.manifest, len(serials)
    size, planes = manifest.crop.size, len(manifest.input.mask_channels)
    image = rng.standard_normal((count, 3, size, size)).astype(np.float32)
    masks = (rng.random((count, planes, size, size)) > 0.5).astype(np.float32)
    if manifest.temporal.mode != "stream":
        return Batch(image, masks)
    lefts = rng.integers(0, 40, count).tolist()
    boxes = tuple(Box(x, 5, x + 90, 95) for x in lefts)
    anchors = tuple(Similarity(float(rng.uniform(0.9, 1.1)), float(x), 3.0) for x in lefts)
    return Batch(image, masks, serials, boxes, anchors)
