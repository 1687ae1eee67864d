"""`c2f-train distill`: small students for a mask tokenizer, and how far from it they are."""

from __future__ import annotations

import argparse
from pathlib import Path

from c2f_train.commands.options import add_devices

NAME = "distill"
HELP = "Teach small networks the published tokenizer (masks alone are needed); for import-official --fast."

AIM = 0.99
"""Mean IoU of whole masks with the exact model's that students should reach."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.description = (
        "Teaches two small networks what the tokenizer's encoder and decoder do, on made-up masks, and measures the "
        "difference. Stop it at any time, the same command goes on. The teacher's answers are kept in FOLDER/labels "
        "and FOLDER/held_out (published sizes: 0.3 MB per sample), which can be deleted afterwards."
    )
    parser.add_argument("--vq", type=Path, help="vqgan_X.pth (or .pth.xz)")
    parser.add_argument("--c2f", type=Path, help="c2f_seg_X.pth (or .pth.xz)")
    parser.add_argument(
        "--config", type=Path, nargs="+", default=[], metavar="YML", help="c2f_seg_X.yml and vqgan_X.yml"
    )
    parser.add_argument("--run", type=Path, dest="trained", help="instead: the folder of a run of `c2f-train train`")
    parser.add_argument("--window", type=int, help="frames of a video model, instead of the configuration's")
    parser.add_argument("--steps", type=int, default=3, help="mask-and-predict steps K to measure with (default: 3)")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="students, report, checkpoints")
    parser.add_argument("--masks", type=Path, metavar="DIR", help="label images or masks of your own to learn from too")
    parser.add_argument("--samples", type=int, default=8000, help="objects that the teacher labels (default: 8000)")
    parser.add_argument("--rounds", type=int, default=12, help="times that a student sees each (default: 12)")
    parser.add_argument("--held-out", type=int, default=256, help="unseen masks to measure with (default: 256 pairs)")
    parser.add_argument("--objects", type=int, default=64, help="objects to compare whole masks on (default: 64)")
    parser.add_argument("--batch", type=int, default=32, help="masks per step (default: 32)")
    parser.add_argument("--width", type=float, default=1.0, help="factor of the students' widths (default: 1)")
    parser.add_argument(
        "--tokens", choices=("classes", "nearest"), default="classes",
        help="how the encoder's student chooses tokens: by a score per code (default), or the nearest code to a vector",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of masks and students (default: 0)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch on a CPU (default: 2)")
    add_devices(parser)


def run(options: argparse.Namespace) -> None:
    """Distill and print what was measured. Raises ContractError or InputError in one sentence."""
    import torch

    from c2f_train.distill.distillation import DistillConfig, distill
    from c2f_train.distill.outlines import own_masks
    from c2f_train.distill.teachers import open_teacher
    from c2f_train.fitting.engine import Engine, EngineConfig

    torch.set_num_threads(options.threads)
    teacher = open_teacher(options.trained, options.vq, options.c2f, options.config, options.window, options.steps)
    own = own_masks(options.masks) if options.masks else None
    engine = Engine(EngineConfig(options.accelerator, options.devices, options.precision))
    config = DistillConfig(
        samples=options.samples, rounds=options.rounds, held_out=options.held_out, objects=options.objects,
        batch=options.batch, width=options.width, tokens=options.tokens, seed=options.seed,
    )  # fmt: skip
    report = distill(teacher.network, teacher.crop, teacher.input, config, engine, options.out, own)
    tokenizer, network = report["tokenizer"], report["network"]
    print(
        f"wrote {options.out}: {report['gflop_students']['both']:.3g} instead of {report['gflop_teacher']['both']:.3g} "
        f"GFLOP per object; equal tokens of visible masks {tokenizer['equal_tokens_visible']:.1%}, coarse IoU "
        f"{tokenizer['coarse_iou']:.4f}; masks of the whole network on {network['objects']} held-out objects: mean IoU "
        f"{network['mask_iou_mean']:.4f}, the worst twentieth below {network['mask_iou_least_5_percent']:.4f}"
    )
    if network["mask_iou_mean"] < AIM:
        print(f"note: below {AIM}; more --samples, more --rounds, masks of your own (--masks) or a larger --width help")
    if report["gflop_students"]["both"] >= report["gflop_teacher"]["both"]:
        print("note: this tokenizer is so small that its students cost more; they save nothing")
