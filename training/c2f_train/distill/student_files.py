"""The file of two students: weights, sizes, what they were measured at, and which checkpoint they belong to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from c2f_ros.contract import ContractError, parse, to_plain
from c2f_train.distill.students import CELLS, PIXELS, FastTokenizer, StudentConfig
from c2f_train.fitting.checkpoint import save_checkpoint
from c2f_train.model.network import C2FNetwork
from c2f_train.official.checkpoints import read_checkpoint

STUDENTS, REPORT = "students.pt", "report.json"
FORMAT = 1
ENTRIES = {"format", "checkpoint", "config", "encoder", "head", "report"}


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over all parameters and buffers with their names, hexadecimal; the file they came in does not matter."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {list(value.shape)} ".encode())
        digest.update(memoryview(value.detach().cpu().contiguous().reshape(-1).numpy()).cast("B"))
    return digest.hexdigest()


def write_students(folder: Path, students: FastTokenizer, checkpoint: str, report: Mapping[str, Any]) -> None:
    """`students.pt` and, for people, `report.json` in `folder`. checkpoint: `weights_hash` of the teacher's network."""
    text = json.dumps(report, indent=1)
    content = {
        "format": FORMAT,
        "checkpoint": checkpoint,
        "config": json.dumps(to_plain(students.students)),
        "encoder": students.encoder.state_dict(),
        "head": students.head.state_dict(),
        "report": text,
    }
    save_checkpoint(content, folder / STUDENTS)
    (folder / REPORT).write_text(text + "\n")


def read_students(path: Path, network: C2FNetwork) -> tuple[FastTokenizer, dict[str, Any]]:
    """Both students in the place of `network.tokenizer`, and their report. path: the folder or its `students.pt`.

    Raises ContractError, one sentence: no such file, another content, students of another checkpoint.
    """
    file = path / STUDENTS if path.is_dir() else path
    content = _content(file)
    found = weights_hash(network)
    if content["checkpoint"] != found:
        raise ContractError(
            f"{file} belongs to the checkpoint {content['checkpoint'][:12]}..., this one is {found[:12]}...; run "
            "`c2f-train distill` with the checkpoint that is imported"
        )
    config = parse(StudentConfig, json.loads(content["config"]), file.name)
    reads = CELLS if network.config.reads_cells else PIXELS
    if config.reads != reads:
        raise ContractError(
            f"{file} has a head for {config.reads} and this network reads {reads} of a decoded mask; "
            "run `c2f-train distill` again"
        )
    students = FastTokenizer(network.tokenizer, config)
    for part in ("encoder", "head"):
        try:
            getattr(students, part).load_state_dict(content[part])
        except (RuntimeError, TypeError, AttributeError) as error:
            raise ContractError(
                f"{file}: its {part} does not fit its own sizes ({str(error).splitlines()[0]}); distill again"
            ) from error
    return students.requires_grad_(False).eval(), json.loads(content["report"])


def _content(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise ContractError(f"{file} does not exist; make it with `c2f-train distill --out {file.parent}`")
    try:
        content = read_checkpoint(file)
    except ContractError:
        raise ContractError(f"{file} is no file of students; make it with `c2f-train distill`") from None
    if not isinstance(content, dict) or set(content) != ENTRIES or content["format"] != FORMAT:
        held = ", ".join(sorted(map(str, content))) if isinstance(content, dict) else type(content).__name__
        raise ContractError(f"{file} is no file of students (it holds {held}); make it with `c2f-train distill`")
    return content
