"""What is written into a bag comes back exactly: images, masks, ground truth, stamps."""

import numpy as np
import pytest
import yaml
from recordings import CLASSES, FRAMES, HEIGHT, WIDTH, amodal_masks, labels_of, recorded, rgb_of

from c2f_ros.bag import BagReader, ResultWriter, find_topics, read_input
from c2f_ros.bag_making import BagOptions, write_bag
from c2f_ros.contract import InputError
from c2f_ros.crops import to_rgb
from c2f_ros.records import Frame, Status

BIG = {"mono8": 200, "mono16": 40_000, "32SC1": 1_000_000_000}


def inputs(path):
    """Frames and instances of the bag, by stamp."""
    frames, masks = {}, {}
    with BagReader(path) as reader:
        topics = find_topics(reader.topic_types)
        for topic, time_ns, message in reader.messages((topics.image, topics.masks)):
            item = read_input(topics, topic, message, time_ns * 1e-9)
            assert item.stamp_ns == time_ns
            (frames if isinstance(item, Frame) else masks)[item.stamp_ns] = item
    return frames, masks


def restored(instances):
    """The label image [H, W] that the instances were made from."""
    out = np.zeros((instances.height, instances.width), np.int64)
    for item in instances.instances:
        out[item.visible.box.slices][item.visible.mask] = int(item.upstream_id)
    return out


@pytest.mark.parametrize("distro", ["jazzy", "humble"])
@pytest.mark.parametrize("image", ["raw", "png"])
@pytest.mark.parametrize("as_instances", [False, True])
def test_images_and_masks_come_back_exactly(distro, image, as_instances, tmp_path):
    summary = write_bag(tmp_path / "bag", recorded(), BagOptions(distro, image, as_instances))
    assert (summary.frames, summary.objects, summary.with_truth) == (FRAMES, 2, FRAMES)
    frames, masks = inputs(tmp_path / "bag")
    assert list(frames) == list(masks) == [1_000_000_000 + k * 100_000_000 for k in range(FRAMES)]
    for index, (frame, instances) in enumerate(zip(frames.values(), masks.values(), strict=True)):
        np.testing.assert_array_equal(to_rgb(frame.pixels, frame.encoding), rgb_of(index))
        np.testing.assert_array_equal(restored(instances), labels_of(index))


def test_a_jpeg_image_is_nearly_the_same(tmp_path):
    smooth = [f for f in recorded()]
    for frame in smooth:
        frame.rgb[:] = np.linspace(0, 255, WIDTH).astype(np.uint8)[None, :, None]
    write_bag(tmp_path / "bag", smooth, BagOptions(image="jpeg"))
    frames, _ = inputs(tmp_path / "bag")
    difference = to_rgb(frames[1_000_000_000].pixels, "bgr8").astype(int) - smooth[0].rgb
    assert np.abs(difference).max() < 16


@pytest.mark.parametrize("encoding", BIG)
def test_label_images_are_as_wide_as_their_ids(encoding, tmp_path):
    write_bag(tmp_path / "bag", recorded(ids={1: 1, 2: BIG[encoding]}), BagOptions())
    with BagReader(tmp_path / "bag") as reader:
        found = [message.encoding for _, _, message in reader.messages(("/segmenter/masks",))]
    assert found == [encoding] * FRAMES
    _, masks = inputs(tmp_path / "bag")
    expected = np.where(labels_of(1) == 2, BIG[encoding], labels_of(1))
    np.testing.assert_array_equal(restored(masks[1_100_000_000]), expected)


def test_instances_carry_their_classes(tmp_path):
    write_bag(tmp_path / "bag", recorded(), BagOptions(as_instances=True))
    _, masks = inputs(tmp_path / "bag")
    assert [item.class_id for item in masks[1_000_000_000].instances] == list(CLASSES.values())


@pytest.mark.parametrize("distro", ["jazzy", "humble"])
def test_ground_truth_comes_back_exactly_hidden_objects_too(distro, tmp_path):
    write_bag(tmp_path / "bag", recorded(), BagOptions(distro))
    with BagReader(tmp_path / "bag") as reader:
        truth = list(reader.amodal_frames("/ground_truth/instances"))
    assert len(truth) == FRAMES
    for index, frame in enumerate(truth):
        assert (frame.height, frame.width, frame.model_id) == (HEIGHT, WIDTH, "ground_truth")
        assert [item.track_id for item in frame.instances] == ["1", "2"]
        for item, (identity, mask) in zip(frame.instances, amodal_masks(index).items(), strict=True):
            visible = labels_of(index) == identity
            np.testing.assert_array_equal(item.amodal.full(HEIGHT, WIDTH), mask)
            np.testing.assert_array_equal(item.visible.full(HEIGHT, WIDTH), visible)
            assert item.occlusion_ratio == pytest.approx(1 - visible.sum() / mask.sum())
    front, back = truth[-1].instances
    assert (front.status, back.status) == (Status.OK, Status.INVISIBLE)
    assert (front.occluded_by, back.occluded_by) == ((), ("1",))
    assert (truth[-1].front_to_back, truth[-1].cycles) == (("1", "2"), ())


def test_a_source_without_whole_masks_gives_no_ground_truth(tmp_path):
    summary = write_bag(tmp_path / "bag", recorded(is_truth_known=False), BagOptions())
    assert summary.with_truth == 0
    with BagReader(tmp_path / "bag") as reader:
        assert find_topics(reader.topic_types).truth == ""


