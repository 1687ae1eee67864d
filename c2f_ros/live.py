"""Replays a bag live: starts the node as a user would, plays the bag at its own rate, records the answers.

Three processes of their own (node, player, recorder) on a ROS domain of their own, on this machine only; this one only
watches them. Nothing of ROS is imported here.
"""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from c2f_ros.bag import COMPRESSED_TYPE, INSTANCES_TYPE, BagReader, BagTopics
from c2f_ros.replay import FrameCounts, Run
from c2f_ros.steps.step1_read import stamp_ns

NODE_NAME = "/c2f"
START_S, STOP_S, END_S = 120.0, 15.0, 120.0
"""Most seconds for the node to get ready, for a process to stop, and for the end after the bag's own duration."""
DIAGNOSTICS_PERIOD_S = 0.2
INPUT_DEPTH = 50
NO_ROS = "live replay needs ROS 2: source one, or pip install '.[jazzy]'; without --live no ROS is needed"


class LiveError(RuntimeError):
    """The node, the player or the recorder failed; one sentence."""


@dataclass
class _Processes:
    """The running processes; what they print and how they end arrives in `events` as (name, what)."""

    environment: Mapping[str, str]
    events: queue.Queue[tuple[str, Any]] = field(default_factory=queue.Queue)
    running: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def start(self, name: str, command: list[str], log: IO[str]) -> subprocess.Popen[str]:
        """Start a process; its standard output becomes events, line by line, its errors go to `log`."""
        process = subprocess.Popen(
            command, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        )
        self.running[name] = process
        threading.Thread(target=self._watch, args=(name, process), daemon=True).start()
        return process

    def _watch(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.events.put((name, line.strip()))
        self.events.put((name, process.wait()))

    def stop_all(self) -> None:
        """Ask every process to end (SIGTERM), the node last; kill those that do not."""
        for name in sorted(self.running, key=lambda n: n == "node"):
            process = self.running[name]
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def replay_live(
    bag: Path, topics: BagTopics, values: Mapping[str, Any], hidden_under: str, result: Path, rate: float
) -> Run:
    """Replay through the real node and write `result` (result.mcap); the node's log is written beside it.

    values: the node's parameters that are set, by ROS name. hidden_under: the rule it will follow, for the report.
    rate: 1 is the bag's own.
    Raises LiveError in one sentence if the node does not get active or anything ends early.
    """
    stamps, unpaired, duration_s = _survey(bag, topics)
    log_file = result.parent / "node.log"
    processes = _Processes(_environment())
    with open(log_file, "w") as log:
        try:
            processes.start("node", node_command(topics, values), log)
            summary = _record(processes, bag, topics, result, rate, duration_s / rate, log)
        except LiveError as error:
            raise LiveError(f"{error}{_last_words(log_file)}") from None
        finally:
            processes.stop_all()
    diagnostics = summary["diagnostics"]
    return Run(
        "live",
        diagnostics.get("model_id", ""),
        diagnostics.get("engine", ""),
        hidden_under,
        count_frames(len(stamps), unpaired, summary["answered"], diagnostics),
        read_latency(diagnostics),
        tuple(filter(None, [diagnostics.get("last_fault", "")])),
    )


def _record(
    processes: _Processes, bag: Path, topics: BagTopics, result: Path, rate: float, duration_s: float, log: IO[str]
) -> dict[str, Any]:
    """Start the recorder, when it is ready the player, and return the recorder's summary."""
    chosen = ["--image-topic", topics.image, "--masks-topic", topics.masks]
    python = [sys.executable, "-m"]
    recorder = processes.start("recorder", [*python, "c2f_ros.recorder", str(bag), "--out", str(result), *chosen], log)
    summary: dict[str, Any] = {}
    timeout_s = START_S
    while True:
        try:
            name, what = processes.events.get(timeout=timeout_s)
        except queue.Empty:
            raise LiveError(f"nothing has happened for {timeout_s:.0f} s") from None
        if (name, what) == ("recorder", "ready"):
            processes.start("player", [*python, "c2f_ros.player", str(bag), "--rate", str(rate), *chosen], log)
            timeout_s = duration_s + END_S
        elif name == "recorder" and isinstance(what, str):
            summary = json.loads(what) if what.startswith("{") else summary
        elif (name, what) == ("recorder", 0) and summary:
            return summary
        elif (name, what) == ("player", 0):
            assert recorder.stdin is not None
            recorder.stdin.close()
        elif isinstance(what, int):
            raise LiveError(f"the {name} ended with status {what}")


def node_command(topics: BagTopics, values: Mapping[str, Any]) -> list[str]:
    """How the node is started: `c2f-node --autostart --ros-args ...`, with its inputs remapped to the bag's topics.

    The inputs are made reliable and deep, so that the transport loses nothing and every frame can be accounted for.
    """
    beside = Path(sys.executable).with_name("c2f-node")
    script = str(beside) if beside.exists() else shutil.which("c2f-node")
    command = [script] if script else [sys.executable, "-m", "c2f_ros.node"]
    is_compressed, is_instances = topics.image_type == COMPRESSED_TYPE, topics.masks_type == INSTANCES_TYPE
    given = dict(values)
    given |= {"input.kind": "instances" if is_instances else "masks"}
    given |= {"input.image_transport": "compressed" if is_compressed else "raw"}
    given |= {"diagnostics.period_s": str(DIAGNOSTICS_PERIOD_S)}
    for topic in (topics.image, topics.masks):
        given |= {f"qos_overrides.{topic}.subscription.reliability": "reliable"}
        given |= {f"qos_overrides.{topic}.subscription.depth": str(INPUT_DEPTH)}
    command += ["--autostart", "--ros-args"]
    for name, value in given.items():
        command += ["-p", f"{name}:={value}"]
    command += ["-r", f"~/input/image{'/compressed' if is_compressed else ''}:={topics.image}"]
    return command + ["-r", f"~/input/{'instances' if is_instances else 'masks'}:={topics.masks}"]


def count_frames(in_bag: int, unpaired: int, answered: int, diagnostics: Mapping[str, str]) -> FrameCounts:
    """What became of the bag's frames: the node's own counts, and `lost` for what they leave open."""

    def total(*keys: str) -> int:
        return sum(int(diagnostics.get(key, 0)) for key in keys)

    left = max(0, in_bag - answered - unpaired)
    skipped = min(left, total("skipped"))
    failed = min(left - skipped, total("engine_failures", "errors", "discarded"))
    refused = min(left - skipped - failed, total("refused", "late", "stale"))
    lost = left - skipped - failed - refused
    return FrameCounts(
        in_bag, min(in_bag, total("masks")), total("paired"), answered, skipped, refused, failed, unpaired, lost
    )


def read_latency(diagnostics: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Per stage `median_ms` and `p95_ms`, from the keys `<stage>_ms` ("median 1.20, 95 % 3.40")."""
    found = {}
    for key, value in diagnostics.items():
        numbers = re.fullmatch(r"median ([\d.]+), 95 % ([\d.]+)", value)
        if key.endswith("_ms") and numbers:
            found[key.removesuffix("_ms")] = {"median_ms": float(numbers[1]), "p95_ms": float(numbers[2])}
    return found


def _survey(bag: Path, topics: BagTopics) -> tuple[list[int], int, float]:
    """Stamps of all masks messages, how many have no image, and the bag's duration in seconds."""
    masks: list[int] = []
    images: set[int] = set()
    times: list[int] = []
    with BagReader(bag) as reader:
        for topic, time_ns, message in reader.messages((topics.image, topics.masks)):
            times.append(time_ns)
            masks.append(stamp_ns(message.header)) if topic == topics.masks else images.add(stamp_ns(message.header))
    return masks, sum(s not in images for s in masks), (max(times) - min(times)) * 1e-9 if times else 0.0


def _environment() -> dict[str, str]:
    """This process's environment with a ROS domain of its own that does not leave the machine."""
    domain = {"ROS_DOMAIN_ID": str(1 + os.getpid() % 100), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    if os.environ.get("ROS_DISTRO") == "humble":
        domain["ROS_LOCALHOST_ONLY"] = "1"
    return {**os.environ, **domain, "PYTHONUNBUFFERED": "1"}


def _last_words(log_file: Path) -> str:
    lines = log_file.read_text(errors="replace").strip().splitlines()
    told = [line for line in lines if "error" in line.lower() or "No module named" in line]
    if any("No module named 'rclpy'" in line for line in lines):
        return f": {NO_ROS}"
    return f": {(told or lines)[-1]}; see {log_file}" if lines else f"; see {log_file}"
