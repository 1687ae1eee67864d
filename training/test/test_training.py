"""Training: resumes to equal losses after a kill, refuses checkpoints of another configuration."""

from dataclasses import replace

import pytest
import yaml
from tiny import random_store, tiny_config, torch

from c2f_ros.contract import ContractError, to_plain
from c2f_train.config import load_config
from c2f_train.fitting import loop
from c2f_train.fitting.checkpoint import Average
from c2f_train.fitting.engine import Engine, EngineConfig
from c2f_train.fitting.loop import run_stage
from c2f_train.fitting.network_stage import NetworkStage, choose_trained
from c2f_train.fitting.optimizer import never_trained
from c2f_train.fitting.stages import Stage
from c2f_train.fitting.tokenizer_stage import tokenizer_stage
from c2f_train.model.network import C2FNetwork
from c2f_train.train import train_network, train_unet


def equal(a, b) -> bool:
    """Whether two modules hold the same weights."""
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def adversarial(config):
    """The same configuration with all losses of stage 1."""
    loss = replace(
        config.loss.tokenizer, perceptual="pyramid", perceptual_weight=1.0, adversarial="hinge", adversarial_weight=0.75
    )
    return replace(config, loss=replace(config.loss, tokenizer=loss))


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("network", "dice", 1.0, "c.yaml.loss.network: unknown key dice"),
        ("tokenizer", "adversarial", "wgan", "loss.tokenizer.adversarial is 'wgan'"),
        ("tokenizer", "balance", "none", "loss.tokenizer.balance is 'none'"),
        ("network", "full_mask", 0.0, "mask_samples 'full' needs some"),
        ("network", "tokens_over", "most", "loss.network.tokens_over is 'most'"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused(tmp_path, section, key, value, message):
    plain = to_plain(tiny_config())
    plain["loss"][section][key] = value
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(plain))
    with pytest.raises(ContractError, match=message):
        load_config(tmp_path / "c.yaml")


def test_all_stages_run_and_a_finished_run_is_only_loaded(tmp_path):
    config, store = tiny_config(), random_store()
    first = train_network(config, store, tmp_path)
    stamp = (tmp_path / "refiner.pt").stat().st_mtime_ns
    again = train_network(config, store, tmp_path)
    assert (tmp_path / "refiner.pt").stat().st_mtime_ns == stamp
    assert equal(first, again)
    saved = torch.load(tmp_path / "refiner.pt", weights_only=True)
    assert {"step", "module", "optimizer", "average", "updates"} <= saved.keys()
    assert load_config(tmp_path / "config.yaml") == config
    shape = train_unet(config, store, tmp_path)(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)).shape
    assert shape == (1, 64, 64)


class Killed(Exception):
    pass


def kill_after(monkeypatch, steps: int) -> None:
    """The next run dies after so many optimizer steps in all, in the middle of one."""
    left, real = iter(range(steps)), Stage.clip_and_step

    def die(stage, *arguments):
        if next(left, None) is None:
            raise Killed
        real(stage, *arguments)

    monkeypatch.setattr(Stage, "clip_and_step", die)


@pytest.mark.parametrize("change", [lambda c: c, adversarial], ids=["plain", "adversarial"])
@pytest.mark.parametrize("steps", [3, 11])
def test_a_run_that_was_killed_resumes_to_the_same_weights_and_the_same_log(tmp_path, monkeypatch, change, steps):
    config, store = change(tiny_config(samples=40)), random_store()
    if change is adversarial:
        config = replace(config, transformer_stage=replace(config.transformer_stage, samples=0))
    monkeypatch.setattr(loop, "SAVE_EVERY_S", -1.0)
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    whole = train_network(config, store, tmp_path / "whole")
    with monkeypatch.context() as patch:
        kill_after(patch, steps)
        with pytest.raises(Killed):
            train_network(config, store, tmp_path / "cut")
    assert equal(whole, train_network(config, store, tmp_path / "cut"))
    for file in (tmp_path / "whole").glob("*.csv"):
        assert (tmp_path / "cut" / file.name).read_text() == file.read_text()


