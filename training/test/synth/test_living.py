"""Animals and people: jointed figures, their groups, and scenes of them."""

import dataclasses

import numpy as np
import pytest

from c2f_train.synth.animals import BUILDS, animal
from c2f_train.synth.clip import Clip
from c2f_train.synth.coats import animal_coat, person_coat
from c2f_train.synth.generate import generate_clip
from c2f_train.synth.living import SEATS, random_groups
from c2f_train.synth.mesh import normalized
from c2f_train.synth.moment import Moments
from c2f_train.synth.movers import random_movers
from c2f_train.synth.people import SEAT_HEIGHT, person
from c2f_train.synth.raster import look_at, raster_objects
from c2f_train.synth.scene import random_scene
from c2f_train.synth.scene_config import SceneConfig
from c2f_train.synth.shapes import (
    HELD_OUT_FAMILIES,
    HELD_OUT_LIVING,
    HELD_OUT_THIN,
    THIN_FAMILIES,
    family_names,
    living_names,
    thin_names,
)
from c2f_train.synth.skeleton import Moment
from c2f_train.synth.viewpoint import random_cameras, view_of

CONFIG = SceneConfig(
    height=72,
    width=96,
    objects_min=6,
    objects_max=9,
    living_fraction=1.0,
    movers_fraction=1.0,
    orbit_degrees_per_frame=(0.0, 2.0),
)
FIGURES = [*BUILDS, "standing", "seated", "kneeling"]


def figure(kind: str, seed: int = 0):
    rng = np.random.default_rng(seed)
    return animal(kind, rng) if kind in BUILDS else person(rng, kind)


@pytest.fixture(scope="module")
def clip() -> Clip:
    return generate_clip(CONFIG, 12, 3)


@pytest.mark.parametrize("kind", FIGURES)
def test_a_figure_stands_on_the_ground_and_its_pieces_keep_their_shape(kind):
    made = figure(kind)
    faces = made.mesh.triangles
    whole = (made.bones[faces] == made.bones[faces][:, :1]).all(1)
    assert whole.all(), "a triangle belongs to one bone"
    rest = np.linalg.norm(np.diff(made.mesh.vertices[faces], axis=1), axis=2)
    for phase in (0.0, 1.0, 3.0, 5.0):
        vertices, normals = made.posed(Moment(phase, 1.0, phase))
        assert vertices[:, 2].min() == pytest.approx(0.0, abs=1e-6)
        np.testing.assert_allclose(np.linalg.norm(np.diff(vertices[faces], axis=1), axis=2), rest, atol=1e-5)
        # At the tips of ellipsoids triangles have no area and no normal.
        solid = rest.prod(1) > 1e-9
        long = np.linalg.norm(normals[solid], axis=2)
        assert (np.isclose(long, 1.0, atol=1e-4) | (long == 0)).all() and (long > 0).mean() > 0.95


@pytest.mark.parametrize("kind", ["horse_walking", "standing"])
def test_limbs_swing_with_the_phase_and_come_back_after_a_cycle(kind):
    made = figure(kind)
    start, middle, end = (made.posed(Moment(phase, 1.0))[0] for phase in (0.0, np.pi, 2 * np.pi))
    np.testing.assert_allclose(start, end, atol=1e-5)
    assert np.abs(start - middle).max() > 0.15


def test_standing_figures_keep_their_feet_still_while_they_idle():
    made = figure("standing")
    first, later = (made.posed(Moment(0.0, 0.0, sway))[0] for sway in (0.0, 2.0))
    feet = first[:, 2] < 0.1
    np.testing.assert_allclose(first[feet], later[feet], atol=1e-5)
    assert np.abs(first - later).max() > 0.01


def test_a_knee_is_where_a_rotation_by_hand_puts_it():
    made = figure("seated")
    angles = made.gait(Moment())
    thighs = sorted(set(np.flatnonzero(np.abs(angles[:, 1]) > 79)))
    assert len(thighs) >= 2
    vertices, _ = made.posed(Moment())
    shins = [
        k
        for k, parent in enumerate(made.parents)
        if parent in thighs and np.abs(made.mesh.vertices[made.bones == k][:, 2]).min() < 0.06
    ]
    assert shins and all(vertices[made.bones == k][:, 0].max() > 0.2 for k in shins)


def test_held_out_figures_and_things_appear_only_where_asked():
    for names, held_out in ((living_names, HELD_OUT_LIVING), (thin_names, HELD_OUT_THIN)):
        assert set(names("held_out")) == set(held_out)
        assert not set(names("train")) & set(held_out)
        assert set(names("all")) == set(names("train")) | set(held_out)
    drawn = {families: set() for families in ("train", "held_out")}
    for families, found in drawn.items():
        config = dataclasses.replace(CONFIG, families=families)
        for seed in range(25):
            rng = np.random.default_rng(seed)
            found |= {one.category for group in random_groups(config, False, rng) for one in group}
    withheld = {*HELD_OUT_FAMILIES, *HELD_OUT_LIVING, *HELD_OUT_THIN}
    assert drawn["held_out"] <= withheld and drawn["held_out"] >= {*HELD_OUT_LIVING, *HELD_OUT_THIN}
    assert not drawn["train"] & withheld
    assert drawn["train"] >= set(living_names("train")) and len(drawn["train"]) > 25


