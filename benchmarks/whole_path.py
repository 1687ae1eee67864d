"""What `c2f-bench` measures, as a part of these results: everything but the engine, from message to message."""

from __future__ import annotations

from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.section import Section
from c2f_ros.bench import STAGES, Case, EchoEngine, fitted_cost, ros_side, time_case
from c2f_ros.bundle import load_bundle
from c2f_ros.parameters import make_parameters

SIZES = ((480, 640), (720, 1280))
OBJECTS = (1, 10, 30)
SURROUNDING = tuple(name for name in STAGES if name != "engine")
COLUMNS = {"image": "image", "objects": "objects", **{name: name for name in SURROUNDING}, "path": "all of it"}


def whole_path(model: Path, effort: Effort) -> Section:
    """A row per image size and number of objects."""
    bundle, ros = load_bundle(model), ros_side()
    parameters = make_parameters({"model": str(model), "max_objects": max(32, *OBJECTS)})
    timings = [
        time_case(bundle, EchoEngine(bundle), parameters, Case(model.name, *size, objects), _frames(effort), ros)
        for size in SIZES
        for objects in effort.few(OBJECTS)
    ]
    rows = []
    for timing in timings:
        case = timing.case
        stages = {name: timing.stages[name].cpu_median_ms for name in SURROUNDING if name in timing.stages}
        whole = {"path": timing.path.cpu_median_ms, "path_p95": timing.path.cpu_p95_ms, "wall": timing.path.median_ms}
        rows.append({"image": f"{case.width}x{case.height}", "objects": case.objects, **stages, **whole})
    fit = fitted_cost(timings)
    about = "; ".join(f"{name} {value:.3f}" for name, value in (fit or {}).items())
    note = (
        f"{model.name}: CPU milliseconds per frame, medians, in one thread, by `c2f-bench --no-engine`; all of it: the "
        f"median of frames' sums.{f' Fitted: {about}.' if about else ''}"
        f"{'' if ros is not None else ' Without ROS 2 here, message and serialize are left out.'}"
    )
    return Section("whole_path", "Everything but the engine", note, COLUMNS, rows)


def _frames(effort: Effort) -> int:
    return 5 if effort.is_quick else 40