def test_a_kill_in_the_middle_of_a_save_leaves_the_checkpoint_before_it(tmp_path, monkeypatch):
    config, store = tiny_config(samples=40), random_store()
    monkeypatch.setattr(loop, "SAVE_EVERY_S", -1.0)
    whole = train_network(config, store, tmp_path / "whole")
    saves, real = iter(range(3)), torch.save

    def die(state, file, *arguments):
        if next(saves, None) is None:
            file.write(b"half a checkpo")
            raise Killed
        real(state, file, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", die)
        with pytest.raises(Killed):
            train_network(config, store, tmp_path / "cut")
    assert (tmp_path / "cut" / "tokenizer.part").read_bytes() == b"half a checkpo"
    assert torch.load(tmp_path / "cut" / "tokenizer.pt", weights_only=True)["step"] == 3
    assert equal(whole, train_network(config, store, tmp_path / "cut"))


def test_checkpoints_of_another_configuration_are_refused_in_one_sentence(tmp_path):
    config, store = tiny_config(samples=16), random_store()
    train_network(config, store, tmp_path)
    with pytest.raises(ContractError, match=r"refiner.pt was trained with another configuration"):
        train_network(replace(config, refiner_stage=replace(config.refiner_stage, samples=24)), store, tmp_path)
    with pytest.raises(ContractError, match=r"tokenizer.pt was trained with another configuration"):
        train_network(replace(config, seed=2), store, tmp_path)


def test_passes_of_a_step_add_up_to_the_whole_batch(tmp_path):
    config, store = tiny_config(samples=24), random_store()
    tokenizer = replace(config.network.tokenizer, norm="group", learning="gradient")
    config = replace(config, network=replace(config.network, tokenizer=tokenizer))
    engine, found = Engine(EngineConfig("cpu", 1, "32")), []
    for passes in (1, 4):
        torch.manual_seed(0)
        # A large eps: Adam would blow up rounding errors of gradients that are zero.
        optimizer = replace(config.tokenizer_stage.optimizer, eps=0.01)
        stage = replace(config.tokenizer_stage, accumulate=passes, optimizer=optimizer)
        network = C2FNetwork(config.network)
        run_stage(
            tokenizer_stage(network.tokenizer, store, replace(config, tokenizer_stage=stage)),
            engine, tmp_path / str(passes),
        )  # fmt: skip
        found.append(network.tokenizer.state_dict())
    for name, whole in found[0].items():
        assert torch.allclose(whole, found[1][name], atol=1e-5), name


def test_a_batch_that_does_not_part_is_refused():
    with pytest.raises(ContractError, match="refiner: batch 8 cannot be parted among 1 ranks with 3 passes"):
        Engine(EngineConfig("cpu")).check_batch(8, 3, "refiner")


def test_an_engine_that_is_not_there_is_refused():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ContractError, match="--accelerator is gpu"):
        Engine(EngineConfig("gpu"))
    with pytest.raises(ContractError, match="--precision is 16"):
        Engine(EngineConfig("cpu", 1, "16"))


def test_pictures_are_written_and_change_nothing(tmp_path, monkeypatch):
    config, store = tiny_config(samples=24), random_store()
    plain = train_network(config, store, tmp_path / "plain")
    monkeypatch.setattr(loop, "PICTURE_EVERY_S", -1.0)
    assert equal(plain, train_network(config, store, tmp_path / "pictured"))
    train_unet(config, store, tmp_path / "pictured")
    names = {file.name for file in (tmp_path / "pictured" / "samples").glob("*.png")}
    stages = {"tokenizer": 3, "transformer": 3, "refiner": 3, "unet": 6}
    assert names == {f"{name}_{n + 1:06d}.png" for name, count in stages.items() for n in range(count)}


class Line(Stage):
    """Fits y = the sum of x."""

    def __init__(self, config):
        module = torch.nn.Linear(4, 1)
        super().__init__("line", module, Distance(module), config, 0.9, 0)

    def draw(self, step, part):
        return torch.randn(64, 4, generator=torch.Generator().manual_seed(step))

    def inputs(self, drawn):
        return {"x": drawn}

    def picture(self, step, file):
        pass


