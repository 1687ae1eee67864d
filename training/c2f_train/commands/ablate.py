"""`c2f-train ablate`: variants of a configuration, trained and scored alike, beside the paper's numbers."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from c2f_ros.contract import ContractError
from c2f_train.ablation.variants import ABLATIONS, EVERY_SET, choose
from c2f_train.commands.options import STORE, TOKENIZER_STORE, add_work
from c2f_train.config import TrainConfig, load_config

if TYPE_CHECKING:
    from c2f_train.scores.evaluate import Sequences

NAME = "ablate"
HELP = "Train and score variants: the paper's ablations, and where paper and code disagree."
FOLDER = "ablate"
TRUE_MASKS, RAGGED_MASKS = "true visible masks", "simulated: ragged visible masks"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    sets = "\n".join(f"  {name:16} {about.title}" for name, about in ABLATIONS.items())
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = (
        "Trains every variant on the samples that `prepare` cut, in the same order, each in WORK/ablate/VARIANT, and\n"
        f"scores all; resumes. Sets:\n{sets}"
    )
    add_work(parser)
    parser.add_argument("--accelerator", choices=("auto", "cpu", "gpu"), default="auto", help="default: a GPU if any")
    parser.add_argument("--precision", choices=("32", "bf16", "16"), default="bf16", help="default: mixed bf16")
    parser.add_argument("--set", default=EVERY_SET, metavar="NAMES", help="sets, joined by commas (default: all)")
    parser.add_argument(
        "--samples", type=int, metavar="N", help="train variants on N samples, not as many as the configuration says"
    )
    parser.add_argument(
        "--data", type=Path, nargs="+", default=[], help="data to score on, any layout (default: the test sets)"
    )
    parser.add_argument("--split", default="", help="train, val or test, where the data have splits")
    parser.add_argument(
        "--results", type=Path, metavar="FILE",
        help="predicted visible masks of the data (COCO format), for paper table 4; without it they are simulated",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder for ablation.md and ablation.json")


def run(options: argparse.Namespace) -> None:
    """Print the tables and write them. Raises ContractError or InputError if something cannot be used."""
    ablations, config = choose(options.set.split(",")), load_config(options.config)
    if not config.network.is_stream:
        config = config.without_tracks
    data = scored_data(options, config)

    import torch

    from c2f_train.ablation.variants_report import ablation_text, write_ablation
    from c2f_train.ablation.variants_run import limit_samples, run_ablations
    from c2f_train.data.store import open_store
    from c2f_train.fitting.engine import Engine, EngineConfig

    torch.set_num_threads(options.threads)
    if options.samples is not None:
        config = limit_samples(config, options.samples)
    store = open_store(options.work / STORE)
    tokenizer_store = open_store(options.work / TOKENIZER_STORE) if config.data.scale_range else None
    engine = Engine(EngineConfig(options.accelerator, 1, options.precision))
    result = run_ablations(config, ablations, store, options.work / FOLDER, data, engine, tokenizer_store)
    print(ablation_text(result), flush=True)
    print(f"wrote {write_ablation(result, options.out)}")


def scored_data(options: argparse.Namespace, config: TrainConfig) -> dict[str, Mapping[str, Sequences]]:
    """Per data set to score on its sequences with true visible masks, and with predicted or simulated ones."""
    from c2f_train.data.sequences import open_sequences
    from c2f_train.scores.simulated_masks import RaggedMasks

    paths = options.data or [options.work / about.name for about in config.data.test]
    if not paths:
        raise ContractError("the configuration has no test set; name data to score on with --data")
    if options.results and len(paths) != 1:
        raise ContractError(
            f"--results holds the masks of one data set and there are {len(paths)}; name one with --data"
        )
    opened: dict[str, Mapping[str, Sequences]] = {}
    for path in paths:
        true = open_sequences(path, options.split)
        if options.results:
            predicted = {
                f"predicted: {options.results.name}": open_sequences(path, options.split, results=options.results)
            }
        else:
            predicted = {RAGGED_MASKS: RaggedMasks(true, config.seed)}
        opened[path.name] = {TRUE_MASKS: true, **predicted}
    return opened
