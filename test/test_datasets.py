"""A broken file is refused by name while the rest of the set goes on."""

import json
import pickle

import cv2
import numpy as np
import pytest
import recordings
from dataset_files import (
    WRONG_SIZE,
    read,
    write_cocoa_coco,
    write_cocoa_original,
    write_fishbowl,
    write_json,
    write_kins_set,
    write_movid_set,
)
from recordings import FRAMES, HEIGHT, WIDTH, rgb_of, write_png

from c2f_ros.contract import InputError
from c2f_ros.geometry import place
from c2f_ros.sources.datasets import open_dataset
from c2f_ros.sources.opening import open_source
from c2f_ros.sources.parts import raise_refused


def edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    write_json(path, content)


def edit_pickle(path, change):
    content = pickle.loads(path.read_bytes())
    change(content)
    path.write_bytes(pickle.dumps(content))


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def set_key(*keys):
    """A change that sets the item at keys[:-1] to keys[-1]."""

    def change(content):
        for key in keys[:-2]:
            content = content[key]
        content[keys[-2]] = keys[-1]

    return change


def drop_key(*keys):
    def change(content):
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return change


WRONG_SUM = {"size": [HEIGHT, WIDTH], "counts": [7]}
IMAGE_1 = "training/image_2/000001.png"

KINS = [
    (lambda root: (root / IMAGE_1).unlink(), "update_train_2020.json: its image 000001.png is in none of the folders"),
    (lambda root: cut(root / IMAGE_1), "000001.png: this is not an image"),
    (lambda root: write_png(root / IMAGE_1, np.zeros((5, 5, 3), np.uint8)), "000001.png: it has 5 rows and 5 columns"),
    (set_key("annotations", 2, "a_segm", WRONG_SIZE), "annotation 2: it is a mask for"),
    (set_key("annotations", 2, "i_segm", WRONG_SUM), "annotation 2: its run lengths cover 7 pixels"),
    (set_key("annotations", 2, "a_segm", [[3, 4]]), "annotation 2: a polygon has 1 corners"),
    (drop_key("annotations", 2, "i_segm"), "annotation 2 has neither i_segm nor inmodal_seg"),
    (set_key("annotations", 2, "ico_id", "front"), "'ico_id' of annotation 2 is 'front', expected a number"),
    (drop_key("images", 1, "file_name"), "image 1 has no 'file_name'"),
]


@pytest.mark.parametrize(("damage", "reason"), KINS)
def test_a_broken_kins_photograph_is_left_out(damage, reason, tmp_path):
    file = write_kins_set(tmp_path)
    try:
        edit_json(file, damage)
    except TypeError:  # it damages a file
        damage(tmp_path)
    counts, refused = read(tmp_path)
    assert {name for name, count in counts.items() if count} == {"train/000000", "train/000002"}
    assert reason in refused[0] and str(tmp_path) in refused[0]


def test_a_cut_jpeg_is_left_out(tmp_path):
    file = write_kins_set(tmp_path)
    edit_json(
        file, lambda content: [i.update(file_name=i["file_name"].replace("png", "jpg")) for i in content["images"]]
    )
    for index in range(FRAMES):
        assert cv2.imwrite(str(tmp_path / "training" / "image_2" / f"{index:06d}.jpg"), rgb_of(index))
    cut(tmp_path / "training" / "image_2" / "000001.jpg")
    counts, refused = read(tmp_path)
    assert list(counts.values()) == [1, 0, 1]
    assert len(refused) == 1 and "000001.jpg: this JPEG ends after" in refused[0]


def test_annotations_of_no_image_are_refused_and_the_rest_is_read(tmp_path):
    file = write_kins_set(tmp_path)
    edit_json(file, set_key("annotations", 0, "image_id", 99))
    edit_json(file, drop_key("annotations", 1, "image_id"))
    counts, refused = read(tmp_path)
    assert list(counts.values()) == [1, 1, 1]
    assert "annotation 0 is of image 99, which is not listed" in refused[0]
    assert "annotation 1 has no 'image_id'" in refused[1]


COCOA = [
    ("val2014/COCO_val2014_000000000007.png", None, "its image COCO_val2014_000000000007.png is in none of"),
    ("val2014/COCO_val2014_000000000007.png", b"no image", "COCO_val2014_000000000007.png: this is not an image"),
    ("", set_key("annotations", 1, "visible_mask", WRONG_SIZE), "visible_mask of annotation 1: it is a mask for"),
    ("", set_key("annotations", 0, "segmentation", [[1, 2]]), "annotation 0: a polygon has 1 corners"),
    ("", drop_key("annotations", 0, "segmentation"), "annotation 0 has no 'segmentation'"),
]


@pytest.mark.parametrize(("name", "damage", "reason"), COCOA)
def test_a_broken_cocoa_photograph_is_left_out(name, damage, reason, tmp_path):
    file = write_cocoa_coco(tmp_path)
    if not name:
        edit_json(file, damage)
    elif damage is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(damage)
    counts, refused = read(tmp_path)
    assert list(counts.values()) == [0, 1]
    assert len(refused) == 1 and reason in refused[0]


