"""Generate clips: one from a seed, or a resumable set of files from many processes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from c2f_train.synth import kins, movid_a
from c2f_train.synth.clip import Clip
from c2f_train.synth.driving import DriveConfig, generate_drive
from c2f_train.synth.moment import Moments
from c2f_train.synth.movers import Mover, random_movers
from c2f_train.synth.options import add_knobs, chosen_config
from c2f_train.synth.raster import Camera, raster_objects, resolve
from c2f_train.synth.scene import Scene, random_scene
from c2f_train.synth.scene_config import SceneConfig
from c2f_train.synth.shade import Surface, develop, shade
from c2f_train.synth.shadow import Shadows
from c2f_train.synth.viewpoint import random_cameras, view_of


def generate_clip(config: SceneConfig, frames: int, seed: int) -> Clip:
    """A clip of a random scene; the same config, frames and seed give the same clip."""
    if frames < 1:
        raise ValueError(f"frames is {frames}, expected at least 1")
    rng = np.random.default_rng(seed)
    scene = random_scene(config, rng)
    view, middle = view_of(scene, config)
    cameras = random_cameras(view, frames, middle, rng)
    movers = random_movers(scene, cameras, config, rng)
    return render_clip(scene, cameras, config.supersample, config.fps, movers)


def render_clip(
    scene: Scene, cameras: Sequence[Camera], supersample: int, fps: float, movers: Sequence[Mover] = ()
) -> Clip:
    """The clip that the cameras see, one frame each."""
    moments = Moments(scene, movers)
    drawn = [_render_frame(scene, *moments.at(frame), camera, supersample) for frame, camera in enumerate(cameras)]
    rgb, labels, amodal, hides = (np.stack(arrays) for arrays in zip(*drawn, strict=True))
    stamps_ns = np.round(np.arange(len(cameras)) * (1e9 / fps)).astype(np.int64)
    return Clip(rgb, labels, amodal, hides, scene.categories, stamps_ns)


def _render_frame(
    scene: Scene, surface: Surface, shadows: Shadows, camera: Camera, supersample: int
) -> tuple[NDArray, ...]:
    """rgb [H, W, 3], labels [H, W], amodal [N, H, W] and hides [N, N] of a frame."""
    masks = resolve(raster_objects(camera, surface.vertices, surface.triangles, scene.starts))
    face = masks.face
    if supersample > 1:
        camera = camera.enlarged(supersample)
        whole = np.array([0, len(surface.triangles)], np.int32)
        face = raster_objects(camera, surface.vertices, surface.triangles, whole).face[0]
    image = shade(camera, face, surface, scene.materials, scene.light, scene.surroundings, shadows)
    return develop(image, supersample), masks.labels, masks.amodal, masks.hides


def clip_seed(seed: int, index: int) -> int:
    """Seed of a clip of a set; sets of different seeds share no clip."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0])


def clip_path(out_dir: Path, index: int) -> Path:
    """Where a clip of a set is stored."""
    return out_dir / f"clip_{index:05d}.npz"


@dataclass(frozen=True)
class Layout:
    """How a set is stored: where its clip of an index lies, and what writes a clip there, complete or not at all."""

    place: Callable[[Path, int], Path]
    write: Callable[[Clip, Path], None]


def _video_path(out_dir: Path, index: int) -> Path:
    return out_dir / str(index)


def _sequence_path(out_dir: Path, index: int) -> Path:
    return out_dir / f"{index:04d}"


NPZ = Layout(clip_path, Clip.save)
MOVID_A = Layout(_video_path, movid_a.write_video)
KINS = Layout(_sequence_path, kins.write_sequence)


def generate_set(config: SceneConfig, clips: int, frames: int, seed: int, out_dir: str | Path, workers: int = 1) -> int:
    """Write clip_00000.npz ... into a folder, leaving those that exist as they are; returns how many were made."""
    return fill(NPZ, partial(generate_clip, config, frames), clips, seed, out_dir, workers)


def generate_drive_set(
    config: DriveConfig, clips: int, frames: int, seed: int, out_dir: str | Path, workers: int = 1
) -> int:
    """As generate_set, of driving sequences."""
    return fill(NPZ, partial(generate_drive, config, frames), clips, seed, out_dir, workers)


def generate_movid_a(
    config: SceneConfig, clips: int, frames: int, seed: int, out_dir: str | Path, split: str, workers: int = 1
) -> int:
    """As generate_set, in the MOViD-A layout: <out_dir>/<split>/0, 1, ... and the two lists."""
    return _fill_movid_a(partial(generate_clip, config, frames), clips, seed, out_dir, split, workers)


def _fill_movid_a(
    draw: Callable[[int], Clip], clips: int, seed: int, out_dir: str | Path, split: str, workers: int
) -> int:
    made = fill(MOVID_A, draw, clips, seed, Path(out_dir) / split, workers)
    movid_a.write_lists(Path(out_dir), split, [str(index) for index in range(clips)])
    return made


def fill(
    layout: Layout, draw: Callable[[int], Clip], clips: int, seed: int, out_dir: str | Path, workers: int = 1
) -> int:
    """Write the clips of a set that are not there yet into a folder; returns how many were made.

    draw: gives the clip of a seed; it is sent to other processes if workers is above 1.
    """
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    missing = [index for index in range(clips) if not layout.place(out_dir, index).exists()]
    _run(partial(_write_clip, layout, draw, seed, out_dir), missing, workers)
    return len(missing)


def _write_clip(layout: Layout, draw: Callable[[int], Clip], seed: int, out_dir: Path, index: int) -> None:
    layout.write(draw(clip_seed(seed, index)), layout.place(out_dir, index))


def _run(work: partial, indices: Sequence[int], workers: int) -> None:
    """Call work with each index, in processes if workers is above 1, with a progress bar."""
    if workers <= 1:
        for index in tqdm(indices, unit="clip", disable=None):
            work(index)
        return
    # Spawned, not forked: the caller may hold threads. Each worker keeps to one core.
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        for _ in tqdm(pool.map(work, indices), total=len(indices), unit="clip", disable=None):
            pass


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--clips", type=int, required=True)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scene", choices=("clutter", "driving"), default="clutter")
    parser.add_argument("--layout", choices=("npz", "movid_a", "kins"), default="npz")
    parser.add_argument("--split", choices=("train", "test"), default="train", help="folder of the movid_a layout")
    add_knobs(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: generate a set."""
    parser = _parser()
    options = parser.parse_args(arguments)
    config = chosen_config(parser, options)
    draw = partial(generate_drive if isinstance(config, DriveConfig) else generate_clip, config, options.frames)
    if options.layout == "movid_a":
        _fill_movid_a(draw, options.clips, options.seed, options.out, options.split, options.workers)
    else:
        layout = NPZ if options.layout == "npz" else KINS
        fill(layout, draw, options.clips, options.seed, options.out, options.workers)


if __name__ == "__main__":
    main()
