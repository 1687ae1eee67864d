"""Checkpoints in the published layout, made of a random network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from needs_torch import torch

from c2f_train.model.network import C2FNetwork
from c2f_train.official.official_config import PublishedSizes, published_config
from c2f_train.official.official_keys import NETWORK_PARTS, published_name

TINY = PublishedSizes(
    channels=4, multipliers=(1, 1, 1, 1, 2), blocks=1, z_channels=8, code_dim=4, codebook_size=16,
    widths=(4, 4, 8, 8), stages=(1, 1, 1, 1), dim=32, layers=2, heads=4, vocabulary=16, adapter=8,
    rises=(12, 8, 8, 4), crop_size=64,
)  # fmt: skip
TINY_VIDEO = replace(TINY, window=2)

Content = dict[str, Any]


def random_network(sizes: PublishedSizes, seed: int = 0) -> C2FNetwork:
    """A network whose outputs vary: wider token embeddings and codes than training would start from."""
    torch.manual_seed(seed)
    network = C2FNetwork(published_config(sizes)).eval()
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name.endswith(("emb.weight", "m_dec.weight", "embedding.weight")):
                value.normal_(0.0, 0.5)
    return network


def contents(network: C2FNetwork) -> tuple[Content, Content]:
    """What the two files hold: tokenizer, and transformer, image encoder and refiner; with what training adds."""
    parts: dict[str, dict[str, torch.Tensor]] = {name: {} for name in ("g_model", *NETWORK_PARTS)}
    for name, value in network.state_dict().items():
        part, key = published_name(name).split(".", 1)
        parts[part][key] = value.clone()
    parts["img_encoder"]["encoder.model.fc.weight"] = torch.zeros(10, network.config.encoder.outputs[-1])
    parts["img_encoder"]["encoder.model.fc.bias"] = torch.zeros(10)
    vq = {"g_model": parts.pop("g_model"), "d_model": {}, "optimizer_states": [{}, {}]}
    return vq, {"iteration": 3, "sample_iter": 24, **parts, "opt": {"state": {}}}


def write(folder: Path, vq: Content, c2f: Content) -> tuple[Path, Path]:
    """The paths of the two files, named as the published ones."""
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / "vqgan_TINY.pth", folder / "c2f_seg_TINY.pth"
    for content, file in zip((vq, c2f), files, strict=True):
        torch.save(content, file)
    return files


def settings(folder: Path, **values: object) -> Path:
    """A YAML file as it comes with a checkpoint."""
    file = folder / "c2f_seg_TINY.yml"
    file.write_text(yaml.safe_dump(values))
    return file
