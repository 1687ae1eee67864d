"""What training and runtime agree on: the model manifest, its strict reader, and the errors.

A bundle `models/<name>/` holds `manifest.yaml`, ONNX graphs and `golden.npz`. The manifest is the whole
contract; this module gives it types and refuses what it does not know. It reads no file: see `bundle.py`.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

SCHEMA_VERSION = 1
MASK_CHANNELS = ("visible", "others", "inside")
"""Mask planes a model may ask for: the object's visible pixels; the visible pixels of all other
instances; which pixels of the crop lie inside the image."""
CROP_RULES = ("square", "stretched", "followed")
TEMPORAL_MODES = ("image", "window", "stream")
STATE_KINDS = ("aligned", "ring")

T = TypeVar("T")


class ContractError(ValueError):
    """Model, manifest or configuration disagree: refuse to configure."""


class InputError(ValueError):
    """This message cannot be used: count it, say so (throttled), drop it, go on."""


class EngineError(RuntimeError):
    """The engine failed on this batch: publish nothing for the frame, say so, go on."""


@dataclass(frozen=True)
class TensorSpec:
    """A graph's input or output. shape: ints, or one-letter names for dynamic sizes ("N")."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class GraphSpec:
    """One ONNX file of the bundle, with its hash and its tensors in order. batch_limit: objects in one call at
    most, so that a large model fits the memory, where an engine cannot tell by itself what fits (TensorRT can: its
    plans have profiles for so many and for more); 0 = all objects of a frame at once."""

    file: str
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batch_limit: int = 0


@dataclass(frozen=True)
class CropSpec:
    """How an object is cut out and scaled to `size` x `size`.

    rule `square`: a square of `scale` times the longer side of the visible box, never below `min_side_fraction` of the
    image's shorter side; it may reach outside the image, which is black there.
    rule `stretched`, the published one: `scale` times the visible box, clipped to the image, rows and columns scaled
    apart; in a window all frames alike, so that the largest fills the crop. It has no least side (0).
    rule `followed`: a square as in `square`, centred on the extent that a track had so far, which moves along with the
    image (`following.py`); unseen objects have one too.
    """

    rule: str
    size: int
    scale: float
    min_side_fraction: float


@dataclass(frozen=True)
class InputSpec:
    """Value range of the network inputs: (rgb / 255 - mean) / std; mask planes in 0..1."""

    channel_order: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    mask_channels: tuple[str, ...]


@dataclass(frozen=True)
class TokenSpec:
    """Token grid (rows = columns = grid), codebook size, and mask-and-predict steps K."""

    grid: int
    codebook_size: int
    steps: int


@dataclass(frozen=True)
class StateSpec:
    """What a model of mode `stream` keeps of an object from one inferred frame to the next; float32, 0 at birth.

    kind `aligned`: one map, shape (channels, rows, columns), over the object's crop; graph input NAME [N, *shape],
    which the graph lays over the newest crop by input `warp` [N, 3] (`following.alignment`); output NAME_next
    [N, *shape].
    kind `ring`: of each of the last `temporal.window` inferred frames an array of `shape`; graph input
    NAME [N, T, *shape] in any order, with input `ages` [N, T] (int64: 0 the newest frame in memory, -1 an empty
    place); output NAME_next [N, *shape], the newest frame's.
    """

    name: str
    kind: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class TemporalSpec:
    """window: observations kept per track. mode `image`: the network sees the newest one. mode `window`: it sees all, a
    window not yet full is filled by repeating its oldest observation in front. mode `stream`: it sees the newest one
    and what `state` keeps of earlier ones. state_bytes: memory per object that the states take."""

    mode: str
    window: int
    state: tuple[StateSpec, ...] = ()
    state_bytes: int = 0

    @property
    def frames(self) -> int:
        """Frames of one object in the network's input."""
        return self.window if self.mode == "window" else 1


@dataclass(frozen=True)
class GoldenSpec:
    """A stored batch and its outputs; an engine must reproduce it within `tolerance` (absolute)."""

    file: str
    sha256: str
    tolerance: float


