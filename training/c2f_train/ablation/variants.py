"""What can be ablated: sets of variants, each a few values of the training configuration, with the paper's numbers.

The published numbers are those of MOViD-A (mIoU_full, mIoU_occ; paper tables B.1 and B.2). Where they are not known to
us a cell stays empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from c2f_ros.contract import ContractError, parse, to_plain
from c2f_train.config import TrainConfig


@dataclass(frozen=True)
class Variant:
    """One row. overrides: dotted key of `TrainConfig` -> value. paper: (mIoU_full, mIoU_occ) in percent, where known.

    by_frame: a video model's clips become as many single frames, so that the variant sees the same pixels.
    """

    overrides: Mapping[str, Any]
    paper: tuple[float, float] | None = None
    by_frame: bool = False

    def apply(self, config: TrainConfig) -> TrainConfig:
        """`config` with this variant's values. Raises ContractError if they cannot be combined with it."""
        plain = to_plain(config)
        for key, value in self.overrides.items():
            _set(plain, key, value)
        if self.by_frame:
            for stage in ("transformer_stage", "refiner_stage"):
                for count in ("samples", "batch"):
                    plain[stage][count] *= config.network.frames
        return parse(TrainConfig, plain, config.name)


def _set(plain: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        plain = plain[parent]
    if last not in plain:
        raise ContractError(f"{key} is no key of the configuration; correct the variant")
    plain[last] = value


@dataclass(frozen=True)
class Ablation:
    """One table. needs_video: of a video configuration alone. note: what the reader of the table must know."""

    title: str
    variants: Mapping[str, Variant]
    needs_video: bool = False
    note: str = ""


def _switch(key: str, *values: Any) -> dict[str, Variant]:
    return {str(value): Variant({key: value}) for value in values}


_MASKING = "loss.network.masking"
_ALL_SAMPLES = {"loss.network.full_mask": 0.0, "loss.network.mask_samples": "all"}

ABLATIONS: dict[str, Ablation] = {
    "paper_table_3": Ablation(
        "Paper tables 3 and B.3: parts of the refiner",
        {
            "without refiner": Variant({"network.refiner.enabled": False}),
            "single branch": Variant({"network.refiner.branches": "amodal"}),
            "without attention": Variant({"network.refiner.attention": "none"}),
            "all of it": Variant({}),
        },
    ),
    "paper_table_b2": Ablation(
        "Paper table B.2: the spatio-temporal transformer",
        {
            "without the spatio-temporal block": Variant({"network.transformer.temporal": False}, by_frame=True),
            "without the roll": Variant({"network.transformer.roll": False}, (69.92, 32.35)),
            "with the roll": Variant({"network.transformer.roll": True}, (71.67, 36.13)),
        },
        needs_video=True,
        note="A clip holds one window: the roll permutes a set, and both rows are the same network (spec 9.4, D13).",
    ),
    "k": Ablation(
        "Paper table B.1: steps K of mask-and-predict, with the same weights",
        {
            f"K = {steps}": Variant({"network.inference.steps": steps}, paper)
            for steps, paper in ((1, (71.91, 36.57)), (2, None), (3, (71.67, 36.13)), (5, None), (8, None))
        },
    ),
    "paper_table_4": Ablation(
        "Paper table 4: true or predicted visible masks, with the same weights",
        {},
        note="Simulated ones are the true ones grown, shrunk or with a wavy border, as training augments them.",
    ),
    "masking": Ablation(
        "How tokens are hidden in training (D2)",
        {
            "uniform (paper)": Variant({_MASKING: "uniform", **_ALL_SAMPLES}),
            "published": Variant({_MASKING: "published", **_ALL_SAMPLES}),
            "97 % from nothing": Variant(
                {_MASKING: "uniform", "loss.network.full_mask": 0.97, "loss.network.mask_samples": "full"}
            ),
        },
    ),
    "label_smoothing": Ablation("Label smoothing (D5)", _switch("loss.network.label_smoothing", 0.0, 0.1)),
    "decoding": Ablation(
        "The coarse mask from chosen tokens or from expected code vectors (D6)",
        _switch("network.inference.decode", "hard", "soft"),
    ),
    "attention": Ablation(
        "The refiner's attention (D3)", _switch("network.refiner.attention", "published", "paper", "scaled", "none")
    ),
    "coarse_cells": Ablation(
        "The coarse mask on the token grid (D4)", _switch("network.refiner.coarse_cells", "corner", "mean")
    ),
    "optimizer": Ablation(
        "What the optimizer trains (bug B1)",
        {
            "everything": Variant({"train_everything": True}),
            "as published: no biases and norms of the transformer": Variant({"train_everything": False}),
        },
    ),
}
VISIBLE_MASKS = "paper_table_4"
"""The one set without variants: its rows differ in the visible masks that the network is given."""
EVERY_SET = "all"


def choose(names: Sequence[str]) -> dict[str, Ablation]:
    """The sets of these names, in the order of `ABLATIONS`; `all` stands for every one. Raises ContractError."""
    unknown = sorted(set(names) - set(ABLATIONS) - {EVERY_SET})
    if unknown or not names:
        raise ContractError(
            f"--set names {', '.join(unknown) or 'nothing'}, known are {', '.join(ABLATIONS)} and {EVERY_SET}"
        )
    return {name: about for name, about in ABLATIONS.items() if name in names or EVERY_SET in names}
