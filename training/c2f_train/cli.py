"""`c2f-train`: generate, prepare, train, evaluate, export; `all` does the whole way and resumes where it stopped."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from c2f_train.config import SetConfig, TrainConfig, load_config, save_config
from c2f_train.synth.generate import generate_set
from c2f_train.synth.scene import SceneConfig

SETS = ("train", "validation", "test", "held_out")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; 1 and one sentence on the error stream if something is missing or wrong."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (FileNotFoundError, ValueError) as error:
        print(f"c2f-train {options.command}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="c2f-train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        command.add_argument("--config", type=Path, required=True, help="for example training/configs/nano.yaml")
        command.add_argument(
            "--work", type=Path, required=True, help="folder for clips, samples, checkpoints (outside git)"
        )
        command.add_argument("--threads", type=int, default=2, help="processes for data, threads for training")
        return command

    add("generate", lambda o: generate(o), "Generate the configured sets of clips; existing ones stay.")
    add("prepare", lambda o: prepare(o), "Cut the training clips into samples.")
    add("train", lambda o: train(o), "Train tokenizer, transformer and refiner; resumes.").add_argument(
        "--unet", action="store_true", help="train the plain U-Net of equal compute instead"
    )
    for name, run, text in (
        ("export", export, "Write the model bundle, with golden sample and parity check."),
        ("evaluate", evaluate_all, "Score the bundle and the U-Net beside the baselines; writes Markdown and JSON."),
        ("all", everything, "generate, prepare, train (both), export, evaluate, export with the numbers."),
    ):
        command = add(name, run, text)
        command.add_argument("--out", type=Path, required=True, help="the bundle's folder, for example models/c2f_nano")
        if name != "export":
            command.add_argument(
                "--also", type=Path, nargs="*", default=[], help="other data to score, any layout c2f-bag reads"
            )
    return parser


def scene_config(about: SetConfig) -> SceneConfig:
    """The generator's configuration of one set."""
    low, high = about.elevation_degrees
    return SceneConfig(
        families=about.families,
        orbit_degrees_per_frame=about.orbit_degrees,
        elevation_min_degrees=low,
        elevation_max_degrees=high,
        sparse_fraction=about.sparse_fraction,
    )


def generate(options: argparse.Namespace) -> None:
    """All four sets."""
    config = load_config(options.config)
    for name in SETS:
        about: SetConfig = getattr(config.data, name)
        print(f"generating {name}: {about.clips} clips of {about.frames} frames", flush=True)
        generate_set(scene_config(about), about.clips, about.frames, about.seed, options.work / name, options.threads)


def prepare(options: argparse.Namespace) -> None:
    """The training set's samples."""
    from c2f_train.samples import write_store

    config = load_config(options.config)
    write_store(options.work / "train", options.work / "store", config.crop, config.data, config.seed, options.threads)


def train(options: argparse.Namespace) -> None:
    """The network's three stages, or the U-Net."""
    import torch

    from c2f_train.samples import open_store
    from c2f_train.train import train_network, train_unet

    torch.set_num_threads(options.threads)
    config, store = load_config(options.config), open_store(options.work / "store")
    run = train_unet if options.unet else train_network
    run(config, store, options.work / "run")


def export(options: argparse.Namespace) -> None:
    """The bundle; metrics of an earlier evaluation go into its manifest."""
    import torch

    from c2f_train.export import export_bundle
    from c2f_train.predictors import load_network
    from c2f_train.samples import open_store

    torch.set_num_threads(1)
    config = load_config(options.config)
    network = load_network(config, options.work / "run")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    golden = _golden_batch(open_store(options.work / "store"))
    difference = export_bundle(
        network, config.crop, config.name, _describe(config), golden, _made(config, options), options.out
    )
    save_config(config, options.out / "config.yaml")
    print(f"wrote {options.out}; torch and ONNX Runtime differ by at most {difference:.1e}")


def _golden_batch(store):  # type: ignore[no-untyped-def]  # torch is imported by the training commands only
    from c2f_train.batches import batch_at
    from c2f_train.config import AugmentConfig

    batch = batch_at(store, 0, 4, 0, AugmentConfig(flip=0.0, ragged=0.0))
    return batch.image, batch.masks


def _describe(config: TrainConfig) -> str:
    network = config.network
    return (
        f"C2F-Seg for single images, {config.crop.size}x{config.crop.size} crops, {network.grid}x{network.grid} "
        f"tokens, transformer {network.layers} x {network.dim}; trained on generated clips"
    )


def _made(config: TrainConfig, options: argparse.Namespace) -> dict[str, object]:
    results = options.work / "run" / "evaluation.json"
    metrics = json.loads(results.read_text()) if results.exists() else {}
    return {"git": _git_hash(), "data": asdict(config.data.train), "seed": config.seed, "metrics": metrics}


def _git_hash() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    )
    return found.stdout.strip() or "unknown"


def evaluate_all(options: argparse.Namespace) -> None:
    """Test and held-out sets, and whatever `--also` names; one table each."""
    from c2f_train.evaluate import evaluate, table
    from c2f_train.predictors import bundle_predictor, load_unet, unet_predictor
    from c2f_train.sequences import generated_sequences, recorded_sequences

    config = load_config(options.config)
    predictors = {
        "U-Net of equal compute": unet_predictor(load_unet(config, options.work / "run")),
        config.name: bundle_predictor(options.out, options.threads),
    }
    sets = {name: generated_sequences(options.work / name) for name in ("test", "held_out")}
    sets |= {path.name: recorded_sequences(path) for path in options.also}
    results = {}
    text = []
    for name, sequences in sets.items():
        results[name] = evaluate(sequences, predictors, config.crop).rows()
        count = results[name]["visible"]
        title = f"### {name}: {count['objects']} objects, {count['object_frames']} object-frames"
        text.append(f"{title}\n\n{table(results[name])}\n")
        print(text[-1], flush=True)
    (options.work / "run" / "evaluation.json").write_text(json.dumps(results, indent=1))
    (options.work / "run" / "evaluation.md").write_text("\n".join(text))


def everything(options: argparse.Namespace) -> None:
    """The whole way. Each step skips what is done."""
    print(
        "the nano configuration takes about an hour and a half on two cores; stop it at any time, it resumes",
        flush=True,
    )
    generate(options)
    prepare(options)
    for options.unet in (False, True):
        train(options)
    export(options)
    evaluate_all(options)
    export(options)


if __name__ == "__main__":
    sys.exit(main())
