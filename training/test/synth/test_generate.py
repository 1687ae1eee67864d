"""Clips: what must hold of the truth in them, their files, and sets of them."""

import argparse
import dataclasses
import json

import cv2
import numpy as np
import pytest

from c2f_train.synth import generate, movid_a
from c2f_train.synth.clip import Clip, occlusion_rate
from c2f_train.synth.generate import clip_seed, generate_clip, generate_movid_a, generate_set
from c2f_train.synth.options import CLUTTER, add_knobs, chosen_config
from c2f_train.synth.scene import random_scene
from c2f_train.synth.scene_config import SceneConfig
from c2f_train.synth.shapes import HELD_OUT_FAMILIES
from c2f_train.synth.viewpoint import random_cameras

CONFIG = SceneConfig(height=72, width=96, objects_min=6, objects_max=9)


@pytest.fixture(scope="module")
def clip() -> Clip:
    return generate_clip(CONFIG, 4, 7)


def same(first: Clip, second: Clip) -> bool:
    fields = (field.name for field in dataclasses.fields(Clip))
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in fields)


def test_amodal_contains_visible(clip):
    visible = clip.visible()
    assert visible.any() and not (visible & ~clip.amodal).any()
    np.testing.assert_array_equal(clip.labels > 0, clip.amodal.any(1))


def test_hides_agrees_with_the_masks(clip):
    visible = clip.visible()
    both = np.einsum("tihw,tjhw->tij", clip.amodal.astype(int), clip.amodal.astype(int)) > 0
    nearer = np.einsum("tihw,tjhw->tij", visible.astype(int), clip.amodal.astype(int)) > 0
    apart = ~np.eye(len(clip.categories), dtype=bool)
    assert not (clip.hides & ~both).any() and not clip.hides[:, ~apart].any()
    assert (clip.hides[:, apart] >= nearer[:, apart]).all()
    ordered = clip.hides | clip.hides.transpose(0, 2, 1)
    np.testing.assert_array_equal(ordered[:, apart], both[:, apart])
    hidden = (clip.amodal & ~visible).any((2, 3))
    assert hidden.any() and not (hidden & ~clip.hides.any(1)).any()


def test_same_seed_same_clip_and_other_seed_another(clip):
    assert same(generate_clip(CONFIG, 4, 7), clip)
    assert not same(generate_clip(CONFIG, 4, 8), clip)


def test_supersampling_changes_colours_but_no_mask(clip):
    fine = generate_clip(dataclasses.replace(CONFIG, supersample=2), 4, 7)
    for name in ("labels", "amodal", "hides", "categories"):
        np.testing.assert_array_equal(getattr(fine, name), getattr(clip, name))
    difference = np.abs(fine.rgb.astype(int) - clip.rgb)
    assert fine.rgb.shape == clip.rgb.shape and 0 < difference.mean() < 12


def test_picture_is_neither_dark_nor_flat(clip):
    assert 40 < clip.rgb.mean() < 230 and clip.rgb.std() > 15


def test_stamps_follow_the_frame_rate():
    stamps = generate_clip(dataclasses.replace(CONFIG, fps=10.0), 3, 1).stamps_ns
    np.testing.assert_array_equal(stamps, [0, 100_000_000, 200_000_000])


@pytest.mark.parametrize("families", ["train", "held_out"])
def test_held_out_families_appear_only_where_asked(families):
    config = dataclasses.replace(CONFIG, families=families)
    drawn = {name for seed in range(20) for name in random_scene(config, np.random.default_rng(seed)).categories}
    if families == "train":
        assert not drawn & set(HELD_OUT_FAMILIES) and len(drawn) > 20
    else:
        assert drawn == set(HELD_OUT_FAMILIES)


def test_objects_stand_on_the_ground_and_number_as_asked():
    config = SceneConfig(objects_min=5, objects_max=5, sparse_fraction=0.0)
    scene = random_scene(config, np.random.default_rng(3))
    assert len(scene.categories) == 5
    for start, end in zip(scene.starts[:-1], scene.starts[1:], strict=True):
        height = scene.surface.vertices[scene.surface.triangles[start:end]][..., 2].min()
        assert height == pytest.approx(0.0, abs=1e-5)
    config = SceneConfig(sparse_fraction=1.0, sparse_min=3, sparse_max=3)
    assert len(random_scene(config, np.random.default_rng(3)).categories) == 3


