"""Faulty sequences keep the truth, and the table of robustness says what was counted."""

import json

import numpy as np
import pytest
from frames_of_rectangles import HEIGHT, WIDTH, rectangle

from c2f_ros.contract import MASK_CHANNELS, CropSpec, InputError, InputSpec
from c2f_ros.geometry import place
from c2f_ros.records import SourceFrame, SourceObject
from c2f_ros.sources.predicted import FIRST_UNMATCHED_ID, true_visible
from c2f_train.data.sequences import track_name
from c2f_train.data.upstream import KINDS, UpstreamFault
from c2f_train.scores.evaluate import View
from c2f_train.scores.faulty_sequences import FaultySequences, Pooled, faulty_frames
from c2f_train.scores.robustness import conditions, measure, table, table_of_unsent, write_robustness

VIEW = View(CropSpec("square", 16, 2.0, 0.0), InputSpec("rgb", (0.0,) * 3, (1.0,) * 3, MASK_CHANNELS))


def sequence(count=16):
    """7 is partly hidden by 3, which moves; 9 stands apart and is hidden wholly for two frames by 3."""
    rgb = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    out = []
    for index in range(count):
        masks = {7: rectangle(10, 10, 26, 26), 9: rectangle(44, 12, 50, 18), 3: rectangle(18, 8, 26, 32)}
        if index in (8, 9):
            masks[3] = rectangle(40, 8, 54, 32)
        labels = np.zeros((HEIGHT, WIDTH), np.int32)
        for identity, mask in masks.items():
            labels[mask] = identity
        objects = {k: SourceObject(str(k), place(mask)) for k, mask in masks.items()}
        out.append(SourceFrame(index * 100_000_000, rgb, labels, objects))
    return out


def shown(image, masks):
    return masks[:, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_truth_stays_whatever_is_sent(kind):
    frames = sequence()
    by_stamp = {frame.stamp_ns: frame for frame in frames}
    for sent in faulty_frames(frames, UpstreamFault(kind, 2), 3):
        true = by_stamp[sent.stamp_ns]
        assert sent.rgb.shape[:2] == sent.labels.shape
        for identity in (3, 7, 9):
            if kind != "pan":
                np.testing.assert_array_equal(sent.rgb, true.rgb)
                assert sent.objects[identity].amodal.area == true.objects[identity].amodal.area
                assert true_visible(sent, identity).area == (true.labels == identity).sum()
            assert sent.objects[identity].class_id == str(identity)
        assert {k for k in sent.objects if k >= FIRST_UNMATCHED_ID} == {k for k in np.unique(sent.labels) if k > 9}


def test_a_panning_camera_sees_a_part_of_image_and_truth():
    frames = sequence()
    for sent, true in zip(faulty_frames(frames, UpstreamFault("pan", 1), 0), frames, strict=True):
        assert sent.labels.shape == (32, 48)
        found = [
            (y, x)
            for y in range(HEIGHT - 31)
            for x in range(WIDTH - 47)
            if np.array_equal(true.rgb[y : y + 32, x : x + 48], sent.rgb)
        ]
        ((y, x),) = found
        whole = np.zeros((HEIGHT, WIDTH), bool)
        whole[true.objects[7].amodal.box.slices] = true.objects[7].amodal.mask
        assert sent.objects[7].amodal.area == whole[y : y + 32, x : x + 48].sum()
        np.testing.assert_array_equal(sent.labels, true.labels[y : y + 32, x : x + 48])


def test_an_object_with_a_new_id_is_another_track():
    names = [track_name(frame, 9) for frame in faulty_frames(sequence(), UpstreamFault("renamed", 2), 0)]
    assert len(set(names[:8])) == len(set(names[10:])) == 1 and names[7] != names[10]


def test_without_a_fault_the_frames_are_the_same_and_pooled_names_differ():
    frames = sequence(2)
    ((name, same),) = FaultySequences([("a", frames)], None, 0)
    assert name == "a" and same == frames
    pooled = Pooled({"x": [("a", frames), ("b", frames)], "y": [("a", frames)]}, clips=1)
    assert [name for name, _ in pooled] == ["x/a", "y/a"]
    assert len(list(pooled)) == 2


def test_object_frames_that_are_not_sent_are_counted_apart(tmp_path):
    models = {"a": (shown, VIEW), "b": (shown, VIEW)}
    found = list(measure([("clip", sequence())], models, conditions(["missed", "late", "dropped"]), seed=1))
    assert [item.name for item in found][:3] == ["none", "missed 1", "missed 2"]
    visible = found[0].rows["a"]["object_frames"]
    assert visible == 16 * 3 - 2 and found[0].rows["a"]["unsent_frames"] == 0
    for item in found:
        row = item.rows["a"]
        assert item.rows["a"] == item.rows["b"]
        counted = row["object_frames"] + row["unsent_frames"] + row["never_sent_frames"]
        assert counted < visible if item.kind == "dropped" else counted == visible
        if item.kind == "late":
            assert row["never_sent_frames"] > 0 == row["unsent_frames"]
        if row["unsent_frames"]:
            assert row["miou_full_unsent"] == 0 < row["miou_full_unsent_moved"]
    text = write_robustness(found, {"seed": 1}, tmp_path).read_text()
    assert "| missed 2 |" in text and "never sent before" in text and (tmp_path / "robustness.png").exists()
    assert len(json.loads((tmp_path / "robustness.json").read_text())["conditions"]) == 7
    assert "(" in table(found, "miou_full") and "missed 1" in table_of_unsent(found)


def test_an_unknown_fault_is_refused():
    with pytest.raises(InputError, match="fog"):
        conditions(["fog"])


def test_the_command_says_which_names_clash(tmp_path, capsys):
    from needs_torch import torch  # noqa: F401

    from c2f_train.cli import main

    assert main(["robustness", "a/c2f_nano", "b/c2f_nano", "--data", str(tmp_path), "--out", str(tmp_path)]) == 1
    assert "same name (c2f_nano, c2f_nano)" in capsys.readouterr().err
