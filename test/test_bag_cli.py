"""`c2f-bag` as a user calls it."""

import sys

import pytest
import recordings
from recordings import FRAMES

from c2f_ros.bag import BagReader
from c2f_ros.bag_cli import main
from c2f_ros.sources import generated


def counts(path):
    with BagReader(path) as reader:
        found: dict[str, int] = {}
        for topic, _, _ in reader.serialized(tuple(reader.topic_types)):
            found[topic] = found.get(topic, 0) + 1
        return found


@pytest.mark.parametrize("kind", ["folder", "movid", "kins", "cocoa"])
def test_every_layout_becomes_a_bag(kind, tmp_path, capsys):
    getattr(recordings, f"write_{kind}")(tmp_path / "source")
    assert main([str(tmp_path / "source"), "--out", str(tmp_path / "bag")]) == 0
    frames = 1 if kind == "cocoa" else FRAMES
    truth = {} if kind == "folder" else {"/ground_truth/instances": frames}
    assert counts(tmp_path / "bag") == {"/camera/image": frames, "/segmenter/masks": frames, **truth}
    assert f"{frames} frames, 2 objects" in capsys.readouterr().out


def test_options_choose_the_form(tmp_path):
    recordings.write_movid(tmp_path / "source")
    flags = ["--kind", "movid", "--compressed", "png", "--as-instances", "--humble"]
    assert main([str(tmp_path / "source"), "--out", str(tmp_path / "bag"), *flags]) == 0
    assert set(counts(tmp_path / "bag")) == {
        "/camera/image/compressed",
        "/segmenter/instances",
        "/ground_truth/instances",
    }
    assert "version: 8" in (tmp_path / "bag" / "metadata.yaml").read_text()


def test_the_rate_sets_the_stamps(tmp_path):
    recordings.write_folder(tmp_path / "source")
    assert main([str(tmp_path / "source"), "--out", str(tmp_path / "bag"), "--rate", "4"]) == 0
    with BagReader(tmp_path / "bag") as reader:
        times = [time_ns for _, time_ns, _ in reader.serialized(("/camera/image",))]
    assert times == [1_000_000_000, 1_250_000_000, 1_500_000_000]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["{0}/nothing"], "does not exist"),
        (["{0}/source", "--kind", "kins"], "not exactly one JSON file"),
        (["generator:many"], "the seed in 'generator:many' is 'many'"),
        (["{0}/source", "--rate", "0"], "--rate is 0, expected more than 0"),
    ],
)
def test_a_refusal_is_one_sentence_and_leaves_nothing(arguments, reason, tmp_path, capsys):
    recordings.write_folder(tmp_path / "source")
    arguments = [text.format(tmp_path) for text in arguments]
    assert main([*arguments, "--out", str(tmp_path / "bag")]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ") and reason in said
    assert not (tmp_path / "bag").exists()


def test_a_bag_is_replaced_only_if_asked_and_nothing_else_ever(tmp_path, capsys):
    recordings.write_folder(tmp_path / "source")
    arguments = [str(tmp_path / "source"), "--out", str(tmp_path / "bag")]
    assert [main(arguments), main(arguments), main([*arguments, "--overwrite"])] == [0, 1, 0]
    assert "exists already" in capsys.readouterr().err
    assert main([str(tmp_path / "source"), "--out", str(tmp_path / "source"), "--overwrite"]) == 1
    assert (tmp_path / "source" / "rgb").is_dir()


def test_a_source_that_breaks_midway_leaves_no_bag(tmp_path):
    recordings.write_folder(tmp_path / "source")
    (tmp_path / "source" / "label" / "00002.png").unlink()
    assert main([str(tmp_path / "source"), "--out", str(tmp_path / "bag")]) == 1
    assert not (tmp_path / "bag").exists()


def test_a_missing_generator_is_said_in_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(generated, "_environment", lambda: {"PATH": "/usr/bin", "PYTHONPATH": str(tmp_path)})
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3" if sys.platform == "linux" else sys.executable)
    assert main(["generator:1", "--out", str(tmp_path / "bag")]) == 1
    assert "the generator is not installed: pip install numba" in capsys.readouterr().err


@pytest.mark.slow
def test_the_generator_draws_the_same_bag_from_the_same_seed(tmp_path):
    pytest.importorskip("numba")
    small = ["--frames", "2", "--size", "48", "64", "--objects", "3", "3"]
    for name in ("a", "b"):
        assert main(["generator:7", "--out", str(tmp_path / name), *small]) == 0
    assert counts(tmp_path / "a") == {"/camera/image": 2, "/segmenter/masks": 2, "/ground_truth/instances": 2}
    a, b = (list(_serialized(tmp_path / name)) for name in ("a", "b"))
    assert a == b


def _serialized(path):
    with BagReader(path) as reader:
        yield from reader.serialized(tuple(reader.topic_types))
