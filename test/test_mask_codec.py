"""Both encodings are exact, and what does not fit is refused."""

import numpy as np
import pytest

from c2f_ros.contract import InputError
from c2f_ros.geometry import EMPTY_BOX, EMPTY_MASK, Box, PlacedMask
from c2f_ros.mask_codec import ENCODINGS, decode, encode


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (8, 8), (7, 13), (40, 3)])
def test_masks_survive_exactly(encoding, shape):
    mask = np.random.default_rng(1).random(shape) < 0.5
    placed = PlacedMask(Box(4, 9, 4 + shape[1], 9 + shape[0]), mask)
    box, data = encode(placed, encoding)
    again = decode(box, encoding, data, 100, 80)
    assert again.box == placed.box
    assert np.array_equal(again.mask, mask)


def test_packed_bits_are_row_major_most_significant_first_without_row_padding():
    mask = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], bool)
    _, data = encode(PlacedMask(Box(0, 0, 3, 3), mask), "PACKED")
    assert data.tolist() == [0b10001000, 0b10000000]


def test_mono8_is_one_byte_a_pixel():
    _, data = encode(PlacedMask(Box(0, 0, 2, 1), np.array([[True, False]])), "MONO8")
    assert data.tolist() == [255, 0]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_empty_mask_has_no_bytes(encoding):
    box, data = encode(EMPTY_MASK, encoding)
    assert box == EMPTY_BOX and data.size == 0
    assert decode(box, encoding, data, 10, 10).is_empty


@pytest.mark.parametrize(
    ("box", "encoding", "size", "message"),
    [
        (Box(0, 0, 4, 4), "MONO8", 15, "15 bytes, expected 16"),
        (Box(0, 0, 4, 4), "PACKED", 16, "16 bytes, expected 2"),
        (Box(8, 0, 12, 4), "MONO8", 16, "image has 10 columns"),
        (Box(0, 0, 4, 4), "RLE", 16, "RLE"),
    ],
)
def test_what_does_not_fit_is_refused(box, encoding, size, message):
    with pytest.raises(InputError, match=message):
        decode(box, encoding, np.zeros(size, np.uint8), 6, 10)


def test_mono8_with_other_values_is_refused():
    with pytest.raises(InputError, match="other than 0 and 255"):
        decode(Box(0, 0, 2, 1), "MONO8", np.array([255, 7], np.uint8), 6, 10)
