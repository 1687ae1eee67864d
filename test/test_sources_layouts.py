"""The published layouts give the frames that were written into them, mask by mask."""

import json
import pickle

import numpy as np
import pytest
from dataset_files import (
    cocoa_regions,
    result,
    uncompressed,
    write_cocoa_coco,
    write_cocoa_original,
    write_fishbowl,
    write_json,
    write_kins_set,
    write_movid_set,
)
from recordings import CLASSES, FRAMES, HEIGHT, WIDTH, amodal_masks, labels_of, polygon, rgb_of, rle, write_png

from c2f_ros.contract import InputError
from c2f_ros.geometry import place
from c2f_ros.sources.datasets import open_dataset
from c2f_ros.sources.parts import raise_refused


def frames_of(path, **options):
    """Frames by sequence; nothing may be refused."""
    return {name: list(frames) for name, frames in open_dataset(path, on_refused=raise_refused, **options)}


def assert_frame(frame, index, classes=CLASSES, seen_only=False):
    """The frame is that of the recording."""
    np.testing.assert_array_equal(frame.rgb, rgb_of(index))
    np.testing.assert_array_equal(frame.labels, labels_of(index))
    assert frame.labels.dtype == np.int32
    masks = {k: m for k, m in amodal_masks(index).items() if not seen_only or (labels_of(index) == k).any()}
    assert {k: item.class_id for k, item in frame.objects.items()} == {k: classes[k] for k in masks}
    for identity, mask in masks.items():
        np.testing.assert_array_equal(frame.objects[identity].amodal.full(HEIGHT, WIDTH), mask)


@pytest.mark.parametrize("whole", [polygon, rle, uncompressed])
@pytest.mark.parametrize("seen", [rle, uncompressed])
def test_kins_photographs_are_sequences_of_one_frame(whole, seen, tmp_path):
    write_kins_set(tmp_path, whole=whole, seen=seen)
    found = frames_of(tmp_path)
    assert list(found) == ["train/000000", "train/000001", "train/000002"]
    for index, (frame,) in enumerate(found.values()):
        assert_frame(frame, index)


def test_the_first_release_of_kins_has_other_names(tmp_path):
    write_kins_set(tmp_path, "val", first_release=True)
    for split in ("", "val", "test"):
        found = frames_of(tmp_path, split=split)
        assert list(found) == ["val/000000", "val/000001", "val/000002"]
        for index, (frame,) in enumerate(found.values()):
            assert_frame(frame, index)


