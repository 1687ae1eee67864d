"""`c2f-train prepare`: the training sets cut into samples."""

from __future__ import annotations

import argparse
from dataclasses import replace

from c2f_train.commands.options import CLIPS, STORE, TOKENIZER_STORE, add_work
from c2f_train.config import load_config

NAME = "prepare"
HELP = "Cut the training sets, generated and recorded, into samples; resumes."


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_work(parser)


def run(options: argparse.Namespace) -> None:
    """The samples of the network and, if they are cut differently, of the tokenizer; clips of models with memory."""
    from c2f_train.data.clip_store import write_clip_store
    from c2f_train.data.store import write_store
    from c2f_train.data.training_sources import track_sources, training_sources

    config, work = load_config(options.config), options.work
    data, sources = config.data, training_sources(config.data, work)
    about = (config.network.mask_channels, config.seed, options.threads)
    crop = config.image_crop
    write_store(sources, work / STORE, crop, replace(data, scale_range=()), *about, frames=config.network.frames)
    if data.scale_range:
        write_store(sources, work / TOKENIZER_STORE, crop, data, *about)
    if config.memory_stage is not None:
        write_clip_store(track_sources(data, work), work / CLIPS, options.threads)