def test_camera_circles_at_the_configured_elevation_and_step():
    config = SceneConfig(elevation_min_degrees=9, elevation_max_degrees=9, orbit_degrees_per_frame=15.0)
    turns = set()
    for seed in range(8):
        cameras = random_cameras(config, 24, 0.5, np.random.default_rng(seed))
        away = np.array([camera.position for camera in cameras]) - np.array([0, 0, 0.5])
        np.testing.assert_allclose(np.degrees(np.arcsin(away[:, 2] / np.linalg.norm(away, axis=1))), 9, atol=1e-9)
        angle = np.degrees(np.unwrap(np.arctan2(away[:, 1], away[:, 0])))
        steps = np.diff(angle)
        np.testing.assert_allclose(np.abs(steps), 15)
        turns.add(round(steps[0]))
    assert turns == {-15, 15}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objects_min": 9, "objects_max": 4}, "objects: found 9 to 4"),
        ({"supersample": 3}, "supersample is 3"),
        ({"families": "validation"}, "expected one of train"),
        ({"elevation_min_degrees": -2.0}, "elevation degrees"),
        ({"sparse_fraction": 1.5}, "sparse_fraction"),
        ({"height": 0}, "height and width"),
        ({"fps": 0.0}, "fps"),
    ],
)
def test_config_refuses_what_cannot_be_drawn(change, message):
    with pytest.raises(ValueError, match=message):
        SceneConfig(**change)


def test_clip_refuses_arrays_that_do_not_fit_together(clip):
    with pytest.raises(ValueError, match=r"amodal is bool .* expected bool \[4, "):
        dataclasses.replace(clip, amodal=clip.amodal[:, 1:])
    with pytest.raises(ValueError, match="labels is int64"):
        dataclasses.replace(clip, labels=clip.labels.astype(np.int64))
    with pytest.raises(ValueError, match="frames is 0"):
        generate_clip(CONFIG, 0, 1)


def test_occlusion_rate_is_the_hidden_share():
    labels = np.array([[[1, 1, 2, 2, 0]]], np.uint16)
    amodal = np.array([[[[1, 1, 1, 1, 0]], [[0, 0, 1, 1, 0]], [[0, 0, 0, 0, 0]]]], bool)
    hides = np.zeros((1, 3, 3), bool)
    hides[0, 1, 0] = True
    made = Clip(np.zeros((1, 1, 5, 3), np.uint8), labels, amodal, hides, ("mug", "mug", "car"), np.zeros(1, np.int64))
    np.testing.assert_array_equal(occlusion_rate(made), np.array([[0.5, 0.0, np.nan]], np.float32))


def test_saved_clip_loads_exactly(clip, tmp_path):
    clip.save(tmp_path / "clip.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.npz"]
    assert same(Clip.load(tmp_path / "clip.npz"), clip)
    loaded = Clip.load(tmp_path / "clip.npz")
    assert loaded.rgb.flags.c_contiguous and loaded.labels.dtype == np.uint16


def test_set_resumes_and_leaves_existing_files_alone(tmp_path):
    assert generate_set(CONFIG, 2, 1, 5, tmp_path) == 2
    (tmp_path / "clip_00000.npz").write_bytes(b"kept")
    assert generate_set(CONFIG, 3, 1, 5, tmp_path) == 1
    assert (tmp_path / "clip_00000.npz").read_bytes() == b"kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"clip_0000{k}.npz" for k in range(3)]
    assert same(Clip.load(tmp_path / "clip_00002.npz"), generate_clip(CONFIG, 1, clip_seed(5, 2)))


def test_set_is_the_same_from_two_processes(tmp_path):
    generate_set(CONFIG, 2, 1, 6, tmp_path, workers=2)
    for index in range(2):
        assert same(Clip.load(tmp_path / f"clip_0000{index}.npz"), generate_clip(CONFIG, 1, clip_seed(6, index)))


def test_seeds_of_sets_do_not_meet():
    assert len({clip_seed(seed, index) for seed in range(20) for index in range(50)}) == 1000