@dataclass(frozen=True)
class Manifest:
    """The whole contract of a model bundle. `made` is free text for people: data, metrics, cost.

    frame_graph: of models of mode `window` whose frames are cached. It takes frames one by one, image [N, 3, S, S] and
    masks [N, M, S, S]; every input of `graph` is one of its outputs, by name: [N, T, ...] of the whole window, or
    [N, ...] of the newest frame alone. Without it `graph` takes images and masks itself.
    """

    schema_version: int
    model_id: str
    description: str
    temporal: TemporalSpec
    crop: CropSpec
    input: InputSpec
    tokens: TokenSpec
    mask_threshold: float
    graph: GraphSpec
    golden: GoldenSpec
    made: Mapping[str, Any]
    frame_graph: GraphSpec | None = None

    @property
    def graphs(self) -> tuple[GraphSpec, ...]:
        """All graphs of the bundle."""
        return (self.graph,) if self.frame_graph is None else (self.frame_graph, self.graph)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What an object's row of the whole model takes, graph by graph or not: a golden sample holds it."""
        window = (self.temporal.window,) if self.temporal.mode == "window" else ()
        states = (
            TensorSpec(name, "int64" if name == "ages" else "float32", shape)
            for name, shape in state_inputs(self.temporal)
        )
        return (*self._frame_inputs(window), *states)

    def _frame_inputs(self, window: tuple[int, ...] = ()) -> tuple[TensorSpec, ...]:
        size, planes = self.crop.size, len(self.input.mask_channels)
        return (
            TensorSpec("image", "float32", ("N", *window, 3, size, size)),
            TensorSpec("masks", "float32", ("N", *window, planes, size, size)),
        )

    def __post_init__(self) -> None:
        _require(self.schema_version == SCHEMA_VERSION, "schema_version", self.schema_version, SCHEMA_VERSION)
        _require(bool(self.model_id), "model_id", self.model_id, "a name")
        _require(self.temporal.mode in TEMPORAL_MODES, "temporal.mode", self.temporal.mode, " or ".join(TEMPORAL_MODES))
        _require(self.temporal.window >= 1, "temporal.window", self.temporal.window, "at least 1")
        self._check_state()
        self._check_crop()
        _require(self.input.channel_order == "rgb", "input.channel_order", self.input.channel_order, "rgb")
        unknown = set(self.input.mask_channels) - set(MASK_CHANNELS)
        _require(not unknown, "input.mask_channels", sorted(unknown), f"only {', '.join(MASK_CHANNELS)}")
        _require(all(s > 0 for s in self.input.std), "input.std", self.input.std, "positive numbers")
        _require(0 < self.mask_threshold < 1, "mask_threshold", self.mask_threshold, "between 0 and 1")
        self._check_graph()

    def _check_state(self) -> None:
        temporal = self.temporal
        has_right = bool(temporal.state) == (temporal.mode == "stream")
        _require(has_right, "temporal.state", [s.name for s in temporal.state], "states with mode stream, else none")
        for state in temporal.state:
            _require(
                state.kind in STATE_KINDS, f"temporal.state {state.name}.kind", state.kind, " or ".join(STATE_KINDS)
            )
            is_map = state.kind != "aligned" or len(state.shape) == 3
            _require(is_map, f"temporal.state {state.name}.shape", state.shape, "(channels, rows, columns)")
            _require(
                min(state.shape, default=0) > 0, f"temporal.state {state.name}.shape", state.shape, "positive sizes"
            )
        expected = state_bytes(temporal.state, temporal.window)
        _require(temporal.state_bytes == expected, "temporal.state_bytes", temporal.state_bytes, expected)
        has_anchor = temporal.mode != "stream" or self.crop.rule == "followed"
        _require(has_anchor, "crop.rule", self.crop.rule, "followed with mode stream")

    def _check_crop(self) -> None:
        crop = self.crop
        _require(crop.rule in CROP_RULES, "crop.rule", crop.rule, " or ".join(CROP_RULES))
        _require(crop.size >= 8, "crop.size", crop.size, "at least 8")
        _require(crop.scale >= 1, "crop.scale", crop.scale, "at least 1")
        _require(0 <= crop.min_side_fraction <= 1, "crop.min_side_fraction", crop.min_side_fraction, "0..1")
        is_without_least = crop.rule != "stretched" or crop.min_side_fraction == 0
        _require(is_without_least, "crop.min_side_fraction", crop.min_side_fraction, "0 with crop.rule stretched")

    def _check_graph(self) -> None:
        for graph in self.graphs:
            _require(graph.batch_limit >= 0, "graph.batch_limit", graph.batch_limit, "0 or more")
        if self.frame_graph is None:
            _require(self.graph.inputs == self.inputs, "graph.inputs", self.graph.inputs, self.inputs)
        else:
            self._check_frame_graph(self.frame_graph)
        size, outputs = self.crop.size, {t.name: t.shape for t in self.graph.outputs}
        _require(outputs.get("amodal") == ("N", size, size), "graph.outputs amodal", outputs, ("N", size, size))
        for state in self.temporal.state:
            name = f"{state.name}_next"
            _require(outputs.get(name) == ("N", *state.shape), f"graph.outputs {name}", outputs, ("N", *state.shape))

    def _check_frame_graph(self, frame_graph: GraphSpec) -> None:
        mode, expected = self.temporal.mode, self._frame_inputs()
        _require(mode == "window", "temporal.mode", mode, "window with a frame_graph")
        _require(frame_graph.inputs == expected, "frame_graph.inputs", frame_graph.inputs, expected)
        made = {tensor.name: tensor for tensor in frame_graph.outputs}
        for tensor in self.graph.inputs:
            one = made.get(tensor.name, TensorSpec(tensor.name, "of no output", ()))
            allowed = (replace(one, shape=("N", self.temporal.window, *one.shape[1:])), one)
            _require(
                tensor in allowed, f"graph.inputs {tensor.name}", tensor, f"one of {allowed} as frame_graph has it"
            )


