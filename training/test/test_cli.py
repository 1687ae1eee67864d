"""The whole way by one command: clips, samples, training, export, scores; it resumes, and says what is missing."""

import json
from dataclasses import replace

import pytest
import yaml
from tiny import tiny_config

from c2f_ros.bundle import load_bundle
from c2f_ros.contract import to_plain
from c2f_train.cli import main


def write(config, file):
    file.write_text(yaml.safe_dump(to_plain(config)))
    return str(file)


def test_all_makes_a_bundle_with_its_scores_and_a_second_run_redoes_no_training(tmp_path, capsys):
    config = tiny_config(samples=16)
    train, test, held_out = (
        replace(getattr(config.data, n)[0], clips=1, frames=2) for n in ("train", "test", "held_out")
    )
    data = replace(config.data, train=(train,), test=(test,), held_out=(held_out,), scale_range=(1.5, 3.0))
    file = write(replace(config, name="tiny", data=data), tmp_path / "tiny.yaml")
    work, out = tmp_path / "work", tmp_path / "models" / "tiny"
    words = ["all", "--config", file, "--work", str(work), "--threads", "1", "--out", str(out), "--no-ap"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    for row in ("visible", "hull", "clipped_hull", "U-Net of equal compute", "tiny", "tiny + under others"):
        assert f"| {row} " in shown
    metrics = load_bundle(out).manifest.made["metrics"]
    assert set(metrics) == {"test", "held_out"}
    assert json.loads((work / "run" / "evaluation.json").read_text()) == metrics
    assert (work / "run" / "evaluation" / "test" / "report.md").exists() and (work / "store_tokenizer").is_dir()
    stamp = (work / "run" / "refiner.pt").stat().st_mtime_ns
    assert main(words) == 0
    assert (work / "run" / "refiner.pt").stat().st_mtime_ns == stamp


def test_a_step_without_the_one_before_it_says_what_to_run(tmp_path, capsys):
    common = ["--config", write(tiny_config(), tmp_path / "tiny.yaml"), "--work", str(tmp_path)]
    assert main(["prepare", *common]) == 1
    assert "clip_*.npz" in capsys.readouterr().err
    assert main(["train", *common]) == 1
    assert "c2f-train prepare" in capsys.readouterr().err


def test_a_config_that_is_not_there_or_not_right_is_one_sentence(tmp_path, capsys):
    assert main(["generate", "--config", str(tmp_path / "no.yaml"), "--work", str(tmp_path)]) == 1
    assert "no.yaml" in capsys.readouterr().err
    for text, said in (("surprise: 1\n", "unknown key surprise"), ("a: [1\n", "odd.yaml is no YAML"), ("", "odd.yaml")):
        (tmp_path / "odd.yaml").write_text(text)
        assert main(["generate", "--config", str(tmp_path / "odd.yaml"), "--work", str(tmp_path)]) == 1
        error = capsys.readouterr().err
        assert said in error and len(error.strip().splitlines()) == 1


def test_help_shows_every_command_in_the_order_of_use_with_an_example(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    places = [shown.index(f"\n    {name} ") for name in ("generate", "prepare", "train", "export", "evaluate", "all")]
    assert places == sorted(places) and "import-official" in shown
    assert "c2f-train all --config training/configs/nano.yaml" in shown


def test_an_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["fly"])
    assert ended.value.code == 2
    assert "invalid choice: 'fly'" in capsys.readouterr().err
