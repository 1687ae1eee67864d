"""One training stage: batches in, weights out; logs, saves, resumes to the same losses after a kill."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from c2f_ros.contract import ContractError
from c2f_train.fitting.checkpoint import Average, load_checkpoint, save_checkpoint
from c2f_train.fitting.engine import Engine
from c2f_train.fitting.optimizer import learning_rate
from c2f_train.fitting.stages import Stage

SAVE_EVERY_S = 120.0
PICTURE_EVERY_S = 300.0
LOG_EVERY = 50
"""Steps between two lines of the log."""


def run_stage(stage: Stage, engine: Engine, folder: Path, about: str = "") -> None:
    """Train `stage.module` in place and leave it with its averaged weights.

    `folder/<name>.pt` is written every two minutes and at the end; a finished stage is only loaded. `folder/<name>.csv`
    logs the losses, `folder/samples/<name>_<step>.png` shows some samples now and then. All depends on the seed and the
    step alone, so that a stage that was killed goes on to the same losses.
    about: what decides the stage, as text; a checkpoint of another is refused (ContractError).
    """
    engine.check_batch(stage.config.batch, stage.config.accumulate, stage.name)
    run = _Run(stage, engine, folder, about)
    start, steps = run.resume(), stage.config.steps
    with tqdm(
        total=steps, initial=start, desc=stage.name, unit="step", mininterval=2, disable=not engine.is_first
    ) as bar:
        for step in range(start, steps):
            run.step(step)
            bar.update()
            if (step + 1) % LOG_EVERY == 0 or step + 1 == steps:
                bar.set_postfix(run.log(step))
            run.save_if_due(step + 1)
    if start < steps:
        run.save(steps)
    stage.module.load_state_dict(run.average.state)
    stage.close()


class _Run:
    """What a stage carries from step to step."""

    def __init__(self, stage: Stage, engine: Engine, folder: Path, about: str) -> None:
        self.stage, self.engine, self.about = stage, engine, about
        self.file, self.table = folder / f"{stage.name}.pt", folder / f"{stage.name}.csv"
        self.pictures = folder / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        stage.open(engine)
        self.average = Average(stage.module, stage.decay)
        self.shown: dict[str, Tensor] = {}
        self.saved_at = self.pictured_at = time.monotonic()

    def resume(self) -> int:
        """Take up the checkpoint, if there is one; the step to go on with."""
        state = load_checkpoint(self.file, self.about)
        if state is None:
            self.table.unlink(missing_ok=True) if self.engine.is_first else None
            return 0
        self.stage.load(state)
        self.average.load(state["average"], state["updates"])
        self.shown = {name: value.to(self.engine.device) for name, value in state.get("shown", {}).items()}
        if self.engine.is_first:
            _cut_table(self.table, state["step"])
        return int(state["step"])

    def step(self, step: int) -> None:
        """One optimizer step; losses are smoothed on the device, so that nothing waits for them."""
        terms = self.stage.step(step, learning_rate(step, self.stage.config))
        self.average.update(self.stage.module)
        for name, value in terms.items():
            value = value.detach().float()
            self.shown[name] = torch.lerp(self.shown[name], value, 0.02) if name in self.shown else value

    def log(self, step: int) -> dict[str, str]:
        """Write the smoothed losses and return them as text. Raises ContractError if they are not finite."""
        values = {name: value.item() for name, value in self.shown.items()}
        if not all(map(math.isfinite, values.values())):
            raise ContractError(
                f"{self.stage.name}: the losses are {values} at step {step}; lower learning_rate or use --precision 32"
            )
        if self.engine.is_first:
            _log(self.table, step, values)
        return {name: f"{value:.4f}" for name, value in values.items()}

    def save_if_due(self, steps_done: int) -> None:
        now = time.monotonic()
        if now - self.saved_at > SAVE_EVERY_S:
            self.save(steps_done)
            self.saved_at = time.monotonic()
        if now - self.pictured_at > PICTURE_EVERY_S:
            if self.engine.is_first:
                self.pictures.mkdir(exist_ok=True)
                self.stage.picture(steps_done, self.pictures / f"{self.stage.name}_{steps_done:06d}.png")
            self.pictured_at = time.monotonic()

    def save(self, steps_done: int) -> None:
        """Rank 0 writes the checkpoint; the ranks hold the same weights."""
        if not self.engine.is_first:
            return
        state: dict[str, Any] = {"step": steps_done, **self.stage.state()}
        state |= {"average": self.average.state, "updates": self.average.updates}
        save_checkpoint({**state, "shown": self.shown, "about": self.about}, self.file)


def _log(file: Path, step: int, values: dict[str, float]) -> None:
    is_new = not file.exists()
    with open(file, "a", newline="") as out:
        writer = csv.writer(out)
        if is_new:
            writer.writerow(["step", *values])
        writer.writerow([step, *(f"{v:.5f}" for v in values.values())])


def _cut_table(file: Path, steps_done: int) -> None:
    """Drop the lines of steps that come again."""
    if not file.exists():
        return
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:1] + list(_lines_before(lines[1:], steps_done))))


def _lines_before(lines: list[str], steps_done: int) -> Iterator[str]:
    for line in lines:
        number = line.split(",", 1)[0]
        if line.endswith("\n") and number.isdigit() and int(number) < steps_done:
            yield line
