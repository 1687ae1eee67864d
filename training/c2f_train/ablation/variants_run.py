"""Runs sets of ablations: every variant trained on the same samples in the same order, all scored in one table.

Variants that differ in inference alone share weights; the tokenizer is trained once. Checkpoints of each are in a
folder of their own, so that a killed run goes on.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from c2f_ros.contract import ContractError, TemporalSpec, to_plain
from c2f_ros.geometry import FloatArray
from c2f_train.ablation.variants import VISIBLE_MASKS, Ablation
from c2f_train.config import TrainConfig
from c2f_train.data.samples import input_spec
from c2f_train.data.store import SampleStore
from c2f_train.fitting.engine import Engine
from c2f_train.scores.evaluate import Sequences, View, evaluate
from c2f_train.scores.evaluation_result import Row
from c2f_train.scores.predictors import Predictor, load_network, network_predictor
from c2f_train.train import train_network

BASE = "base"
TOKENIZER = "tokenizer.pt"
AT_ONCE = 4
"""Networks held in memory during one pass over the data."""


@dataclass(frozen=True)
class PlannedRow:
    """A row of a table: its configuration, the folder of its weights, the paper's numbers where known."""

    label: str
    config: TrainConfig
    folder: str
    paper: tuple[float, float] | None

    @property
    def identity(self) -> str:
        """Equal for rows that are the same network."""
        return json.dumps([self.folder, _inference(self.config)], sort_keys=True)


@dataclass(frozen=True)
class Plan:
    """tables: rows per ablation. trainings: per folder the configuration that is trained there, the base first.
    notes: what is left out and why."""

    tables: Mapping[str, Sequence[PlannedRow]]
    trainings: Mapping[str, TrainConfig]
    notes: Sequence[str]


@dataclass(frozen=True)
class AblationResult:
    """scored: per data set and ablation its rows, each with what `EvaluationResult.rows` says of it."""

    name: str
    scored: Mapping[str, Mapping[str, Sequence[tuple[PlannedRow, Row]]]]
    notes: Sequence[str]


def limit_samples(config: TrainConfig, samples: int) -> TrainConfig:
    """`config` with `samples` samples in the refiner stage and the transformer stage in proportion; the tokenizer's
    stage stays: it is trained once. Raises ContractError if that is less than one batch."""
    share = samples / config.refiner_stage.samples
    first = config.transformer_stage
    return replace(
        config,
        transformer_stage=replace(first, samples=round(first.samples * share)),
        refiner_stage=replace(config.refiner_stage, samples=samples),
    )


def make_plan(config: TrainConfig, ablations: Mapping[str, Ablation]) -> Plan:
    """What has to be trained and shown."""
    base = PlannedRow("as configured", config, BASE, None)
    folders, trainings = {_training_key(config): BASE}, {BASE: config}
    tables: dict[str, list[PlannedRow]] = {}
    notes = []
    for name, ablation in ablations.items():
        if name == VISIBLE_MASKS:
            continue
        if ablation.needs_video and config.network.frames == 1:
            notes.append(f"{name} is left out: the configuration is of an image model.")
            continue
        rows = []
        for label, variant in ablation.variants.items():
            try:
                changed = variant.apply(config)
            except ContractError as error:
                notes.append(f"{name}, {label}: left out, the configuration does not allow it ({error}).")
                continue
            folder = folders.setdefault(_training_key(changed), _folder_name(name, label))
            trainings.setdefault(folder, changed)
            rows.append(PlannedRow(label, changed, folder, variant.paper))
        tables[name] = _with_base(rows, base)
    return Plan(tables, trainings, notes)


def _with_base(rows: Sequence[PlannedRow], base: PlannedRow) -> list[PlannedRow]:
    """The rows with the configured one marked; added in front if it is none of them."""
    if not any(row.config == base.config for row in rows):
        return [base, *rows]
    return [replace(row, label=f"{row.label} ({base.label})") if row.config == base.config else row for row in rows]


