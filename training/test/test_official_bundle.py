"""Published checkpoints become bundles, and the pipeline gives the masks that torch gives with them."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import published_checkpoint as published
import pytest
from cached_clips import largest_difference
from frames import header
from needs_torch import torch
from published_checkpoint import TINY, TINY_VIDEO, settings

from c2f_ros.bundle import load_bundle
from c2f_ros.crops import observe_object, paste_window, window_inputs
from c2f_ros.geometry import place, union
from c2f_ros.parameters import make_parameters
from c2f_ros.pipeline import open_pipeline
from c2f_ros.records import AmodalFrame, Frame, PairedFrame, TrackedFrame
from c2f_ros.steps.step1_read import instances_of_labels
from c2f_train.commands import import_official as command
from c2f_train.model.network import C2FNetwork
from c2f_train.official.official_config import PublishedSizes
from c2f_train.official.parity import load_checkpoint
from c2f_train.official.parity_image import with_steps

pytestmark = pytest.mark.usefixtures("one_thread")


def run_command(*arguments: object) -> None:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    command.run(parser.parse_args([str(argument) for argument in arguments]))


def paired(pixels: np.ndarray, labels: np.ndarray, stamp_ns: int) -> PairedFrame:
    return PairedFrame(Frame(stamp_ns, header(stamp_ns), pixels, "rgb8", 0.0), instances_of_labels(stamp_ns, labels))


def run_pipeline(folder: Path, frames: list[PairedFrame]) -> AmodalFrame:
    """The answer to the last frame."""
    values = {"model": str(folder), "engine": "onnxruntime", "engine_threads": 1, "hidden_under": "anything"}
    line = open_pipeline(make_parameters(values))
    observed = [line.observe(frame) for frame in frames]
    answer = line.infer(observed[-1])
    line.close()
    return answer


def expected_masks(network: C2FNetwork, folder: Path, frames: list[PairedFrame]) -> list[np.ndarray]:
    """The same in torch: every object's whole mask in the last frame; all objects are visible in all frames."""
    manifest, found = load_bundle(folder).manifest, []
    height, width = frames[-1].instances.labels.shape
    for index, instance in enumerate(frames[-1].instances.instances):
        window = [
            observe_object(
                f.frame.pixels, "rgb8", f.instances.labels, f.instances.instances[index].visible, manifest.crop,
                manifest.input.mask_channels, f.frame.stamp_ns,
            )
            for f in frames
        ]  # fmt: skip
        image, masks = window_inputs([window], manifest.crop, manifest.input, manifest.temporal)
        with torch.no_grad():
            amodal = network(torch.from_numpy(image), torch.from_numpy(masks))[0][0].numpy()
        mask = paste_window(amodal, window, manifest.crop, manifest.temporal, height, width, manifest.mask_threshold)
        found.append(union(mask, instance.visible).full(height, width))
    return found


def moving_pair(count: int) -> list[PairedFrame]:
    """Two objects that move to the right; of the first, the second hides a part."""
    rng, frames = np.random.default_rng(0), []
    for t in range(count):
        labels = np.zeros((60, 90), np.uint8)
        labels[12:40, 8 + 3 * t : 40 + 3 * t] = 1
        labels[25:55, 30 + 2 * t : 60 + 2 * t] = 2
        frames.append(paired(rng.integers(0, 255, (60, 90, 3)).astype(np.uint8), labels, t))
    return frames


def same_tracks(frames: list[PairedFrame]) -> bool:
    return all([i.upstream_id for i in f.instances.instances] == ["1", "2"] for f in frames)


@pytest.mark.parametrize("sizes", [TINY, TINY_VIDEO], ids=["image", "video"])
def test_an_imported_checkpoint_runs_in_the_pipeline_and_gives_torch_s_masks(tmp_path, capsys, sizes: PublishedSizes):
    network = published.random_network(sizes)
    vq, c2f = published.write(tmp_path, *published.contents(network))
    out = tmp_path / "models" / "c2f_tiny"
    config = settings(tmp_path, n_head=4, window_length=2)
    run_command("--vq", vq, "--c2f", c2f, "--config", config, "--out", out)
    assert "equal tokens" in capsys.readouterr().out
    manifest = load_bundle(out).manifest
    assert manifest.model_id == "c2f_tiny" and manifest.input.mask_channels == ("visible",)
    assert (manifest.temporal.mode, manifest.mask_threshold) == (("window", 0.25) if sizes.window else ("image", 0.5))
    frames = moving_pair(manifest.temporal.frames)
    assert same_tracks(frames)
    answer = run_pipeline(out, frames)
    expected = expected_masks(network, out, frames)
    for instance, mask in zip(answer.instances, expected, strict=True):
        assert np.array_equal(instance.amodal.full(*mask.shape), mask)


def unpack(bits: np.ndarray, *shape: int) -> np.ndarray:
    return np.unpackbits(bits)[: int(np.prod(shape))].reshape(shape).astype(bool)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_recorded_object_s_mask_comes_out_of_the_pipeline(shared_dir, tmp_path):
    folder, out = shared_dir / "fixtures" / "c2f_seg_parity", tmp_path / "c2f_kins"
    files = folder / "image"
    run_command(
        "--vq", files / "vqgan_KINS.pth.xz", "--c2f", files / "c2f_seg_KINS.pth.xz", "--config",
        files / "c2f_seg_KINS.yml", files / "vqgan_KINS.yml", "--out", out,
    )  # fmt: skip
    item = np.load(folder / "image_item0.npz")
    seen = unpack(item["vm_pred_bits"], *item["image"].shape[:2])
    answer = run_pipeline(out, [paired(item["image"], seen.astype(np.uint8), 0)])
    expected = (item["pred_fm_full"][0, 0] > 0.5) | seen
    assert np.array_equal(answer.instances[0].amodal.full(*seen.shape), expected)
    assert place(seen).area < expected.sum()


@pytest.fixture(scope="module")
def recorded_video(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[C2FNetwork, Path]:
    """The recorded video model in torch and imported as a bundle, both with K = 1."""
    files, out = shared_dir / "fixtures" / "c2f_seg_parity" / "video", tmp_path_factory.mktemp("video") / "c2f_movid_a"
    run_command(
        "--vq", files / "vqgan_MOViD_A.pth.xz", "--c2f", files / "c2f_seg_MOViD_A.pth.xz", "--config",
        files / "c2f_seg_MOViD_A.yml", "--steps", 1, "--out", out,
    )  # fmt: skip
    return with_steps(load_checkpoint(files), 1), out


@pytest.fixture(scope="module")
def recorded_clip(shared_dir: Path) -> list[PairedFrame]:
    """The 8 frames of the recorded clip, with its one object."""
    clip = np.load(shared_dir / "fixtures" / "c2f_seg_parity" / "video_clip.npz")
    return [paired(clip["frames"][t], (clip["seg"][t] == clip["value"]).astype(np.uint8), t) for t in range(8)]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_recorded_clip_runs_in_the_pipeline_as_in_torch(recorded_video, recorded_clip):
    network, folder = recorded_video
    answer = run_pipeline(folder, recorded_clip)
    (expected,) = expected_masks(network, folder, recorded_clip)
    assert expected.any() and np.array_equal(answer.instances[0].amodal.full(*expected.shape), expected)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_recorded_clip_s_cached_answers_are_those_of_torch(recorded_video, recorded_clip):
    network, folder = recorded_video
    frames = [TrackedFrame(frame, ("1",)) for frame in recorded_clip]
    assert largest_difference(network, load_bundle(folder), frames, left_out=range(6)) < 1e-3
