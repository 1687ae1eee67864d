"""One ONNX graph made into a TensorRT plan for 1 to N objects in a call."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from c2f_ros.bundle import Arrays
from c2f_ros.contract import ContractError, GraphSpec
from c2f_ros.engines.tensorrt_library import has_timing_cache, is_portable, make_network

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
"""What plans are built in. Networks are strongly typed: the graph is converted, the builder chooses no types. int8 is
of products; around them it is fp16."""
USUAL_ROWS = 4
"""Objects in a call for which a plan is tuned where it may take as many."""
PROFILE_STEP = 4
"""A profile of a large graph is for so many times as many objects as the one before."""
DYNAMIC = -1
FUSED = re.compile(r"After Myelin optimization: (\d+) layers")
"""What the builder says of how many parts are left once everything that its compiler takes is one."""

Progress = Callable[[float, str], None]
"""Called now and then with the share that is done, 0..1, and the name of what is under way."""


@dataclass(frozen=True)
class Recipe:
    """precision: of `PRECISIONS`. most_rows: objects in a call at most. for_any_card: build for every card that the
    library knows, not for the one at hand; of portable libraries alone. timings: of an earlier build, or b"". samples:
    inputs of the graph in use, which int8 is fitted to."""

    precision: str
    most_rows: int
    for_any_card: bool = False
    timings: bytes = b""
    samples: Sequence[Arrays] = ()


@dataclass(frozen=True)
class Built:
    """A plan, and how it came out. layers: of the graph as it was parsed, by kind; parts: pieces that the builder's
    compiler left apart, 1 if all became one, 0 if the builder did not say; warnings: what it said, a line each."""

    plan: bytes
    layers: dict[str, int]
    parts: int
    warnings: tuple[str, ...]
    timings: bytes = field(default=b"", repr=False)


def silent(share: float, phase: str) -> None:
    """A `Progress` that shows nothing."""


def build(graph: Path, spec: GraphSpec, recipe: Recipe, library: ModuleType, progress: Progress = silent) -> Built:
    """The plan of `graph` with the outputs that `spec` lists, others left out.

    Raises ContractError if the graph has an operator that TensorRT does not know, needs a plugin, does not fit `spec`,
    or cannot be built here.
    """
    log = _make_log(library)
    builder = library.Builder(log)
    network = make_network(library, builder)
    parser = library.OnnxParser(network, log)
    _parse(parser, graph, recipe)
    layers = _count_layers(library, network)
    _refuse_fallbacks(graph, layers)
    _keep_outputs(network, spec)
    config = builder.create_builder_config()
    if recipe.most_rows < 1:
        raise ContractError(f"a plan for at most {recipe.most_rows} objects was asked for, expected 1 or more")
    for rows in profile_rows(spec, recipe.most_rows):
        _add_profile(builder, config, network, spec, rows)
    timings = _configure(library, config, recipe)
    config.progress_monitor = _make_monitor(library, progress)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        reason = "; ".join(log.errors[:2]) or "no reason given"
        raise ContractError(f"{library.__name__} cannot build {graph.name} in {recipe.precision} here: {reason}")
    progress(1.0, "done")
    kept = bytes(timings.serialize()) if timings is not None else b""
    return Built(bytes(plan), layers, log.parts, tuple(log.warnings), kept)


def profile_rows(spec: GraphSpec, most_rows: int) -> tuple[int, ...]:
    """Objects in one call at most, of every profile of a plan, ascending, `most_rows` last.

    A large graph, which has a `batch_limit`, may not fit a GPU's memory with so many: it has profiles for that limit
    and for steps in between, so that whoever runs the plan can take the one for which there is room.
    """
    rows, count = [], spec.batch_limit or most_rows
    while count < most_rows:
        rows.append(count)
        count *= PROFILE_STEP
    return (*rows, most_rows)


def check_precision(precision: str) -> None:
    """Raises ContractError unless plans are built in it."""
    if precision not in PRECISIONS:
        raise ContractError(f"precision is {precision!r}, plans are built in {', '.join(PRECISIONS)}; choose one")


def _parse(parser: Any, graph: Path, recipe: Recipe) -> None:
    check_precision(recipe.precision)
    if recipe.precision == "fp32":
        is_parsed = parser.parse_from_file(str(graph))
    else:
        is_parsed = parser.parse(_converted(graph, recipe), str(graph))
    if not is_parsed or parser.num_errors:
        errors = [parser.get_error(k) for k in range(parser.num_errors)]
        said = "; ".join(
            f"{error.node_operator() or 'graph'} {error.node_name()}: {error.desc()}" for error in errors[:3]
        )
        raise ContractError(f"{graph.name} is not understood by TensorRT: {said}; export the model again")


def _converted(graph: Path, recipe: Recipe) -> bytes:
    try:
        import onnx
    except ImportError as error:
        raise ContractError(
            f"{recipe.precision} needs the Python package onnx to convert the graph; `pip install onnx`, or use fp32"
        ) from error
    from c2f_ros.low_precision import lowered

    if recipe.precision != "int8":
        return bytes(lowered(onnx.load(str(graph)), recipe.precision).SerializeToString())
    from c2f_ros.engines.onnxruntime_quantizer import quantized

    return bytes(lowered(quantized(graph, recipe.samples), "fp16").SerializeToString())


def _count_layers(library: ModuleType, network: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for index in range(network.num_layers):
        name = network.get_layer(index).type.name
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def _refuse_fallbacks(graph: Path, layers: dict[str, int]) -> None:
    """A plugin is code outside of TensorRT, and a loop or condition is decided on the host, which waits for it."""
    found = [name for name in layers if name.startswith(("PLUGIN", "LOOP", "CONDITION", "TRIP", "RECURRENCE"))]
    if found:
        raise ContractError(f"{graph.name} needs {', '.join(found)}, plans have none; export the model again")


def _keep_outputs(network: Any, spec: GraphSpec) -> None:
    wanted = {tensor.name for tensor in spec.outputs}
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    missing = wanted - {tensor.name for tensor in outputs}
    if missing:
        raise ContractError(f"{spec.file} lacks the output {', '.join(sorted(missing))}; export the model again")
    for tensor in outputs:
        if tensor.name not in wanted:
            network.unmark_output(tensor)


def _add_profile(builder: Any, config: Any, network: Any, spec: GraphSpec, most_rows: int) -> None:
    """A profile for 1 to `most_rows` objects, tuned for `USUAL_ROWS`."""
    shapes = {tensor.name: tensor.shape for tensor in spec.inputs}
    found = [network.get_input(index) for index in range(network.num_inputs)]
    if {tensor.name for tensor in found} != set(shapes):
        raise ContractError(f"{spec.file} has other inputs than its manifest ({', '.join(shapes)}); export it again")
    profile = builder.create_optimization_profile()
    for tensor in found:
        fixed = shapes[tensor.name][1:]
        if tuple(tensor.shape) != (DYNAMIC, *fixed):
            raise ContractError(f"{spec.file} has {tensor.name} as {tuple(tensor.shape)}, expected {(DYNAMIC, *fixed)}")
        rows = (1, min(USUAL_ROWS, most_rows), most_rows)
        profile.set_shape(tensor.name, *((count, *fixed) for count in rows))
    config.add_optimization_profile(profile)


def _configure(library: ModuleType, config: Any, recipe: Recipe) -> Any:
    """Set precision and target; the timing cache that the build fills, or None where the library has none."""
    if hasattr(library.BuilderFlag, "TF32"):
        config.clear_flag(library.BuilderFlag.TF32)  # its 10 bits are no float32: they flip tokens
    config.profiling_verbosity = library.ProfilingVerbosity.DETAILED
    if is_portable(library) and not recipe.for_any_card:
        config.num_compute_capabilities = 1
        config.set_compute_capability(library.ComputeCapability.CURRENT, 0)
    if not has_timing_cache(library):
        return None
    timings = config.create_timing_cache(recipe.timings)
    config.set_timing_cache(timings, ignore_mismatch=False)
    return timings


def _make_log(library: ModuleType) -> Any:
    """A logger that keeps errors and warnings, and how many parts the builder's compiler left."""

    class Log(library.ILogger):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            library.ILogger.__init__(self)
            self.errors: list[str] = []
            self.warnings: list[str] = []
            self.parts = 0

        def log(self, severity: Any, message: str) -> None:
            severities = library.ILogger.Severity
            if severity in (severities.INTERNAL_ERROR, severities.ERROR):
                self.errors.append(message.strip())
            elif severity == severities.WARNING:
                self.warnings.append(message.strip())
            elif found := FUSED.search(message):
                self.parts = int(found[1])

    return Log()


