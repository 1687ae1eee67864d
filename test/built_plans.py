"""What tests ask of a plan that was built for real, and where it cannot be."""

from __future__ import annotations

import platform
from types import ModuleType

import pytest

from c2f_ros.engines.tensorrt_library import is_installed, open_library
from c2f_ros.plan_building import Built

HARMLESS = (
    "has Int64 binding",
    "getHardwareCompatibilityLevel() is unsupported",
    "scales to fp32",
    "differs from one already registered",
)
"""Warnings that tell of no fallback: whole numbers that go in and out are 64 bits wide; the library has no such level;
int8 scales are kept in full; another builder of this process has a logger of its own."""


def compiler() -> ModuleType:
    """TensorRT for RTX, which builds without a GPU. Skips the test where there is no wheel of it, and only there."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64") and not is_installed("tensorrt_rtx"):
        pytest.skip(f"TensorRT for RTX has no wheel for {platform.system()} {platform.machine()}")
    return open_library("tensorrt_rtx")


def assert_whole(built: Built) -> None:
    """The plan is the graph compiled as one piece.

    A fallback would be a plugin, a loop or a condition, which `build` itself refuses; a layer that the compiler does
    not take and leaves beside the compiled piece, to be run by a kernel of its own with buffers in between (then there
    are several parts); or anything else of which the builder warns.
    """
    assert built.parts == 1, built.parts
    surprising = [said for said in built.warnings if not any(known in said for known in HARMLESS)]
    assert not surprising, surprising
    assert len(built.plan) > 0
