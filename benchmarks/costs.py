"""What time grows with: objects, frames of the past, size of the image; a line through each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.alone import alone
from benchmarks.effort import Effort
from benchmarks.fits import Line, fit_line
from benchmarks.measuring import Measured, in_turn
from benchmarks.opening import open_default, open_same
from benchmarks.random_models import engine_run, random_bundle, window_run
from benchmarks.section import Section
from benchmarks.window_against_stream import window_bundle
from c2f_ros.bench import Case, EchoEngine, ros_side, time_case
from c2f_ros.bundle import Bundle, load_bundle
from c2f_ros.parameters import make_parameters
from c2f_ros.steps.step6_engine import Engine
from c2f_train.model.config import MemoryConfig, NetworkConfig

COUNTS = (1, 2, 4, 6, 8, 10, 12, 16)
FRAMES = (2, 4, 8, 16)
IMAGES = ((240, 320), (480, 640), (720, 1280), (1080, 1920))
OBJECTS, PATH_OBJECTS = 4, 10
COLUMNS = {"what": "", "against": "x", "points": "ms at x", "line": "line", "r2": "R²"}


@dataclass(frozen=True)
class Curve:
    """Milliseconds at each x, and the line through them. group: curves that belong in one picture."""

    group: str
    what: str
    against: str
    x: tuple[float, ...]
    ms: tuple[Measured, ...]

    @property
    def line(self) -> Line:
        return fit_line(self.x, [one.median for one in self.ms])

    def row(self) -> dict[str, object]:
        """One row of the table, and all that was measured."""
        line, sign = self.line, "-" if self.line.slope < 0 else "+"
        return {
            "what": self.what,
            "against": self.against,
            "points": ", ".join(f"{x:g}: {one.median:.3g}" for x, one in zip(self.x, self.ms, strict=True)),
            "line": f"ms = {line.at_zero:.3g} {sign} {abs(line.slope):.3g} x",
            "r2": line.r2,
            "x": list(self.x),
            "ms": list(self.ms),
            "fit": line.plain(),
        }


def costs(
    models: Sequence[Path], network: NetworkConfig, default: Engine, folder: Path, effort: Effort
) -> tuple[Section, list[Curve]]:
    """The table, and its curves for a picture. models: shipped bundles; network: of one with a memory; default: its
    engine."""
    curves = [against_objects(model, folder, effort) for model in models]
    curves += against_frames(network, default, folder, effort)
    curves.append(alone(against_image_size, models[-1], effort))
    note = (
        f"Medians, and the line of least squares through them. Frames: {OBJECTS} objects, random weights in the sizes "
        f"of the default model. Image size: all but the engine, {PATH_OBJECTS} objects, CPU time; x in megapixels."
    )
    return Section("costs", "What time grows with", note, COLUMNS, [curve.row() for curve in curves]), curves


def against_objects(model: Path, folder: Path, effort: Effort) -> Curve:
    """A shipped model's engine call for 1 to 16 objects."""
    bundle, counts = load_bundle(model), effort.few(COUNTS)
    engine = open_default(bundle, effort.threads, folder / "cache")
    runs = {str(count): engine_run(engine, bundle.manifest, count) for count in counts}
    ms = in_turn(runs, effort.rounds(15), effort.seconds(8))
    engine.close()
    return Curve("objects N", model.name, "objects N", counts, tuple(ms[str(count)] for count in counts))


def against_frames(network: NetworkConfig, default: Engine, folder: Path, effort: Effort) -> list[Curve]:
    """A memory of fixed size that has seen T frames, a ring of T frames, and windows of T frames, kept or not."""
    frames, engines = effort.few(FRAMES), []
    found: dict[str, Callable[[], object]] = {}

    def opened(bundle: Bundle) -> Engine:
        engines.append(open_same(default, bundle, effort.threads))
        return engines[-1]

    stream = random_bundle(network, folder / "grown")
    for T in frames:
        window = window_bundle(network, T, folder / "frames")
        ring = random_bundle(replace(network, memory=MemoryConfig(ring=T)), folder / f"ring{T}")
        grown = found[f"stream{T}"] = engine_run(opened(stream), stream.manifest, OBJECTS)
        for _ in range(T):
            grown()
        found[f"ring{T}"] = engine_run(opened(ring), ring.manifest, OBJECTS)
        found[f"cached{T}"] = window_run(opened(window), window.manifest, OBJECTS, is_cached=True)
        found[f"again{T}"] = window_run(opened(window), window.manifest, OBJECTS, is_cached=False)
    ms = in_turn(found, effort.rounds(9), effort.seconds(20))
    for engine in engines:
        engine.close()
    names = {
        "stream": "stream, after T frames", "ring": "ring of T frames",
        "cached": "window of T, kept", "again": "window of T, computed again",
    }  # fmt: skip
    return [
        Curve("frames T", name, "frames T", frames, tuple(ms[f"{key}{T}"] for T in frames))
        for key, name in names.items()
    ]


def against_image_size(model: Path, effort: Effort) -> Curve:
    """The whole path but the engine, for images from 320x240 to full HD."""
    bundle, ros, images = load_bundle(model), ros_side(), effort.few(IMAGES)
    parameters = make_parameters({"model": str(model)})
    frames, rounds = (5, 2) if effort.is_quick else (25, 3)
    taken: dict[tuple[int, int], list[float]] = {image: [] for image in images}
    for _ in range(rounds):
        for height, width in images:
            case = Case(bundle.manifest.model_id, height, width, PATH_OBJECTS)
            timing = time_case(bundle, EchoEngine(bundle), parameters, case, frames, ros)
            taken[height, width].append(timing.path.cpu_median_ms)
    megapixels = tuple(round(height * width * 1e-6, 4) for height, width in images)
    what = f"path without engine, {model.name}"
    return Curve("image size", what, "megapixels", megapixels, tuple(Measured(tuple(taken[i])) for i in images))
