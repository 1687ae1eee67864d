"""Messages become records exactly, whatever their padding, byte order and encoding; the rest is refused by name."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from frames import header, image_message

from c2f_ros.contract import InputError
from c2f_ros.crops import to_rgb
from c2f_ros.geometry import Box, PlacedMask
from c2f_ros.mask_codec import encode
from c2f_ros.steps.step1_read import (
    instances_of_labels,
    read_compressed_image,
    read_image,
    read_instance_array,
    read_label_image,
)

RGB = np.random.default_rng(0).integers(0, 255, (5, 7, 3)).astype(np.uint8)
ALPHA = np.full((5, 7, 1), 9, np.uint8)
PIXELS = {
    "rgb8": RGB,
    "bgr8": RGB[..., ::-1],
    "rgba8": np.concatenate([RGB, ALPHA], 2),
    "bgra8": np.concatenate([RGB[..., ::-1], ALPHA], 2),
}


@pytest.mark.parametrize("encoding", PIXELS)
@pytest.mark.parametrize("padding", [0, 5])
def test_every_layout_gives_the_same_rgb_with_or_without_padded_rows(encoding, padding):
    pixels = PIXELS[encoding]
    frame = read_image(image_message(pixels, encoding, pixels.shape[1] * pixels.shape[2] + padding), 0.0)
    assert np.array_equal(to_rgb(np.ascontiguousarray(frame.pixels), encoding), RGB)


def test_mono_images_are_repeated_in_three_channels():
    gray = RGB[..., 0]
    frame = read_image(image_message(gray, "mono8", 11), 0.0)
    assert np.array_equal(to_rgb(np.ascontiguousarray(frame.pixels), "mono8"), np.repeat(gray[..., None], 3, 2))


def test_pixels_are_a_view_of_the_message_and_the_header_is_the_message_s_own():
    message = image_message(RGB, "rgb8", stamp_ns=3_000_000_007)
    frame = read_image(message, 0.0)
    assert np.shares_memory(frame.pixels, message.data)
    assert frame.header is message.header and frame.stamp_ns == 3_000_000_007


def test_an_unknown_encoding_is_refused_by_name_without_cv_bridge():
    with pytest.raises(InputError, match="yuv422_yuy2"):
        read_image(image_message(RGB, "yuv422_yuy2"), 0.0)


def test_too_few_bytes_are_refused():
    message = image_message(RGB, "rgb8")
    message.data = message.data[:-1]
    with pytest.raises(InputError, match="104 bytes, expected"):
        read_image(message, 0.0)
    message = image_message(RGB, "rgb8")
    message.step = 20
    with pytest.raises(InputError, match="step of at least 21"):
        read_image(message, 0.0)


def test_compressed_images_decode_and_broken_ones_are_refused():
    data = cv2.imencode(".png", RGB[..., ::-1])[1].ravel()
    frame = read_compressed_image(SimpleNamespace(header=header(5), format="png", data=data), 0.0)
    assert np.array_equal(to_rgb(frame.pixels, frame.encoding), RGB)
    for broken in (data[:20], data[:0]):
        with pytest.raises(InputError, match="does not decode"):
            read_compressed_image(SimpleNamespace(header=header(5), format="png", data=broken), 0.0)


LABELS = np.array([[0, 0, 3, 3], [0, 200, 3, 0], [200, 200, 0, 0]])


@pytest.mark.parametrize(
    ("encoding", "dtype"), [("mono8", "u1"), ("8UC1", "u1"), ("mono16", "u2"), ("16UC1", "u2"), ("32SC1", "i4")]
)
@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize("is_bigendian", [0, 1])
def test_label_images_give_ids_boxes_and_masks(encoding, dtype, padding, is_bigendian):
    values = LABELS.astype(np.dtype(dtype).newbyteorder(">" if is_bigendian else "<"))
    message = image_message(values, encoding, 4 * values.itemsize + padding)
    message.is_bigendian = is_bigendian
    found = read_label_image(message)
    assert [i.upstream_id for i in found.instances] == ["3", "200"]
    assert found.instances[0].visible.box == Box(2, 0, 4, 2)
    assert np.array_equal(found.instances[1].visible.full(3, 4), LABELS == 200)
    assert np.array_equal(found.labels, np.where(LABELS == 3, 1, np.where(LABELS == 200, 2, 0)))


@pytest.mark.parametrize("big", [70_000, 2**31 - 1])
def test_large_label_values_are_kept(big):
    found = instances_of_labels(0, np.array([[0, big], [5, 5]], np.int32))
    assert [i.upstream_id for i in found.instances] == ["5", str(big)]
    full = instances_of_labels(0, np.array([[7, big]], np.int32))
    assert [i.upstream_id for i in full.instances] == ["7", str(big)]
    assert full.labels.tolist() == [[1, 2]]


@pytest.mark.parametrize("count", [1, 2, 31, 32, 33, 64, 65, 255, 300])
@pytest.mark.parametrize("first", [1, 7])
def test_boxes_and_masks_are_right_however_many_labels_there_are(count, first):
    values = np.random.default_rng(count).permutation(np.arange(1800) % (count + 1)).reshape(30, 60)
    values = np.where(values > 0, values + first - 1, 0).astype(np.uint16)
    found = instances_of_labels(0, values)
    assert [i.upstream_id for i in found.instances] == [str(k + first) for k in range(count)]
    for number, instance in enumerate(found.instances):
        rows, columns = np.nonzero(values == number + first)
        assert instance.visible.box == Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert np.array_equal(instance.visible.full(30, 60), values == number + first)
    assert np.array_equal(found.labels, np.where(values > 0, values - (first - 1), 0))


def test_negative_labels_and_other_encodings_are_refused():
    with pytest.raises(InputError, match="negative value -1"):
        instances_of_labels(0, np.array([[0, -1]], np.int32))
    with pytest.raises(InputError, match="rgb8"):
        read_label_image(image_message(RGB, "rgb8"))


def test_an_empty_label_image_has_no_instances():
    assert instances_of_labels(0, np.zeros((3, 4), np.uint16)).instances == ()


def instance(mask: PlacedMask, track_id: str = "", encoding: str = "PACKED") -> SimpleNamespace:
    box, data = encode(mask, encoding)
    roi = SimpleNamespace(x_offset=box.x0, y_offset=box.y0, width=box.width, height=box.height)
    wire = SimpleNamespace(roi=roi, encoding=encoding, data=data)
    return SimpleNamespace(track_id=track_id, class_id="cup", score=0.5, mask=wire)


def array(*instances: SimpleNamespace) -> SimpleNamespace:
    return SimpleNamespace(header=header(9), image_height=20, image_width=30, instances=list(instances))


def square(x: int, side: int) -> PlacedMask:
    return PlacedMask(Box(x, 2, x + side, 2 + side), np.ones((side, side), bool))


def test_instance_arrays_keep_order_ids_classes_and_overlapping_masks():
    found = read_instance_array(array(instance(square(1, 6), "b"), instance(square(4, 6), "a", "MONO8")))
    assert [(i.upstream_id, i.class_id, i.score) for i in found.instances] == [("b", "cup", 0.5), ("a", "cup", 0.5)]
    assert found.instances[0].visible.area == 36
    assert (found.labels == 2).sum() == 36 and (found.labels == 1).sum() == 18


def test_an_instance_without_pixels_is_left_out():
    empty = PlacedMask(Box(0, 0, 0, 0), np.zeros((0, 0), bool))
    assert [
        i.upstream_id for i in read_instance_array(array(instance(empty, "x"), instance(square(1, 2), "y"))).instances
    ] == ["y"]


def test_a_track_id_used_twice_and_a_mask_outside_the_image_are_refused():
    with pytest.raises(InputError, match="track id a is used by several"):
        read_instance_array(array(instance(square(1, 2), "a"), instance(square(9, 2), "a")))
    with pytest.raises(InputError, match="30 columns"):
        read_instance_array(array(instance(square(26, 6), "a")))
