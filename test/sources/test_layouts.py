"""Every layout gives the frames that were written into it; a broken file is refused by name."""

import json

import numpy as np
import pytest
import recordings
from recordings import CLASSES, FRAMES, HEIGHT, RATE_HZ, WIDTH, amodal_masks, labels_of, rgb_of

from c2f_ros.contract import InputError
from c2f_ros.sources.cocoa import read_cocoa
from c2f_ros.sources.folder import read_folder
from c2f_ros.sources.kins import read_kins
from c2f_ros.sources.movid import movid_video, read_movid

WRITERS = {"folder": recordings.write_folder, "movid": recordings.write_movid, "kins": recordings.write_kins}
READERS = {"folder": read_folder, "movid": read_movid, "kins": read_kins}


def read(layout, root):
    return list(READERS[layout](WRITERS[layout](root), RATE_HZ))


@pytest.mark.parametrize("layout", READERS)
def test_images_and_labels_come_back_exactly(layout, tmp_path):
    frames = read(layout, tmp_path)
    assert len(frames) == FRAMES
    for index, frame in enumerate(frames):
        assert frame.rgb.shape == (HEIGHT, WIDTH, 3) and frame.rgb.dtype == np.uint8
        np.testing.assert_array_equal(frame.rgb, rgb_of(index))
        np.testing.assert_array_equal(frame.labels, labels_of(index))
        assert frame.labels.dtype == np.int32
        assert frame.stamp_ns == 1_000_000_000 + index * 100_000_000


@pytest.mark.parametrize("layout", ["movid", "kins"])
def test_whole_masks_come_back_exactly_hidden_objects_too(layout, tmp_path):
    for index, frame in enumerate(read(layout, tmp_path)):
        assert {k: item.class_id for k, item in frame.objects.items()} == CLASSES
        for identity, mask in amodal_masks(index).items():
            np.testing.assert_array_equal(frame.objects[identity].amodal.full(HEIGHT, WIDTH), mask)


def test_a_folder_knows_classes_but_no_whole_masks(tmp_path):
    frames = read("folder", tmp_path)
    assert {k: item.class_id for k, item in frames[0].objects.items()} == CLASSES
    assert all(item.amodal is None for frame in frames for item in frame.objects.values())
    assert list(frames[-1].objects) == [1]


def test_a_folder_without_classes_has_nameless_objects(tmp_path):
    recordings.write_folder(tmp_path)
    (tmp_path / "classes.json").unlink()
    assert next(read_folder(tmp_path, RATE_HZ)).objects[1].class_id == ""


def test_a_palette_image_is_read_as_ids_not_colours(tmp_path):
    from PIL import Image

    recordings.write_folder(tmp_path)
    image = Image.fromarray(labels_of(0).astype(np.uint8))
    image.putpalette([0, 0, 0, 200, 10, 10, 10, 200, 10])
    image.save(tmp_path / "label" / "00000.png")
    np.testing.assert_array_equal(next(read_folder(tmp_path, RATE_HZ)).labels, labels_of(0))


def test_sixteen_bit_labels_keep_their_ids(tmp_path):
    recordings.write_folder(tmp_path)
    recordings.write_png(tmp_path / "label" / "00000.png", (labels_of(0) * 1000).astype(np.uint16))
    assert sorted(next(read_folder(tmp_path, RATE_HZ)).objects) == [1000, 2000]


def test_kins_without_track_ids_makes_every_annotation_an_object(tmp_path):
    path = recordings.write_kins(tmp_path)
    content = json.loads(path.read_text())
    for item in content["annotations"]:
        del item["track_id"]
    path.write_text(json.dumps(content))
    ids = [identity for frame in read_kins(path, RATE_HZ) for identity in frame.objects]
    assert ids == list(range(1, 2 * FRAMES + 1))


def test_kins_reads_polygons_and_the_first_release_s_keys(tmp_path):
    path = recordings.write_kins(tmp_path)
    content = json.loads(path.read_text())
    for item in content["annotations"]:
        item["inmodal_seg"] = item.pop("i_segm")
        mask = amodal_masks(item["image_id"])[item["track_id"] + 1]
        item["segmentation"] = [recordings.polygon(mask)]
        del item["a_segm"]
    path.write_text(json.dumps(content))
    for index, frame in enumerate(read_kins(path, RATE_HZ)):
        np.testing.assert_array_equal(frame.labels, labels_of(index))
        np.testing.assert_array_equal(frame.objects[2].amodal.full(HEIGHT, WIDTH), amodal_masks(index)[2])


def test_in_kins_the_one_further_back_lies_under(tmp_path):
    path = recordings.write_kins(tmp_path)
    content = json.loads(path.read_text())
    for item in content["annotations"]:
        item["i_segm"] = item["a_segm"]
        item["ico_id"] = item["track_id"]
    path.write_text(json.dumps(content))
    np.testing.assert_array_equal(next(read_kins(path, RATE_HZ)).labels, labels_of(0))


