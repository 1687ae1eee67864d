"""Fixtures of the training package's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import own_cache  # noqa: F401
import pytest


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of sample data and fixtures beside the repository."""
    folder = Path(__file__).resolve().parents[3] / "shared"
    if not folder.is_dir():
        pytest.skip("the folder shared/ with sample data is not beside the repository")
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """torch on one thread: several are slower where tests share the cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
