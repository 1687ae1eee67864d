"""Generated clips and recorded data sets open the same way; a broken clip is refused and the others are read."""

import json

import numpy as np
import pytest
from dataset_files import result
from recordings import FRAMES, write_movid

from c2f_ros.contract import InputError
from c2f_train.data.sequences import generated_sequences, open_sequences, recorded_sequences
from c2f_train.synth.generate import generate_set
from c2f_train.synth.scene import SceneConfig

SCENE = SceneConfig(height=48, width=64, objects_min=3, objects_max=3)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """The folder of a data set whose split `test` has two clips of two frames."""
    root = tmp_path_factory.mktemp("clips")
    generate_set(SCENE, 2, 2, 9, root / "test")
    return root


def test_generated_clips_are_a_data_set(clips):
    found = open_sequences(clips, "test")
    assert (found.kind, len(found)) == ("generated", 2)
    names = sorted(file.stem for file in (clips / "test").glob("clip_*.npz"))
    assert [name for name, _ in found] == [name for name, _ in generated_sequences(clips / "test")] == names
    for _, frames in found:
        once, again = list(frames), list(frames)
        assert [frame.rgb.shape for frame in once] == [(48, 64, 3)] * 2
        np.testing.assert_array_equal(once[1].labels, again[1].labels)


def test_a_broken_clip_is_refused_and_the_others_are_read(clips, tmp_path, capsys):
    whole, broken = sorted((clips / "test").glob("clip_*.npz"))
    (tmp_path / whole.name).write_bytes(whole.read_bytes())
    (tmp_path / broken.name).write_bytes(broken.read_bytes()[:5000])
    found = open_sequences(tmp_path)
    assert [len(list(frames)) for _, frames in found] == [2, 0]
    assert f"{broken.name}: this is not a generated clip" in found.refused[0]
    assert capsys.readouterr().err == f"refused: {found.refused[0]}\n"


def test_predicted_masks_of_a_clip_are_named_by_clip_and_frame(clips, tmp_path):
    name, frames = next(iter(open_sequences(clips / "test")))
    labels = [frame.labels for frame in frames][1]
    mask = labels == np.bincount(labels[labels > 0]).argmax()
    (tmp_path / "results.json").write_text(json.dumps([result(f"{name}/00001", mask, 0.5)]))
    first, second = next(iter(open_sequences(clips / "test", results=tmp_path / "results.json")))[1]
    assert not first.labels.any()
    np.testing.assert_array_equal(second.labels, np.where(mask, labels, 0))


def test_everything_else_is_a_recorded_data_set(tmp_path):
    write_movid(tmp_path, "3")
    for found in (open_sequences(tmp_path), recorded_sequences(tmp_path), open_sequences(tmp_path, "test", "movid")):
        assert [(name, len(list(frames))) for name, frames in found] == [("test/3", FRAMES)]


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="no clip_"):
        open_sequences(tmp_path, kind="generated")
    with pytest.raises(FileNotFoundError, match="c2f-train prepare"):
        generated_sequences(tmp_path)
    with pytest.raises(InputError, match="no known layout"):
        open_sequences(tmp_path)
