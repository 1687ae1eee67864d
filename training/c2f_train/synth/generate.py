"""Generate clips: one from a seed, or a resumable set of files from many processes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from c2f_train.synth import movid_a
from c2f_train.synth.clip import Clip
from c2f_train.synth.raster import Camera, raster_objects, resolve
from c2f_train.synth.scene import Scene, SceneConfig, random_cameras, random_scene
from c2f_train.synth.shade import shade
from c2f_train.synth.shapes import FAMILY_SETS


def generate_clip(config: SceneConfig, frames: int, seed: int) -> Clip:
    """A clip of a random scene; the same config, frames and seed give the same clip."""
    if frames < 1:
        raise ValueError(f"frames is {frames}, expected at least 1")
    rng = np.random.default_rng(seed)
    scene = random_scene(config, rng)
    middle = 0.35 * float(scene.surface.vertices[:, 2].max())
    cameras = random_cameras(config, frames, middle, rng)
    return render_clip(scene, cameras, config.supersample, config.fps)


def render_clip(scene: Scene, cameras: Sequence[Camera], supersample: int, fps: float) -> Clip:
    """The clip that the cameras see, one frame each."""
    drawn = [_render_frame(scene, camera, supersample) for camera in cameras]
    rgb, labels, amodal, hides = (np.stack(arrays) for arrays in zip(*drawn, strict=True))
    stamps_ns = np.round(np.arange(len(cameras)) * (1e9 / fps)).astype(np.int64)
    return Clip(rgb, labels, amodal, hides, scene.categories, stamps_ns)


def _render_frame(scene: Scene, camera: Camera, supersample: int) -> tuple[NDArray, ...]:
    """rgb [H, W, 3], labels [H, W], amodal [N, H, W] and hides [N, N] of a frame."""
    surface = scene.surface
    masks = resolve(raster_objects(camera, surface.vertices, surface.triangles, scene.starts))
    face = masks.face
    if supersample > 1:
        camera = camera.enlarged(supersample)
        whole = np.array([0, len(surface.triangles)], np.int32)
        face = raster_objects(camera, surface.vertices, surface.triangles, whole).face[0]
    image = shade(camera, face, surface, scene.materials, scene.light, scene.surroundings, scene.shadows)
    return _develop(image, supersample), masks.labels, masks.amodal, masks.hides


def _develop(image: NDArray[np.float32], supersample: int) -> NDArray[np.uint8]:
    """Linear light [H, W, 3] as 8-bit screen values, averaged over supersample x supersample blocks."""
    screen = np.sqrt(np.clip(image, 0.0, 1.0)) * 255.0
    if supersample > 1:
        size = image.shape[1] // supersample, image.shape[0] // supersample
        screen = cv2.resize(screen, size, interpolation=cv2.INTER_AREA)
    return np.round(screen).astype(np.uint8)


def clip_seed(seed: int, index: int) -> int:
    """Seed of a clip of a set; sets of different seeds share no clip."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0])


def clip_path(out_dir: Path, index: int) -> Path:
    """Where a clip of a set is stored."""
    return out_dir / f"clip_{index:05d}.npz"


def generate_set(config: SceneConfig, clips: int, frames: int, seed: int, out_dir: str | Path, workers: int = 1) -> int:
    """Write clip_00000.npz ... into a folder, leaving those that exist as they are; returns how many were made."""
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    missing = [index for index in range(clips) if not clip_path(out_dir, index).exists()]
    _run(partial(_write_clip, config, frames, seed, out_dir), missing, workers)
    return len(missing)


def _write_clip(config: SceneConfig, frames: int, seed: int, out_dir: Path, index: int) -> None:
    generate_clip(config, frames, clip_seed(seed, index)).save(clip_path(out_dir, index))


def generate_movid_a(
    config: SceneConfig, clips: int, frames: int, seed: int, out_dir: str | Path, split: str, workers: int = 1
) -> int:
    """As generate_set, in the MOViD-A layout: <out_dir>/<split>/0, 1, ... and the two lists."""
    out_dir = Path(out_dir)
    (out_dir / split).mkdir(parents=True, exist_ok=True)
    missing = [index for index in range(clips) if not (out_dir / split / str(index)).exists()]
    _run(partial(_write_video, config, frames, seed, out_dir / split), missing, workers)
    movid_a.write_lists(out_dir, split, [str(index) for index in range(clips)])
    return len(missing)


def _write_video(config: SceneConfig, frames: int, seed: int, folder: Path, index: int) -> None:
    movid_a.write_video(generate_clip(config, frames, clip_seed(seed, index)), folder / str(index))


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
    default = SceneConfig()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--clips", type=int, required=True)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--families", choices=FAMILY_SETS, default=default.families)
    parser.add_argument("--objects", type=int, nargs=2, default=[default.objects_min, default.objects_max])
    parser.add_argument("--sparse-fraction", type=float, default=default.sparse_fraction)
    parser.add_argument("--orbit-degrees", type=float, default=default.orbit_degrees_per_frame, help="per frame")
    elevation = [default.elevation_min_degrees, default.elevation_max_degrees]
    parser.add_argument("--elevation", type=float, nargs=2, default=elevation, help="of the camera, degrees")
    parser.add_argument("--size", type=int, nargs=2, default=[default.height, default.width], help="height width")
    parser.add_argument("--layout", choices=("npz", "movid_a"), default="npz")
    parser.add_argument("--split", choices=("train", "test"), default="train", help="folder of the movid_a layout")
    parser.add_argument("--supersample", type=int, choices=(1, 2), default=default.supersample)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: generate a set."""
    options = _parser().parse_args(arguments)
    config = SceneConfig(
        height=options.size[0],
        width=options.size[1],
        families=options.families,
        objects_min=options.objects[0],
        objects_max=options.objects[1],
        sparse_fraction=options.sparse_fraction,
        elevation_min_degrees=options.elevation[0],
        elevation_max_degrees=options.elevation[1],
        orbit_degrees_per_frame=options.orbit_degrees,
        supersample=options.supersample,
    )
    if options.layout == "npz":
        generate_set(config, options.clips, options.frames, options.seed, options.out, options.workers)
    else:
        generate_movid_a(
            config, options.clips, options.frames, options.seed, options.out, options.split, options.workers
        )


if __name__ == "__main__":
    main()
