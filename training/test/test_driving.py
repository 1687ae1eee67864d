"""Driving sequences: geometry of the drive, truth of the masks, the KINS folder, sets of them."""

import dataclasses
import json

import numpy as np
import pytest

from c2f_ros.sources.files import FIRST_STAMP_NS
from c2f_ros.sources.kins import kins_json, read_kins
from c2f_train.synth import generate, kins
from c2f_train.synth.clip import Clip, occlusion_rate
from c2f_train.synth.driving import DriveConfig, generate_drive, random_drive_street, render_drive, thinned
from c2f_train.synth.driving_materials import person_coat, vehicle_coat
from c2f_train.synth.driving_people import cyclist, pedestrian, random_person
from c2f_train.synth.driving_road import STRAIGHT, Drive, Road, drive_camera
from c2f_train.synth.driving_shapes import CARS, car, truck, van
from c2f_train.synth.driving_traffic import CATEGORIES, Actor
from c2f_train.synth.driving_view import Street, actor_mesh, make_street
from c2f_train.synth.generate import clip_seed, generate_drive_set
from c2f_train.synth.mesh import Mesh, box

CONFIG = DriveConfig(height=47, width=156, supersample=1, rate_hz=2.0)
SEED = 3
ROAD = Road(STRAIGHT, 1, 1, 3.0, (0.0, 0.0), (2.0, 2.0), (1.0, 1.0), 8.0, float("nan"), float("nan"))
BEND = dataclasses.replace(ROAD, curvature=1 / 150)


def drive(speed: float) -> Drive:
    return Drive(speed, lane=-1.5, sway=0.0, sway_period=8.0, pitch=0.0, bob=0.0, bob_period=1.0)


def block(s: float, d: float, velocity: tuple[float, float] = (0.0, 0.0), size: float = 1.0) -> Actor:
    return Actor("car", (s, d), velocity, 0.0, 0.0, box(size, size, size), vehicle_coat(np.random.default_rng(0)))


def walker(s: float, d: float, speed: float) -> Actor:
    rng = np.random.default_rng(5)
    return Actor("pedestrian", (s, d), (speed, 0.0), 0.0, 0.3, random_person(rng), person_coat(rng))


def street(actors: list[Actor], things: list[Mesh] = (), speed: float = 0.0, road: Road = ROAD) -> Street:
    return make_street(road, drive(speed), list(actors), list(things), np.random.default_rng(1))


def same(first: Clip, second: Clip) -> bool:
    return all(np.array_equal(getattr(first, f.name), getattr(second, f.name)) for f in dataclasses.fields(Clip))


