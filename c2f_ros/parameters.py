"""The node's parameters: one frozen record, one table of descriptions and ranges; defaults are in config/c2f.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import yaml

from c2f_ros.contract import ContractError
from c2f_ros.engines.settings import PRECISIONS, DeviceSettings
from c2f_ros.mask_codec import ENCODINGS
from c2f_ros.share import share_file
from c2f_ros.steps.step6_engine import ENGINES
from c2f_ros.steps.step7_paste import HIDDEN_UNDER

Value = str | int | float | bool


@dataclass(frozen=True)
class Description:
    """What a parameter means, and what it may be: one of `choices`, a number between `low` and `high`, or, if it is a
    switch, true or false."""

    text: str
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    is_switch: bool = False

    @property
    def allowed(self) -> str:
        """The allowed values, for people."""
        if self.choices:
            return ", ".join(self.choices)
        if self.is_switch:
            return "true, false"
        return "any text" if self.low is None else f"{self.low:g} to {self.high:g}"


DESCRIPTIONS: Mapping[str, Description] = {
    "model": Description("Model bundle: a name under models/, or a path to its folder."),
    "engine": Description(
        "What runs the network; auto takes TensorRT, else ONNX Runtime with CUDA, else what is faster on this CPU.",
        ENGINES,
    ),
    "engine_threads": Description("CPU threads of the engine; all around it uses one more.", low=1, high=64),
    "engine_precision": Description(
        "What the network computes in; auto takes the fastest whose masks of the golden sample stay the same "
        "(mean IoU at least 0.995).",
        PRECISIONS,
    ),
    "engine_memory_mb": Description(
        "GPU memory that the engine may take, in MB; 0 = no bound. Not on a CPU.", low=0, high=100000
    ),
    "engine_low_priority": Description("GPU work of other programs goes first. For TensorRT.", is_switch=True),
    "engine_cache": Description("Folder of built plans and measured times; empty = c2f_ros in the user's cache."),
    "engine_build": Description(
        "Plans that are missing are built when the node is configured, which takes minutes. For TensorRT.",
        is_switch=True,
    ),
    "max_objects": Description(
        "Objects inferred per image, those with most visible pixels first; the others are published as NOT_INFERRED.",
        low=1, high=256,
    ),
    "hidden_under": Description(
        "Where hidden parts may lie: under anything, or only under other_instances "
        "(right if every occluder is segmented).",
        HIDDEN_UNDER,
    ),
    "output_encoding": Description("Encoding of published masks.", ENCODINGS),
    "input.kind": Description(
        "Upstream masks: masks = label image on ~/input/masks, instances = InstanceArray on ~/input/instances.",
        ("masks", "instances"),
    ),
    "input.image_transport": Description(
        "raw = sensor_msgs/Image on ~/input/image, compressed = CompressedImage on ~/input/image/compressed.",
        ("raw", "compressed"),
    ),
    "sync.mode": Description(
        "exact pairs equal stamps; approximate pairs the nearest ones (needs message_filters).",
        ("exact", "approximate"),
    ),
    "sync.slop_s": Description(
        "Largest difference of stamps, in seconds, for approximate; keep it below half a frame.", low=0.0, high=1.0
    ),
    "sync.buffer": Description("Messages of each topic that may wait for their partner.", low=2, high=512),
    "sync.jump_s": Description(
        "Stamps that go back by more seconds than this mean a new recording: all memory is dropped.", low=0.0, high=10.0
    ),
    "tracking.ids": Description(
        "upstream keeps upstream's ids (a label's value) and makes own ones where there are none; "
        "own always makes them.",
        ("upstream", "own"),
    ),
    "tracking.min_iou": Description("Least IoU with a track's last mask to carry its own id on.", low=0.01, high=1.0),
    "tracking.max_missed": Description("Frames that an own track may miss before it ends.", low=0, high=1000),
    "tracking.invisible_s": Description(
        "Seconds for which an object that upstream no longer sends is completed from memory and published as "
        "INVISIBLE; 0 = never. For models with a memory.",
        low=0.0, high=60.0,
    ),
    "tracking.reassociate": Description(
        "An object that comes back under a new id where a hidden one is predicted keeps its old id. "
        "For models with a memory.",
        is_switch=True,
    ),
    "window.max_gap_s": Description(
        "A track not seen for so many seconds, or tracking.invisible_s if longer, is forgotten; all are if no frame "
        "comes for so long.",
        low=0.01, high=60.0,
    ),
    "diagnostics.period_s": Description("Seconds between diagnostics.", low=0.05, high=60.0),
    "diagnostics.stale_s": Description(
        "Seconds without images or masks after which diagnostics warns.", low=0.1, high=600.0
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Parameters:
    """All parameters, checked. A dot in a ROS name is an underscore here."""

    model: str
    engine: str
    engine_threads: int
    engine_precision: str
    engine_memory_mb: int
    engine_low_priority: bool
    engine_cache: str
    engine_build: bool
    max_objects: int
    hidden_under: str
    output_encoding: str
    input_kind: str
    input_image_transport: str
    sync_mode: str
    sync_slop_s: float
    sync_buffer: int
    sync_jump_s: float
    tracking_ids: str
    tracking_min_iou: float
    tracking_max_missed: int
    tracking_invisible_s: float
    tracking_reassociate: bool
    window_max_gap_s: float
    diagnostics_period_s: float
    diagnostics_stale_s: float

    def __post_init__(self) -> None:
        for name in DESCRIPTIONS:
            check_value(name, getattr(self, field_name(name)))

    @property
    def device(self) -> DeviceSettings:
        """What the engine is to know of the machine."""
        return DeviceSettings(
            precision=self.engine_precision,
            memory_mb=self.engine_memory_mb,
            most_rows=self.max_objects,
            low_priority=self.engine_low_priority,
            cache=Path(self.engine_cache).expanduser() if self.engine_cache else None,
            build=self.engine_build,
        )


def field_name(ros_name: str) -> str:
    """`sync.slop_s` -> `sync_slop_s`."""
    return ros_name.replace(".", "_")


def check_value(name: str, value: Value) -> None:
    """Raises ContractError in one sentence if `value` is not allowed for the parameter `name`."""
    about, default = DESCRIPTIONS[name], default_values()[name]
    if type(value) is not type(default) and not (isinstance(default, float) and type(value) is int):
        raise ContractError(f"parameter {name} is {value!r}, expected {type(default).__name__}; correct the value")
    if about.choices and value not in about.choices:
        raise ContractError(f"parameter {name} is {value!r}, expected one of {about.allowed}; correct the value")
    if about.low is not None and about.high is not None and not about.low <= float(value) <= about.high:
        raise ContractError(f"parameter {name} is {value}, expected {about.allowed}; correct the value")


@cache
def default_values() -> Mapping[str, Value]:
    """The defaults of config/c2f.yaml by ROS name. Raises ContractError if it and this file disagree on the names."""
    values = flatten(yaml.safe_load(share_file("config/c2f.yaml").read_text())["/**"]["ros__parameters"])
    if set(values) != set(DESCRIPTIONS):
        odd = ", ".join(sorted(set(values) ^ set(DESCRIPTIONS)))
        raise ContractError(f"config/c2f.yaml and parameters.py disagree on {odd}; name each parameter in both")
    return values


def flatten(tree: Mapping[str, object], prefix: str = "") -> dict[str, Value]:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    out: dict[str, Value] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            out.update(flatten(value, f"{prefix}{key}."))
        else:
            out[f"{prefix}{key}"] = value  # type: ignore[assignment]
    return out


def make_parameters(values: Mapping[str, Value]) -> Parameters:
    """Parameters from ROS names; what is left out has its default.

    Raises ContractError on an unknown name, a wrong type, an unknown choice or a number out of range.
    """
    unknown = sorted(set(values) - set(DESCRIPTIONS))
    if unknown:
        raise ContractError(f"unknown parameter {', '.join(unknown)}; known are {', '.join(DESCRIPTIONS)}")
    merged = {**default_values(), **values}
    kinds = {f.name: f.type for f in fields(Parameters)}
    return Parameters(
        **{
            field_name(name): float(value) if kinds[field_name(name)] == "float" and type(value) is int else value
            for name, value in merged.items()
        }  # type: ignore[arg-type]
    )


def default_parameters() -> Parameters:
    """Parameters with nothing set."""
    return make_parameters({})
