"""Fixtures for all tests, and what keeps ROS tests apart from any robot on the network."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import own_cache  # noqa: F401
import pytest

if TYPE_CHECKING:
    from device_engines import Opening

ROOT = Path(__file__).resolve().parent.parent

# Before anything imports rclpy: a domain of our own, and no traffic beyond this machine.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with tests marked `slow` come first: two processes that take files in turn then end at the same time.
    Tests marked `ros` are skipped where there is no ROS 2."""
    slow = {item.path for item in items if "slow" in item.keywords}
    items.sort(key=lambda item: item.path not in slow)
    if find_spec("rclpy") is None:
        skip = pytest.mark.skip(reason="rclpy cannot be imported: source a ROS 2, or run `make test`")
        for item in items:
            if "ros" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Opening:
    """Opens engines on a fake GPU (`device_engines.py`)."""
    from device_engines import Opening  # here: most tests need no engine

    return Opening(monkeypatch, tmp_path / "cache")


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of sample data and fixtures beside the repository."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("the folder shared/ with sample data is not beside the repository")
    return folder