def _folder_name(*words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", " ".join(words).lower()).strip("_")


def _training_key(config: TrainConfig) -> str:
    """Equal for configurations that give the same weights."""
    plain = to_plain(config)
    plain["network"]["inference"] = plain["network"]["inference"]["decode"]
    if config.network.transformer.temporal:
        plain["network"]["transformer"]["roll"] = False  # one window per clip: it does nothing
    return json.dumps(plain, sort_keys=True)


def _inference(config: TrainConfig) -> dict[str, object]:
    return to_plain(config.network.inference)


def train_all(
    plan: Plan, store: SampleStore, folder: Path, engine: Engine | None = None,
    tokenizer_store: SampleStore | None = None,
) -> None:  # fmt: skip
    """Train what the plan needs, each in a folder of its own in `folder`; what is finished is only loaded."""
    for number, (name, config) in enumerate(plan.trainings.items(), start=1):
        print(f"[{number}/{len(plan.trainings)}] {name}", flush=True)
        own = folder / name
        own.mkdir(parents=True, exist_ok=True)
        if name != BASE and not (own / TOKENIZER).exists():
            shutil.copyfile(folder / BASE / TOKENIZER, own / "tokenizer.part")
            os.replace(own / "tokenizer.part", own / TOKENIZER)
        train_network(config, store, own, engine, tokenizer_store)


def score_all(plan: Plan, sequences: Sequences, folder: Path) -> dict[str, list[tuple[PlannedRow, Row]]]:
    """Every row of the plan's tables, scored on `sequences` with the weights that `train_all` left in `folder`."""
    rows = {row.identity: row for table in plan.tables.values() for row in table}
    found: dict[str, Row] = {}
    waiting = list(rows.values())
    for first in range(0, len(waiting), AT_ONCE):
        group = waiting[first : first + AT_ONCE]
        found |= _score(group, sequences, folder, plan.trainings[BASE])
    return {name: [(row, found[row.identity]) for row in table] for name, table in plan.tables.items()}


def score_visible_masks(
    config: TrainConfig, sequences: Mapping[str, Sequences], folder: Path
) -> list[tuple[PlannedRow, Row]]:
    """The configured network, once for each way to get visible masks."""
    base = PlannedRow("", config, BASE, None)
    return [
        (replace(base, label=label), _score([base], given, folder, config)[base.identity])
        for label, given in sequences.items()
    ]


def _score(group: Sequence[PlannedRow], sequences: Sequences, folder: Path, base: TrainConfig) -> dict[str, Row]:
    predictors: dict[str, Predictor] = {}
    views: dict[str, View] = {}
    for row in group:
        predict = network_predictor(load_network(row.config, folder / row.folder))
        is_single = row.config.network.frames < base.network.frames
        predictors[row.identity] = _newest_frame(predict) if is_single else predict
        # A model of single frames gets the newest frame of the window, so that both see the same pixels.
        views[row.identity] = network_view(row.config, base.network.frames)
    rows = evaluate(sequences, predictors, base.crop, views=views, cases=0).rows()
    return {identity: rows[identity] for identity in predictors}


def network_view(config: TrainConfig, frames: int) -> View:
    """How a network trained by `config` sees objects, in windows of `frames`."""
    return View(
        config.crop,
        input_spec(config.crop, config.network.mask_channels),
        TemporalSpec("window" if frames > 1 else "image", frames),
        config.network.mask_threshold,
    )


def _newest_frame(predict: Predictor) -> Predictor:
    def newest(image: FloatArray, masks: FloatArray) -> FloatArray:
        return predict(image[:, -1], masks[:, -1])

    return newest


def run_ablations(
    config: TrainConfig, ablations: Mapping[str, Ablation], store: SampleStore, folder: Path,
    data: Mapping[str, Mapping[str, Sequences]], engine: Engine | None = None,
    tokenizer_store: SampleStore | None = None,
) -> AblationResult:  # fmt: skip
    """Train and score everything; checkpoints go into folders of `folder`.

    data: per data set its sequences, by where their visible masks come from; all tables but the one about those are of
    the first.
    """
    plan = make_plan(config, ablations)
    train_all(plan, store, folder, engine, tokenizer_store)
    scored: dict[str, dict[str, list[tuple[PlannedRow, Row]]]] = {}
    for name, by_masks in data.items():
        scored[name] = score_all(plan, next(iter(by_masks.values())), folder) if plan.tables else {}
        if VISIBLE_MASKS in ablations:
            scored[name][VISIBLE_MASKS] = score_visible_masks(config, by_masks, folder)
    return AblationResult(config.name, scored, plan.notes)
