"""The plans that run a bundle's graphs with TensorRT: found in the cache, or built.

A plan belongs to one graph, card, library version, precision and number of objects. `plan_key` is made of all of them,
so a plan for anything else has another key and another file; what a file holds is checked before it is used
(`plan_store.py`).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from c2f_ros.bundle import Arrays, Bundle
from c2f_ros.contract import ContractError, GraphSpec, Manifest
from c2f_ros.engines.tensorrt_library import BACKENDS, has_timing_cache, is_portable, library_version, open_library
from c2f_ros.plan_building import Built, Progress, Recipe, build, check_precision, silent
from c2f_ros.plan_store import PlanStore, StalePlan

PLAN_FORMAT = 1
"""Raised when equal graphs give other plans than before: old ones are then built again."""
ANY_CARD = "any"
"""Instead of a card's name: a plan of a portable library, for every card that it supports."""
DEFAULT_ROWS = 32

Samples = Mapping[str, Sequence[Arrays]]
"""By graph file, inputs of the graph in use (`calibration.py`)."""


@dataclass(frozen=True)
class BuildRequest:
    """backend: of `tensorrt_library.BACKENDS`; precision: of `plan_building.PRECISIONS`; most_rows: objects in a call
    at most. Raises ContractError if one of them is unknown."""

    backend: str
    precision: str = "fp16"
    most_rows: int = DEFAULT_ROWS

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ContractError(f"backend is {self.backend!r}, expected one of {', '.join(BACKENDS)}; correct it")
        check_precision(self.precision)
        if self.most_rows < 1:
            raise ContractError(f"most_rows is {self.most_rows}, expected 1 or more; correct it")


@dataclass(frozen=True)
class Plan:
    """A plan to be run. spec: its graph, with the outputs that the plan has; built: how it came out, None if it was in
    the cache; seconds: what building took."""

    key: str
    spec: GraphSpec
    data: bytes
    path: Path
    built: Built | None = None
    seconds: float = 0.0


def plan_key(
    graph_file_sha256: str, gpu_name: str, library_version: str, precision: str, most_rows: int, backend: str
) -> str:
    """The name of the plan that is built of these, 40 hexadecimal digits."""
    parts = [PLAN_FORMAT, graph_file_sha256, gpu_name, library_version, precision, most_rows, backend]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]


def plan_specs(manifest: Manifest) -> tuple[GraphSpec, ...]:
    """The bundle's graphs in order, with the outputs that the runtime reads and no others."""
    states = {f"{state.name}_next" for state in manifest.temporal.state}
    specs = [_with_outputs(manifest.graph, {"amodal", *states})]
    if manifest.frame_graph is not None:
        needed = {tensor.name for tensor in manifest.graph.inputs}
        specs.insert(0, _with_outputs(manifest.frame_graph, needed))
    return tuple(specs)


def build_plan(
    graph: Path, spec: GraphSpec, request: BuildRequest, library: ModuleType, progress: Progress = silent
) -> bytes:
    """The plan of one graph for the card at hand, past the cache. Raises ContractError as `build` does."""
    return build(graph, spec, Recipe(request.precision, request.most_rows), library, progress).plan


def plans_of(
    bundle: Bundle, request: BuildRequest, store: PlanStore, gpu_name: str, may_build: bool, progress: Progress = silent
) -> list[bytes]:
    """The plans of the bundle's graphs, in the order of `Manifest.graphs`, to be run on this card.

    A file that is not what it should be is never returned: it is built again where that is allowed.
    Raises ContractError if a plan is missing or stale and must not be built, or cannot be.
    """
    return [plan.data for plan in find_plans(bundle, request, store, gpu_name, may_build, progress)]


def find_plans(
    bundle: Bundle,
    request: BuildRequest,
    store: PlanStore,
    gpu_name: str,
    may_build: bool,
    progress: Progress = silent,
    samples: Samples | None = None,
) -> list[Plan]:
    """As `plans_of`, with what is known of each plan. gpu_name: `ANY_CARD` builds what a portable library can. samples:
    what an int8 plan that is missing is fitted to; without them it is not built."""
    library = open_library(request.backend)
    if gpu_name == ANY_CARD and not is_portable(library):
        raise ContractError(
            f"{request.backend} builds plans on the machine that runs them, and no NVIDIA GPU answers here; build "
            "there, or use tensorrt_rtx"
        )
    search = _Search(bundle, request, store, gpu_name, library)
    found = []
    for spec in plan_specs(bundle.manifest):
        plan, problem = search.stored(spec)
        if plan is None:
            needs_samples = request.precision == "int8" and samples is None
            if not may_build or needs_samples:
                raise ContractError(problem)
            plan = search.built(spec, (samples or {}).get(spec.file, ()), progress)
        found.append(plan)
    return found


