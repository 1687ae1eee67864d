"""Distilled students in the place of an imported network's tokenizer, and what its manifest says of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from c2f_train.distill.student_files import STUDENTS, read_students
from c2f_train.distill.students import FastTokenizer
from c2f_train.model.network import C2FNetwork
from c2f_train.onnx_graph import sha256

HOW = (
    "the tokenizer's encoder and decoder are small networks distilled from it by `c2f-train distill`: masks are close "
    "to the exact model's, not equal; the numbers below are measured against it in float32"
)


def stand_in(path: Path) -> Callable[[C2FNetwork], tuple[FastTokenizer, dict[str, Any]]]:
    """What `import_official` calls to put the students in `path` into a network.

    It raises ContractError, one sentence, if they belong to another checkpoint.
    """

    def replace_tokenizer(network: C2FNetwork) -> tuple[FastTokenizer, dict[str, Any]]:
        students, report = read_students(path, network)
        file = path / STUDENTS if path.is_dir() else path
        return students, {"fast": {"how": HOW, "from": {file.name: sha256(file)}, **report}}

    return replace_tokenizer