def test_people_sit_on_their_seats():
    seats = 0
    for seed in range(12):
        for group in random_groups(CONFIG, True, np.random.default_rng(seed)):
            names = [one.category for one in group]
            if "person_on_seat" not in names:
                continue
            sitter = group[names.index("person_on_seat")]
            seat = next(one for one in group if one.category in SEATS and np.hypot(one.x, one.y) < 0.1)
            mesh, _, _ = seat.placed(0.0, 0.0)
            height = SEAT_HEIGHT * sitter.scale
            corners = mesh.vertices[mesh.triangles]
            level = np.ptp(corners[..., 2], axis=1) < 1e-4
            assert np.abs(corners[level][..., 2] - height).min() < 0.03
            seats += 1
    assert seats >= 3


def test_a_herd_has_young_of_the_same_kind_close_by():
    found = 0
    for seed in range(30):
        for group in random_groups(CONFIG, False, np.random.default_rng(seed)):
            tall = [float(one.mesh.vertices[:, 2].max()) for one in group]
            if len(group) > 1 and group[0].category in BUILDS and len({one.category for one in group}) == 1:
                apart = max(np.hypot(one.x - group[0].x, one.y - group[0].y) for one in group)
                assert apart < 3.0
                found += min(tall) < 0.75 * max(tall)
    assert found >= 5


def test_the_truth_of_living_scenes_is_consistent(clip):
    visible = clip.visible()
    assert visible.any() and not (visible & ~clip.amodal).any()
    np.testing.assert_array_equal(clip.labels > 0, clip.amodal.any(1))
    assert set(clip.categories) & set(living_names("train"))


def test_walkers_move_their_limbs_and_sitters_keep_their_place():
    walked = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        scene = random_scene(CONFIG, rng)
        view, middle = view_of(scene, CONFIG)
        movers = random_movers(scene, random_cameras(view, 12, middle, rng), CONFIG, rng)
        moments = Moments(scene, movers)
        first, last = moments.at(0)[0].vertices, moments.at(11)[0].vertices
        for mover in movers:
            made, own = scene.figure(mover.index), slice(*scene.corners[mover.index : mover.index + 2])
            if made is not None and not made.walks:
                assert np.ptp(mover.spots, axis=0).max() == 0
            if made is not None and np.ptp(mover.spots, axis=0).max() > 0.3:
                shift = np.linalg.norm(last[own] - first[own], axis=1)
                assert first[own][:, 2].min() == pytest.approx(0, abs=1e-5)
                walked += float(np.ptp(shift)) > 0.01
    assert walked >= 2


def test_a_living_scene_is_the_same_as_its_first_moment_where_nothing_moves():
    scene = random_scene(CONFIG, np.random.default_rng(1))
    surface, _ = Moments(scene, []).at(0)
    np.testing.assert_array_equal(surface.vertices, scene.surface.vertices)
    for index, made in enumerate(scene.figures):
        if made is not None:
            own = slice(*scene.corners[index : index + 2])
            pose = scene.poses[index]
            expected = made.posed(scene.moments[index])[0] @ pose.matrix.T + pose.offset
            np.testing.assert_allclose(scene.surface.vertices[own], expected, atol=1e-4)


@pytest.mark.parametrize("category", THIN_FAMILIES)
def test_much_is_seen_through_and_beside_thin_things(category):
    for seed in range(3):
        mesh = normalized(THIN_FAMILIES[category](np.random.default_rng(seed)))
        shares = []
        for x, y in ((2.5, 0.0), (1.8, 1.8), (0.0, 2.5)):
            camera = look_at(np.array([x, y, 0.6]), np.array([0.0, 0.0, 0.45]), 150.0, 128, 128)
            starts = np.array([0, len(mesh.triangles)], np.int32)
            mask = np.isfinite(raster_objects(camera, mesh.vertices, mesh.triangles, starts).depth[0])
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            assert mask.sum() > 20
            shares.append(mask.sum() / max(np.ptp(rows) + 1, 25) / max(np.ptp(columns) + 1, 25))
        assert min(shares) < 0.6


def test_coats_are_colours():
    rng = np.random.default_rng(0)
    coats = [animal_coat(kind, 1.0, rng) for kind in BUILDS for _ in range(5)] + [person_coat(rng) for _ in range(20)]
    for coat in coats:
        assert coat.colours.shape == (6, 3) and 0 <= coat.colours.min() and coat.colours.max() <= 1.0


def test_a_near_camera_keeps_out_of_the_objects():
    for seed in range(15):
        rng = np.random.default_rng(seed)
        scene = random_scene(CONFIG, rng)
        view, middle = view_of(scene, CONFIG)
        for camera in random_cameras(view, 3, middle, rng):
            gaps = [np.linalg.norm(camera.position[:2] - pose.offset[:2]) - pose.radius for pose in scene.poses]
            assert min(gaps) > 0.1


def test_old_configs_draw_the_scenes_they_always_drew():
    """Nothing is drawn for what is left at nought: seeds name the same clips as before there were such knobs."""
    scene = random_scene(SceneConfig(), np.random.default_rng(1))
    assert scene.categories == OLD_CATEGORIES
    cameras = random_cameras(SceneConfig(), 2, 0.5, np.random.default_rng(1))
    np.testing.assert_allclose(cameras[1].position, OLD_POSITION, atol=1e-6)
    assert scene.figures == () and family_names("train")[0] == "bottle"
    assert random_movers(scene, cameras, SceneConfig(), np.random.default_rng(1)) == []


OLD_CATEGORIES = (
    "umbrella",
    "mug",
    "watering_can",
    "boat",
    "guitar",
    "chair",
    "shelf",
    "ring",
    "tree",
    "table",
    "rocket",
    "table",
    "tree",
    "duck",
    "bear",
    "vase",
    "mug",
    "ring",
)
OLD_POSITION = [2.3673001, 5.5493758, 1.4708858]
