"""Upstream ids that change behind an occluder: in the labels, never in the truth."""

import dataclasses

import numpy as np
import pytest
import recordings

from c2f_ros import bag_cli
from c2f_ros.bag import BagReader
from c2f_ros.bag_making import BagOptions, write_bag
from c2f_ros.contract import InputError
from c2f_ros.sources.renamed import FIRST_NEW_ID, with_new_ids
from c2f_ros.truth import truth_frame


def hidden_and_back():
    """The recording and its first two frames once more: 2 is hidden wholly in the third frame, then comes back."""
    frames = recordings.recorded()
    later = [dataclasses.replace(frame, stamp_ns=frame.stamp_ns + 300_000_000) for frame in frames[:2]]
    return [*frames, *later]


def test_an_object_that_was_hidden_has_a_new_id_and_the_truth_its_own():
    frames = hidden_and_back()
    renamed = list(with_new_ids(frames))
    ids = [sorted(int(v) for v in np.unique(frame.labels) if v) for frame in renamed]
    assert ids == [[1, 2], [1, 2], [1], [1, FIRST_NEW_ID], [1, FIRST_NEW_ID]]
    for true, sent in zip(frames, renamed, strict=True):
        whole, again = truth_frame(true, None), truth_frame(sent, None)
        assert [i.track_id for i in again.instances] == [i.track_id for i in whole.instances] == ["1", "2"]
        for one, other in zip(whole.instances, again.instances, strict=True):
            assert (one.visible.area, one.amodal.area) == (other.visible.area, other.amodal.area)
    assert renamed[3].objects[FIRST_NEW_ID].class_id == "plate"
    np.testing.assert_array_equal(frames[3].labels, recordings.labels_of(0))


def test_ids_that_new_ones_could_meet_are_refused():
    with pytest.raises(InputError, match="has an object 10000"):
        list(with_new_ids(recordings.recorded(ids={1: 1, 2: FIRST_NEW_ID})))


def test_the_command_renames(tmp_path, monkeypatch):
    written = []
    recordings.write_movid(tmp_path / "source")
    monkeypatch.setattr(bag_cli, "with_new_ids", lambda frames: written.extend(hidden_and_back()) or iter(written))
    assert bag_cli.main([str(tmp_path / "source"), "--out", str(tmp_path / "bag"), "--new-ids"]) == 0
    with BagReader(tmp_path / "bag") as reader:
        assert len(list(reader.serialized(("/segmenter/masks",)))) == len(written) == 5


def test_a_bag_holds_the_new_ids(tmp_path):
    made = write_bag(tmp_path / "bag", with_new_ids(hidden_and_back()), BagOptions())
    assert (made.frames, made.objects, made.with_truth) == (5, 3, 5)
