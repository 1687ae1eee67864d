"""How the camera of a clip moves."""

import dataclasses

import numpy as np
import pytest

from c2f_train.synth.raster import look_at
from c2f_train.synth.scene_config import SceneConfig
from c2f_train.synth.viewpoint import PAN_REACH_DEGREES, random_cameras, turned

CONFIG = SceneConfig(orbit_degrees_per_frame=(1.0, 5.0))


def angles(cameras):
    away = np.array([camera.position for camera in cameras])
    return np.degrees(np.unwrap(np.arctan2(away[:, 1], away[:, 0])))


def test_orbit_is_drawn_from_the_range_once_per_clip():
    drawn = []
    for seed in range(40):
        steps = np.diff(angles(random_cameras(CONFIG, 5, 0.5, np.random.default_rng(seed))))
        np.testing.assert_allclose(steps, steps[0])
        drawn.append(steps[0])
    assert 1 <= np.abs(drawn).min() < 2 and 4 < np.abs(drawn).max() <= 5
    assert min(drawn) < 0 < max(drawn)


def test_shares_of_zero_draw_nothing():
    config = SceneConfig(orbit_degrees_per_frame=3.0)
    rng = np.random.default_rng(4)
    random_cameras(config, 9, 0.5, rng)
    expected = np.random.default_rng(4)
    expected.uniform(size=3)
    expected.choice([-1, 1])
    assert rng.random() == expected.random()


def test_still_camera_does_not_move():
    config = dataclasses.replace(
        CONFIG, still_fraction=1.0, pan_fraction=1.0, shake_fraction=1.0, approach_fraction=1.0
    )
    cameras = random_cameras(config, 6, 0.5, np.random.default_rng(0))
    for camera in cameras[1:]:
        np.testing.assert_array_equal(camera.position, cameras[0].position)
        np.testing.assert_array_equal(camera.rotation, cameras[0].rotation)


def test_pan_shifts_the_middle_of_the_image_at_most_as_fast_and_as_far_as_asked():
    config = SceneConfig(orbit_degrees_per_frame=0.0, pan_fraction=1.0, pan_degrees=(0.5, 2.0))
    fastest = []
    for seed in range(20):
        cameras = random_cameras(config, 60, 0.5, np.random.default_rng(seed))
        level = np.array([camera.rotation[2, :2] / np.linalg.norm(camera.rotation[2, :2]) for camera in cameras])
        yaw = np.degrees(np.unwrap(np.arctan2(level[:, 1], level[:, 0])))
        towards = -cameras[0].position[:2]
        middle = np.degrees(np.arctan2(towards[1], towards[0]))
        assert np.abs((yaw - middle + 180) % 360 - 180).max() < PAN_REACH_DEGREES * 1.2
        fastest.append(np.abs(np.diff(yaw)).max())
        for camera in cameras:
            np.testing.assert_array_equal(camera.position, cameras[0].position)
    assert 0.2 < min(fastest) < max(fastest) < 2.4


def test_shake_has_the_asked_strength_and_no_drift():
    config = SceneConfig(orbit_degrees_per_frame=0.0, shake_fraction=1.0, shake_degrees=(0.3, 0.3))
    cameras = random_cameras(config, 2000, 0.5, np.random.default_rng(1))
    still = random_cameras(SceneConfig(orbit_degrees_per_frame=0.0), 1, 0.5, np.random.default_rng(1))[0]
    forward = np.array([camera.rotation[2] for camera in cameras]) @ still.rotation.T
    np.testing.assert_allclose(np.degrees(forward[:, :2]).std(0), 0.3, rtol=0.1)
    np.testing.assert_allclose(np.degrees(forward[:, :2]).mean(0), 0, atol=0.05)


def test_approach_changes_the_distance_slowly_and_keeps_it_in_bounds():
    config = SceneConfig(orbit_degrees_per_frame=2.0, approach_fraction=1.0, approach_share=(0.01, 0.01))
    cameras = random_cameras(config, 80, 0.0, np.random.default_rng(2))
    distance = np.array([np.linalg.norm(camera.position) for camera in cameras])
    middle = (distance.max() + distance.min()) / 2
    assert 0 < np.abs(np.diff(distance)).max() <= 0.011 * middle
    assert distance.max() / distance.min() < 1.22 / 0.78 + 0.01


def test_turned_camera_sees_a_point_move_the_other_way():
    camera = look_at(np.array([0.0, -5.0, 1.0]), np.array([0.0, 0.0, 1.0]), 100.0, 64, 64)
    ahead = np.array([[0.0, 0.0, 1.0]])
    right, low = turned(camera, 2.0, 0, 0).see(ahead)[0], turned(camera, 0, 2.0, 0).see(ahead)[0]
    assert right[0] < -0.1 and abs(right[1]) < 1e-9
    assert low[1] < -0.1 and abs(low[0]) < 1e-9
    side = np.array([[1.0, 0.0, 1.0]])
    assert turned(camera, 0, 0, 2.0).see(side)[0, 1] < -0.01


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"orbit_degrees_per_frame": (5.0, 1.0)}, "orbit_degrees_per_frame: found 5.0 to 1.0"),
        ({"orbit_degrees_per_frame": (1.0, 2.0, 3.0)}, "expected 1 or 2 numbers"),
        ({"pan_fraction": 1.5}, "pan_fraction"),
        ({"pan_degrees": (0.0, 1.0)}, "pan_degrees"),
    ],
)
def test_config_refuses_motion_that_cannot_be_drawn(change, message):
    with pytest.raises(ValueError, match=message):
        SceneConfig(**change)
