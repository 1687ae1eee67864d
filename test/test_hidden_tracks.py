"""Objects that vanish: completed from memory, ended for a reason, recognized when they come back under another id."""

import dataclasses
import math

import pytest

pytest.importorskip("onnx", reason="toy models are made with onnx, which comes with the training package")

from scenes import STEP_NS, Thing, rectangle, scene
from toy_bundles import stream_bundle

import c2f_ros.follower
from c2f_ros.contract import InputError
from c2f_ros.follower import Follower
from c2f_ros.geometry import count_common, union
from c2f_ros.parameters import make_parameters
from c2f_ros.pipeline import Pipeline
from c2f_ros.records import AmodalFrame, AmodalInstance, Status
from c2f_ros.steps.step6_engine import open_engine

STAND = (60, 40, 84, 64)
CUP = Thing("cup", (20, 30, 44, 54), look=3)
WALL = Thing("wall", (110, 20, 150, 80), "wall", look=2)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A model that believes an object to be wherever it was seen, moved along with it."""
    return stream_bundle(tmp_path_factory.mktemp("toy") / "m")


@pytest.fixture
def start(toy):
    lines = []

    def make(**values) -> Pipeline:
        given = make_parameters({name.replace("__", "."): value for name, value in values.items()})
        lines.append(Pipeline(toy, open_engine("onnxruntime", toy, 1, 2 * given.max_objects), given))
        return lines[-1]

    yield make
    for line in lines:
        line.close()


def step(line: Pipeline, index: int, *things: Thing, pan: int = 0) -> AmodalFrame:
    return line.infer(line.observe(scene(index * STEP_NS, *things, pan=pan)))


def cart(index: int) -> Thing:
    """50 x 60 units that run 3 columns a frame to the left, in front of what stands at `STAND`: a first part of it is
    covered in frame 6, all of it in frames 14 to 22, and in frame 30 it stands free again."""
    return Thing("cart", (100 - 3 * index, 20, 150 - 3 * index, 80), "cart", look=2)


def drive_by(line: Pipeline, frames: range, name: str = "man", *others: Thing) -> list[AmodalFrame]:
    return [step(line, k, Thing(name, STAND, "person"), *others, cart(k)) for k in frames]


def named(frame: AmodalFrame, track_id: str) -> AmodalInstance | None:
    found = [item for item in frame.instances if item.track_id == track_id]
    assert len(found) <= 1
    return found[0] if found else None


def overlap(item: AmodalInstance, box: tuple[int, int, int, int]) -> float:
    truth = rectangle(box)
    return count_common(item.amodal, truth) / union(item.amodal, truth).area


def test_an_object_behind_another_is_completed_where_it_is_while_nothing_of_it_is_seen(start):
    line = start()
    results = drive_by(line, range(22))
    for k in range(14, 22):
        item = named(results[k], "man")
        assert item is not None and item is results[k].instances[-1]
        assert (item.status, item.class_id, item.visible.is_empty) == (Status.INVISIBLE, "person", True)
        assert overlap(item, STAND) > 0.7
        assert item.occluded_by == ("cart",) and item.occlusion_ratio == 1.0 and item.frames_used == k + 1
    assert line.counts.hidden == 1


def test_the_crop_of_an_object_contains_what_was_predicted_of_it_in_the_frame_before(start):
    line = start()
    drive_by(line, range(12))
    predicted = named(step(line, 12, Thing("man", STAND, "person"), cart(12)), "man").amodal.box
    observed = line.observe(scene(13 * STEP_NS, Thing("man", STAND, "person"), cart(13)))
    crop = observed.windows[observed.tracked.track_ids.index("man")][-1].box
    assert crop.intersect(predicted) == predicted and predicted.width > 2 * 7  # more than the sliver that is seen


def test_its_score_falls_with_the_time_since_it_was_seen(start):
    results = drive_by(start(), range(20))
    scores = [named(r, "man").score for r in results[13:]]
    assert scores == pytest.approx([0.8 * math.exp(-0.05 * k) for k in range(7)])


def test_it_goes_on_as_the_same_track_when_upstream_sends_it_again(start):
    line = start()
    results = drive_by(line, range(32))
    item = named(results[-1], "man")
    assert item.status is Status.OK and item.frames_used == 32 and len(results[-1].instances) == 2
    assert line.counts.reassociated == 0 and line.counts.ended == {}


def test_it_goes_on_when_the_camera_pans(start):
    line = start()
    for k in range(8):
        step(line, k, Thing("cup", (40 + 2 * k, 30, 60 + 2 * k, 50)), pan=2 * k)
    for k in range(8, 16):
        result = step(line, k, Thing("", (40 + 2 * k, 30, 60 + 2 * k, 50)), pan=2 * k)
    assert overlap(named(result, "cup"), (70, 30, 90, 50)) > 0.6


def test_no_hidden_track_is_published_where_the_time_for_it_is_zero_yet_it_is_remembered(start):
    line = start(tracking__invisible_s=0.0)
    results = drive_by(line, range(30))
    assert all(named(r, "man") is None for r in results[14:23])
    assert named(results[-1], "man").frames_used == 30 - 9


def test_it_ends_when_its_time_is_over_and_its_memory_is_given_back(start):
    line = start(tracking__invisible_s=0.2, window__max_gap_s=0.2)
    results = drive_by(line, range(22))
    assert [named(r, "man") is not None for r in results[13:20]] == [True] * 5 + [False] * 2
    assert line.counts.ended == {"time": 1} and line.tracks == 1
    assert line.counts.state_bytes[0] == line.manifest.temporal.state_bytes


def test_it_ends_when_it_leaves_the_image(start):
    line = start()
    for k in range(12):
        step(line, k, Thing("car", (80 + 6 * k, 40, 104 + 6 * k, 60)))
    shown = [bool(step(line, k).instances) for k in range(14, 34)]
    assert not any(shown[10:])
    assert line.counts.ended == {"left": 1} and line.tracks == 0


def test_it_ends_in_the_second_frame_in_which_its_place_is_seen_to_be_empty(start):
    line = start(hidden_under="other_instances")
    for k in range(6):
        step(line, k, CUP)
    found = [named(step(line, k, WALL), "cup") for k in range(6, 10)]
    assert [item is not None for item in found] == [True, False, False, False]
    assert found[0].amodal.is_empty
    assert line.counts.ended == {"empty": 1}


def test_one_frame_in_which_the_occluder_was_missed_does_not_end_it(start):
    line = start(hidden_under="other_instances")
    drive_by(line, range(17))
    for k in range(17, 22):
        seen = cart(k) if k % 2 else dataclasses.replace(cart(k), name="")
        assert named(step(line, k, Thing("", STAND), seen), "man") is not None
    assert "empty" not in line.counts.ended


def test_where_occluders_need_not_be_segmented_an_empty_place_says_nothing(start):
    line = start(hidden_under="anything")
    for k in range(6):
        step(line, k, CUP)
    for k in range(6, 12):
        assert named(step(line, k, WALL), "cup") is not None


def test_an_end_is_void_for_a_track_that_was_seen_again_meanwhile(start):
    """Frame 7 ends the track in the worker, while frame 8, already observed, shows it again."""
    line = start(hidden_under="other_instances")
    for k in range(6):
        step(line, k, CUP)
    step(line, 6, WALL)
    seventh = line.observe(scene(7 * STEP_NS, WALL))
    eighth = line.observe(scene(8 * STEP_NS, CUP, WALL))
    assert named(line.infer(seventh), "cup") is None
    assert named(line.infer(eighth), "cup").frames_used == 9
    assert named(step(line, 9, CUP, WALL), "cup").frames_used == 10
    assert named(step(line, 10, WALL), "cup").status is Status.INVISIBLE
    assert line.counts.ended == {}


def test_a_track_that_is_over_is_not_published_from_a_frame_that_was_already_waiting(start):
    line = start(hidden_under="other_instances")
    for k in range(6):
        step(line, k, CUP)
    waiting = [line.observe(scene(k * STEP_NS, WALL)) for k in range(6, 10)]
    assert [len(frame.hidden) for frame in waiting] == [1] * 4
    assert [named(line.infer(frame), "cup") is not None for frame in waiting] == [True, False, False, False]


def test_an_object_that_was_never_inferred_is_not_made_up(start):
    line = start()
    line.observe(scene(0, CUP))
    assert line.infer(line.observe(scene(STEP_NS))).instances == ()
    line.observe(scene(2 * STEP_NS))
    assert line.counts.ended == {"unknown": 1}


def test_frames_that_were_not_inferred_still_move_the_memory_along(start):
    """The toy model adds up all that it remembers: memory that was not moved would lie along the whole way."""
    line = start()
    for k in range(24):
        observed = line.observe(scene(k * STEP_NS, Thing("cup", (10 + 4 * k, 40, 34 + 4 * k, 64))))
        if k % 6 == 0 or k == 23:
            result = line.infer(observed)
    item = named(result, "cup")
    assert item.frames_used == 5 and item.amodal.box.x0 > 3 * (102 - 12) and overlap(item, (102, 40, 126, 64)) > 0.5


def test_an_id_that_changed_behind_the_occluder_is_recognized(start):
    line = start()
    drive_by(line, range(18))
    results = drive_by(line, range(18, 34), "somebody")
    assert all(named(r, "man") is not None and named(r, "somebody") is None for r in results)
    assert named(results[-1], "man").status is Status.OK and named(results[-1], "man").frames_used == 34
    assert line.counts.reassociated == 1 and line.tracks == 2


def test_ids_are_upstream_s_where_reassociation_is_off(start):
    line = start(tracking__reassociate=False)
    drive_by(line, range(18))
    result = drive_by(line, range(18, 30), "somebody")[-1]
    assert named(result, "somebody").status is Status.OK and named(result, "man").status is Status.INVISIBLE
    assert line.counts.reassociated == 0


def test_another_class_is_another_object(start):
    line = start()
    drive_by(line, range(18))
    for k in range(18, 30):
        result = step(line, k, Thing("dog", STAND, "dog"), cart(k))
    assert named(result, "dog") is not None and line.counts.reassociated == 0


def test_a_newcomer_elsewhere_is_another_object(start):
    line = start()
    drive_by(line, range(18))
    result = step(line, 18, Thing("", STAND), Thing("new", (120, 4, 140, 18), "person"), cart(18))
    assert named(result, "new").frames_used == 1 and named(result, "man").status is Status.INVISIBLE


def test_an_own_track_is_recognized_by_its_prediction_not_by_where_it_was_seen_last(start):
    """It vanishes with its left edge last and comes out with its right edge first: the two do not overlap."""
    names = []
    for is_on in (False, True):
        line = start(tracking__ids="own", tracking__reassociate=is_on)
        names.append({i.track_id for result in drive_by(line, range(32)) for i in result.instances})
    assert len(names[0]) > 2 and names[1] == {"own_1", "own_2"}
    assert line.counts.reassociated > 0


def test_the_original_id_that_returns_alone_is_the_same_track_again(start):
    line = start()
    drive_by(line, range(18))
    drive_by(line, range(18, 30), "somebody")
    result = drive_by(line, range(30, 32), "man")[-1]
    assert named(result, "man").frames_used == 32 and len(result.instances) == 2


def test_the_original_id_beside_the_new_one_shows_that_they_are_two_objects(start):
    line = start()
    drive_by(line, range(18))
    drive_by(line, range(18, 30), "somebody")
    other = Thing("man", (10, 4, 30, 18), "person", look=3)
    for k in range(30, 33):
        result = drive_by(line, range(k, k + 1), "somebody", other)[0]
    assert [(i.track_id, i.frames_used) for i in result.instances] == [("somebody", 3), ("man", 3), ("cart", 33)]
    assert line.counts.ended == {"mistaken": 1}


def test_of_two_hidden_objects_each_is_recognized_as_itself(start):
    line = start()

    def both(k: int, upper: str, lower: str) -> AmodalFrame:
        things = Thing(upper, (60, 24, 84, 48), look=3), Thing(lower, (60, 52, 84, 76), look=4)
        return step(line, k, *things, cart(k))

    for k in range(18):
        both(k, "a", "b")
    for k in range(18, 32):
        result = both(k, "c", "d")
    rows = {item.track_id: item.visible.box.y0 // 3 for item in result.instances}
    assert rows == {"a": 24, "b": 52, "cart": 20}
    assert line.counts.reassociated == 2


def test_an_unseen_object_is_put_where_it_was_foreseen_and_flow_is_sought_once_a_frame(toy, monkeypatch):
    calls, seek = [], c2f_ros.follower.find_motions
    monkeypatch.setattr(c2f_ros.follower, "find_motions", lambda *given: calls.append(1) or seek(*given))
    follower = Follower(toy.manifest.crop, ["visible"], 2.0)
    for k in range(4):
        pair = scene(k * STEP_NS, Thing("cup" if k < 3 else "", (20 + 2 * k, 30, 44 + 2 * k, 54)), pan=k)
        pixels, seen = pair.frame.pixels, {i.upstream_id: i.visible for i in pair.instances.instances}
        foreseen = follower.foresee(pixels, "rgb8", k * STEP_NS, ["cup"] if k else [])
        follower.advance(pixels, "rgb8", pair.instances.labels, seen, k * STEP_NS)
    assert follower.place("cup") == foreseen["cup"]
    assert foreseen["cup"].center[0] == pytest.approx(3 * 38, abs=3)
    assert len(calls) == 3


def test_visible_objects_come_first_where_there_is_no_room_for_all(start):
    line = start(max_objects=2)
    things = [Thing(f"cup {k}", (4 + 38 * k, 60, 28 + 38 * k, 84)) for k in range(4)]
    for k in range(3):
        step(line, k, *things[:2])
    observed = line.observe(scene(3 * STEP_NS, things[2]))
    assert [w is not None for w in observed.windows] == [True] and len(observed.hidden) == 1
    observed = line.observe(scene(4 * STEP_NS, *things[2:]))
    assert observed.hidden == () and len(observed.alive) == 4


def test_the_hidden_tracks_that_are_followed_are_bounded(start):
    line = start(max_objects=3)
    for k in range(20):
        line.observe(scene(k * STEP_NS, Thing(f"cup {k}", (40, 60, 64, 84))))
    assert line.tracks == 4 and line.counts.ended == {"crowded": 16}


def test_after_a_gap_all_is_forgotten_and_said(start):
    line = start(window__max_gap_s=1.0)
    drive_by(line, range(12))
    result = step(line, 11 + 40, CUP, WALL)
    assert [i.frames_used for i in result.instances] == [1, 1]
    assert line.counts.memory_drops == 1 and line.counts.last_drop == "no frame came for 2.0 s"


def test_what_was_in_flight_at_a_reset_is_not_heard(start):
    """A frame from before the reset is inferred after it: what it writes and finds is of an epoch that is over."""
    line = start()
    for k in range(4):
        step(line, k, CUP)
    in_flight = line.observe(scene(4 * STEP_NS, CUP))
    line.reset()
    first = line.observe(scene(0, CUP))
    assert named(line.infer(in_flight), "cup").frames_used == 5
    second = line.observe(scene(STEP_NS, dataclasses.replace(CUP, name="mug")))
    assert second.tracked.track_ids == ("mug",)
    assert named(line.infer(first), "cup").frames_used == 1
    assert named(line.infer(second), "mug").frames_used == 1
    assert line.counts.memory_drops == 1


def test_an_image_of_another_size_begins_anew(start):
    line = start()
    for k in range(3):
        step(line, k, CUP)
    pair = scene(3 * STEP_NS, CUP)
    frame = dataclasses.replace(pair.frame, pixels=pair.frame.pixels[:280])
    instances = dataclasses.replace(pair.instances, labels=pair.instances.labels[:280])
    result = line.infer(line.observe(dataclasses.replace(pair, frame=frame, instances=instances)))
    assert named(result, "cup").frames_used == 1
    assert line.counts.memory_drops == 1 and "288x480 to 280x480" in line.counts.last_drop


def test_a_stale_frame_is_refused_and_changes_nothing(start):
    line = start()
    for k in range(3):
        step(line, k, CUP)
    with pytest.raises(InputError, match="comes after one of 100000000 ns"):
        line.observe(scene(2 * STEP_NS, WALL))
    assert line.tracks == 1 and named(step(line, 3, CUP), "cup").frames_used == 4


def test_diagnostics_tell_of_hidden_tracks_ends_and_memory(start):
    line = start(tracking__invisible_s=0.2, window__max_gap_s=0.2)
    drive_by(line, range(16))
    assert line.counts.values()["hidden_tracks"] == "1"
    drive_by(line, range(16, 22))
    values = line.counts.values()
    assert values["hidden_tracks"] == "0" and values["ended_time"] == "1" and values["memory_drops"] == "0"
    assert values["state_bytes"] == f"{64 * 64 * 4} of {64 * 64 * 64 * 4}"
