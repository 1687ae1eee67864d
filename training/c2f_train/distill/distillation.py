"""A whole distillation: labels by the teacher, two students, what they differ by."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from c2f_ros.contract import CropSpec, InputSpec, to_plain
from c2f_ros.geometry import BoolArray
from c2f_train.distill.cost import gflops
from c2f_train.distill.differences import network_differences, tokenizer_differences
from c2f_train.distill.held_out import held_out_inputs
from c2f_train.distill.mask_pairs import MaskSource
from c2f_train.distill.outlines import silhouettes
from c2f_train.distill.stages import EncoderStage, HeadStage, stage_config
from c2f_train.distill.student_files import weights_hash, write_students
from c2f_train.distill.students import FastTokenizer, fast_tokenizer, student_config
from c2f_train.distill.targets import Labelling, Labels, label
from c2f_train.fitting.engine import Engine
from c2f_train.fitting.loop import run_stage
from c2f_train.model.network import C2FNetwork

HELD_OUT_SEED = 1_000_003
"""Added to the seed for masks that students are measured on."""
HEAD_ROUNDS = 2
"""A head sees each of its samples so many times as often as the encoder sees its own: there are half as many."""


@dataclass(frozen=True)
class DistillConfig:
    """samples: pairs of a visible and a whole mask that the teacher labels. rounds: how often a student sees each.
    held_out: pairs to measure with. objects: of generated clips, through the whole network. batch: per step. width:
    factor of the students' widths. tokens: `nearest` or `classes`."""

    samples: int = 8000
    rounds: int = 12
    held_out: int = 256
    objects: int = 64
    batch: int = 32
    width: float = 1.0
    tokens: str = "classes"
    seed: int = 0


def distill(
    network: C2FNetwork,
    crop: CropSpec,
    spec: InputSpec,
    config: DistillConfig,
    engine: Engine,
    folder: Path,
    own: list[BoolArray] | None = None,
) -> dict[str, Any]:
    """Write `students.pt` and `report.json` to `folder` and return the report; whatever was finished is taken up.

    network: the teacher, with crops and inputs as `crop` and `spec` say. own: masks of one's own, which join the
    generator's silhouettes. Raises ContractError where `folder` holds something else's labels or students.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = weights_hash(network)
    network = network.requires_grad_(False).eval().to(engine.device)
    teacher = network.tokenizer
    students = fast_tokenizer(teacher, student_config(network.config, config.width, config.tokens), config.seed)
    students.quantize.requires_grad_(False)
    students.to(engine.device)
    about = json.dumps([checkpoint, _about_masks(own)])
    labels = _labels(network, config, crop, own, folder / "labels", about, held_out=False)
    about += json.dumps([to_plain(config), to_plain(students.students)])
    rounds = config.rounds * labels.samples
    encoder = EncoderStage(students, teacher, labels, stage_config(rounds, config.batch), config.seed)
    run_stage(encoder, engine, folder, about)
    head = HeadStage(students, labels, stage_config(rounds * HEAD_ROUNDS // 2, config.batch), config.seed)
    run_stage(head, engine, folder, about)
    unseen = _labels(network, config, crop, own, folder / "held_out", json.dumps([checkpoint, _about_masks(own)]), True)
    report = _report(network, students, unseen, config, crop, spec)
    write_students(folder, students, checkpoint, report)
    return report


def _labels(
    network: C2FNetwork, config: DistillConfig, crop: CropSpec, own: list[BoolArray] | None, folder: Path, about: str,
    held_out: bool,
) -> Labels:  # fmt: skip
    seed = config.seed + (HELD_OUT_SEED if held_out else 0)
    pool = silhouettes(seed) + (own or [])
    source = MaskSource(network.config.crop_size, crop.rule == "stretched", seed, pool)
    labelling = Labelling(source, network.config.inference.decode == "soft", network.config.reads_cells)
    pairs = config.held_out if held_out else config.samples
    return label(network.tokenizer, labelling, pairs, folder, about, "held-out labels" if held_out else "labels")


def _about_masks(own: list[BoolArray] | None) -> list[list[int]]:
    """What tells one's own masks from others: rows, columns and pixels of each."""
    return [[*mask.shape, int(mask.sum())] for mask in own or []]


def _report(
    network: C2FNetwork,
    students: FastTokenizer,
    unseen: Labels,
    config: DistillConfig,
    crop: CropSpec,
    spec: InputSpec,
) -> dict[str, Any]:
    reads_cells = network.config.reads_cells
    before, after = gflops(network.tokenizer, reads_cells), gflops(students, reads_cells)
    inputs = held_out_inputs(network.config, crop, spec, config.objects)
    return {
        "made": to_plain(config),
        "students": to_plain(students.students),
        "gflop_teacher": {name: round(value, 3) for name, value in before.items()},
        "gflop_students": {name: round(value, 3) for name, value in after.items()},
        "tokenizer": tokenizer_differences(students, unseen),
        "network": network_differences(network, students, inputs, config.objects),
    }
