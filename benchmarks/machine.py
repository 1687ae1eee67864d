"""What the numbers were measured on, and how busy it was."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ("onnxruntime", "openvino", "torch", "numpy", "opencv-python-headless")
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_bf16", "amx_int8", "asimd", "bf16", "i8mm")
"""Of the CPU, those that decide how fast a matrix product can be."""
BUSY = 0.3
"""Load per core above which the machine counts as busy before anything was measured."""


def about_machine(threads: int) -> dict[str, Any]:
    """CPU, cores, libraries, the checkout's commit, load averages now."""
    cores = len(os.sched_getaffinity(0))
    name, flags = _cpu()
    load = [round(value, 2) for value in os.getloadavg()]
    return {
        "cpu": name,
        "cores": cores,
        "threads": threads,
        "cpu_flags": [flag for flag in FLAGS if flag in flags],
        "python": platform.python_version(),
        "versions": {library: _version(library) for library in LIBRARIES},
        "git": git_commit(),
        "load_at_start": load,
        "was_busy": load[0] > BUSY * cores,
    }


def git_commit() -> str:
    """The checkout's commit, `+` behind it where tracked files differ from it; `unknown` outside of git."""
    try:
        found = [
            subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
            for command in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found[0] + ("+" if found[1] else "")


def _cpu() -> tuple[str, set[str]]:
    name, flags = platform.processor() or platform.machine(), set()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return name, flags
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() in ("flags", "Features"):
            flags = set(value.split())
    return name, flags


def _version(library: str) -> str | None:
    try:
        return version(library).split("-")[0]
    except PackageNotFoundError:
        return None