@pytest.mark.parametrize("regions", [7, [7], [{"segmentation": [1, 2]}], [{"order": 1}]])
def test_broken_regions_are_left_out(regions, tmp_path):
    file = write_cocoa_original(tmp_path)
    edit_json(file, set_key("annotations", 1, "regions", regions))
    counts, refused = read(tmp_path)
    assert sum(counts.values()) == 2 and len(refused) == 1
    assert str(file) in refused[0] and "of annotation 1" in refused[0]


@pytest.mark.parametrize(("content", "reason"), [('{"regions": [', "not JSON"), ("{}", "has no 'regions'")])
def test_a_broken_photograph_of_many_is_left_out(content, reason, tmp_path):
    for name in "abc":
        recordings.write_cocoa(tmp_path, name)
    (tmp_path / "b.json").write_text(content)
    counts, refused = read(tmp_path)
    assert counts == {"a": 1, "b": 0, "c": 1}
    assert len(refused) == 1 and f"b.json: {'this is ' if reason == 'not JSON' else 'the file '}{reason}" in refused[0]


FISHBOWL = [
    (set_key("4_0", 1, "VM", [WRONG_SIZE]), {"test/4": 1}, "VM of frame 1 of 4_0: it is a mask for"),
    (set_key("4_0", 1, "FM", "text"), {"test/4": 1}, "FM of frame 1 of 4_0 is no list of run-length masks"),
    (drop_key("4_1", 0, "FM"), {"test/4": 0}, "frame 0 of 4_1 has no 'FM'"),
    (set_key("nobody", {}), {}, "the key 'nobody' is not of the form video_object"),
    (set_key("4_7", [1, 2]), {}, "the entry 4_7 is no dict by frame number"),
    (set_key("4_7", {"first": {}}), {}, "the entry 4_7 is no dict by frame number"),
]


@pytest.mark.parametrize(("damage", "counts", "reason"), FISHBOWL)
def test_a_broken_fishbowl_entry_ends_its_video_only(damage, counts, reason, tmp_path):
    file = write_fishbowl(tmp_path)
    edit_pickle(file, damage)
    found, refused = read(tmp_path)
    assert found == {"test/4": FRAMES, "test/fish_10": FRAMES} | counts
    assert len(refused) == 1 and str(file) in refused[0] and reason in refused[0]


@pytest.mark.parametrize("name", ["test_data/test_frames/4/00001.png"])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_broken_frame_ends_its_fishbowl_video(name, damage, tmp_path):
    write_fishbowl(tmp_path)
    (tmp_path / name).unlink() if damage == "missing" else cut(tmp_path / name)
    counts, refused = read(tmp_path)
    assert counts == {"test/4": 1, "test/fish_10": FRAMES}
    assert len(refused) == 1 and refused[0].startswith(str(tmp_path / name))


def test_a_broken_split_is_refused_and_the_other_is_read(tmp_path):
    write_fishbowl(tmp_path, split="train")
    cut(write_fishbowl(tmp_path, split="test"))
    counts, refused = read(tmp_path)
    assert counts == {"train/4": FRAMES, "train/fish_10": FRAMES}
    assert "test_data.pkl: this pickle is not one of plain values" in refused[0]
    with pytest.raises(InputError, match="holds no sequence that can be read"):
        open_dataset(tmp_path, split="test", on_refused=lambda error: None)


MOVID = [
    ("rgba_full_00001.png", None, 1, "does not exist"),
    ("segmentation_full_00002.png", np.full((HEIGHT, WIDTH), 9, np.uint8), 2, "it holds id 9"),
    (
        "segmentation_1_00001.png",
        np.full((HEIGHT, WIDTH), 1, np.uint8),
        1,
        "it holds the value 1, expected only 0 and 2",
    ),
    ("segmentation_1_00001.png", np.full((5, 5), 2, np.uint8), 1, "it has 5 rows and 5 columns"),
    ("metadata.json", None, 0, "does not exist"),
    ("metadata.json", {"metadata": {}, "instances": []}, 0, "'metadata' has no 'num_frames'"),
    ("metadata.json", {"metadata": {"num_frames": "3"}, "instances": []}, 0, "is '3', expected int"),
    ("metadata.json", {"metadata": {"num_frames": 3}}, 0, "the file has no 'instances'"),
    ("metadata.json", {"metadata": {"num_frames": 3}, "instances": [1]}, 0, "something else than objects"),
]


@pytest.mark.parametrize(("name", "content", "count", "reason"), MOVID)
def test_a_broken_file_ends_its_movid_video(name, content, count, reason, tmp_path):
    file = write_movid_set(tmp_path) / "test" / "2" / name
    if content is None:
        file.unlink()
    elif isinstance(content, dict):
        write_json(file, content)
    else:
        write_png(file, content)
    counts, refused = read(tmp_path)
    assert counts == {"test/0": FRAMES, "test/2": count, "test/10": FRAMES}
    assert len(refused) == 1 and refused[0].startswith(str(file)) and reason in refused[0]


