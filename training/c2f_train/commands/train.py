"""`c2f-train train`: the network's stages, or one of the networks it is compared with."""

from __future__ import annotations

import argparse

from c2f_train.commands.options import CLIPS, RUN, STORE, TOKENIZER_STORE, add_devices, add_work
from c2f_train.config import load_config

NAME = "train"
HELP = "Train all stages of the network, or a rival; resumes."


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Trains all stages; stop it at any time, the same command goes on. Checkpoints, CSV logs, sample pictures and "
        "the configuration go to WORK/run. On several GPUs: --devices N, or torchrun; the configured batch is shared."
    )
    add_work(parser)
    add_devices(parser)
    rival = parser.add_mutually_exclusive_group()
    rival.add_argument("--unet", action="store_true", help="train the plain U-Net instead")
    rival.add_argument("--completion", action="store_true", help="train the mask-only completion network instead")


def run(options: argparse.Namespace) -> None:
    """Train what the options say on this machine's devices."""
    import torch

    from c2f_train.data.clip_store import open_clip_store
    from c2f_train.data.store import open_store
    from c2f_train.fitting.completion import train_completion
    from c2f_train.fitting.engine import Engine, EngineConfig
    from c2f_train.train import train_network, train_unet

    torch.set_num_threads(options.threads)
    config, store = load_config(options.config), open_store(options.work / STORE)
    tokenizer_store = open_store(options.work / TOKENIZER_STORE) if config.data.scale_range else None
    engine = Engine(EngineConfig(options.accelerator, options.devices, options.precision))
    folder = options.work / RUN
    if options.unet:
        train_unet(config, store, folder, engine)
    elif options.completion:
        train_completion(config, store, folder, engine)
    else:
        clips = open_clip_store(options.work / CLIPS) if config.memory_stage is not None else None
        train_network(config, store, folder, engine, tokenizer_store, clips)
