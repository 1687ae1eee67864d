"""`c2f-train parity`: is our network the published one? Every check on recorded results, in a table."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "parity"
HELP = "Compare our network with recorded results of the published one, stage by stage; fails if any differs."


def configure(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "folder", type=Path, help="recorded results: image/, video/, image_item*.npz, video_clip.npz..."
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of torch and ONNX Runtime (default: 1)")


def run(options: argparse.Namespace) -> None:
    """Print the table. Raises ContractError that counts the failed checks, and for a folder that cannot be used."""
    import torch

    from c2f_ros.contract import ContractError
    from c2f_train.official.parity import run_parity

    torch.set_num_threads(options.threads)
    checks = run_parity(options.folder, lambda text: print(text, flush=True))
    print(checks.table())
    if checks.failed:
        raise ContractError(
            f"{len(checks.failed)} of {len(checks.found)} checks failed, first {checks.failed[0].name}; see the table"
        )
