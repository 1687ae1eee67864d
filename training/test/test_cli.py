"""The whole way by one command: clips, samples, training, export, scores; it resumes, and says what is missing."""

import json
from dataclasses import replace

import yaml
from tiny import tiny_config

from c2f_ros.bundle import load_bundle
from c2f_ros.contract import to_plain
from c2f_train.cli import main


def test_all_makes_a_bundle_with_its_scores_and_a_second_run_redoes_no_training(tmp_path, capsys):
    config = tiny_config(samples=16)
    small = {name: replace(getattr(config.data, name), clips=1, frames=2) for name in ("train", "validation")}
    small |= {name: replace(getattr(config.data, name), clips=1, frames=1) for name in ("test", "held_out")}
    config = replace(config, name="tiny", data=replace(config.data, **small))
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(to_plain(config)))
    words = ["all", "--config", str(tmp_path / "tiny.yaml"), "--work", str(tmp_path / "work"), "--threads", "1"]
    words += ["--out", str(tmp_path / "models" / "tiny")]
    assert main(words) == 0
    shown = capsys.readouterr().out
    for row in ("visible", "hull", "clipped_hull", "U-Net of equal compute", "tiny", "tiny + under others"):
        assert f"| {row} |" in shown
    made = load_bundle(tmp_path / "models" / "tiny").manifest.made
    assert set(made["metrics"]) == {"test", "held_out"}
    assert set(json.loads((tmp_path / "work" / "run" / "evaluation.json").read_text())) == {"test", "held_out"}
    checkpoint = tmp_path / "work" / "run" / "refiner.pt"
    stamp = checkpoint.stat().st_mtime_ns
    assert main(words) == 0
    assert checkpoint.stat().st_mtime_ns == stamp


def test_a_step_without_the_one_before_it_says_what_to_run(tmp_path, capsys):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(to_plain(tiny_config())))
    common = ["--config", str(tmp_path / "tiny.yaml"), "--work", str(tmp_path)]
    assert main(["prepare", *common]) == 1
    assert "c2f-train generate" in capsys.readouterr().err
    assert main(["train", *common]) == 1
    assert "c2f-train prepare" in capsys.readouterr().err


def test_a_config_that_is_not_there_or_not_right_is_one_sentence(tmp_path, capsys):
    assert main(["generate", "--config", str(tmp_path / "no.yaml"), "--work", str(tmp_path)]) == 1
    assert "no.yaml" in capsys.readouterr().err
    (tmp_path / "odd.yaml").write_text("surprise: 1\n")
    assert main(["generate", "--config", str(tmp_path / "odd.yaml"), "--work", str(tmp_path)]) == 1
    assert "unknown key surprise" in capsys.readouterr().err