def test_cocoa_gives_objects_in_order_and_leaves_stuff_out(tmp_path):
    (frame,) = read_cocoa([recordings.write_cocoa(tmp_path)], RATE_HZ)
    np.testing.assert_array_equal(frame.rgb, rgb_of(0))
    np.testing.assert_array_equal(frame.labels, labels_of(0))
    assert {k: item.class_id for k, item in frame.objects.items()} == CLASSES
    for identity, mask in amodal_masks(0).items():
        np.testing.assert_array_equal(frame.objects[identity].amodal.full(HEIGHT, WIDTH), mask)


def test_a_cocoa_region_without_visible_mask_is_hidden_by_those_in_front(tmp_path):
    path = recordings.write_cocoa(tmp_path)
    content = json.loads(path.read_text())
    del content["regions"][1]["visible_mask"]
    path.write_text(json.dumps(content))
    (frame,) = read_cocoa([path], RATE_HZ)
    np.testing.assert_array_equal(frame.labels, labels_of(0))


def test_ids_go_on_counting_from_photograph_to_photograph(tmp_path):
    paths = [recordings.write_cocoa(tmp_path, "a"), recordings.write_cocoa(tmp_path, "b")]
    first, second = read_cocoa(paths, RATE_HZ)
    assert (list(first.objects), list(second.objects)) == ([1, 2], [3, 4])
    assert second.stamp_ns > first.stamp_ns


def test_a_movid_data_set_is_read_by_video(tmp_path):
    recordings.write_movid(tmp_path, "5")
    assert movid_video(tmp_path, "5") == tmp_path / "test" / "5"
    with pytest.raises(InputError, match="no video '6'; found 5"):
        movid_video(tmp_path, "6")


BROKEN = [
    ("folder", "label/00001.png", None, "does not exist"),
    ("folder", "label/00001.png", b"no image", "not an image"),
    ("folder", "rgb/00001.png", b"no image", "not an image"),
    ("folder", "classes.json", b"{", "not JSON"),
    ("movid", "test/0/segmentation_1_00002.png", None, "does not exist"),
    ("movid", "test/0/metadata.json", b"[]", "expected a JSON object"),
    ("movid", "test/0/metadata.json", b"{}", "has no 'metadata'"),
    ("kins", "kins.json", b"\xff\xfe", "not JSON"),
    ("kins", "rgb/00001.png", b"", "not an image"),
]


@pytest.mark.parametrize(("layout", "name", "content", "reason"), BROKEN)
def test_a_broken_file_is_refused_by_name(layout, name, content, reason, tmp_path):
    source = WRITERS[layout](tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=reason) as refused:
        list(READERS[layout](source, RATE_HZ))
    assert str(tmp_path / name) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_label_image_of_another_size_is_refused(tmp_path):
    recordings.write_folder(tmp_path)
    recordings.write_png(tmp_path / "label" / "00001.png", np.zeros((WIDTH, HEIGHT), np.uint8))
    with pytest.raises(InputError, match=r"00001.png: it has 60 rows and 36 columns, expected 36 and 60"):
        list(read_folder(tmp_path, RATE_HZ))


def test_a_colour_image_is_no_label_image(tmp_path):
    recordings.write_folder(tmp_path)
    recordings.write_png(tmp_path / "label" / "00000.png", rgb_of(0))
    with pytest.raises(InputError, match="has 3 channels, a label image has one"):
        list(read_folder(tmp_path, RATE_HZ))


def test_an_unknown_id_in_movid_is_refused(tmp_path):
    folder = recordings.write_movid(tmp_path)
    recordings.write_png(folder / "segmentation_full_00001.png", np.full((HEIGHT, WIDTH), 9, np.uint8))
    with pytest.raises(InputError, match=r"segmentation_full_00001.png: it holds id 9, metadata.json has 2 instances"):
        list(read_movid(folder, RATE_HZ))


def test_another_object_s_value_in_a_movid_mask_is_refused(tmp_path):
    folder = recordings.write_movid(tmp_path)
    recordings.write_png(folder / "segmentation_1_00000.png", np.full((HEIGHT, WIDTH), 1, np.uint8))
    with pytest.raises(InputError, match=r"segmentation_1_00000.png: it holds the value 1, expected only 0 and 2"):
        list(read_movid(folder, RATE_HZ))


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("a_segm", {"size": [5, 5], "counts": "abc"}, "is a mask for"),
        ("a_segm", [["x"]], "not a polygon or run-length mask"),
        ("track_id", 0, "track id 0 is twice in image 0"),
        ("image_id", None, "has no 'image_id'"),
    ],
)
def test_a_broken_kins_annotation_is_refused(key, value, reason, tmp_path):
    path = recordings.write_kins(tmp_path)
    content = json.loads(path.read_text())
    if value is None:
        del content["annotations"][1][key]
    else:
        content["annotations"][1][key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=reason) as refused:
        list(read_kins(path, RATE_HZ))
    assert str(path) in str(refused.value)


def test_a_photograph_that_is_missing_is_refused(tmp_path):
    path = recordings.write_cocoa(tmp_path)
    (tmp_path / "photo.png").unlink()
    with pytest.raises(InputError, match=r"photo.json: there is no photograph photo"):
        list(read_cocoa([path], RATE_HZ))