def state_inputs(temporal: TemporalSpec) -> tuple[tuple[str, tuple[int | str, ...]], ...]:
    """Names and shapes of the graph inputs that carry an object's states: `warp` and the aligned ones, `ages` and the
    rings."""
    aligned = [(s.name, ("N", *s.shape)) for s in temporal.state if s.kind == "aligned"]
    rings = [(s.name, ("N", temporal.window, *s.shape)) for s in temporal.state if s.kind == "ring"]
    first = [("warp", ("N", 3))] if aligned else []
    second = [("ages", ("N", temporal.window))] if rings else []
    return (*first, *aligned, *second, *rings)


def state_bytes(state: tuple[StateSpec, ...], window: int) -> int:
    """Memory per object of these states, float32."""
    return sum(4 * math.prod(s.shape) * (window if s.kind == "ring" else 1) for s in state)


def _require(holds: bool, key: str, found: object, expected: object) -> None:
    if not holds:
        raise ContractError(
            f"manifest: {key} is {found!r}, expected {expected}; export the model again or update c2f_ros"
        )


def parse(kind: type[T], value: object, where: str) -> T:
    """A `kind` made from plain YAML data; `kind` is a frozen dataclass, possibly nested.

    Raises ContractError on an unknown key, a missing key or a wrong type, naming the key as `where.key`.
    An int is accepted where a float is expected; nothing else is converted.
    """
    if not isinstance(value, Mapping):
        raise ContractError(f"{where}: found {type(value).__name__}, expected a mapping of keys; check the file")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(str(k) for k in value if k not in fields)
    if unknown:
        raise ContractError(f"{where}: unknown key {', '.join(unknown)}; known keys are {', '.join(fields)}")
    missing = [n for n, f in fields.items() if n not in value and f.default is dataclasses.MISSING]
    if missing:
        raise ContractError(f"{where}: missing key {', '.join(missing)}; add it")
    return kind(**{name: _convert(hints[name], item, f"{where}.{name}") for name, item in value.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return parse(hint, value, where)  # type: ignore[arg-type]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType and len(arguments) == 2 and types.NoneType in arguments:
        (other,) = (kind for kind in arguments if kind is not types.NoneType)
        return None if value is None else _convert(other, value, where)
    if origin is tuple:
        return _convert_tuple(arguments, value, where)
    if origin is types.UnionType:
        accepted: tuple[type, ...] = arguments
    elif origin is not None:
        accepted = (origin,)
    else:
        accepted = (hint,)
    if float in accepted and type(value) is int:
        return float(value)
    if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in accepted):
        names = " or ".join(k.__name__ for k in accepted)
        raise ContractError(f"{where}: found {value!r}, expected {names}; correct the value")
    return value


def _convert_tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ContractError(f"{where}: found {value!r}, expected a list; correct the value")
    if arguments[-1] is Ellipsis:
        kinds = (arguments[0],) * len(value)
    else:
        kinds = arguments
    if len(kinds) != len(value):
        raise ContractError(f"{where}: found {len(value)} items, expected {len(kinds)}; correct the list")
    return tuple(_convert(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))


def to_plain(record: Any) -> Any:
    """The nested dataclass `record` as plain dicts and lists, ready for YAML; `parse` is its inverse."""
    if dataclasses.is_dataclass(record):
        return {f.name: to_plain(getattr(record, f.name)) for f in dataclasses.fields(record)}
    if isinstance(record, (list, tuple)):
        return [to_plain(item) for item in record]
    if isinstance(record, Mapping):
        return {key: to_plain(item) for key, item in record.items()}
    return record
