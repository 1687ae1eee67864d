"""The demo of training runs whole: what it makes exists, loads, and has learnt something."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed; `make test` installs it")
pytest.importorskip("rosbags", reason="rosbags is not installed; `make test` installs it")

from c2f_ros.bundle import load_bundle
from c2f_ros.contract import ContractError
from c2f_train import demo
from c2f_train.demo import MODEL, REPLAY, Step, demo_config, run_demo, summary


def small_config():
    """The demo's own, with fewer clips and samples; still enough to beat the visible mask."""
    config = demo_config()
    first, drives = config.data.train
    test, test_drives = config.data.test
    data = replace(
        config.data,
        train=(replace(first, clips=10), replace(drives, clips=1, frames=2)),
        test=(replace(test, clips=1, frames=4), replace(test_drives, clips=1, frames=1)),
        held_out=(),
    )
    return replace(
        config, data=data,
        tokenizer_stage=replace(config.tokenizer_stage, samples=4800),
        transformer_stage=replace(config.transformer_stage, samples=320),
        refiner_stage=replace(config.refiner_stage, samples=4800),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1200)  # a minute of work, but other work may share the cores
def test_the_whole_way_gives_a_model_that_beats_the_visible_mask_and_runs_on_a_bag(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(demo, "SCENE_FRAMES", 4)
    config = small_config()
    result = run_demo(config, tmp_path, 1)
    rows = result.rows["test"]
    assert {"visible", "hull", "clipped_hull", "completion", config.name} <= set(rows)
    assert rows[config.name]["miou_full"] > rows["visible"]["miou_full"] + 1
    assert result.rows["driving_test"]["visible"]["object_frames"] > 0
    made = load_bundle(tmp_path / MODEL).manifest
    assert made.model_id == config.name
    report = json.loads((tmp_path / REPLAY / "report.json").read_text())
    assert report["frames"]["inferred"] == 4
    assert (tmp_path / REPLAY / "report.html").stat().st_size > 1000
    shown = capfd.readouterr().out
    assert "[8/8]" in shown and f"$ c2f-replay {tmp_path}" in shown
    text = summary(result, tmp_path)
    assert f"| {config.name} " in text and str(tmp_path / MODEL) in text
    assert all(np.isfinite(seconds) for seconds in result.seconds.values()) and len(result.seconds) == 8


def test_a_step_that_fails_stops_the_demo(tmp_path, monkeypatch):
    missing = Step("train", ["train", "--config", str(tmp_path / "no.yaml"), "--work", str(tmp_path)])
    monkeypatch.setattr(demo, "steps", lambda out, threads: [missing])
    with pytest.raises(ContractError, match="c2f-train train .* failed"):
        run_demo(demo_config(), tmp_path / "out", 1)
