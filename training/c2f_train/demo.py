"""The demonstration of training: from nothing to a scored model that runs on a bag, by the commands a user would type.

It draws clips and driving sequences, cuts samples, trains the tiny preset through all stages and the mask-only
completion network beside it, exports a bundle, scores it beside the baselines, makes a bag and replays it.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from c2f_ros.contract import ContractError
from c2f_train.cli import main as c2f_train
from c2f_train.commands.options import RUN
from c2f_train.config import TrainConfig, load_config, save_config
from c2f_train.data_config import SetConfig
from c2f_train.scores.evaluation_report import table
from c2f_train.scores.evaluation_result import Row

PRESET = Path(__file__).resolve().parents[1] / "configs" / "tiny.yaml"
CONFIG, WORK, MODEL, BAG, REPLAY = "demo.yaml", "work", "model", "bag", "replay"
DRIVES = (
    SetConfig("driving", clips=6, frames=3, seed=5_000_000, scene="driving"),
    SetConfig("driving_test", clips=2, frames=4, seed=6_000_000, scene="driving"),
)
"""Driving sequences to train on and to be scored on, beside the preset's clips."""
SCENE, SCENE_FRAMES, SCENE_SIZE, SCENE_OBJECTS = 23, 12, (256, 320), (5, 8)
"""Seed and size of the scene in the bag."""


@dataclass(frozen=True)
class Step:
    """One step: what it does and the command, words of `c2f-train`, or of a module where `module` names it."""

    text: str
    words: Sequence[str]
    module: str = ""

    @property
    def shown(self) -> str:
        """The command as a user types it."""
        program = {"c2f_ros.bag_cli": "c2f-bag", "c2f_ros.replay_cli": "c2f-replay"}.get(self.module, "c2f-train")
        return f"{program} {shlex.join(self.words)}"


@dataclass(frozen=True)
class DemoResult:
    """seconds per step, and per test set the rows of its table."""

    seconds: Mapping[str, float]
    rows: Mapping[str, Mapping[str, Row]]


def demo_config() -> TrainConfig:
    """The tiny preset with driving sequences. Raises ContractError outside a checkout, where there are no presets."""
    if not PRESET.exists():
        raise ContractError(f"{PRESET} does not exist; run the demo from a checkout")
    config = load_config(PRESET)
    data = replace(config.data, train=(*config.data.train, DRIVES[0]), test=(*config.data.test, DRIVES[1]))
    return replace(config, data=data)


def run_demo(config: TrainConfig, out: Path, threads: int) -> DemoResult:
    """All steps in the folder `out`; what is there already is not made again, but bag and report are.

    Raises ContractError if a step fails; the step has then said why.
    """
    out.mkdir(parents=True, exist_ok=True)
    save_config(config, out / CONFIG)
    all_steps, seconds = steps(out, threads), {}
    for number, step in enumerate(all_steps, start=1):
        print(f"\n[{number}/{len(all_steps)}] {step.text}\n$ {step.shown}", flush=True)
        start = time.monotonic()
        _run(step)
        seconds[step.text] = time.monotonic() - start
        print(f"{seconds[step.text]:.1f} s", flush=True)
    return DemoResult(seconds, json.loads((out / WORK / RUN / "evaluation.json").read_text()))


def steps(out: Path, threads: int) -> list[Step]:
    """What is done, in order."""
    common = ["--config", str(out / CONFIG), "--work", str(out / WORK), "--threads", str(threads)]
    model = ["--out", str(out / MODEL)]
    scene = ["--frames", str(SCENE_FRAMES), "--size", *map(str, SCENE_SIZE), "--objects", *map(str, SCENE_OBJECTS)]
    return [
        Step("draw clips and driving sequences", ["generate", *common]),
        Step("cut them into samples", ["prepare", *common]),
        Step("train: tokenizer, transformer, refiner", ["train", *common, "--accelerator", "cpu"]),
        Step("train the mask-only completion network", ["train", *common, "--accelerator", "cpu", "--completion"]),
        Step("export the model", ["export", *common, *model]),
        Step("score it beside the baselines", ["evaluate", *common, *model, "--no-ap"]),
        Step(
            "draw a scene into a bag",
            [f"generator:{SCENE}", "--out", str(out / BAG), "--overwrite", *scene],
            "c2f_ros.bag_cli",
        ),
        Step(
            "run the model on the bag",
            [str(out / BAG), "--model", str(out / MODEL), "--out", str(out / REPLAY)],
            "c2f_ros.replay_cli",
        ),
    ]


def _run(step: Step) -> None:
    if step.module:
        command = [sys.executable, "-m", step.module, *step.words]
        status = subprocess.run(command, check=False, env=_environment()).returncode
    else:
        status = c2f_train(step.words)
    if status:
        raise ContractError(f"the demo stopped: {step.shown} failed, as said above")


def _environment() -> dict[str, str]:
    """This process's environment, with the checkout on the module path: the demo needs no installation."""
    paths = [str(PRESET.parents[2]), str(PRESET.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def summary(result: DemoResult, out: Path) -> str:
    """What was made and where, and the tables."""
    parts = [
        f"{name}: {next(iter(rows.values()))['object_frames']} object-frames\n\n{table(rows)}\n"
        for name, rows in result.rows.items()
    ]
    for what, path in (
        ("clips, samples, checkpoints", out / WORK),
        ("configuration", out / CONFIG),
        ("evaluation, with pictures", out / WORK / RUN / "evaluation"),
        ("model bundle", out / MODEL),
        ("bag", out / BAG),
        ("report of the replay", out / REPLAY),
    ):
        parts.append(f"{what + ':':28} {path}")
    total = sum(result.seconds.values())
    return "\n".join([*parts, f"{'time:':28} {total:.0f} s"])
