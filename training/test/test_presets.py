"""Every preset reads, writes and builds; the paper's ones are the published networks."""

from dataclasses import fields, replace

import pytest
from tiny import CONFIGS, torch

from c2f_ros.contract import ContractError, parse
from c2f_train.commands.generate import scene_config
from c2f_train.config import load_config, save_config
from c2f_train.data_config import FRACTIONS, SetConfig
from c2f_train.fitting.optimizer import never_trained
from c2f_train.model.network import C2FNetwork
from c2f_train.model.transformer import TokenTransformer
from c2f_train.model.unet import UNet
from c2f_train.official.official_config import IMAGE, VIDEO, published_config
from c2f_train.synth.scene_config import SceneConfig


def test_every_configuration_reads_back_as_written(tmp_path):
    files = sorted(CONFIGS.glob("*.yaml"))
    assert files
    for file in files:
        config = load_config(file)
        save_config(config, tmp_path / "again.yaml")
        assert load_config(tmp_path / "again.yaml") == config


@pytest.mark.parametrize(
    ("values", "said"),
    [({"rate_hz": 2.0}, "a.rate_hz"), ({"scene": "driving", "orbit_degrees": 3.0}, "a.orbit_degrees"),
     ({"scene": "driving", "rate_hz": 0.0}, "a.rate_hz"), ({"scene": "sea"}, "a.scene")],
)  # fmt: skip
def test_a_set_with_a_key_of_the_other_scene_is_refused(values, said):
    with pytest.raises(ContractError, match=said):
        SetConfig("a", clips=1, frames=1, seed=0, **values)


def test_the_paper_s_presets_are_the_published_networks_with_their_parameter_counts():
    sizes = {
        "kins": IMAGE,
        "cocoa": IMAGE,
        "movid_a": VIDEO,
        "fishbowl": replace(VIDEO, window=16, code_dim=32, codebook_size=32),
    }
    for name, expected in sizes.items():
        config = load_config(CONFIGS / f"{name}.yaml")
        assert config.network == published_config(expected)
    with torch.device("meta"):
        network = C2FNetwork(load_config(CONFIGS / "kins.yaml").network)
    tokenizer = network.tokenizer
    parts = [
        [tokenizer.encoder],
        [tokenizer.decoder],
        [network.transformer],
        [network.encoder],
        [network.refiner],
    ]
    found = [sum(p.numel() for part in group for p in part.parameters()) / 1e6 for group in parts]
    # 23.5: the published 25.6 M of ResNet-50 without its unused classifier of 2.05 M.
    assert found == pytest.approx([26.1, 38.2, 93.2, 23.5, 10.1], abs=0.06)


def test_every_preset_builds_and_the_mid_one_has_20_to_40_million_parameters():
    for file in CONFIGS.glob("*.yaml"):
        config = load_config(file)
        with torch.device("meta"):
            network, _ = C2FNetwork(config.network), UNet(config.unet)
        count = sum(p.numel() for p in network.parameters())
        if file.stem == "base":
            assert 20e6 < count < 40e6


def test_the_published_bug_leaves_127_tensors_of_the_transformer_untrained():
    for name, features in (("kins", 2048), ("movid_a", 2048)):
        config = load_config(CONFIGS / f"{name}.yaml").network
        with torch.device("meta"):
            transformer = TokenTransformer(config.transformer, features, config.grid)
        left_out = never_trained(transformer)
        assert len(left_out) == 127 and "m_bias" in left_out and "conv_in.bias" in left_out
        assert ("blocks.0.ln3.weight" in dict(transformer.named_parameters())) == (name == "movid_a")
        assert "blocks.0.ln3.weight" not in left_out


def test_the_orbit_of_a_set_is_a_number_or_a_range():
    about = parse(SetConfig, {"name": "a", "clips": 1, "frames": 1, "seed": 0, "orbit_degrees": [1, 5]}, "a")
    assert scene_config(about).orbit_degrees_per_frame == (1.0, 5.0)
    assert scene_config(replace(about, orbit_degrees=2.0)).orbit_degrees_per_frame == 2.0
    for wrong in ([5, 1], [1], [1, "x"]):
        with pytest.raises(ContractError, match="a.orbit_degrees"):
            replace(about, orbit_degrees=wrong)


def test_no_share_of_a_set_is_left_out():
    """`living_fraction` was: sets that asked for animals and people had none."""
    assert {field.name for field in fields(SetConfig) if field.name.endswith("_fraction")} == set(FRACTIONS)
    assert set(FRACTIONS) <= {field.name for field in fields(SceneConfig)}


@pytest.mark.parametrize("key", FRACTIONS)
def test_the_shares_of_a_set_reach_the_generator(key):
    about = SetConfig("a", clips=1, frames=1, seed=0, **{key: 0.25})
    assert getattr(scene_config(about), key) == 0.25
    with pytest.raises(ContractError, match=f"a.{key}"):
        replace(about, **{key: 1.5})
