"""What several cameras cost: all nodes in one process (`c2f-node --namespaces`), or a process each.

The real node over DDS, as a robot runs it; all its processes run at the same time, and get images in turn.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.camera_nodes import Nodes, Processes
from benchmarks.effort import Effort
from benchmarks.measuring import Measured, ratio
from benchmarks.section import Row, Section
from c2f_ros.bench import ros_side
from c2f_ros.bench_scene import MovingScene
from c2f_ros.contract import ContractError

if TYPE_CHECKING:
    from benchmarks.camera_peer import Peer

HEIGHT, WIDTH, OBJECTS, RATE_HZ = 480, 640, 4, 10.0
COUNTS, ROUNDS = (1, 2, 4), 3
FRAMES, WARM_UP, PREPARED = 12, 4, 20
"""Of each camera: sent in a turn, sent before the first turn, and different ones."""
START_S = 600.0
"""Most seconds for nodes to become active."""
TITLE = "Several cameras"
COLUMNS = {
    "cameras": "cameras", "where": "nodes", "cpu": "CPU ms per published frame", "ratio": "of all in one",
    "memory_mb": "memory, MB", "published": "frames published", "sent": "of frames sent",
    "hz": "Hz of each camera", "answer_ms": "answer after, ms",
}  # fmt: skip
NO_ROS = "Not measured: rclpy or this package's messages cannot be imported; source a ROS 2, or run `make bench`."


@dataclass(frozen=True)
class Setup:
    """One way to run `count` cameras. where: for people. is_one: all in one process."""

    count: int
    where: str
    is_one: bool
    processes: Processes

    @property
    def cameras(self) -> list[str]:
        """Of all processes."""
        return [camera for names in self.processes.values() for camera in names]


@dataclass(frozen=True)
class Turn:
    """What a setup did with some frames. cpu_s: of all its processes; answers_s: image to answer, a published frame
    each; hz: what a camera reached, on average."""

    sent: int
    cpu_s: float
    answers_s: tuple[float, ...]
    hz: float


@dataclass(frozen=True)
class Found:
    """A setup's turns, and the memory of its processes after them, as `processes.memory_mb` gives it."""

    setup: Setup
    turns: tuple[Turn, ...]
    memory: tuple[float, float] | None


def cameras(model: Path, effort: Effort) -> Section:
    """A row per setup; none where there is no ROS 2. It makes its process a ROS participant, so it has one of its own.

    Raises ContractError if a node does not become active, ends, or answers nothing.
    """
    if ros_side() is None:
        return Section("cameras", TITLE, NO_ROS, COLUMNS)
    found, engines = _measure(model, make_setups(COUNTS[:2] if effort.is_quick else COUNTS), effort)
    note = (
        f"{model.name}: images of {WIDTH}x{HEIGHT} with {OBJECTS} objects, at most {RATE_HZ:g} Hz from each camera, "
        "the next one when the last is answered; real nodes over DDS, images best effort, one engine thread for each "
        "node. The setups get images in turn. CPU: all threads of a setup's processes, median and quartiles over "
        "turns; ratios are taken turn by turn. Memory: after all turns, files that processes share counted once (the "
        "sum of PSS, which depends on what else runs, is in the JSON). "
        f"Answer: wall time from an image's sending to its masks, median. Engine: {engines}."
    )
    return Section("cameras", TITLE, note, COLUMNS, make_rows(found))


def make_setups(counts: Sequence[int]) -> list[Setup]:
    """One camera alone, and every greater number both ways, first all in one process.

    A process with one camera belongs to every setup that has so many: setups never work at the same time.
    """
    setups = []
    for count in counts:
        if count > 1:
            name = f"together{count}"
            inside = {name: tuple(f"{name}_{number}" for number in range(1, count + 1))}
            setups.append(Setup(count, "all in one process", True, inside))
        apart = {f"apart{number}": (f"apart{number}",) for number in range(1, count + 1)}
        setups.append(Setup(count, "a process each" if count > 1 else "one", count == 1, apart))
    return setups


def make_rows(found: Sequence[Found]) -> list[Row]:
    """The table. Raises ContractError for a turn in which nothing was published, since a frame then has no cost."""
    together: dict[int, Measured] = {}
    rows: list[Row] = []
    for one in found:
        setup, turns = one.setup, one.turns
        if not all(turn.answers_s for turn in turns):
            raise ContractError(
                f"{setup.count} cameras ({setup.where}): no answer in a whole turn; stop what else runs"
            )
        cpu = Measured(tuple(turn.cpu_s / len(turn.answers_s) * 1e3 for turn in turns))
        if setup.is_one:
            together[setup.count] = cpu
        memory_mb, pss_mb = one.memory or (None, None)
        rows.append(
            {
                "cameras": setup.count, "where": setup.where, "cpu": cpu,
                "ratio": None if setup.is_one else ratio(cpu, together[setup.count]),
                "memory_mb": memory_mb, "pss_mb": pss_mb,
                "published": sum(len(turn.answers_s) for turn in turns), "sent": sum(turn.sent for turn in turns),
                "hz": median(turn.hz for turn in turns),
                "answer_ms": median(answer * 1e3 for turn in turns for answer in turn.answers_s),
            }
        )  # fmt: skip
    return rows


def _measure(model: Path, setups: Sequence[Setup], effort: Effort) -> tuple[list[Found], str]:
    """What each setup costs, and the engines that the nodes name."""
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    if os.environ.get("ROS_DISTRO") == "humble":
        os.environ["ROS_LOCALHOST_ONLY"] = "1"
    from benchmarks.camera_peer import Peer  # imports rclpy

    domain, names = 1 + os.getpid() % 100, dict.fromkeys(name for setup in setups for name in setup.cameras)
    with (
        tempfile.TemporaryDirectory() as folder,
        Nodes(model, "onnxruntime" if effort.is_quick else "auto", Path(folder), domain) as nodes,
        Peer(names, domain, MovingScene(HEIGHT, WIDTH, OBJECTS), effort.rounds(PREPARED)) as peer,
    ):
        _start(setups[:1], nodes, peer)  # measures which engine to take; the others find that in the cache
        _start(setups, nodes, peer)
        for setup in setups:
            peer.play(setup.cameras, effort.rounds(WARM_UP), RATE_HZ)
        turns: list[list[Turn]] = [[] for _ in setups]
        for first in range(effort.rounds(ROUNDS)):
            for index in [(first + k) % len(setups) for k in range(len(setups))]:
                turns[index].append(_turn(setups[index], nodes, peer, effort))
        memory = [nodes.memory_mb(setup.processes) for setup in setups]
        found = [Found(setup, tuple(own), mb) for setup, own, mb in zip(setups, turns, memory, strict=True)]
        return found, "; ".join(sorted(peer.engines)) or "not told by diagnostics"


def _start(setups: Sequence[Setup], nodes: Nodes, peer: Peer) -> None:
    """Returns when all their nodes are active."""
    for setup in setups:
        nodes.start(setup.processes)
    chosen = [name for setup in setups for name in setup.cameras]
    if not peer.wait(lambda: nodes.all_run() and peer.is_heard(chosen), START_S):
        raise ContractError(f"not all nodes are active after {START_S:.0f} s; stop what else runs here")


def _turn(setup: Setup, nodes: Nodes, peer: Peer, effort: Effort) -> Turn:
    before = nodes.cpu_s(setup.processes)
    played = peer.play(setup.cameras, effort.rounds(FRAMES), RATE_HZ)
    return Turn(played.sent, nodes.cpu_s(setup.processes) - before, played.answers_s, played.hz)
