"""Training: resumes to equal losses after a kill, trains every parameter once, exports what it trained."""

from dataclasses import replace

import numpy as np
import pytest
import yaml
from tiny import CONFIGS, random_store, tiny_config, torch

from c2f_ros.bundle import load_bundle
from c2f_ros.contract import ContractError, to_plain
from c2f_ros.steps.step6_engine import open_engine
from c2f_train import loop
from c2f_train.config import load_config, save_config
from c2f_train.export import export_bundle, export_onnx, sha256
from c2f_train.loop import learning_rate, optimizer_groups, run_stage
from c2f_train.model.network import C2FNetwork
from c2f_train.train import train_network, train_unet


def test_every_configuration_reads_back_as_written(tmp_path):
    files = sorted(CONFIGS.glob("*.yaml"))
    assert files
    for file in files:
        config = load_config(file)
        save_config(config, tmp_path / "again.yaml")
        assert load_config(tmp_path / "again.yaml") == config


def test_an_unknown_key_in_a_configuration_is_refused(tmp_path):
    plain = to_plain(tiny_config())
    plain["loss"]["dice"] = 1.0
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(plain))
    with pytest.raises(ContractError, match="c.yaml.loss: unknown key dice"):
        load_config(tmp_path / "c.yaml")


def test_every_trainable_parameter_is_in_exactly_one_group_and_vectors_do_not_decay():
    network = C2FNetwork(tiny_config().network)
    network.freeze_tokenizer()
    groups = optimizer_groups(network, 0.1)
    ids = [id(p) for g in groups for p in g["params"]]
    assert sorted(ids) == sorted(id(p) for p in network.parameters() if p.requires_grad)
    assert len(set(ids)) == len(ids)
    assert all(p.ndim > 1 for p in groups[0]["params"]) and groups[1]["weight_decay"] == 0.0


def test_the_learning_rate_warms_up_peaks_and_ends_at_zero():
    stage = tiny_config().refiner_stage
    rates = [learning_rate(step, 1000, stage) for step in range(1000)]
    assert rates[0] == pytest.approx(stage.learning_rate / 100)
    assert max(rates) == stage.learning_rate and rates[-1] < 1e-5 * 1.0
    assert np.argmax(rates) in (99, 100)


def test_all_stages_run_and_a_finished_run_is_only_loaded(tmp_path):
    config, store = tiny_config(), random_store()
    first = train_network(config, store, tmp_path)
    stamp = (tmp_path / "refiner.pt").stat().st_mtime_ns
    again = train_network(config, store, tmp_path)
    assert (tmp_path / "refiner.pt").stat().st_mtime_ns == stamp
    for (name, a), b in zip(first.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert train_unet(config, store, tmp_path)(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)).shape == (
        1,
        64,
        64,
    )


def test_a_run_that_was_killed_resumes_to_the_same_weights(tmp_path, monkeypatch):
    config, store = tiny_config(samples=80), random_store()
    whole = train_network(config, store, tmp_path / "whole")
    monkeypatch.setattr(loop, "SAVE_EVERY_S", -1.0)
    steps = iter(range(1000))

    class Killed(Exception):
        pass

    real = loop.nn.utils.clip_grad_norm_

    def die(*arguments):
        if next(steps) == 24:
            raise Killed
        return real(*arguments)

    monkeypatch.setattr(loop.nn.utils, "clip_grad_norm_", die)
    with pytest.raises(Killed):
        train_network(config, store, tmp_path / "cut")
    resumed = train_network(config, store, tmp_path / "cut")
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_a_stage_learns(tmp_path):
    torch.manual_seed(0)
    module = torch.nn.Linear(4, 1)
    x = torch.randn(64, 4)
    y = x.sum(1, keepdim=True)
    stage = replace(tiny_config().refiner_stage, samples=8 * 400, learning_rate=0.05)
    run_stage("toy", module, lambda step: {"total": ((module(x) - y) ** 2).mean()}, stage, 0.9, tmp_path)
    assert ((module(x) - y) ** 2).mean() < 1e-3


def test_an_export_opens_in_the_runtime_and_two_exports_are_byte_equal(tmp_path):
    config = tiny_config()
    torch.manual_seed(0)
    network = C2FNetwork(replace(config.network, steps=2)).eval()
    golden = (torch.randn(2, 3, 64, 64), torch.rand(2, 3, 64, 64))
    hashes = []
    for name in ("a", "b"):
        difference = export_bundle(network, config.crop, "tiny", "", golden, {}, tmp_path / name)
        assert difference < 1e-4
        bundle = load_bundle(tmp_path / name)
        open_engine("onnxruntime", bundle, 1)
        hashes.append((bundle.manifest.graph.sha256, bundle.manifest.golden.sha256))
    assert hashes[0] == hashes[1]


def test_the_unet_exports_too(tmp_path):
    from c2f_train.model.unet import UNet

    export_onnx(UNet(tiny_config().unet), ("amodal",), 64, tmp_path / "u.onnx")
    assert len(sha256(tmp_path / "u.onnx")) == 64
