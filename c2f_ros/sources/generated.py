"""Clips made on the spot by the training package's generator, which runs in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from c2f_ros.contract import ContractError
from c2f_ros.sources.movid import movid_video

MISSING = "the generator is not installed: pip install numba, and run from a checkout or pip install ./training"


@dataclass(frozen=True)
class ClipRequest:
    """What to draw. height, width in pixels; objects: fewest and most; orbit_degrees: camera's turn per frame;
    elevation: of the camera above the ground, lowest and highest, in degrees; movers: whether some objects move."""

    seed: int
    frames: int
    height: int
    width: int
    objects: tuple[int, int]
    orbit_degrees: float
    elevation: tuple[float, float]
    movers: bool = False


@contextmanager
def generated_clip(request: ClipRequest) -> Iterator[Path]:
    """The folder of a clip in MOViD-A's layout, for as long as the context lasts; the same request, the same clip.

    Raises ContractError if the generator is missing or fails.
    """
    with tempfile.TemporaryDirectory(prefix="c2f_clip_") as folder:
        _run_generator(request, Path(folder))
        yield movid_video(Path(folder), "0")


def _run_generator(request: ClipRequest, out: Path) -> None:
    command = [sys.executable, "-m", "c2f_train.synth.generate", "--layout", "movid_a", "--supersample", "2"]
    command += ["--clips", "1", "--workers", "1", "--frames", str(request.frames), "--seed", str(request.seed)]
    command += ["--size", str(request.height), str(request.width), "--objects", *map(str, request.objects)]
    command += ["--orbit-degrees", str(request.orbit_degrees), "--elevation", *map(str, request.elevation)]
    command += ["--sparse-fraction", "0", "--movers-fraction", str(int(request.movers)), "--out", str(out)]
    done = subprocess.run(command, env=_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode == 0:
        return
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    if "No module named" in last:
        raise ContractError(f"{MISSING} ({last})")
    raise ContractError(f"the generator failed with status {done.returncode}: {last}; see {' '.join(command)}")


def _environment() -> dict[str, str]:
    """This process's environment, with the checkout's `training/`, where there is one, on the module path."""
    training = Path(__file__).resolve().parents[2] / "training"
    paths = [str(training)] if (training / "c2f_train").is_dir() else []
    paths += filter(None, [os.environ.get("PYTHONPATH")])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)} if paths else dict(os.environ)
