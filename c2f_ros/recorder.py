"""Records a node's answers to a bag that is being played: `python -m c2f_ros.recorder BAG --out result.mcap`.

It brings the node to active if it is not, prints `ready`, and then records. When its standard input ends, nothing more
will be played. It ends when every frame of the bag is answered or accounted for in /diagnostics, or when after the end
of playing nothing has happened for `--quiet` seconds. Its last line is JSON: `answered`, `diagnostics` (last values).
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message

from c2f_ros.bag import BagReader, ResultWriter, find_topics
from c2f_ros.contract import InputError
from c2f_ros.msg import AmodalInstanceArray
from c2f_ros.steps.step1_read import stamp_ns
from c2f_ros.waiting import spin_until

DEPTH = 100
ACCOUNTED = ("skipped", "discarded", "engine_failures", "errors", "refused", "late")
"""Counts in /diagnostics of frames that will not be answered."""
STEPS = {
    State.PRIMARY_STATE_UNCONFIGURED: (Transition.TRANSITION_CONFIGURE, "configure"),
    State.PRIMARY_STATE_INACTIVE: (Transition.TRANSITION_ACTIVATE, "activate"),
}


class Recorder(Node):
    """Collects a node's results into `writer` and keeps its last diagnostics. expected: how many frames carry masks."""

    def __init__(self, node_name: str, expected: int, writer: ResultWriter) -> None:
        super().__init__("c2f_recorder")
        self.answered = 0
        self.diagnostics: dict[str, str] = {}
        self.is_played = threading.Event()
        self.last_news_s = time.monotonic()
        self._node_name, self._expected, self._writer = node_name, expected, writer
        self._results = self.create_subscription(
            AmodalInstanceArray, f"{node_name}/output/instances", self._on_result, QoSProfile(depth=DEPTH), raw=True
        )
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, QoSProfile(depth=DEPTH))
        self._wake = self.create_guard_condition(lambda: None)

    def _on_result(self, data: bytes) -> None:
        self._writer.add_serialized(stamp_ns(deserialize_message(data, AmodalInstanceArray).header), data)
        self.answered += 1
        self.last_news_s = time.monotonic()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith(f"{self._node_name.lstrip('/')}:"):
                before = self.diagnostics
                self.diagnostics = {item.key: item.value for item in status.values} | {"model_id": status.hardware_id}
                if any(self.diagnostics[key] != before.get(key) for key in ("images", "masks", "inferred")):
                    self.last_news_s = time.monotonic()

    def is_matched(self) -> bool:
        """Whether the node publishes results."""
        return self.count_publishers(f"{self._node_name}/output/instances") > 0

    def is_complete(self) -> bool:
        """Whether every expected frame is answered or accounted for, by diagnostics that know of every answer."""
        if int(self.diagnostics.get("published", -1)) < self.answered:
            return False
        return self.answered + sum(int(self.diagnostics.get(key, 0)) for key in ACCOUNTED) >= self._expected

    def is_quiet(self, quiet_s: float) -> bool:
        """Whether playing is over and nothing has happened for `quiet_s` seconds."""
        return self.is_played.is_set() and time.monotonic() - self.last_news_s > quiet_s

    def watch_input(self) -> None:
        """Note the end of standard input, in a thread of its own."""

        def wait() -> None:
            sys.stdin.read()
            self.last_news_s = time.monotonic()
            self.is_played.set()
            self._wake.trigger()

        threading.Thread(target=wait, name="c2f_input", daemon=True).start()

    def bring_up(self, executor: SingleThreadedExecutor, timeout_s: float) -> None:
        """Configure and activate the node where needed. Raises InputError in one sentence if it does not get active."""
        deadline = time.monotonic() + timeout_s
        while (state := self._call(executor, GetState, "get_state", GetState.Request(), deadline).current_state).id != (
            State.PRIMARY_STATE_ACTIVE
        ):
            if state.id not in STEPS:
                raise InputError(f"{self._node_name} is {state.label}, it cannot be activated; see its log")
            request = ChangeState.Request()
            request.transition.id, verb = STEPS[state.id]
            if not self._call(executor, ChangeState, "change_state", request, deadline).success:
                raise InputError(f"{self._node_name} refused to {verb}; see its log")

    def run(self, wait_s: float, quiet_s: float) -> dict[str, Any]:
        """Bring the node up, print `ready`, record to the end; returns what the last line says."""
        executor = SingleThreadedExecutor()
        executor.add_node(self)
        self.watch_input()
        self.bring_up(executor, wait_s)
        if not spin_until(executor, self.is_matched, wait_s):
            raise InputError(f"{self._node_name} publishes no results; see its log")
        print("ready", flush=True)
        while not self.is_complete() and not self.is_quiet(quiet_s):
            executor.spin_once(timeout_sec=1.0)
        executor.shutdown()
        self.destroy_node()
        return {"answered": self.answered, "diagnostics": self.diagnostics}

    def _call(self, executor: SingleThreadedExecutor, kind: Any, name: str, request: Any, deadline: float) -> Any:
        client = self.create_client(kind, f"{self._node_name}/{name}")
        try:
            if spin_until(executor, client.service_is_ready, deadline - time.monotonic()):
                answer = client.call_async(request)
                if spin_until(executor, answer.done, deadline - time.monotonic()):
                    return answer.result()
        finally:
            self.destroy_client(client)
        raise InputError(f"{self._node_name} does not answer {name} in time; is the node running?")


def record(options: argparse.Namespace) -> dict[str, Any]:
    """Run a recorder to its end; returns what its last line says."""
    with BagReader(options.bag) as reader:
        topics = find_topics(reader.topic_types, options.image_topic, options.masks_topic)
        expected = sum(1 for _ in reader.serialized((topics.masks,)))
    rclpy.init(args=[])
    try:
        with ResultWriter(options.out) as writer:
            recorder = Recorder(options.node, expected, writer)
            return recorder.run(options.wait, options.quiet)
    finally:
        rclpy.try_shutdown()


def main(arguments: list[str] | None = None) -> int:
    """Record once. Exit 1, after one sentence, if the node cannot be brought to active."""
    parser = argparse.ArgumentParser(prog="python -m c2f_ros.recorder", description=__doc__.splitlines()[0])
    parser.add_argument("bag", type=Path, help="the bag that is played")
    parser.add_argument("--out", type=Path, required=True, help="the .mcap file to write")
    parser.add_argument("--node", default="/c2f", help="fully qualified name")
    parser.add_argument("--image-topic", default="", help="as for the player")
    parser.add_argument("--masks-topic", default="", help="as for the player")
    parser.add_argument("--wait", type=float, default=60.0, metavar="SECONDS", help="for the node to be active")
    parser.add_argument("--quiet", type=float, default=5.0, metavar="SECONDS", help="without news after playing: end")
    try:
        print(json.dumps(record(parser.parse_args(arguments))), flush=True)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
