"""Cameras and their segmenters over DDS, and who listens to the answers: everything but the nodes that are measured."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, NamedTuple

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
ANSWER_S = 3.0
"""An image that is not answered after so long counts as lost, unless its answer comes later in the same turn."""


class Played(NamedTuple):
    """sent: images of all cameras; answers_s: from image to answer, for each that was answered; hz: what a camera
    reached, on average."""

    sent: int
    answers_s: tuple[float, ...]
    hz: float


class Camera:
    """It sends an image at a time: the next one is due when the last is answered or lost, and a period has passed."""

    def __init__(self, node: Any, name: str) -> None:
        self.results = f"/{name}/c2f/output/instances"
        self.image, self.masks = (
            node.create_publisher(Image, f"/{name}/c2f/input/{topic}", QoSProfile(depth=DEPTH))
            for topic in ("image", "masks")
        )
        node.create_subscription(AmodalInstanceArray, self.results, self._on_result, QoSProfile(depth=DEPTH))
        self._frames = 0
        self.begin(0.0)

    def begin(self, first_s: float) -> None:
        """Count anew; the first image is due at `first_s`, by the monotonic clock."""
        self.sent: dict[int, float] = {}
        self.answers_s: dict[int, float] = {}
        self._due_s = first_s

    @property
    def due_s(self) -> float:
        """When to send next, as far as is known now."""
        last = next(reversed(self.sent), None)
        is_open = last is not None and last not in self.answers_s
        return max(self._due_s, self.sent[last] + ANSWER_S) if is_open and last is not None else self._due_s

    @property
    def hz(self) -> float:
        """Images per second, from the first to the last one; needs two."""
        times = list(self.sent.values())
        return (len(times) - 1) / (times[-1] - times[0])

    def send(self, pictures: Sequence[tuple[Image, Image]], period_s: float) -> None:
        """The next image and its masks; stamps are `period_s` apart however late it is."""
        image, masks = pictures[self._frames % len(pictures)]
        stamp = 1_000_000_000 + round(self._frames * period_s * 1e9)
        image.header = masks.header = header_message(stamp, "camera")
        self._frames += 1
        self.sent[stamp] = time.monotonic()
        self._due_s = self.sent[stamp] + period_s
        self.image.publish(image)
        self.masks.publish(masks)

    def _on_result(self, message: AmodalInstanceArray) -> None:
        stamp = stamp_ns(message.header)
        if stamp in self.sent:
            self.answers_s[stamp] = time.monotonic() - self.sent[stamp]


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
        pictures = _pictures(scene, prepared)
        self._pictures = [*pictures, *pictures[-2:0:-1]]
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

    def play(self, names: Sequence[str], frames: int, rate_hz: float) -> Played:
        """Let each of these cameras send `frames` images, at most `rate_hz`, and wait for the answers.

        Cameras begin evenly apart. None sends while its last image is being worked on: that measures what a frame
        costs where there is time for it, on a machine that is too busy to keep up as well.
        """
        chosen, period_s = [self._cameras[name] for name in names], 1.0 / rate_hz
        start = time.monotonic()
        for number, camera in enumerate(chosen):
            camera.begin(start + number * period_s / len(chosen))
        while left := [camera for camera in chosen if len(camera.sent) < frames]:
            camera = min(left, key=lambda one: one.due_s)
            wait_s = camera.due_s - time.monotonic()
            if wait_s <= 0:
                camera.send(self._pictures, period_s)
            self._executor.spin_once(timeout_sec=min(max(wait_s, 0.0), LOOK_AGAIN_S))
        self.wait(lambda: all(len(camera.answers_s) == frames for camera in chosen), ANSWER_S)
        answers_s = tuple(seconds for camera in chosen for seconds in camera.answers_s.values())
        return Played(frames * len(chosen), answers_s, sum(camera.hz for camera in chosen) / len(chosen))


def _pictures(scene: MovingScene, count: int) -> list[tuple[Image, Image]]:
    """Image and masks of the scene's first frames, without headers."""
    found = []
    for index in range(count):
        rgb, labels = scene.frame(index)
        masks = Image(height=scene.height, width=scene.width, encoding="mono8", step=scene.width)
        masks.data = ros_bytes(labels)
        found.append((image_message(header_message(0, ""), rgb), masks))
    return found
