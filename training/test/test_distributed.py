"""Two processes with half of each batch train to the weights of one process with the whole batch (spec B2)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed; `make test` installs it")

import torch
from two_ranks import train

from c2f_train.fitting.engine import Engine, EngineConfig

SCRIPT = Path(__file__).with_name("two_ranks.py")


def test_two_ranks_with_half_batches_give_the_weights_of_one_with_the_whole_batch(tmp_path):
    alone = train(tmp_path / "one", Engine(EngineConfig("cpu", 1, "32")))
    (tmp_path / "two").mkdir()
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "two"), "2"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    ranks = [torch.load(tmp_path / "two" / f"weights_{rank}.pt", weights_only=True) for rank in (0, 1)]
    for name, value in alone.items():
        assert torch.equal(ranks[0][name], ranks[1][name]), f"the ranks differ in {name}"
        assert torch.allclose(ranks[0][name].float(), value.float(), atol=2e-5), name
    logs = [(tmp_path / folder / "refiner.csv").read_text().splitlines() for folder in ("one", "two")]
    assert len(logs[0]) == len(logs[1]) == 2, "only one rank writes the log"
