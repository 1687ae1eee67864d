"""A bag through the pipeline without ROS, with a fake engine: every frame is answered or counted."""

import numpy as np
import pytest
from frames import FakeEngine, bundle
from recordings import FRAMES, labels_of, recorded

from c2f_ros.bag import AMODAL_TYPE, RESULT_TOPIC, BagReader, BagWriter, find_topics
from c2f_ros.bag_making import BagOptions, write_bag
from c2f_ros.messages import typestore
from c2f_ros.parameters import default_parameters, make_parameters
from c2f_ros.pipeline import Pipeline
from c2f_ros.replay import FrameCounts, replay_offline
from c2f_ros.steps.step1_read import stamp_ns


def run(bag, result, engine=None, parameters=None):
    engine = engine or FakeEngine()
    with BagReader(bag) as reader:
        topics = find_topics(reader.topic_types)
    return replay_offline(bag, topics, Pipeline(bundle(), engine, parameters or default_parameters()), result)


def results_of(path):
    with BagReader(path) as reader:
        return list(reader.amodal_frames(RESULT_TOPIC))


def edited(bag, out, change):
    """A copy of the bag; `change(topic, index, message)` alters a message in place; False leaves it out."""
    seen: dict[str, int] = {}
    with BagReader(bag) as reader, BagWriter(out) as writer:
        kinds = reader.topic_types
        for topic, time_ns, message in reader.messages(tuple(kinds)):
            index = seen[topic] = seen.get(topic, -1) + 1
            if change(topic, index, message) is not False:
                writer.add(topic, kinds[topic], time_ns, message)
    return out


@pytest.fixture
def bag(tmp_path):
    write_bag(tmp_path / "bag", recorded(), BagOptions())
    return tmp_path / "bag"


def test_every_frame_is_answered_with_its_own_header(bag, tmp_path):
    engine = FakeEngine()
    done = run(bag, tmp_path / "result.mcap", engine)
    assert done.frames == FrameCounts(FRAMES, FRAMES, FRAMES, FRAMES, 0, 0, 0, 0, 0)
    assert (done.mode, done.model_id, done.engine, done.problems) == ("offline", "toy", "fake", ())
    assert engine.is_closed and engine.batches == [2, 2, 1]
    assert {"observe", "batch", "engine", "paste"} <= done.latency.keys()
    results = results_of(tmp_path / "result.mcap")
    assert [r.stamp_ns for r in results] == [1_000_000_000 + k * 100_000_000 for k in range(FRAMES)]
    for index, result in enumerate(results):
        assert (result.header.frame_id, result.model_id) == ("camera", "toy")
        for item in result.instances:
            seen = labels_of(index) == int(item.track_id)
            np.testing.assert_array_equal(item.visible.full(*seen.shape), seen)
            assert item.amodal.full(*seen.shape)[seen].all() and item.occlusion_ratio > 0


def test_two_replays_give_equal_bytes(bag, tmp_path):
    results = [tmp_path / name / "result.mcap" for name in ("a", "b")]
    for result in results:
        run(bag, result)
    assert results[0].read_bytes() == results[1].read_bytes()


@pytest.mark.parametrize("options", [BagOptions("humble"), BagOptions(image="png"), BagOptions(as_instances=True)])
def test_every_form_of_a_bag_gives_the_same_masks(bag, options, tmp_path):
    write_bag(tmp_path / "other", recorded(), options)
    run(bag, tmp_path / "a.mcap")
    run(tmp_path / "other", tmp_path / "b.mcap")
    for a, b in zip(results_of(tmp_path / "a.mcap"), results_of(tmp_path / "b.mcap"), strict=True):
        assert a.stamp_ns == b.stamp_ns
        for one, other in zip(a.instances, b.instances, strict=True):
            assert one.track_id == other.track_id and one.amodal.box == other.amodal.box
            np.testing.assert_array_equal(one.amodal.mask, other.amodal.mask)


def test_hidden_parts_stay_under_other_objects_if_asked(bag, tmp_path):
    run(bag, tmp_path / "r.mcap", parameters=make_parameters({"hidden_under": "other_instances"}))
    for index, result in enumerate(results_of(tmp_path / "r.mcap")):
        for item in result.instances:
            assert labels_of(index)[item.amodal.full(*labels_of(index).shape)].all()


def test_masks_without_an_image_are_counted_as_unpaired(bag, tmp_path):
    path = edited(bag, tmp_path / "cut", lambda topic, index, _: not (topic == "/camera/image" and index == 1))
    counts = run(path, tmp_path / "r.mcap").frames
    assert (counts.in_bag, counts.inferred, counts.unpaired) == (FRAMES, FRAMES - 1, 1)


def test_a_message_that_cannot_be_used_is_refused_and_the_rest_goes_on(bag, tmp_path):
    def spoil(topic, index, message):
        if topic == "/segmenter/masks" and index == 0:
            message.encoding = "64FC1"

    done = run(edited(bag, tmp_path / "bad", spoil), tmp_path / "r.mcap")
    assert (done.frames.inferred, done.frames.refused) == (FRAMES - 1, 1)
    assert len(done.problems) == 1 and "64FC1" in done.problems[0]


def test_frames_that_the_engine_fails_on_are_counted(bag, tmp_path):
    calls = iter([True, False, True])

    def answer(batch):
        if not next(calls):
            raise RuntimeError("out of memory")
        return FakeEngine().run(batch)

    done = run(bag, tmp_path / "r.mcap", FakeEngine(answer))
    assert (done.frames.inferred, done.frames.failed) == (FRAMES - 1, 1)
    assert "out of memory" in done.problems[0]


def test_counts_that_do_not_add_up_are_an_error():
    with pytest.raises(ValueError, match="3 frames are in the bag, but 2 are accounted for"):
        FrameCounts(3, 3, 3, 2, 0, 0, 0, 0, 0)


def test_anyone_can_read_the_results_with_rosbags_alone(bag, tmp_path):
    from rosbags.rosbag2 import Reader

    run(bag, tmp_path / "result.mcap")
    with Reader(tmp_path / "result.mcap") as reader:
        messages = [(c.topic, c.msgtype, t, data) for c, t, data in reader.messages()]
    assert len(messages) == FRAMES
    for topic, kind, time_ns, data in messages:
        assert (topic, kind) == ("/c2f/output/instances", AMODAL_TYPE)
        assert stamp_ns(typestore().deserialize_cdr(data, kind).header) == time_ns
