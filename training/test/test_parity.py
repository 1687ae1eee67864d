"""Parity with recorded results of the published model, and that a difference is seen."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import published_checkpoint as published
import pytest
import yaml
from needs_torch import torch

from c2f_ros.contract import ContractError
from c2f_train.commands import parity as command
from c2f_train.model.network import C2FNetwork
from c2f_train.official.parity import load_checkpoint, run_parity
from c2f_train.official.parity_checks import Checks, Recorded, stride_of

pytestmark = pytest.mark.usefixtures("one_thread")


def run_command(folder: Path) -> None:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    command.run(parser.parse_args([str(folder)]))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_published_model_s_recorded_results_are_reproduced(shared_dir, capsys):
    run_command(shared_dir / "fixtures" / "c2f_seg_parity")
    table = capsys.readouterr().out
    assert "FAILED" not in table and " 0 failed" in table
    for part in ("image_stages", "image_item0", "image_item1", "video_stages", "video_clip", "maths", "image graph"):
        assert f"{part}" in table
    assert "not compared: maths: hinge_d\n" in table and table.count("not compared") == 1


def test_the_recorded_maths_are_reproduced(shared_dir, tmp_path):
    shutil.copy(shared_dir / "fixtures" / "c2f_seg_parity" / "maths.npz", tmp_path)
    checks = run_parity(tmp_path)
    assert len(checks.found) == 12 and not checks.failed


@torch.no_grad()
def record(network: C2FNetwork, folder: Path) -> None:
    """A checkpoint of tiny sizes and what its stages give, packed in the recorded manner."""
    vq, c2f = published.contents(network)
    published.write(folder / "image", vq, c2f)
    (folder / "image" / "c2f_seg_TINY.yml").write_text(yaml.safe_dump({"n_head": 4}))
    rng, config = np.random.default_rng(0), network.config
    masks = rng.random((2, 1, 64, 64)) > 0.5
    top = rng.integers(-64, 64, (2, config.encoder.outputs[-1], config.grid, config.grid)).astype(np.int8)
    visible, known = rng.integers(0, 17, (2, 2, config.grid**2)).astype(np.int16)
    image = network.transformer.embed_image(torch.from_numpy(top.astype(np.float32) / 32))
    logits, _ = network.transformer(image, *(torch.from_numpy(x.astype(np.int64)) for x in (visible, known)))
    values = torch.from_numpy(masks.astype(np.float32))
    np.savez(
        folder / "image_stages.npz",
        vq_in_bits=np.packbits(masks), vq_in_shape=np.array(masks.shape),
        vq_ids=network.tokenizer.encode(values).numpy().astype(np.int16),
        tr_f3_int8_div32=top, tr_c=visible, tr_z=known, tr_logits=logits.numpy()[..., ::3], strange=np.zeros(1),
    )  # fmt: skip


def test_models_of_other_sizes_are_checked_too_and_what_was_not_compared_is_named(tmp_path):
    record(published.random_network(published.TINY), tmp_path)
    checks = run_parity(tmp_path)
    assert not checks.failed, checks.table()
    assert [check.name for check in checks.found][:2] == ["image_stages: vq_ids", "image_stages: tr_logits"]
    assert "image graph, batch 3: tokens" in [check.name for check in checks.found]
    assert checks.not_compared == ["image_stages: strange"]


def test_a_changed_weight_fails_the_check_of_its_stage_and_the_command(tmp_path, capsys):
    network = published.random_network(published.TINY)
    record(network, tmp_path)
    network.transformer.m_bias.data[6] += 0.01
    published.write(tmp_path / "image", *published.contents(network))
    with pytest.raises(ContractError, match="1 of 6 checks failed, first image_stages: tr_logits; see the table"):
        run_command(tmp_path)
    line = next(line for line in capsys.readouterr().out.splitlines() if "tr_logits" in line)
    assert line.split() == ["image_stages:", "tr_logits", "0.01", "1e-04", "FAILED"]


def test_a_folder_without_anything_to_check_is_refused(tmp_path):
    with pytest.raises(ContractError, match="holds nothing to check"):
        run_parity(tmp_path)
    np.savez(tmp_path / "video_clip.npz", a=np.zeros(1))
    with pytest.raises(ContractError, match="recordings of video models but no folder video/"):
        run_parity(tmp_path)
    (tmp_path / "video").mkdir()
    with pytest.raises(ContractError, match=r"holds none as vqgan_\*\.pth\*, expected exactly one"):
        run_parity(tmp_path)
    (tmp_path / "video_clip.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(ContractError, match="video_clip.npz cannot be read"):
        Recorded(tmp_path / "video_clip.npz")


def test_a_value_that_is_no_number_or_of_another_shape_fails():
    checks = Checks()
    checks.near("nan", [np.nan], [0.0], 1.0)
    checks.near("shape", [0.0, 0.0], [0.0], 1.0)
    checks.equal("shape", np.zeros((2, 3)), np.zeros((3, 2)))
    checks.equal("one", [1, 2, 3], [1, 2, 4])
    assert [check.error for check in checks.found] == [np.inf, np.inf, np.inf, 1.0]
    assert len(checks.failed) == 4
    checks.near("ok", [0.5, 7.0], [0.5, np.inf], 0.0)
    assert checks.found[-1].is_ok


def test_packed_arrays_are_read_as_they_were(tmp_path):
    mask = np.random.default_rng(0).random((3, 5, 7)) > 0.5
    np.savez(tmp_path / "a.npz", m_bits=np.packbits(mask), f_int8_div32=np.array([-32, 16], np.int8), p=np.arange(3))
    data = Recorded(tmp_path / "a.npz")
    assert np.array_equal(data.read("m", mask.shape), mask)
    assert data.read("f").tolist() == [-1.0, 0.5] and data.unused() == ["p"]
    assert "f" in data and "q" not in data
    with pytest.raises(ContractError, match="a.npz lacks q"):
        data.read("q")
    with pytest.raises(ContractError, match="holds 112 bits of m, expected 125"):
        data.read("m", (5, 5, 5))


@pytest.mark.parametrize("step", [1, 3, 7, 9, 61])
def test_the_step_of_thinned_values_is_found(step):
    assert stride_of(1024, len(range(0, 1024, step))) == step


def test_a_count_that_no_step_gives_is_refused():
    with pytest.raises(ContractError, match="600 of 1024 values cannot be every n-th one"):
        stride_of(1024, 600)


def test_two_checkpoints_in_one_folder_are_refused(tmp_path):
    published.write(tmp_path, *published.contents(published.random_network(published.TINY)))
    shutil.copy(tmp_path / "vqgan_TINY.pth", tmp_path / "vqgan_OTHER.pth")
    with pytest.raises(ContractError, match="holds vqgan_OTHER.pth, vqgan_TINY.pth as"):
        load_checkpoint(tmp_path)
