"""A store is the same whatever the number of workers and however often its cutting was killed."""

import shutil
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
from small_stores import STILL

from c2f_ros.contract import MASK_CHANNELS, ContractError, CropSpec, InputError
from c2f_train.data import store as store_module
from c2f_train.data.samples import AMODAL, VISIBLE, Cutting, cut_tracks
from c2f_train.data.sequences import open_sequences
from c2f_train.data.store import open_store, write_store
from c2f_train.data.training_sources import Source, training_sources
from c2f_train.data_config import RecordedConfig
from c2f_train.synth.generate import generate_set
from c2f_train.synth.scene import SceneConfig

CROP = CropSpec("square", 16, 2.0, 0.22)
DATA = replace(STILL, scale_jitter=0.1, shift_jitter=0.05, unsegmented_fraction=0.3)
FILES = ("samples.u8", "tracks.npy", "seen.npy", "occlusion.npy", "store.yaml")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Two data sets, of three and of two clips."""
    root = tmp_path_factory.mktemp("clips")
    scene = SceneConfig(height=48, width=64, objects_min=4, objects_max=6)
    generate_set(scene, 3, 3, 9, root / "a")
    generate_set(scene, 2, 2, 10, root / "b")
    return [Source(root / "a"), Source(root / "b", kind="generated")]


def write(sources, folder, workers=1, crop=CROP, data=DATA, frames=2):
    write_store(sources, folder, crop, data, MASK_CHANNELS, 5, workers, frames)


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def finished(sources, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    write(sources, folder)
    return folder


def test_a_store_holds_every_track_of_every_source_in_order(sources, finished):
    store = open_store(finished)
    tracks = [
        (number, track)
        for number, source in enumerate(sources)
        for part, (_, frames) in enumerate(open_sequences(source.path))
        for track in cut_tracks(frames, Cutting(CROP, DATA, MASK_CHANNELS, 2, False), (5, number, part))[0]
    ]
    assert len(store.tracks) == len(tracks) > 8
    for (first, count, number), (source, track) in zip(store.tracks, tracks, strict=True):
        rows = slice(first, first + count)
        np.testing.assert_array_equal(store.samples[rows], track.records)
        np.testing.assert_array_equal(store.seen[rows], track.seen)
        np.testing.assert_array_equal(store.occlusion[rows], track.occlusion)
        assert number == source
    assert store.tracks[:, 1].sum() == len(store) == len(store.seen)
    assert store.truth == VISIBLE and store.input.mean == (0.5,) * 3
    assert not (finished / "progress.jsonl").exists()


def test_two_workers_write_the_same_bytes(sources, finished, tmp_path):
    write(sources, tmp_path, workers=2)
    assert contents(tmp_path) == contents(finished)


@pytest.mark.parametrize("done", [0, 1, 4])
@pytest.mark.parametrize("torn", [False, True])
def test_a_killed_run_goes_on_and_writes_the_same_bytes(sources, finished, tmp_path, monkeypatch, done, torn):
    real, cut = store_module._pieces, []

    def die(job):
        if job.cutting.crop == CROP:
            if len(cut) == done:
                raise KeyboardInterrupt
            cut.append(job)
        return real(job)

    monkeypatch.setattr(store_module, "SYNC_BYTES", 1)
    monkeypatch.setattr(store_module, "_pieces", die)
    with pytest.raises(KeyboardInterrupt):
        write(sources, tmp_path)
    with pytest.raises(FileNotFoundError, match="prepare"):
        open_store(tmp_path)
    if torn:
        with open(tmp_path / "samples.u8", "ab") as samples, open(tmp_path / "progress.jsonl", "a") as progress:
            samples.write(b"half a record")
            progress.write('{"counts": [3')
    again = []
    monkeypatch.setattr(store_module, "_pieces", lambda job: again.append(job) or real(job))
    write(sources, tmp_path)
    assert sum(job.cutting.crop == CROP for job in again) == 5 - done
    assert contents(tmp_path) == contents(finished)


def test_records_lost_with_the_disk_s_cache_are_cut_again(sources, finished, tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "_finish", lambda *arguments: None)
    monkeypatch.setattr(store_module, "SYNC_BYTES", 1)
    write(sources, tmp_path)
    with open(tmp_path / "samples.u8", "r+b") as samples:
        samples.truncate((finished / "samples.u8").stat().st_size // 2)
    monkeypatch.undo()
    write(sources, tmp_path)
    assert contents(tmp_path) == contents(finished)


def test_a_finished_store_is_left_alone_and_another_configuration_is_cut_anew(sources, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "s")
    stamp = (tmp_path / "s" / "samples.u8").stat().st_mtime_ns
    write(sources, tmp_path / "s")
    assert (tmp_path / "s" / "samples.u8").stat().st_mtime_ns == stamp
    write(sources, tmp_path / "s", data=replace(DATA, scale_jitter=0.0))
    assert contents(tmp_path / "s")["samples.u8"] != contents(finished)["samples.u8"]


def test_a_store_that_was_cut_short_is_refused(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "s")
    with open(tmp_path / "s" / "samples.u8", "r+b") as file:
        file.truncate(100)
    with pytest.raises(FileNotFoundError, match="prepare it again"):
        open_store(tmp_path / "s")


def test_a_disk_without_the_room_is_refused_before_cutting(sources, finished, tmp_path, monkeypatch, capsys):
    size = (finished / "samples.u8").stat().st_size
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(store_module.shutil, "disk_usage", lambda folder: usage(0, 0, size - 1))
    with pytest.raises(ContractError, match=r"needs about .* GB and .* GB are free; make room"):
        write(sources, tmp_path)
    assert (tmp_path / "samples.u8").stat().st_size == 0
    records = size // (7 * 16 * 16)
    assert (
        f"about {records} records of {7 * 16 * 16} bytes" in capsys.readouterr().out
    )  # few sequences: all are counted


def test_sources_that_cannot_be_opened_or_give_nothing_are_refused(sources, tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        write([Source(tmp_path / "nowhere")], tmp_path / "s")
    with pytest.raises(InputError, match="no object could be cut"):
        write(sources, tmp_path / "s", data=replace(DATA, min_visible_pixels=100_000))


def test_the_stretched_rule_makes_a_store_of_windows(sources, tmp_path):
    write(sources, tmp_path, crop=CropSpec("stretched", 32, 2.0, 0.0), frames=2)
    store = open_store(tmp_path)
    assert store.tracks[:, 1].max() == 2 and store.frames == 2
    assert store.input.std == (1.0,) * 3
    assert set(np.unique(store.samples[:, AMODAL])) == {0, 255}


def test_sources_of_a_configuration_are_its_training_sets_and_recorded_ones(tmp_path):
    recorded = (RecordedConfig("data/x", "train"), RecordedConfig("data/y", visible="found.json"))
    found = training_sources(replace(STILL, recorded=recorded), tmp_path)
    assert [str(source.path) for source in found] == [str(tmp_path / "train"), "data/x", "data/y"]
    assert [source.kind for source in found] == ["generated", "auto", "auto"]
    assert found[1].results is None and str(found[2].results) == "found.json"


def test_cutting_needs_neither_torch_nor_pycocotools():
    code = "import sys; sys.modules.update(torch=None, pycocotools=None)\n"
    code += "import c2f_train.data.store, c2f_train.data.augment"
    path = {"PYTHONPATH": ":".join(sys.path), "PATH": ""}
    subprocess.run([sys.executable, "-c", code], check=True, env=path)