def edges(mask: np.ndarray) -> tuple[int, int, int, int]:
    """First and end column, first and end row."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return columns[0], columns[-1] + 1, rows[0], rows[-1] + 1


@pytest.fixture(scope="module")
def clip() -> Clip:
    return generate_drive(CONFIG, 3, SEED)


def test_same_seed_same_clip_and_other_seed_another(clip):
    assert same(generate_drive(CONFIG, 3, SEED), clip)
    assert not same(generate_drive(CONFIG, 3, SEED + 1), clip)


def test_record_holds_only_road_users_that_are_seen(clip):
    assert len(clip.categories) >= 3 and set(clip.categories) <= set(CATEGORIES)
    visible = clip.visible()
    assert visible.any((0, 2, 3)).all() and not (visible & ~clip.amodal).any()
    np.testing.assert_array_equal(clip.stamps_ns, [0, 500_000_000, 1_000_000_000])
    assert 40 < clip.rgb.mean() < 230 and clip.rgb.std() > 15


def test_hides_agrees_with_the_masks(clip):
    for frame, visible in enumerate(clip.visible()):
        amodal = clip.amodal[frame].astype(int)
        both = np.einsum("ihw,jhw->ij", amodal, amodal) > 0
        nearer = np.einsum("ihw,jhw->ij", visible.astype(int), amodal) > 0
        apart = ~np.eye(len(both), dtype=bool)
        ordered = clip.hides[frame] | clip.hides[frame].T
        np.testing.assert_array_equal(ordered[apart], both[apart])
        assert (clip.hides[frame][apart] >= nearer[apart]).all() and not clip.hides[frame].diagonal().any()


def test_supersampling_changes_colours_but_no_mask(clip):
    fine = generate_drive(dataclasses.replace(CONFIG, supersample=2), 3, SEED)
    for name in ("labels", "amodal", "hides", "categories"):
        np.testing.assert_array_equal(getattr(fine, name), getattr(clip, name))
    assert 0 < np.abs(fine.rgb.astype(int) - clip.rgb).mean() < 14


def test_what_is_no_object_cuts_the_visible_mask():
    pole = box(0.1, 0.1, 4.0).moved(6.0, -1.4, 0.0)
    free = render_drive(street([block(9.0, -1.5)]), CONFIG, 1)
    cut = render_drive(street([block(9.0, -1.5)], [pole]), CONFIG, 1)
    np.testing.assert_array_equal(free.visible(), free.amodal)
    np.testing.assert_array_equal(cut.amodal, free.amodal)
    hidden = cut.amodal[0, 0] & ~cut.visible()[0, 0]
    assert 0 < hidden.sum() < 0.5 * cut.amodal.sum()
    assert (cut.labels[0][hidden] == 0).all() and not cut.hides.any()
    camera = drive_camera(ROAD, drive(0.0), 0.0, 47, 156)
    columns = np.flatnonzero(hidden.any(0))
    middle = camera.principal[0] + camera.focal * -0.1 / 5.95
    assert columns[0] - 1 <= middle <= columns[-1] + 2


def test_parked_block_moves_as_the_camera_geometry_says():
    speed, config = 6.0, dataclasses.replace(CONFIG, height=188, width=621, rate_hz=4.0)
    made = render_drive(street([block(16.0, -2.0)], speed=speed), config, 5)
    focal, centre_x, centre_y = 721.5 / 2, 609.6 / 2, 172.9 * 188 / 375
    for frame in range(5):
        near = 15.5 - speed * frame / 4.0
        # The block reaches from 0 to 1 m to the right of the camera, and from the ground to 1 m, 1.65 m below it.
        # One looks down on it: its upper edge is that of the far side.
        rows = centre_y + focal * 0.65 / (near + 1), centre_y + focal * 1.65 / near
        expected = centre_x, centre_x + focal / near, *rows
        found = np.array(edges(made.amodal[frame, 0]), float)
        assert found == pytest.approx(np.array(expected), abs=1.1), frame


@pytest.mark.parametrize("handed", [1, -1])
def test_tracks_keep_their_index_through_a_bend(handed):
    road = dataclasses.replace(BEND, handed=handed)
    actors = [block(14.0, -1.5, (2.0, 0.0)), block(20.0, 1.5, (-4.0, 0.0)), block(17.0, 4.0), walker(12.0, -4.0, 1.4)]
    config = dataclasses.replace(CONFIG, height=188, width=621)
    scene = street(actors, speed=3.0, road=road)
    made = render_drive(scene, config, 3)
    assert made.categories == tuple(actor.category for actor in actors)
    for frame in range(3):
        camera = drive_camera(road, scene.drive, frame / config.rate_hz, 188, 621)
        for index, actor in enumerate(actors):
            points = camera.see(actor_mesh(road, actor, frame / config.rate_hz)[0].vertices)
            pixels = camera.focal * points[:, :2] / points[:, 2:] + np.array(camera.principal)
            (left, top), (right, bottom) = pixels.min(0), pixels.max(0)
            whole = left > 0 and right < 621 and bottom < 188
            assert whole or frame > 0
            if whole:
                assert edges(made.amodal[frame, index]) == pytest.approx((left, right, top, bottom), abs=1.1)


def test_road_coordinates_are_metres_on_the_ground():
    for road in (ROAD, BEND, dataclasses.replace(BEND, handed=-1)):
        here, ahead = road.place(20.0, 0.0), road.place(20.01, 0.0)
        aside = road.place(20.0, 2.0) - here
        assert np.linalg.norm(ahead - here) == pytest.approx(0.01, rel=1e-3)
        assert np.linalg.norm(aside) == pytest.approx(2.0) and aside @ (ahead - here) == pytest.approx(0, abs=1e-4)
        assert road.heading(20.0) == pytest.approx(np.arctan2(*(ahead - here)[::-1]), abs=1e-3)
    assert BEND.place(20.0, 2.0)[1] > BEND.place(20.0, 0.0)[1] > 0


def test_overtaking_car_enters_and_parked_car_leaves():
    actors = [block(12.0, -3.5), block(-8.0, 1.5, (9.0, 0.0)), block(18.0, -1.5, (4.0, 0.0))]
    made = render_drive(street(actors, speed=4.0), CONFIG, 8)
    inside = made.amodal.any((2, 3))
    np.testing.assert_array_equal(inside[[0, -1]], [[True, False, True], [False, True, True]])
    assert (np.diff(inside.astype(int), axis=0)[:, 1] >= 0).all(), "what has entered stays"


def test_road_users_enter_and_leave_generated_sequences():
    config = dataclasses.replace(CONFIG, speed_max=3.0, cyclists=20.0)
    changes = []
    for seed in range(4):
        inside = generate_drive(config, 8, seed).amodal.any((2, 3))
        changes.append([(~inside[0] & inside[-1]).any(), (inside[0] & ~inside[-1]).any()])
    assert np.any(changes, axis=0).all()


def test_walking_pedestrian_changes_shape_and_stays_on_the_ground():
    made = render_drive(
        street([walker(5.0, -2.2, 1.4)], speed=1.4), dataclasses.replace(CONFIG, height=188, width=621), 3
    )
    masks = made.amodal[:, 0]
    for frame in (1, 2):
        # The camera keeps pace with the walker: only the limbs move.
        assert 0.03 < (masks[0] ^ masks[frame]).sum() / masks[0].sum() < 0.6
    person = random_person(np.random.default_rng(2))
    for phase in np.linspace(0, 6, 7):
        for mesh in (pedestrian(person, phase, 1.0), cyclist(person, phase)):
            assert mesh.vertices[:, 2].min() == pytest.approx(0, abs=1e-5)
            assert mesh.vertices[:, 2].max() == pytest.approx(1.75, abs=0.35)


@pytest.mark.parametrize("style", [*CARS, "van", "truck"])
def test_vehicles_have_their_size_and_stand_on_their_wheels(style):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        mesh = van(rng) if style == "van" else truck(rng) if style == "truck" else car(rng, style)
        length, width, height = np.ptp(mesh.vertices, axis=0)
        longest, tallest = {"truck": (9.2, 3.6), "van": (6.1, 2.6)}.get(style, (5.0, 1.9))
        assert 3.6 < length < longest and 1.6 < width < 3.1 and 1.3 < height < tallest
        assert mesh.vertices[:, 2].min() == pytest.approx(0, abs=1e-4)
        assert np.abs(mesh.vertices[:, 1].max() + mesh.vertices[:, 1].min()) < 1e-3


def test_hidden_and_tiny_road_users_are_left_out():
    wall = box(0.3, 8.0, 2.5).moved(10.0, -1.5)
    seen, behind, tiny = block(8.0, -1.5), block(14.0, -1.0), block(9.0, 0.5, size=0.1)
    kept = thinned(street([tiny, seen, behind], [wall]), CONFIG, 1)
    assert kept.actors == (seen,)
    assert len(kept.paints.kinds) == 2 and render_drive(kept, CONFIG, 1).categories == ("car",)


def test_road_users_never_meet():
    rng = np.random.default_rng(11)
    for scene in [random_drive_street(CONFIG, 3, rng) for _ in range(3)]:
        assert len(scene.actors) > 5
        for time in (0.0, 0.5, 1.0):
            spots = [(np.array(a.place(time)), np.array(a.half_size)) for a in scene.actors]
            for index, (spot, size) in enumerate(spots):
                for other, reach in spots[:index]:
                    assert (np.abs(spot - other) > size + reach).any()


def test_share_of_occluded_objects_is_that_of_a_street():
    rates = [occlusion_rate(generate_drive(CONFIG, 2, seed)) for seed in range(8)]
    rates = np.concatenate([rate[np.isfinite(rate)] for rate in rates])
    assert len(rates) > 60 and 0.3 < (rates > 0.05).mean() < 0.7
    assert rates[rates > 0.05].mean() < 0.6 and (rates > 0.9).mean() < 0.1


def test_kins_folder_reads_back_equal(clip, tmp_path):
    pytest.importorskip("pycocotools")
    kins.write_sequence(clip, tmp_path / "0000")
    assert [path.name for path in tmp_path.iterdir()] == ["0000"]
    frames = list(read_kins(kins_json(tmp_path / "0000"), 10.0))
    assert len(frames) == 3
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.rgb, clip.rgb[index])
        np.testing.assert_array_equal(frame.labels, clip.labels[index])
        assert frame.stamp_ns - FIRST_STAMP_NS == clip.stamps_ns[index]
        inside = np.flatnonzero(clip.amodal[index].any((1, 2)))
        assert list(frame.objects) == [k + 1 for k in inside]
        for k in inside:
            assert frame.objects[k + 1].class_id == clip.categories[k]
            amodal = np.zeros_like(clip.amodal[index, k])
            placed = frame.objects[k + 1].amodal
            amodal[placed.box.y0 : placed.box.y1, placed.box.x0 : placed.box.x1] = placed.mask
            np.testing.assert_array_equal(amodal, clip.amodal[index, k])


def test_kins_annotations_have_boxes_ids_and_order(clip, tmp_path):
    kins.write_sequence(clip, tmp_path / "0000")
    content = json.loads((tmp_path / "0000" / "kins.json").read_text())
    names = {item["id"]: item["name"] for item in content["categories"]}
    assert {names[k] for k in (1, 2, 4, 6, 7)} == set(CATEGORIES)
    assert len({item["id"] for item in content["annotations"]}) == len(content["annotations"])
    for item in content["annotations"]:
        whole = clip.amodal[item["image_id"], item["track_id"]]
        left, right, top, bottom = edges(whole)
        assert item["a_bbox"] == [left, top, right - left, bottom - top]
        assert sum(item["a_segm"]["counts"]) == 47 * 156 == sum(item["i_segm"]["counts"])
        assert sum(item["a_segm"]["counts"][1::2]) == item["area"] == whole.sum()
        hides = clip.hides[item["image_id"]]
        assert (item["oco_id"] > 0) == (item["ico_id"] > 0) == bool((hides | hides.T)[item["track_id"]].any())


def test_run_lengths_count_down_the_columns():
    mask = np.array([[0, 1, 1], [0, 0, 1]], bool)
    assert kins.run_lengths(mask) == {"size": [2, 3], "counts": [2, 1, 1, 2]}
    assert kins.run_lengths(np.ones((2, 2), bool))["counts"] == [0, 4]
    assert kins.run_lengths(np.zeros((2, 2), bool))["counts"] == [4]
    assert kins.bounds(mask) == [1.0, 0.0, 2.0, 2.0] and kins.bounds(np.zeros((2, 2), bool)) == [0.0] * 4


def test_occlusion_order_follows_chains_and_survives_rings():
    hides = np.zeros((7, 7), bool)
    hides[2, 0] = hides[0, 1] = hides[2, 1] = True
    hides[4, 5] = hides[5, 4] = True
    cluster, order = kins.occlusion_order(hides)
    np.testing.assert_array_equal(cluster, [1, 1, 1, 0, 2, 2, 0])
    np.testing.assert_array_equal(order, [2, 3, 1, 0, 1, 1, 0])


def test_set_resumes_and_leaves_existing_files_alone(tmp_path):
    (tmp_path / "clip_00000.npz").write_bytes(b"kept")
    assert generate_drive_set(CONFIG, 2, 1, 5, tmp_path) == 1
    assert (tmp_path / "clip_00000.npz").read_bytes() == b"kept"
    assert same(Clip.load(tmp_path / "clip_00001.npz"), generate_drive(CONFIG, 1, clip_seed(5, 1)))
    assert generate_drive_set(CONFIG, 2, 1, 5, tmp_path) == 0


def test_command_line_writes_kins_sequences(tmp_path):
    options = "--scene driving --layout kins --clips 2 --frames 2 --workers 1 --size 47 156 --rate-hz 5 --speed 3 4"
    generate.main([*options.split(), "--out", str(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0000", "0001"]
    content = json.loads((tmp_path / "0001" / "kins.json").read_text())
    assert [image["stamp"] for image in content["images"]] == [0.0, 0.2]
    assert content["images"][0]["width"] == 156


def test_command_line_writes_clutter_as_kins_and_driving_as_movid_a(tmp_path):
    generate.main(
        ["--layout", "kins", *"--clips 1 --frames 1 --workers 1 --size 40 56 --out".split(), str(tmp_path / "a")]
    )
    names = json.loads((tmp_path / "a" / "0000" / "kins.json").read_text())["categories"]
    assert len(names) > 7 and len({item["id"] for item in names}) == len(names)
    options = "--scene driving --layout movid_a --clips 1 --frames 1 --workers 1 --size 47 156 --split test"
    generate.main([*options.split(), "--out", str(tmp_path / "b")])
    assert (tmp_path / "b" / "test" / "0" / "metadata.json").exists()


@pytest.mark.parametrize("options", ["--scene driving --objects 3 4", "--rate-hz 5"])
def test_command_line_refuses_options_of_the_other_scene(options, tmp_path, capsys):
    with pytest.raises(SystemExit):
        generate.main([*options.split(), "--clips", "1", "--out", str(tmp_path / "none")])
    assert "is not for --scene" in capsys.readouterr().err and not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speed_min": 9.0, "speed_max": 4.0}, "speed: found 9.0 to 4.0"),
        ({"supersample": 3}, "supersample is 3"),
        ({"parked": 1.5}, "parked is 1.5"),
        ({"rate_hz": 0.0}, "rate_hz is 0.0"),
    ],
)
def test_config_refuses_what_cannot_be_drawn(change, message):
    with pytest.raises(ValueError, match=message):
        DriveConfig(**change)
    with pytest.raises(ValueError, match="frames is 0"):
        generate_drive(CONFIG, 0, 1)