def forget_plans(bundle: Bundle, request: BuildRequest, store: PlanStore, gpu_name: str) -> None:
    """Delete what `find_plans` would find, so that it is built anew: a driver may refuse what an older one took."""
    search = _Search(bundle, request, store, gpu_name, open_library(request.backend))
    for spec in plan_specs(bundle.manifest):
        for key in search.keys(spec):
            store.path(key).unlink(missing_ok=True)


@dataclass(frozen=True)
class _Search:
    """Plans of one request for one card."""

    bundle: Bundle
    request: BuildRequest
    store: PlanStore
    gpu_name: str
    library: ModuleType

    def stored(self, spec: GraphSpec) -> tuple[Plan | None, str]:
        """The graph's plan in the cache, for this card or for any; else None and why there is none."""
        problem = ""
        for key in self.keys(spec):
            try:
                data = self.store.load(key)
            except StalePlan as error:
                problem = str(error)
                continue
            if data is not None:
                return Plan(key, spec, data, self.store.path(key)), ""
        return None, problem or self._missing(spec)

    def built(self, spec: GraphSpec, samples: Sequence[Arrays], progress: Progress) -> Plan:
        """The graph's plan, built now and stored."""
        start, request = time.monotonic(), self.request
        is_for_any = self.gpu_name == ANY_CARD
        recipe = Recipe(request.precision, request.most_rows, is_for_any, self._timings(), samples)
        built = build(self.bundle.path(spec), spec, recipe, self.library, progress)
        seconds = time.monotonic() - start
        about = {
            "model": self.bundle.manifest.model_id,
            "graph": spec.file,
            "graph_sha256": spec.sha256,
            "gpu": self.gpu_name,
            "backend": request.backend,
            "version": library_version(self.library),
            "precision": request.precision,
            "most_rows": request.most_rows,
            "layers": sum(built.layers.values()),
            "samples": len(samples),
            "seconds": round(seconds, 1),
        }
        key = self.keys(spec)[0]
        path = self.store.save(key, built.plan, about)
        if built.timings:
            self.store.save(self._timing_key(), built.timings, {"gpu": self.gpu_name})
        return Plan(key, spec, built.plan, path, built, seconds)

    def keys(self, spec: GraphSpec) -> list[str]:
        """Of plans that run here, the one that is built first."""
        cards = [self.gpu_name] + [ANY_CARD] * (is_portable(self.library) and self.gpu_name != ANY_CARD)
        version, request = library_version(self.library), self.request
        return [
            plan_key(spec.sha256, card, version, request.precision, request.most_rows, request.backend)
            for card in cards
        ]

    def _missing(self, spec: GraphSpec) -> str:
        request, bundle = self.request, self.bundle
        bag = " --calibrate BAG" if request.precision == "int8" else ""
        return (
            f"{self.store.folder} has no {request.precision} plan of {bundle.manifest.model_id}/{spec.file} for "
            f"{self.gpu_name} and {request.backend}; build it with `c2f-build-engine {bundle.folder} --backend "
            f"{request.backend} --precision {request.precision} --most-rows {request.most_rows}{bag}`"
        )

    def _timing_key(self) -> str:
        """Timings are of kernels on a card, whatever the graph."""
        version = library_version(self.library)
        return "timings-" + plan_key("", self.gpu_name, version, "", 0, self.request.backend)

    def _timings(self) -> bytes:
        """Those of earlier builds, or none: they only save time."""
        if not has_timing_cache(self.library):
            return b""
        try:
            return self.store.load(self._timing_key()) or b""
        except StalePlan:
            return b""


def _with_outputs(spec: GraphSpec, names: set[str]) -> GraphSpec:
    return replace(spec, outputs=tuple(tensor for tensor in spec.outputs if tensor.name in names))
