"""Options that several commands share, and where things lie in a work folder."""

from __future__ import annotations

import argparse
from pathlib import Path

STORE, TOKENIZER_STORE, CLIPS, RUN = "store", "store_tokenizer", "clips", "run"
"""In the work folder: samples, samples of the tokenizer alone (`data.scale_range`), whole clips of models with memory,
checkpoints and logs."""


def add_work(parser: argparse.ArgumentParser) -> None:
    """--config, --work and --threads."""
    parser.add_argument("--config", type=Path, required=True, help="for example training/configs/nano.yaml")
    parser.add_argument("--work", type=Path, required=True, help="folder for clips, samples, checkpoints")
    parser.add_argument("--threads", type=int, default=2, help="processes for data, threads for training (default: 2)")


def add_devices(parser: argparse.ArgumentParser) -> None:
    """--accelerator, --devices and --precision."""
    parser.add_argument("--accelerator", choices=("auto", "cpu", "gpu"), default="auto", help="default: a GPU if any")
    parser.add_argument("--devices", type=int, default=1, help="GPUs, or processes on a CPU (default: 1)")
    parser.add_argument(
        "--precision", choices=("32", "bf16", "16"), default="bf16", help="mixed bf16 (default), mixed 16, or 32"
    )


def add_out(parser: argparse.ArgumentParser) -> None:
    """--out."""
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder, for example models/c2f_nano")


def add_other_data(parser: argparse.ArgumentParser) -> None:
    """--also."""
    parser.add_argument(
        "--also", type=Path, nargs="*", default=[], metavar="DATA", help="other data to score, in any layout"
    )
