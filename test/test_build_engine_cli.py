"""`c2f-build-engine`: plans where the node looks for them, and one sentence where there can be none."""

from __future__ import annotations

from pathlib import Path

import pytest
from built_plans import compiler
from toy_bundles import toy_bundle

from c2f_ros import build_engine_cli
from c2f_ros.build_engine_cli import main
from c2f_ros.contract import ContractError
from c2f_ros.engines import cuda_device


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A toy bundle's folder, on a machine without a GPU."""
    monkeypatch.setattr(cuda_device, "why_no_gpu", lambda: "no NVIDIA GPU can be used here")
    toy_bundle(tmp_path / "toy", "stretched", None, [1.0])
    return str(tmp_path / "toy")


def test_it_says_what_it_built_and_where_and_what_was_there_before(model, tmp_path, capsys):
    compiler()
    words = [model, "--backend", "tensorrt_rtx", "--precision", "fp32", "--out", str(tmp_path / "plans")]
    assert main(words) == 0
    first = capsys.readouterr().out
    assert "toy for every RTX card, tensorrt_rtx, fp32:" in first
    assert "c2f.onnx:" in first and " layers, built in " in first and str(tmp_path / "plans") in first
    assert main(words) == 0
    assert "was built before" in capsys.readouterr().out
    assert main([*words, "--again"]) == 0
    assert " layers, built in " in capsys.readouterr().out
    assert len(list((tmp_path / "plans").glob("*.plan"))) == 1


def test_plans_go_to_the_user_s_cache_folder_by_default(model, tmp_path, monkeypatch):
    compiler()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main([model, "--backend", "tensorrt_rtx", "--most-rows", "2"]) == 0
    assert len(list((tmp_path / "cache" / "c2f_ros").glob("*.plan"))) == 1


def test_an_unknown_model_is_one_sentence(capsys):
    assert main(["no_such_model", "--backend", "tensorrt_rtx"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: model 'no_such_model'") and len(error.strip().splitlines()) == 1


def test_tensorrt_needs_the_gpu_that_will_run_the_plan(model, monkeypatch, capsys):
    monkeypatch.setattr(build_engine_cli, "open_library", lambda backend: object)
    monkeypatch.setattr(build_engine_cli, "is_portable", lambda library: False)
    assert main([model, "--backend", "tensorrt"]) == 1
    assert "no NVIDIA GPU can be used here; build there" in capsys.readouterr().err


@pytest.mark.parametrize(("there", "chosen"), [(["tensorrt", "tensorrt_rtx"], "tensorrt"), (["tensorrt_rtx"],) * 2])
def test_tensorrt_is_chosen_before_tensorrt_for_rtx(monkeypatch, there, chosen):
    monkeypatch.setattr(build_engine_cli, "is_installed", lambda backend: backend in there)
    assert build_engine_cli.default_backend() == (chosen if isinstance(chosen, str) else chosen[0])


def test_without_either_library_it_says_how_to_install_one(monkeypatch):
    monkeypatch.setattr(build_engine_cli, "is_installed", lambda backend: False)
    with pytest.raises(ContractError, match=r"pip install c2f_ros\[tensorrt\]"):
        build_engine_cli.default_backend()
