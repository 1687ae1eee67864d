"""`c2f-train import-official`: the published checkpoints as a bundle that the node runs."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "import-official"
HELP = "Make a model bundle of the published C2F-Seg checkpoints (vqgan_X.pth and c2f_seg_X.pth)."


def configure(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--vq", type=Path, required=True, help="vqgan_X.pth (or .pth.xz)")
    parser.add_argument("--c2f", type=Path, required=True, help="c2f_seg_X.pth (or .pth.xz)")
    parser.add_argument(
        "--config", type=Path, nargs="+", default=[], metavar="YML",
        help="c2f_seg_X.yml and vqgan_X.yml; the first tells heads and, for video, the window",
    )  # fmt: skip
    parser.add_argument("--window", type=int, help="frames of a video model, instead of the configuration's")
    parser.add_argument("--steps", type=int, default=3, help="mask-and-predict steps K (default: 3, as published)")
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder, for example models/c2f_kins")
    parser.add_argument(
        "--fast", type=Path, metavar="STUDENTS",
        help="folder of `c2f-train distill`: its students take the tokenizer's place; masks change as measured there",
    )  # fmt: skip
    parser.add_argument("--name", default="", help="the model's name (default: that of the folder)")


def run(options: argparse.Namespace) -> None:
    """Read, check, export, compare; says what was measured. Raises ContractError in one sentence."""
    from c2f_train.distill.stand_in import stand_in
    from c2f_train.official.official_bundle import import_official

    report = import_official(
        options.vq, options.c2f, options.config, options.out, options.name or options.out.name,
        options.window, options.steps, stand_in(options.fast) if options.fast else None,
    )  # fmt: skip
    print(
        f"wrote {options.out}: {report.kind} model, {report.parameters / 1e6:.1f} M parameters, graph "
        f"{report.graph_mb:.0f} MB, {report.seconds:.0f} s; ONNX Runtime and torch give equal tokens and differ by "
        f"at most {report.difference:.1e} in the probabilities of {report.rows} made-up object(s)"
    )
    if report.steady < report.rows:
        print(
            f"note: {report.rows - report.steady} of the golden sample's answers hang on nearly tied tokens; another "
            "machine may round them otherwise and refuse the bundle: import there (trained weights rarely do this)"
        )
    if options.fast:
        print(_measured(options.out))


def _measured(bundle: Path) -> str:
    """What the manifest says of the students' difference, in a sentence."""
    from c2f_ros.bundle import load_bundle

    made = load_bundle(bundle).manifest.made["fast"]
    network = made["network"]
    return (
        f"its tokenizer is distilled: {made['gflop_students']['both']:.3g} instead of "
        f"{made['gflop_teacher']['both']:.3g} GFLOP per object, mask IoU with the exact model "
        f"{network['mask_iou_mean']:.4f} in the mean of {network['objects']} made-up objects (K = {network['steps']})"
    )