def test_a_broken_image_ends_a_kins_video(tmp_path):
    recordings.write_kins(tmp_path)
    cut(tmp_path / "rgb" / "00001.png")
    counts, refused = read(tmp_path)
    assert list(counts.values()) == [1] and len(refused) == 1 and "00001.png: this is not an image" in refused[0]


def test_sequences_can_be_sent_to_another_process(tmp_path):
    recordings.write_folder(tmp_path / "a")
    recordings.write_kins(tmp_path / "b")
    write_movid_set(tmp_path / "c", ("0",))
    write_fishbowl(tmp_path / "d", ("1",))
    write_cocoa_original(tmp_path / "e")
    write_kins_set(tmp_path / "f")
    for name, frames in pickle.loads(pickle.dumps(list(open_dataset(tmp_path)))):
        assert name[0] in "abcdef" and len(list(frames)) > 0


def test_a_folder_of_sequences_is_a_data_set(tmp_path):
    recordings.write_folder(tmp_path / "one")
    recordings.write_kins(tmp_path / "two")
    recordings.write_folder(tmp_path / "broken")
    cut(tmp_path / "broken" / "label" / "00001.png")
    (tmp_path / "notes").mkdir()
    counts, refused = read(tmp_path)
    assert counts == {"broken": 1, "one": FRAMES, "two": FRAMES}
    assert len(refused) == 2 and "notes: no known layout" in refused[0] and "00001.png" in refused[1]
    assert set(read(tmp_path, kind="kins")[0]) == {"two"}
    assert (
        open_dataset(tmp_path, on_refused=lambda e: None).describe()
        == f"folder and kins: 3 sequences, {3 * FRAMES} frames"
    )


def test_what_is_no_data_set_is_refused_at_once(tmp_path):
    with pytest.raises(InputError, match="no known layout; expected one of folder .*fishbowl"):
        open_dataset(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        open_dataset(tmp_path / "nothing")
    with pytest.raises(InputError, match="kind is 'coco', expected one of auto, folder"):
        open_dataset(tmp_path, kind="coco")
    (tmp_path / "cut.json").write_text('{"images"')
    with pytest.raises(InputError, match="cut.json: this is not JSON"):
        open_dataset(tmp_path / "cut.json")


def test_a_set_is_read_again_and_its_refusals_are_said_once(tmp_path, capsys):
    write_movid_set(tmp_path, ("0", "2"))
    (tmp_path / "test" / "0" / "metadata.json").write_text("{}")
    dataset = open_dataset(tmp_path)
    for _ in range(2):
        assert [len(list(frames)) for _, frames in dataset] == [0, FRAMES]
    assert capsys.readouterr().err.count("refused: ") == len(dataset.refused) == 1


def test_opening_decodes_no_mask_and_no_image(tmp_path, monkeypatch):
    write_kins_set(tmp_path)
    decoded = []
    monkeypatch.setattr("c2f_ros.sources.kins.read_rgb", lambda path: decoded.append(path.name) or rgb_of(0))
    dataset = iter(open_dataset(tmp_path))
    frames = [next(dataset)[1] for _ in range(2)]
    assert not decoded
    next(iter(frames[1]))
    assert decoded == ["000001.png"]


@pytest.mark.parametrize(
    ("write", "video", "ids"),
    [(write_fishbowl, "4", [[1, 2], [1, 2], [1]]), (write_cocoa_coco, "", [[1, 2], [3, 4]])],
)
def test_c2f_bag_s_opening_reads_these_layouts_too(write, video, ids, tmp_path):
    write(tmp_path)
    frames = list(open_source(tmp_path, "auto", video, 5.0).frames)
    assert [list(frame.objects) for frame in frames] == ids
    assert [frame.stamp_ns for frame in frames] == [1_000_000_000 + k * 200_000_000 for k in range(len(frames))]


def test_opening_an_unknown_fishbowl_video_names_the_known_ones(tmp_path):
    write_fishbowl(tmp_path)
    with pytest.raises(InputError, match="no video '0'; found 4, fish_10"):
        list(open_source(tmp_path, "auto", "0", 10.0).frames)


SAMPLES = [
    ("movid_a_sample", "movid", "", 2, 48),
    ("movid_a_sample", "movid", "test", 2, 48),
    ("drive_sample", "kins", "", 2, 80),
    ("cocoa", "cocoa", "", 2, 2),
]


@pytest.mark.parametrize(("name", "kind", "split", "sequences", "frames"), SAMPLES)
def test_the_samples_beside_the_repository_read_whole(name, kind, split, sequences, frames, shared_dir):
    dataset = open_dataset(shared_dir / "data" / name, split, on_refused=raise_refused)
    assert (dataset.kind, len(dataset)) == (kind, sequences)
    count = 0
    for _, content in dataset:
        for frame in content:
            count += 1
            seen = {int(i) for i in np.unique(frame.labels) if i}
            assert seen and seen <= frame.objects.keys()
            for identity in seen:
                visible = place(frame.labels == identity)
                assert frame.objects[identity].amodal.area >= visible.area
    assert count == frames
