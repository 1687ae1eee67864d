"""Objects that move: the truth stays exact, they really move, and what they pass is hidden and comes back."""

import dataclasses

import numpy as np
import pytest

from c2f_train.synth.clip import Clip
from c2f_train.synth.generate import generate_clip
from c2f_train.synth.moment import Moments
from c2f_train.synth.movers import CAMERA_GAP, random_movers
from c2f_train.synth.raster import raster_objects
from c2f_train.synth.scene import Scene, random_scene
from c2f_train.synth.scene_config import SceneConfig
from c2f_train.synth.viewpoint import random_cameras

CONFIG = SceneConfig(
    height=72, width=96, objects_min=6, objects_max=9, movers_fraction=1.0, orbit_degrees_per_frame=(0.0, 2.0)
)
FRAMES = 24


def moving(seed: int, config: SceneConfig = CONFIG) -> tuple[Scene, list, list]:
    rng = np.random.default_rng(seed)
    scene = random_scene(config, rng)
    cameras = random_cameras(config, FRAMES, 0.4, rng)
    return scene, cameras, random_movers(scene, cameras, config, rng)


@pytest.fixture(scope="module")
def clip() -> Clip:
    return generate_clip(dataclasses.replace(CONFIG, still_fraction=1.0), FRAMES, 5)


def test_the_truth_of_moving_objects_is_consistent(clip):
    visible = clip.visible()
    assert not (visible & ~clip.amodal).any()
    np.testing.assert_array_equal(clip.labels > 0, clip.amodal.any(1))
    apart = ~np.eye(len(clip.categories), dtype=bool)
    both = np.einsum("tihw,tjhw->tij", clip.amodal.astype(int), clip.amodal.astype(int)) > 0
    nearer = np.einsum("tihw,tjhw->tij", visible.astype(int), clip.amodal.astype(int)) > 0
    np.testing.assert_array_equal((clip.hides | clip.hides.transpose(0, 2, 1))[:, apart], both[:, apart])
    assert (clip.hides[:, apart] >= nearer[:, apart]).all()


def test_movers_move_and_nothing_else_does_before_a_still_camera(clip):
    changed = (clip.amodal != clip.amodal[:1]).any((0, 2, 3))
    _, _, movers = moving(5, dataclasses.replace(CONFIG, still_fraction=1.0))
    assert 1 <= changed.sum() <= CONFIG.movers_max
    assert set(np.flatnonzero(changed)) <= {mover.index for mover in movers}


def test_no_movers_where_none_are_asked_for():
    for seed in range(5):
        scene, cameras, _ = moving(seed)
        config = dataclasses.replace(CONFIG, movers_fraction=0.0)
        assert random_movers(scene, cameras, config, np.random.default_rng(seed)) == []


def test_movers_keep_away_from_the_camera_and_number_as_asked():
    config = dataclasses.replace(CONFIG, movers_min=2, movers_max=2)
    counts = []
    for seed in range(12):
        scene, cameras, movers = moving(seed, config)
        counts.append(len(movers))
        eyes = np.array([camera.position[:2] for camera in cameras])
        for mover in movers:
            gap = np.linalg.norm(mover.spots - eyes, axis=1) - scene.poses[mover.index].radius
            assert gap.min() >= CAMERA_GAP
    assert set(counts) <= {1, 2} and np.mean(counts) > 1.7


def test_objects_are_hidden_completely_for_some_frames_and_come_back():
    """Among a few clips: some object is seen, then entirely hidden for 2 to 10 frames, then seen again."""
    spans = []
    for seed in range(8):
        made = generate_clip(CONFIG, FRAMES, seed)
        seen, full = made.visible().sum((2, 3)), made.amodal.sum((2, 3))
        for k in range(len(made.categories)):
            gone = (seen[:, k] == 0) & (full[:, k] > 10)
            if gone.any() and seen[: gone.argmax(), k].any() and seen[len(gone) - gone[::-1].argmax() :, k].any():
                spans.append(int(gone.sum()))
    assert sum(2 <= span <= 10 for span in spans) >= 3


def test_a_moved_object_is_the_same_rigid_shape():
    scene, _, movers = moving(3)
    moments = Moments(scene, movers)
    for frame in (0, 11, 23):
        surface, _ = moments.at(frame)
        for mover in movers:
            own = slice(*scene.corners[mover.index : mover.index + 2])
            before, after = scene.surface.vertices[own], surface.vertices[own]
            sides = [np.linalg.norm(np.diff(points, axis=0), axis=1) for points in (before, after)]
            np.testing.assert_allclose(sides[0], sides[1], atol=1e-5)
            np.testing.assert_allclose(before[:, 2], after[:, 2], atol=1e-5)
    still = np.setdiff1d(np.arange(len(scene.categories)), [mover.index for mover in movers])
    kept = np.isin(np.repeat(np.arange(len(scene.categories)), np.diff(scene.corners)), still)
    np.testing.assert_array_equal(surface.vertices[kept], scene.surface.vertices[kept])


def test_shadows_of_a_frame_are_those_of_its_vertices():
    """The maps that are brought up to date for movers equal maps drawn anew."""
    scene, cameras, movers = moving(3)
    moments = Moments(scene, movers)
    moved, shadows = moments.at(12)
    whole = moments._shadows
    triangles = scene.surface.triangles
    again = type(whole)(moved.vertices[:0], triangles[:0], moments._cover(), scene.light)
    expected = again.with_movers(moved.vertices, triangles)
    np.testing.assert_array_equal(shadows.to_map, expected.to_map)
    np.testing.assert_array_equal(shadows.depth, expected.depth)
    np.testing.assert_array_equal(shadows.contact, expected.contact)


def test_z_buffers_follow_the_movers():
    scene, cameras, movers = moving(4)
    moments, camera = Moments(scene, movers), cameras[0]
    first, last = (
        raster_objects(camera, moments.at(frame)[0].vertices, scene.surface.triangles, scene.starts).depth
        for frame in (0, FRAMES - 1)
    )
    changed = {int(k) for k in np.flatnonzero((first != last).any((1, 2)))}
    assert changed and changed <= {mover.index for mover in movers}