class Shares:
    """How much of nested phases is done: each has steps, and an inner phase counts within one step of the outer."""

    def __init__(self) -> None:
        self._phases: dict[str, tuple[str | None, int]] = {}
        self._done: dict[str, int] = {}

    def start(self, name: str, parent: str | None, steps: int) -> None:
        self._phases[name], self._done[name] = (parent, max(steps, 1)), 0

    def step(self, name: str, index: int) -> None:
        if name in self._done:
            self._done[name] = index + 1

    def finish(self, name: str) -> None:
        self._phases.pop(name, None)
        self._done.pop(name, None)

    def share(self) -> float:
        """Of the outermost phases together, 0..1."""
        outer = [name for name, (parent, _) in self._phases.items() if parent not in self._phases]
        return max((self._share(name) for name in outer), default=0.0)

    def _share(self, name: str) -> float:
        inner: Sequence[str] = [
            other for other, (parent, _) in self._phases.items() if parent == name and other != name
        ]
        under_way = max((self._share(other) for other in inner), default=0.0)
        return min(1.0, (self._done[name] + under_way) / self._phases[name][1])


def _make_monitor(library: ModuleType, progress: Progress) -> Any:
    """The library's progress monitor, which reports to `progress`; the share never falls."""
    shares = Shares()

    class Monitor(library.IProgressMonitor):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            library.IProgressMonitor.__init__(self)
            self.most = 0.0

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            shares.start(name, parent, steps)
            self._report(name)

        def step_complete(self, name: str, step: int) -> bool:
            shares.step(name, step)
            self._report(name)
            return True

        def phase_finish(self, name: str) -> None:
            shares.finish(name)

        def _report(self, name: str) -> None:
            self.most = max(self.most, shares.share())
            progress(self.most, name)

    return Monitor()
