"""Masks of annotation files decode exactly, and none that is broken gets through; so with pickles."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from dataset_files import uncompressed
from pycocotools import mask as coco

from c2f_ros.contract import InputError
from c2f_ros.sources.coco_masks import decode_segmentation, expand_counts
from c2f_ros.sources.plain_pickle import read_plain_pickle

FILE = Path("set.json")


def random_masks():
    rng = np.random.default_rng(0)
    for share in (0.0, 0.02, 0.5, 1.0):
        for _ in range(12):
            height, width = rng.integers(1, 70, 2)
            yield rng.random((height, width)) < share
    block = np.zeros((200, 300), bool)
    block[20:150, 30:280] = True
    yield block


def test_run_lengths_decode_as_pycocotools_does():
    for mask in random_masks():
        height, width = mask.shape
        lengths = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        for value in (lengths, {**lengths, "counts": lengths["counts"].decode()}, uncompressed(mask)):
            found = decode_segmentation(value, height, width, FILE, "here")
            assert found.dtype == np.bool_
            np.testing.assert_array_equal(found, mask)
            np.testing.assert_array_equal(found, coco.decode(lengths))
        assert expand_counts(lengths["counts"]).tolist() == uncompressed(mask)["counts"]


def test_polygons_are_joined():
    two = [[1, 1, 4, 1, 4, 3, 1, 3], np.array([6.0, 0, 8, 0, 8, 2, 6, 2])]
    expected = np.zeros((5, 9), bool)
    expected[1:3, 1:4] = expected[0:2, 6:8] = True
    np.testing.assert_array_equal(decode_segmentation(two, 5, 9, FILE, ""), expected)
    assert not decode_segmentation([], 5, 9, FILE, "").any()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([[3, 4]], "a polygon has 1 corners, expected at least 3"),
        ([1, 2, 3, 4], "a polygon has 2 corners"),
        ([[1, 2, 3, 4, 5, 6, 7]], "7 numbers is no list of x, y pairs"),
        ([[1, 2, 3, 4, 5, float("nan")]], "or none at all"),
        ([[0, 0, 1e9, 0, 1e9, 1e9]], "a corner more than 90 pixels away"),
        ([["a", "b"]], "not a polygon or run-length mask"),
        ([[[1, 2], [3, 4], [5, 6]]], "not a polygon|no list of x, y pairs"),
        ("x", "str is not a polygon or run-length mask"),
        (None, "NoneType is not"),
        ({"counts": [45]}, "'size' and 'counts' are missing"),
        ({"size": [9, 5], "counts": [45]}, r"a mask for \[9, 5\] \(rows, columns\), the image has \[5, 9\]"),
        ({"size": [5, 9], "counts": [44]}, "cover 44 pixels, the image has 45"),
        ({"size": [5, 9], "counts": [50, -5]}, "a run length is -5 or 50"),
        ({"size": [5, 9], "counts": [2.5, 42.5]}, "no whole numbers"),
        ({"size": [5, 9], "counts": [[1], [2, 3]]}, "inhomogeneous"),
        ({"size": [5, 9], "counts": "\\1"}, "cover 44 pixels"),
        ({"size": [5, 9], "counts": "P"}, "broken or cut short"),
        ({"size": [5, 9], "counts": "\x01"}, "broken or cut short"),
        ({"size": [5, 9], "counts": "oooooooo0"}, "run lengths are broken"),
        ({"size": [5, 9], "counts": ""}, "cover 0 pixels"),
        ({"size": [5, 9], "counts": None}, "no whole numbers"),
    ],
)
def test_a_broken_mask_is_refused_with_its_place(value, reason):
    with pytest.raises(InputError, match=reason) as refused:
        decode_segmentation(value, 5, 9, FILE, "annotation 3")
    assert str(refused.value).startswith("set.json: annotation 3: ") and "\n" not in str(refused.value)


PLAIN = {"v_1": {0: {"VM": [{"size": [3, 4], "counts": b"0<\xff"}], "box": (1, 2), "set": {1}, "none": None, "e": b""}}}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_plain_values_comes_back(protocol, tmp_path):
    arrays = [np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(3, dtype=">i2")]
    numbers = [np.float64(2.5), np.int64(-7), np.bool_(True), np.uint8(200)]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([PLAIN, arrays, numbers], protocol))
    plain, read_arrays, read_numbers = read_plain_pickle(tmp_path / "a.pkl")
    assert plain == PLAIN
    assert read_arrays == [array.tolist() for array in arrays]
    assert read_numbers == [2.5, -7, True, 200]


class Malicious:
    """Makes the file `ran` when a careless reader unpickles it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_does_not_run(protocol, tmp_path):
    data = pickle.dumps({"v_1": Malicious(tmp_path / "ran")}, protocol)
    (tmp_path / "a.pkl").write_bytes(data)
    with pytest.raises(InputError, match=r"a.pkl: .*it asks for \w+.mkdir, which is refused") as refused:
        read_plain_pickle(tmp_path / "a.pkl")
    assert "\n" not in str(refused.value) and not (tmp_path / "ran").exists()
    pickle.loads(data)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Ran out of input"),
        (b"no pickle", "not one of plain values"),
        (pickle.dumps(PLAIN)[:-20], "truncated|out of input"),
        (b"cbuiltins\neval\n(S'1'\ntR.", "asks for builtins.eval"),
        (b"cbuiltins\ngetattr\n.", "asks for builtins.getattr"),
        (b"cnumpy\nload\n.", "asks for numpy.load"),
        (b"cnumpy\ndtype\n}S'__call__'\nI1\nsb.", "changes a name"),
        (b"c__builtin__\nbytes\n(I1000000000000\ntR.", "not one of plain values"),
        (pickle.dumps(np.array([os.sep, None], object)), "type 'O8'"),
        (pickle.dumps(np.array(["text"])), "type 'U4'"),
        (b"]" * 3 + b"e.", "not one of plain values"),
    ],
)
def test_a_pickle_of_anything_else_is_refused(data, reason, tmp_path):
    (tmp_path / "a.pkl").write_bytes(data)
    with pytest.raises(InputError, match=reason):
        read_plain_pickle(tmp_path / "a.pkl")