def test_movid_a_folder_holds_the_clip(clip, tmp_path):
    movid_a.write_video(clip, tmp_path / "train" / "0")
    read = movid_a.read_video(tmp_path / "train" / "0")
    assert same(dataclasses.replace(read, hides=clip.hides), clip)
    metadata = json.loads((tmp_path / "train" / "0" / "metadata.json").read_text())
    assert metadata["metadata"]["num_frames"] == 4 and metadata["metadata"]["width"] == 96
    for index, instance in enumerate(metadata["instances"]):
        assert instance["category"] == clip.categories[index]
        for frame, bounds in zip(instance["bbox_frames"], instance["bboxes"], strict=True):
            top, left, bottom, right = (round(v * s) for v, s in zip(bounds, (72, 96, 72, 96), strict=True))
            visible = clip.labels[frame] == index + 1
            assert visible[top:bottom, left:right].sum() == visible.sum() > 0
            assert visible[top].any() and visible[bottom - 1].any()
            assert visible[:, left].any() and visible[:, right - 1].any()


def test_movid_a_set_has_the_files_of_the_layout(tmp_path):
    assert generate_movid_a(CONFIG, 2, 2, 5, tmp_path, "test") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test", "test_frame_list.txt", "test_instance.txt"]
    first = Clip.load(_npz(tmp_path))
    names = {path.name for path in (tmp_path / "test" / "0").iterdir()}
    expected = {"metadata.json"}
    for frame in range(2):
        expected |= {f"rgba_full_{frame:05d}.png", f"segmentation_full_{frame:05d}.png"}
        expected |= {f"segmentation_{index}_{frame:05d}.png" for index in range(len(first.categories))}
    assert names == expected
    rgba = cv2.imread(str(tmp_path / "test" / "0" / "rgba_full_00001.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(rgba[..., 2::-1], first.rgb[1])
    assert (rgba[..., 3] == 255).all()
    seen = [index for index in range(len(first.categories)) if (first.labels == index + 1).any()]
    lines = (tmp_path / "test_instance.txt").read_text().split()
    assert [line for line in lines if line.startswith("0_")] == [f"0_{index}_{index + 1}" for index in seen]
    listed = (tmp_path / "test_frame_list.txt").read_text().split()
    assert listed[:2] == [f"0_{seen[0]}_0", f"0_{seen[0]}_1"] and len(listed) == 2 * len(lines)
    assert generate_movid_a(CONFIG, 2, 2, 5, tmp_path, "test") == 0


def _npz(folder):
    """The first clip of the set with seed 5 as a file beside the layout's root."""
    path = folder.parent / f"{folder.name}_first.npz"
    generate_clip(CONFIG, 2, clip_seed(5, 0)).save(path)
    return path


def test_command_line_writes_a_set(tmp_path):
    options = "--clips 1 --frames 1 --workers 1 --families held_out --orbit-degrees 1 5 --elevation 10 20 --size 40 56"
    generate.main([*options.split(), "--out", str(tmp_path)])
    made = Clip.load(tmp_path / "clip_00000.npz")
    assert made.rgb.shape == (1, 40, 56, 3) and set(made.categories) <= set(HELD_OUT_FAMILIES)


def test_every_number_of_the_clutter_s_motion_and_population_has_an_option():
    named = {field for knob in CLUTTER for field in knob.fields}
    fields = {field.name for field in dataclasses.fields(SceneConfig)}
    wanted = {
        name for name in fields if name.endswith(("_fraction", "_share", "_degrees")) or name.startswith("movers")
    }
    assert named <= fields and wanted - {"tumbled_fraction", "field_of_view_degrees"} <= named


def test_options_reach_the_config_as_single_values_and_ranges():
    parser = argparse.ArgumentParser()
    parser.add_argument("--scene", default="clutter")
    add_knobs(parser)
    line = (
        "--orbit-degrees 1 5 --movers 2 3 --movers-fraction 0.5 --living-fraction 1 --pan-degrees 0.1 0.2 --size 40 56"
    )
    config = chosen_config(parser, parser.parse_args(line.split()))
    expected = SceneConfig(
        height=40,
        width=56,
        orbit_degrees_per_frame=(1.0, 5.0),
        movers_min=2,
        movers_max=3,
        movers_fraction=0.5,
        living_fraction=1.0,
        pan_degrees=(0.1, 0.2),
    )
    assert config == expected
    with pytest.raises(SystemExit):
        chosen_config(parser, parser.parse_args(["--scene", "driving", "--orbit-degrees", "3"]))


def test_clips_of_one_and_two_frames_can_have_movers():
    config = dataclasses.replace(CONFIG, movers_fraction=1.0, living_fraction=1.0)
    assert [len(generate_clip(config, frames, 2).rgb) for frames in (1, 2)] == [1, 2]