class Distance(torch.nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return {"total": ((self.module(x) - x.sum(1, keepdim=True)) ** 2).mean()}


def test_a_stage_learns(tmp_path):
    stage = Line(replace(tiny_config().refiner_stage, samples=8 * 300, learning_rate=0.05))
    run_stage(stage, Engine(EngineConfig("cpu", 1, "32")), tmp_path)
    assert (stage.module.weight - 1).abs().max() < 1e-2


def test_losses_that_are_not_finite_stop_the_stage(tmp_path):
    stage = Line(replace(tiny_config().refiner_stage, samples=80, learning_rate=0.01))
    stage.module.bias.data.fill_(float("nan"))
    with pytest.raises(ContractError, match="line: the losses are .* lower learning_rate"):
        run_stage(stage, Engine(EngineConfig("cpu", 1, "32")), tmp_path)


def test_the_average_follows_the_weights_and_copies_counters():
    module = torch.nn.BatchNorm1d(2)
    average = Average(module, 0.5)
    with torch.no_grad():
        module.weight.fill_(3.0)
        module.num_batches_tracked.fill_(7)
    average.update(module)
    assert torch.allclose(average.state["weight"], torch.full((2,), 1 + 2 * (1 - 2 / 11)))
    assert average.state["num_batches_tracked"] == 7


def test_what_is_not_trained_stays_as_it_was(tmp_path):
    config, store = replace(tiny_config(samples=16), train_everything=False), random_store()
    torch.manual_seed(0)
    network = C2FNetwork(config.network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    run_stage(
        NetworkStage("refiner", network, store, config, config.refiner_stage, True, 0),
        Engine(EngineConfig("cpu")),
        tmp_path,
    )
    left_out = {f"transformer.{name}" for name in never_trained(network.transformer)}
    assert left_out
    for name, parameter in network.named_parameters():
        is_still = name in left_out or name.startswith("tokenizer.")
        assert torch.equal(parameter, before[name]) == is_still, name
    choose_trained(network, False, True)
    trained = {name.split(".")[0] for name, p in network.named_parameters() if p.requires_grad}
    assert trained == {"encoder", "transformer"}


def test_the_network_trains_without_refiner_and_without_a_visible_branch(tmp_path):
    config, store = tiny_config(samples=16), random_store()
    for changes in ({"enabled": False}, {"branches": "amodal"}, {"attention": "none", "hidden": False}):
        network = replace(config.network, refiner=replace(config.network.refiner, **changes))
        log = tmp_path / "_".join(changes)
        train_network(replace(config, network=network), store, log)
        header = (log / "refiner.csv").read_text().splitlines()[0].split(",")
        assert ("refined" in header) == ("enabled" not in changes)
        assert ("visible" in header) == ("attention" in changes)


def test_a_video_network_with_hard_decoding_and_the_published_optimizer_trains_on_clips(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "PICTURE_EVERY_S", -1.0)
    config = tiny_config(samples=8)
    network = replace(
        config.network,
        tokenizer=replace(config.network.tokenizer, output="clamp", norm="group", learning="gradient"),
        transformer=replace(config.network.transformer, temporal=True, window=4, space=4, roll=True),
        inference=replace(config.network.inference, decode="hard", top_k=3, output="sum"),
    )
    loss = replace(config.loss, tokenizer=replace(config.loss.tokenizer, reconstruction="l1"))
    stage = replace(config.refiner_stage, samples=4, batch=2)
    stage = replace(
        stage, schedule=replace(stage.schedule, kind="linear"), optimizer=replace(stage.optimizer, name="published")
    )
    none = replace(stage, samples=0)
    config = replace(config, network=network, loss=loss, transformer_stage=none, refiner_stage=stage)
    config = replace(config, tokenizer_stage=replace(config.tokenizer_stage, samples=16))
    trained = train_network(config, random_store(16, frames=4), tmp_path)
    amodal, _, tokens = trained(torch.zeros(2, 4, 3, 64, 64), torch.zeros(2, 4, 3, 64, 64))
    assert amodal.shape == (2, 64, 64) and tokens.shape == (2, 64)
    assert not (tmp_path / "transformer.pt").exists()
    assert (tmp_path / "samples" / "refiner_000002.png").exists()
