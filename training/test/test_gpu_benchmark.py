"""The GPU benchmark on a fake GPU: what it compares, what it writes, and that it refuses without a real one."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from needs_torch import torch  # isort: skip

from device_engines import Opening
from tiny import tiny_config

from benchmarks import gpu
from benchmarks.effort import Effort
from benchmarks.random_models import random_model
from c2f_ros.engines.tensorrt_engine import why_not

CARD = torch.device("cpu")


@pytest.fixture(scope="module")
def subject(tmp_path_factory) -> gpu.Subject:
    network, bundle = random_model(tiny_config().network, tmp_path_factory.mktemp("bundle") / "tiny")
    return gpu.Subject("tiny", bundle, network)


def opener(monkeypatch: pytest.MonkeyPatch, folder: Path):
    opened = Opening(monkeypatch, folder / "cache")
    return lambda bundle, precision: opened(bundle, rows=16, precision=precision)[0]


def test_parity_has_a_row_per_precision_and_says_what_fails(monkeypatch, subject, tmp_path):
    rows = gpu.parity([subject], opener(monkeypatch, tmp_path)).rows
    assert [(row["model"], row["precision"], row["verdict"]) for row in rows] == [
        ("tiny", "fp32", "passes"), ("tiny", "fp16", "passes"),
    ]  # fmt: skip
    assert all(row["amodal"] < 1e-4 and row["iou"] > 0.999 and row["states"] is None for row in rows)
    wrong = SimpleNamespace(compute=lambda inputs: {"amodal": 1 - subject.bundle.golden_outputs["amodal"]})
    assert {gpu.differences(wrong, subject.bundle, one)["verdict"] for one in gpu.PRECISIONS} == {"FAILS"}


def test_times_compare_engines_with_pytorch_on_the_same_objects(monkeypatch, subject, tmp_path):
    section = gpu.times([subject], opener(monkeypatch, tmp_path), CARD, Effort(1, is_quick=True))
    assert [row["objects"] for row in section.rows] == [1, 16]
    for row in section.rows:
        assert row["ratio"].median == pytest.approx(row["eager"].median / row["fp32"].median, rel=1.0)
        assert row["rate"] > 0 and row["bytes"]["buffers"] > 0
    machine = {"gpu": "Fake GPU", "cpu": "", "cores": 1, "cpu_flags": [], "threads": 1, "versions": {}, "git": "0"}
    gpu.write([section], machine | {"load_at_start": [0.0] * 3, "was_busy": False}, tmp_path, True)
    assert json.loads((tmp_path / "gpu.json").read_text())["machine"]["gpu"] == "Fake GPU"
    assert (tmp_path / "gpu.md").read_text().startswith("# Benchmarks on Fake GPU")


def test_pytorch_s_masks_are_the_golden_ones_repeated(subject):
    golden = subject.bundle.golden_outputs["amodal"]
    run = gpu.eager_frames(subject.network, subject.bundle, len(golden) + 1, CARD, is_half=False)
    found = run()
    assert len(found) == len(golden) + 1 and abs(found[: len(golden)] - golden).max() < 1e-4
    assert abs(found[-1] - golden[0]).max() < 1e-4


def test_without_a_gpu_it_refuses_in_one_sentence(capsys, tmp_path):
    if not (why_not("tensorrt") and why_not("tensorrt_rtx")):
        pytest.skip("a GPU is here")
    assert gpu.main(["--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: nothing is measured, since no TensorRT engine runs here (tensorrt: ")
    assert said.count("\n") == 1 and not list(tmp_path.iterdir())
