"""Trains a small tokenizer, with all its losses, and a small network, on as many processes as asked for.

Run as a program: two_ranks.py FOLDER DEVICES; every rank writes its weights to FOLDER.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from tiny import random_store, tiny_config
from torch import nn

from c2f_train.fitting.engine import Engine, EngineConfig
from c2f_train.fitting.loop import run_stage
from c2f_train.fitting.network_stage import NetworkStage
from c2f_train.fitting.tokenizer_stage import AdversarialTokenizerStage
from c2f_train.model.network import C2FNetwork


def without_batch_norm(module: nn.Module) -> None:
    """Leave out every batch norm: on a CPU each rank has statistics of its own, so that ranks would differ by them."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.Identity())
        else:
            without_batch_norm(child)


def train(folder: Path, engine: Engine) -> dict[str, torch.Tensor]:
    """The weights after three steps of both stages; unequally many samples count on the two halves of a batch."""
    config = tiny_config(samples=24)
    # A large eps: Adam would blow up rounding errors of gradients that are zero.
    optimizer = replace(config.refiner_stage.optimizer, eps=0.01)
    stage = replace(config.refiner_stage, optimizer=optimizer)
    network_loss = replace(config.loss.network, full_mask=0.3)
    tokenizer_loss = replace(
        config.loss.tokenizer, perceptual="pyramid", perceptual_weight=1.0, adversarial="hinge", adversarial_weight=0.75
    )
    loss = replace(config.loss, network=network_loss, tokenizer=tokenizer_loss)
    config = replace(config, loss=loss, tokenizer_stage=stage, refiner_stage=stage)
    torch.manual_seed(0)
    network = C2FNetwork(config.network)
    without_batch_norm(network)
    store = random_store()
    first = AdversarialTokenizerStage(network.tokenizer, store, config)
    without_batch_norm(first.rival)
    run_stage(first, engine, folder)
    run_stage(NetworkStage("refiner", network, store, config, stage, True, 0), engine, folder)
    return {**network.state_dict(), **first.discriminator.state_dict()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    started = Engine(EngineConfig("cpu", int(sys.argv[2]), "32"))
    weights = train(Path(sys.argv[1]), started)
    torch.save(weights, Path(sys.argv[1]) / f"weights_{started.fabric.global_rank}.pt")
