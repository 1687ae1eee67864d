"""`c2f-train evaluate`: the bundle beside its rivals and the baselines."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from c2f_train.commands.options import RUN, add_other_data, add_out, add_work
from c2f_train.config import TrainConfig, load_config

NAME = "evaluate"
HELP = "Score the bundle and its rivals beside the baselines."


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_work(parser)
    add_out(parser)
    add_other_data(parser)
    parser.add_argument(
        "--sampled", type=int, nargs="*", default=[], metavar="SEED",
        help="also score the trained network with the paper's sampling (top 3, Gumbel noise 4.5), once per seed",
    )  # fmt: skip
    parser.add_argument(
        "--beside", type=Path, nargs="*", default=[], metavar="BUNDLE", help="other bundles to score on the same frames"
    )
    parser.add_argument("--no-ap", action="store_true", help="leave out AP and AR")


def run(options: argparse.Namespace) -> None:
    """Test and held-out sets, and whatever `--also` names: a report for each in WORK/run/evaluation, all tables
    together in WORK/run/evaluation.md and .json, scores over time in evaluation_over_time.json too."""
    from c2f_train.data.samples import input_spec
    from c2f_train.data.sequences import generated_sequences, recorded_sequences
    from c2f_train.fitting.completion import completion_predictor, completion_view, load_completion
    from c2f_train.model.decoding import seeded
    from c2f_train.scores.evaluate import View, evaluate
    from c2f_train.scores.evaluation_report import terminal_text, write_report
    from c2f_train.scores.predictors import load_network, load_unet, network_predictor, open_bundle, unet_predictor

    config, folder = load_config(options.config), options.work / RUN
    # What has no memory was trained on crops around what is visible.
    square = replace(config.crop, rule=config.crop.rule.replace("followed", "square"))
    own = View(square, input_spec(square, config.network.mask_channels))
    predictors, views = {}, {}
    if (folder / "unet.pt").exists():
        predictors["U-Net of equal compute"] = unet_predictor(load_unet(config, folder))
    if (folder / "completion.pt").exists():
        predictors["completion"] = completion_predictor(load_completion(config, folder))
    views = dict.fromkeys(predictors, own)
    views["completion"] = completion_view(square)
    for path in options.beside:
        predictors[path.name], views[path.name] = open_bundle(path, options.threads)
    predictors[config.name], views[config.name] = open_bundle(options.out, options.threads)
    for seed in options.sampled:
        name = f"{config.name}, sampled with seed {seed}"
        predictors[name] = network_predictor(load_network(sampling(config), folder), seeded(seed))
        views[name] = views[config.name]
    generated = {about.name: options.work / about.name for about in config.data.test + config.data.held_out}
    sets = {name: generated_sequences(path) for name, path in generated.items()}
    sets |= {path.name: recorded_sequences(path) for path in options.also}
    with_precision = not options.no_ap and find_spec("pycocotools") is not None
    if not with_precision and not options.no_ap:
        print("AP and AR are left out: pycocotools is not installed")
    rows, text, timed = {}, [], {}
    for name, sequences in sets.items():
        result = evaluate(sequences, predictors, config.crop, name=name, views=views, with_precision=with_precision)
        rows[name], timed[name] = result.rows(), result.rows_over_time()
        text.append(terminal_text(result))
        print(text[-1], flush=True)
        write_report(result, folder / "evaluation" / name)
    (folder / "evaluation.json").write_text(json.dumps(rows, indent=1))
    (folder / "evaluation_over_time.json").write_text(json.dumps(timed, indent=1))
    (folder / "evaluation.md").write_text("\n\n".join(text) + "\n")


def sampling(config: TrainConfig) -> TrainConfig:
    """`config` with the published sampling (spec 6.2, 6.5): three most likely tokens, Gumbel noise of 4.5."""
    inference = replace(config.network.inference, top_k=3, temperature=4.5, confidence="published", decode="hard")
    return replace(config, network=replace(config.network, inference=inference))