@pytest.mark.parametrize(("distro", "version"), [("jazzy", 9), ("humble", 8)])
def test_metadata_is_what_the_player_of_that_distribution_reads(distro, version, tmp_path):
    write_bag(tmp_path / "bag", recorded(), BagOptions(distro))
    about = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert (about["version"], about["storage_identifier"]) == (version, "mcap")
    assert about["duration"]["nanoseconds"] == (FRAMES - 1) * 100_000_000
    for topic in about["topics_with_message_count"]:
        profiles = topic["topic_metadata"]["offered_qos_profiles"]
        if version == 8:
            assert isinstance(profiles, str)
            profiles = yaml.safe_load(profiles)
        (profile,) = profiles
        reliable, keep_last = (1, 1) if version == 8 else ("reliable", "keep_last")
        assert (profile["reliability"], profile["history"], profile["depth"]) == (reliable, keep_last, 10)


def test_an_existing_folder_is_never_written_into(tmp_path):
    (tmp_path / "bag").mkdir()
    with pytest.raises(InputError, match="exists already"):
        write_bag(tmp_path / "bag", recorded(), BagOptions())


def test_results_are_one_file_that_reads_back(tmp_path):
    write_bag(tmp_path / "bag", recorded(), BagOptions())
    with BagReader(tmp_path / "bag") as reader, ResultWriter(tmp_path / "out" / "result.mcap") as writer:
        truth = list(reader.amodal_frames("/ground_truth/instances"))
        for frame in truth:
            writer.add(frame)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["result.mcap"]
    assert b"relative_file_paths:\n- result.mcap\n" in (tmp_path / "out" / "result.mcap").read_bytes()
    with BagReader(tmp_path / "out" / "result.mcap") as reader:
        results = list(reader.amodal_frames("/c2f/output/instances"))
    assert [r.stamp_ns for r in results] == [t.stamp_ns for t in truth]
    for result, true in zip(results, truth, strict=True):
        assert result.header.frame_id == true.header.frame_id == "camera"
        for a, b in zip(result.instances, true.instances, strict=True):
            assert (a.amodal.box, a.status, a.occluded_by) == (b.amodal.box, b.status, b.occluded_by)
            np.testing.assert_array_equal(a.amodal.mask, b.amodal.mask)


def test_a_failed_recording_leaves_no_result(tmp_path):
    with pytest.raises(RuntimeError), ResultWriter(tmp_path / "result.mcap"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"not an mcap file at all"])
def test_a_broken_bag_is_refused_by_name(content, tmp_path):
    (tmp_path / "bad.mcap").write_bytes(content)
    with pytest.raises(InputError, match=r"bad.mcap: this bag cannot be read"), BagReader(tmp_path / "bad.mcap"):
        pass


def test_a_missing_bag_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="nothing: there is no such bag"), BagReader(tmp_path / "nothing"):
        pass


IMAGE, ARRAY = "sensor_msgs/msg/Image", "c2f_ros/msg/InstanceArray"


def test_topics_of_other_names_are_found_by_type():
    topics = find_topics({"/left/image_raw": IMAGE, "/mask_rcnn": ARRAY, "/tf": "tf2_msgs/msg/TFMessage"})
    assert (topics.image, topics.masks, topics.truth) == ("/left/image_raw", "/mask_rcnn", "")


def test_named_topics_are_taken():
    topics = find_topics({"/a": IMAGE, "/b": IMAGE}, image="/b", masks="/a")
    assert (topics.image, topics.masks) == ("/b", "/a")


@pytest.mark.parametrize(
    ("types", "named", "reason"),
    [
        ({"/a": IMAGE}, {}, "has no masks topic; name it with --masks-topic: it has /a"),
        ({"/a": IMAGE, "/b": IMAGE, "/m": ARRAY}, {}, "more than one image topic"),
        ({"/a": IMAGE, "/m": ARRAY}, {"image": "/x"}, "topic /x is not in the bag"),
        ({"/a": IMAGE, "/m": "std_msgs/msg/String"}, {"masks": "/m"}, "topic /m is std_msgs/msg/String"),
    ],
)
def test_a_choice_of_topics_is_left_to_people(types, named, reason):
    with pytest.raises(InputError, match=reason):
        find_topics(types, **named)


def test_a_bag_from_before_messages_told_the_order_is_still_read(tmp_path):
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    from c2f_ros.share import share_file

    write_bag(tmp_path / "new", recorded(), BagOptions())
    store = get_typestore(Stores.ROS2_JAZZY)
    kind = "c2f_ros/msg/AmodalInstanceArray"
    for name in ("InstanceMask", "AmodalInstance", "AmodalInstanceArray"):
        text = share_file(f"msg/{name}.msg").read_text("utf-8").partition("# The track ids of all objects")[0]
        store.register(get_types_from_msg(text, f"c2f_ros/msg/{name}"))
    with BagReader(tmp_path / "new") as reader:
        (_, time_ns, new), *_ = list(reader.messages(("/ground_truth/instances",)))
        expected = next(reader.amodal_frames("/ground_truth/instances"))
    fields = ("header", "image_height", "image_width", "model_id", "instances")
    old = store.types[kind](**{name: getattr(new, name) for name in fields})
    with Writer(tmp_path / "old", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection("/ground_truth/instances", kind, typestore=store)
        writer.write(topic, time_ns, store.serialize_cdr(old, kind))
    with BagReader(tmp_path / "old") as reader:
        (found,) = reader.amodal_frames("/ground_truth/instances")
    assert (found.front_to_back, found.cycles) == ((), ()) and expected.front_to_back != ()
    assert [item.amodal.box for item in found.instances] == [item.amodal.box for item in expected.instances]