@pytest.mark.parametrize("folder", [".", "annotations", "testing", "testing/image_2"])
def test_a_kins_split_reads_its_own_images_wherever_its_file_lies(folder, tmp_path):
    file = write_kins_set(tmp_path, "test")
    for index in range(FRAMES):
        write_png(tmp_path / "training" / "image_2" / f"{index:06d}.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    (tmp_path / folder).mkdir(exist_ok=True)
    file = file.rename(tmp_path / folder / file.name)
    for source in (tmp_path, file):
        found = frames_of(source)
        assert list(found) == ["test/000000", "test/000001", "test/000002"]
        for index, (frame,) in enumerate(found.values()):
            assert_frame(frame, index)


def test_a_kins_file_of_no_split_does_not_choose_between_two_images(tmp_path):
    write_kins_set(tmp_path, "train").rename(tmp_path / "all.json")
    write_kins_set(tmp_path, "test").unlink()
    refused = []
    dataset = open_dataset(tmp_path, on_refused=refused.append)
    assert [list(frames) for _, frames in dataset] == [[], [], []]
    assert "000000.png is both" in str(refused[0])


def test_the_splits_of_kins_are_read_alone_or_together(tmp_path):
    write_kins_set(tmp_path, "train")
    write_kins_set(tmp_path, "test")
    assert set(frames_of(tmp_path, split="test")) == {f"test/{k:06d}" for k in range(FRAMES)}
    assert open_dataset(tmp_path).describe() == "kins: 6 sequences, 6 frames"
    with pytest.raises(InputError, match="no annotation file of the split 'odd'; found .*update_t"):
        open_dataset(tmp_path, split="odd")
    write_kins_set(tmp_path, "train", first_release=True)
    with pytest.raises(InputError, match="instances_train.json and .*update_train_2020.json are of one split"):
        open_dataset(tmp_path)


def test_a_kins_file_with_tracks_is_one_sequence(tmp_path):
    file = write_kins_set(tmp_path / "drive")
    content = json.loads(file.read_text())
    for item in content["annotations"]:
        item["track_id"] = item["category_id"] - 1
    write_json(file, content)
    assert list(frames_of(file)) == ["update_train_2020"]
    (frames,) = frames_of(tmp_path / "drive").values()
    assert list(frames_of(tmp_path)) == list(frames_of(tmp_path / "drive")) == ["drive"]
    for index, frame in enumerate(frames):
        assert_frame(frame, index)


def test_cocoa_in_coco_style(tmp_path):
    file = write_cocoa_coco(tmp_path)
    for source in (tmp_path, file):
        found = frames_of(source)
        assert list(found) == ["val/COCO_val2014_000000000007", "val/COCO_val2014_000000000008"]
        for index, (frame,) in enumerate(found.values()):
            assert_frame(frame, index)


def test_where_only_the_hidden_mask_is_given_the_rest_is_visible(tmp_path):
    file = write_cocoa_coco(tmp_path)
    content = json.loads(file.read_text())
    for item in content["annotations"]:
        item["visible_mask"] = None
    write_json(file, content)
    for index, (frame,) in enumerate(frames_of(tmp_path).values()):
        assert_frame(frame, index)


def test_the_original_cocoa_file_holds_regions_and_may_have_two_annotators(tmp_path):
    write_cocoa_original(tmp_path)
    found = frames_of(tmp_path)
    names = [f"train/COCO_train2014_{k:012d}" for k in (7, 8)]
    assert list(found) == [names[0], f"{names[0]}@1", names[1]]
    for index, (frame,) in zip((0, 0, 1), found.values(), strict=True):
        assert_frame(frame, index)


def test_cocoa_splits_are_told_by_the_file_s_name(tmp_path):
    write_cocoa_coco(tmp_path, "val")
    write_cocoa_coco(tmp_path, "train")
    assert len(open_dataset(tmp_path)) == 4
    assert all(name.startswith("train/") for name in frames_of(tmp_path, split="train"))
    with pytest.raises(InputError, match="no annotation file of the split 'test'"):
        open_dataset(tmp_path, split="test")


def test_cocoa_photographs_one_by_one(tmp_path):
    for index, name in enumerate("ab"):
        write_png(tmp_path / f"{name}.png", rgb_of(index))
        write_json(tmp_path / f"{name}.json", {"image_id": 50 + index, "regions": cocoa_regions(index)})
    write_json(tmp_path / "about.json", {"license": "none"})
    found = frames_of(tmp_path)
    assert list(found) == ["a", "b"]
    for index, (frame,) in enumerate(found.values()):
        assert_frame(frame, index)
    results = write_json(tmp_path / "out" / "results.json", [result(51, amodal_masks(1)[1], 0.9)])
    assert [len(f.labels[f.labels > 0]) > 0 for (f,) in frames_of(tmp_path, results=results).values()] == [False, True]


def test_fishbowl_videos_come_from_the_pickle(tmp_path):
    write_fishbowl(tmp_path)
    for source, split in ((tmp_path, ""), (tmp_path, "test"), (tmp_path / "test_data", "")):
        found = frames_of(source, split=split)
        assert list(found) == ["test/4", "test/fish_10"]
        for frames in found.values():
            for index, frame in enumerate(frames):
                assert_frame(frame, index, {1: "", 2: ""}, seen_only=True)
                assert frame.stamp_ns == 1_000_000_000 + index * 100_000_000
    assert open_dataset(tmp_path).describe() == f"fishbowl: 2 sequences, {2 * FRAMES} frames"
    with pytest.raises(InputError, match="there is no train_data folder; found test"):
        open_dataset(tmp_path, split="train")


def test_a_fishbowl_video_spans_the_frames_in_which_an_object_is(tmp_path):
    file = write_fishbowl(tmp_path, ("4",))
    entries = pickle.loads(file.read_bytes())
    entries = {"4_1": {str(1): entries["4_1"][1]}}
    file.write_bytes(pickle.dumps(entries))
    ((frame,),) = frames_of(tmp_path).values()
    np.testing.assert_array_equal(frame.rgb, rgb_of(1))
    assert list(frame.objects) == [2] and frame.stamp_ns == 1_100_000_000


def test_movid_videos_in_the_order_of_their_numbers(tmp_path):
    write_movid_set(tmp_path)
    for source in (tmp_path, tmp_path / "test"):
        found = frames_of(source)
        assert list(found) == ["test/0", "test/2", "test/10"]
        for index, frame in enumerate(found["test/10"]):
            assert_frame(frame, index)
    assert list(frames_of(tmp_path / "test" / "2")) == ["2"]
    with pytest.raises(InputError, match="no split 'train'; found test"):
        open_dataset(tmp_path, split="train")


def test_movid_lists_say_which_objects_and_frames_count(tmp_path):
    write_movid_set(tmp_path)
    (tmp_path / "test_instance.txt").write_text("0_0_1\n0_1_2\n10_1_2\n")
    (tmp_path / "test_frame_list.txt").write_text("0_0_0\n0_1_0\n0_1_2\n10_1_1\n")
    for path in tmp_path.glob("test/*/segmentation_0_*.png"):
        if path.name != "segmentation_0_00000.png":
            path.unlink()  # what does not count need not be there
    found = frames_of(tmp_path)
    assert list(found) == ["test/0", "test/10"]
    counting = {
        name: [[k for k, item in frame.objects.items() if item.amodal is not None] for frame in frames]
        for name, frames in found.items()
    }
    assert counting == {"test/0": [[1, 2], [], [2]], "test/10": [[], [2], []]}
    np.testing.assert_array_equal(found["test/0"][1].labels, labels_of(1))


def test_a_wrong_line_of_a_movid_list_is_refused_and_the_others_count(tmp_path):
    write_movid_set(tmp_path, ("0", "2"))
    (tmp_path / "test_instance.txt").write_text("0_0_1\nnothing\n2_1_7\n2_0_1\n\n")
    refused = []
    assert [name for name, _ in open_dataset(tmp_path, on_refused=refused.append)] == ["test/0", "test/2"]
    wrong_value, wrong_form = sorted(map(str, refused), key=len, reverse=True)
    assert "test_instance.txt: line 3 gives object 1 of video 2 the value 7" in wrong_value
    assert "test_instance.txt: line 2 is 'nothing', expected video_object_number" in wrong_form


def test_the_rest_of_an_object_s_mask_is_joined_with_what_is_seen_of_it(tmp_path):
    file = write_kins_set(tmp_path)
    content = json.loads(file.read_text())
    small = np.zeros((HEIGHT, WIDTH), bool)
    small[12:14, 40:42] = True
    content["annotations"][1]["a_segm"] = rle(small)
    write_json(file, content)
    frame = frames_of(tmp_path)["train/000000"][0]
    expected = place(small | (labels_of(0) == 2))
    np.testing.assert_array_equal(frame.objects[2].amodal.full(HEIGHT, WIDTH), expected.full(HEIGHT, WIDTH))
