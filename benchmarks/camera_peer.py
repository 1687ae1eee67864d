"""Cameras and their segmenters over DDS, and who listens to the answers: everything but the nodes that are measured."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from c2f_ros.bench_scene import MovingScene
from c2f_ros.msg import AmodalInstanceArray
from c2f_ros.player import PROFILE, PROFILE_VARIABLE
from c2f_ros.ros_messages import header_message, image_message
from c2f_ros.share import share_file
from c2f_ros.steps.step1_read import stamp_ns
from c2f_ros.steps.step8_publish import ros_bytes
from c2f_ros.waiting import LOOK_AGAIN_S, spin_until

DEPTH = 50
ANSWER_S = 2.0
"""An answer that comes later than this after the last image and the last other answer is not waited for."""


class Camera:
    """What it has sent, and what has come back. sent: time of sending by stamp; answered: seconds that each took."""

    def __init__(self, node: Any, name: str) -> None:
        self.sent: dict[int, float] = {}
        self.answered: list[float] = []
        self.frames = 0
        self.results = f"/{name}/c2f/output/instances"
        self.image, self.masks = (
            node.create_publisher(Image, f"/{name}/c2f/input/{topic}", QoSProfile(depth=DEPTH))
            for topic in ("image", "masks")
        )
        node.create_subscription(AmodalInstanceArray, self.results, self._on_result, QoSProfile(depth=DEPTH))

    def _on_result(self, message: AmodalInstanceArray) -> None:
        since_s = self.sent.get(stamp_ns(message.header))
        if since_s is not None:
            self.answered.append(time.monotonic() - since_s)

    def forget(self) -> None:
        """Begin to count anew."""
        self.sent.clear()
        self.answered.clear()


class Peer:
    """A participant with a camera of each name. Opened with `with`, in a process that has not used rclpy before.

    All show the same scene, there and back through its first frames, `prepared` of them.
    """

    def __init__(self, names: Iterable[str], domain: int, scene: MovingScene, prepared: int) -> None:
        os.environ[PROFILE_VARIABLE] = str(share_file(PROFILE))  # read when the first publisher is made
        rclpy.init(args=[], domain_id=domain)
        self._node, self._executor = rclpy.create_node("cameras"), SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._cameras = {name: Camera(self._node, name) for name in names}
        self._pictures = _pictures(scene, prepared)
        self.engines: set[str] = set()
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, QoSProfile(depth=DEPTH))

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.try_shutdown()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """Without the reasons for an engine, which follow its name in brackets."""
        told = [item.value for status in message.status for item in status.values if item.key == "engine"]
        self.engines |= {engine.split(" (")[0] for engine in told}

    def wait(self, is_true: Callable[[], bool], timeout_s: float) -> bool:
        """Whether `is_true()` before the time is over; listens meanwhile."""
        return spin_until(self._executor, is_true, timeout_s)

    def is_heard(self, names: Iterable[str]) -> bool:
        """Whether an active node listens to each of these cameras and publishes results."""
        chosen = [self._cameras[name] for name in names]
        listeners = [part.get_subscription_count() for camera in chosen for part in (camera.image, camera.masks)]
        return all(listeners) and all(self._node.count_publishers(camera.results) for camera in chosen)

    def play(self, names: Sequence[str], frames: int, rate_hz: float) -> tuple[int, list[float]]:
        """Frames sent, and the seconds from each answered image to its answer: `frames` of each of these cameras.

        Cameras send in turn, evenly apart, whether answers come or not; at the end the last ones are waited for.
        """
        chosen = [self._cameras[name] for name in names]
        for camera in chosen:
            camera.forget()
        start = time.monotonic()
        for number in range(frames * len(chosen)):
            moment = start + number / (rate_hz * len(chosen))
            while (left := moment - time.monotonic()) > 0:
                self._executor.spin_once(timeout_sec=left)
            self._send(chosen[number % len(chosen)], rate_hz)
        sent = frames * len(chosen)
        self._listen(chosen, sent)
        return sent, [seconds for camera in chosen for seconds in camera.answered]

    def _listen(self, chosen: Sequence[Camera], sent: int) -> None:
        """Until all is answered, or no answer has come for `ANSWER_S`."""
        answered, last_s = -1, 0.0
        while answered < sent:
            before, answered = answered, sum(len(camera.answered) for camera in chosen)
            last_s = time.monotonic() if answered > before else last_s
            if time.monotonic() - last_s > ANSWER_S:
                return
            self._executor.spin_once(timeout_sec=LOOK_AGAIN_S)

    def _send(self, camera: Camera, rate_hz: float) -> None:
        there_and_back = [*self._pictures, *self._pictures[-2:0:-1]]
        image, masks = there_and_back[camera.frames % len(there_and_back)]
        stamp = 1_000_000_000 + round(camera.frames * 1e9 / rate_hz)
        image.header = masks.header = header_message(stamp, "camera")
        camera.frames += 1
        camera.sent[stamp] = time.monotonic()
        camera.image.publish(image)
        camera.masks.publish(masks)


def _pictures(scene: MovingScene, count: int) -> list[tuple[Image, Image]]:
    """Image and masks of the scene's first frames, without headers."""
    found = []
    for index in range(count):
        rgb, labels = scene.frame(index)
        masks = Image(height=scene.height, width=scene.width, encoding="mono8", step=scene.width)
        masks.data = ros_bytes(labels)
        found.append((image_message(header_message(0, ""), rgb), masks))
    return found
