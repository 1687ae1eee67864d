"""`c2f-train robustness`: accuracy of bundles under each fault of an upstream segmenter, side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from c2f_ros.bundle import find_model
from c2f_ros.contract import ContractError
from c2f_train.data.sequences import open_sequences
from c2f_train.data.upstream import KINDS

NAME = "robustness"
HELP = "Accuracy of models under each fault of an upstream segmenter, at two strengths."


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("models", type=Path, nargs="+", metavar="BUNDLE", help="for example models/c2f_nano_video")
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="sequences with true whole masks, in any layout"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for robustness.json, .md and .png")
    parser.add_argument("--faults", nargs="+", choices=KINDS, default=KINDS, metavar="FAULT", help=", ".join(KINDS))
    parser.add_argument("--clips", type=int, help="only the first so many sequences of each --data (default: all)")
    parser.add_argument("--every", type=int, default=1, help="score each n-th frame that is sent (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the faults (default: 0)")
    parser.add_argument("--threads", type=int, default=2, help="of an engine (default: 2)")


def run(options: argparse.Namespace) -> None:
    """Print a line per condition as it is measured, and write the report after each."""
    from c2f_train.scores.faulty_sequences import Pooled
    from c2f_train.scores.predictors import open_bundle
    from c2f_train.scores.robustness import PLOTTED, conditions, measure, write_robustness

    for paths in (options.models, options.data):
        names = [path.name for path in paths]
        if len(set(names)) < len(names):
            raise ContractError(f"two of the folders have the same name ({', '.join(names)}); rename one")
    models = {path.name: open_bundle(find_model(str(path)), options.threads) for path in options.models}
    data = {path.name: open_sequences(path) for path in options.data}
    sequences = Pooled(data, options.clips)
    about = {"data": ", ".join(path.name for path in options.data), "clips": options.clips or "all"}
    about |= {"every": options.every, "seed": options.seed}
    found = []
    for item in measure(sequences, models, conditions(options.faults), options.seed, options.every):
        found.append(item)
        print(f"{item.name:<12}", *(f"{name} {row[PLOTTED]}" for name, row in item.rows.items()), flush=True)
        path = write_robustness(found, about, options.out)
    print(f"wrote {path}")
