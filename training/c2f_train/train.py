"""The three stages of the network (tokenizer, transformer, refiner) and the U-Net beside it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from c2f_ros.contract import ContractError, to_plain
from c2f_train.config import TrainConfig, save_config
from c2f_train.data.clip_store import ClipStore
from c2f_train.data.store import SampleStore
from c2f_train.data.upstream import draw_faults
from c2f_train.fitting.engine import Engine, EngineConfig
from c2f_train.fitting.loop import run_stage
from c2f_train.fitting.memory_stage import MemoryStage, begin_with
from c2f_train.fitting.network_stage import NetworkStage, UNetStage
from c2f_train.fitting.tokenizer_stage import tokenizer_stage
from c2f_train.fitting.weights import load_pretrained
from c2f_train.model.config import NO_MEMORY
from c2f_train.model.network import C2FNetwork
from c2f_train.model.stream import make_network
from c2f_train.model.unet import UNet

CPU = EngineConfig("cpu")


def train_network(
    config: TrainConfig,
    store: SampleStore,
    folder: Path,
    engine: Engine | None = None,
    tokenizer_store: SampleStore | None = None,
    clips: ClipStore | None = None,
) -> C2FNetwork:
    """All stages; finished ones are loaded. Checkpoints, logs, pictures and the configuration go to `folder`.

    engine: one CPU in bfloat16 if None. tokenizer_store: samples of stage 1 if they are not those of stage 2. clips: of
    the memory stage, if there is one.
    Raises ContractError if `folder` holds checkpoints of another configuration.
    """
    engine = engine or Engine(CPU)
    _prepare(config, folder, engine)
    image_config = replace(config.network, memory=NO_MEMORY)
    network = C2FNetwork(image_config).to(memory_format=torch.channels_last)
    load_pretrained(network.encoder, config.pretrained)
    stage = tokenizer_stage(network.tokenizer, tokenizer_store or store, config)
    run_stage(stage, engine, folder, _about(config, "tokenizer"))
    first_steps = config.transformer_stage.steps
    if first_steps:
        transformer = NetworkStage("transformer", network, store, config, config.transformer_stage, False, 0)
        run_stage(transformer, engine, folder, _about(config, "transformer"))
    refiner = NetworkStage("refiner", network, store, config, config.refiner_stage, True, first_steps)
    run_stage(refiner, engine, folder, _about(config, "refiner"))
    if config.memory_stage is None:
        return network.eval()
    if clips is None:
        raise ContractError("the memory stage needs clips; run `c2f-train prepare` and pass its clip store")
    torch.manual_seed(config.seed)  # whatever the earlier stages drew, or did not draw because they were loaded
    whole = make_network(config.network).to(memory_format=torch.channels_last)
    begin_with(whole, network.state_dict())
    run_stage(MemoryStage(whole, clips, config, draw_faults), engine, folder, _about(config, "memory"))
    return whole.eval()


def train_unet(config: TrainConfig, store: SampleStore, folder: Path, engine: Engine | None = None) -> UNet:
    """The U-Net on the same samples in the same order as the transformer and refiner stages together."""
    engine = engine or Engine(CPU)
    _prepare(config, folder, engine)
    unet = UNet(config.unet).to(memory_format=torch.channels_last)
    samples = config.transformer_stage.samples + config.refiner_stage.samples
    stage = replace(config.refiner_stage, samples=samples)
    run_stage(UNetStage(unet, store, config, stage), engine, folder, _about(config, "unet"))
    return unet.eval()


def _prepare(config: TrainConfig, folder: Path, engine: Engine) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if engine.is_first:
        save_config(config, folder / "config.yaml")
    torch.manual_seed(config.seed)


def _leave_out_memory(plain: dict[str, Any]) -> None:
    """What the stages before the memory's do not depend on."""
    for key in ("unroll", "memory_stage"):
        plain.pop(key, None)
    plain["network"].pop("memory", None)
    if isinstance(plain["loss"], dict):
        for key in ("flicker", "hidden"):
            plain["loss"].pop(key, None)
    plain["data"].pop("tracks", None)
    plain["crop"] = {**plain["crop"], "rule": plain["crop"]["rule"].replace("followed", "square")}


def _about(config: TrainConfig, stage: str) -> str:
    """What decides the weights after a stage, as text: everything but names and what later stages add."""
    plain: dict[str, Any] = to_plain(config)
    del plain["name"]
    plain["data"] = {key: plain["data"][key] for key in plain["data"] if key not in ("validation", "test", "held_out")}
    if stage == "unet":
        kept = ("seed", "crop", "data", "unet", "augment", "loss", "ema_decay", "transformer_stage", "refiner_stage")
        plain = {key: plain[key] for key in kept}
        plain["loss"] = plain["loss"]["network"]["iou"]
        plain["data"].pop("tracks", None)
        return json.dumps(plain, sort_keys=True)
    del plain["unet"]
    for key in ("steps", "threshold"):
        del plain["network"]["inference"][key]
    if stage == "tokenizer":
        kept = ("seed", "crop", "data", "network", "augment", "loss", "tokenizer_stage")
        plain = {key: plain[key] for key in kept}
        plain["network"], plain["loss"] = plain["network"]["tokenizer"], plain["loss"]["tokenizer"]
        plain["augment"] = plain["augment"]["flip"]
    elif stage == "transformer":
        del plain["refiner_stage"]
    if stage != "memory":
        _leave_out_memory(plain)
    return json.dumps(plain, sort_keys=True)
