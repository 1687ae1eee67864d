import numpy as np
import pytest
import yaml
from tiny_clips import moving_frames, moving_store

from c2f_ros import parallax
from c2f_ros.contract import InputError
from c2f_ros.follower import Follower
from c2f_ros.geometry import place
from c2f_train.data.clip_store import FOLLOWED, KEEP_S, open_clip_store, write_clip_store
from c2f_train.data.training_sources import Source
from c2f_train.synth.clip import Clip


def same(a, b) -> bool:
    return a.box == b.box and np.array_equal(a.mask, b.mask)


def test_a_store_gives_back_what_the_sequences_held():
    store, frames = moving_store(2), moving_frames(seed=1)
    assert len(store) == 2 and store.objects(1) == 2
    first = int(store.arrays.frame_start[1])
    for t, frame in enumerate(frames):
        assert np.array_equal(store.rgb(first + t), frame.rgb)
        assert np.array_equal(store.labels(first + t), np.select([frame.labels == 3, frame.labels == 7], [1, 2]))
        for index, identity in enumerate((3, 7)):
            assert same(store.amodal(first + t, index), frame.objects[identity].amodal)
            assert store.visible(first + t, index).area == (frame.labels == identity).sum()


def test_a_mover_s_motion_is_measured_and_the_first_frame_has_none():
    store = moving_store(1)
    assert store.motion(0, 1) is None and store.scene(0) is None
    motions = [store.motion(t, 1) for t in range(2, 6)]
    found = [m for m in motions if m is not None]
    assert found, "the mover was never found again"


def test_what_stands_still_moves_as_the_runtime_measures_it(monkeypatch):
    assert moving_store(1).parallax(3) is None  # of two objects
    monkeypatch.setattr(parallax, "LEAST_OBJECTS", 1)
    store, follower = moving_store(2), Follower(FOLLOWED, (), KEEP_S)
    assert store.parallax(0) is None
    for t, frame in enumerate(moving_frames(seed=1)):
        visible = {k: place(frame.labels == i) for k, i in (("a", 3), ("b", 7)) if (frame.labels == i).any()}
        follower.advance(frame.rgb, "rgb8", frame.labels, visible, frame.stamp_ns)
        found, expected = store.parallax(8 + t), follower.newest.parallax
        assert (found is None) == (expected is None) == (t < 2)
        assert found is None or found.at(20.0) == pytest.approx(expected.at(20.0), rel=1e-4, abs=1e-3)


def clip_file(path, seed):
    rng = np.random.default_rng(seed)
    amodal = np.zeros((3, 1, 32, 40), bool)
    amodal[:, 0, 5:20, 6:18] = True
    labels = amodal[:, 0].astype(np.uint16)
    rgb = rng.integers(0, 255, (3, 32, 40, 3)).astype(np.uint8)
    Clip(rgb, labels, amodal, np.zeros((3, 1, 1), bool), ("cup",), np.arange(3) * 10).save(path)


def test_a_written_store_opens_and_is_not_written_again(tmp_path):
    (tmp_path / "set").mkdir()
    for k in range(2):
        clip_file(tmp_path / "set" / f"clip_{k:05d}.npz", k)
    sources = [Source(tmp_path / "set", kind="generated")]
    write_clip_store(sources, tmp_path / "clips", 1)
    stamp = (tmp_path / "clips" / "frames.u8").stat().st_mtime_ns
    write_clip_store(sources, tmp_path / "clips", 1)
    assert (tmp_path / "clips" / "frames.u8").stat().st_mtime_ns == stamp
    store = open_clip_store(tmp_path / "clips")
    assert len(store) == 2 and store.amodal(4, 0).area == 15 * 12


def test_a_clip_knows_which_source_it_came_from(tmp_path):
    for name, clips in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        for k in range(clips):
            clip_file(tmp_path / name / f"clip_{k:05d}.npz", k)
    write_clip_store([Source(tmp_path / name, kind="generated") for name in "ab"], tmp_path / "clips", 1)
    assert open_clip_store(tmp_path / "clips").arrays.source.tolist() == [0, 1, 1]


def test_a_store_that_is_missing_or_cut_short_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="run `c2f-train prepare` first"):
        open_clip_store(tmp_path)
    (tmp_path / "store.yaml").write_text(yaml.safe_dump({"key": "", "clips": 1, "frame_bytes": 10}))
    (tmp_path / "frames.u8").write_bytes(b"123")
    with pytest.raises(FileNotFoundError, match="is not 10 bytes"):
        open_clip_store(tmp_path)


def test_a_source_without_sequences_is_refused(tmp_path):
    with pytest.raises((InputError, FileNotFoundError)):
        write_clip_store([Source(tmp_path, kind="generated")], tmp_path / "clips", 1)
