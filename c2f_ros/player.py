"""Plays a bag's image and masks over DDS at the bag's own rate: `python -m c2f_ros.player BAG`.

What `ros2 bag play` does, for where it is not installed; and it publishes with the Fast DDS profile for large images,
without which most best-effort images are lost. It waits for a subscriber to each topic before it begins.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from c2f_ros.bag import BagReader, find_topics
from c2f_ros.contract import InputError
from c2f_ros.share import share_file

PROFILE_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"
PROFILE = "config/fastdds_large_images.xml"
DEPTH = 50
ACKNOWLEDGE_S = 10.0


def main(arguments: list[str] | None = None) -> int:
    """Play a bag once. Exit 1, after one sentence, if nobody subscribes or the bag cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m c2f_ros.player", description=__doc__.splitlines()[0])
    parser.add_argument("bag", type=Path, help="rosbag2 folder or .mcap file")
    parser.add_argument("--rate", type=float, default=1.0, help="speed; 1 is the bag's own")
    parser.add_argument("--image-topic", default="", help="default: found by its name or type")
    parser.add_argument("--masks-topic", default="", help="default: found by its name or type")
    parser.add_argument("--wait", type=float, default=30.0, metavar="SECONDS", help="for subscribers")
    options = parser.parse_args(arguments)
    os.environ.setdefault(PROFILE_VARIABLE, str(share_file(PROFILE)))  # read when the first publisher is made
    try:
        with BagReader(options.bag) as reader:
            found = find_topics(reader.topic_types, options.image_topic, options.masks_topic)
            play(reader, (found.image, found.masks), options.rate, options.wait)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def play(reader: BagReader, topics: tuple[str, ...], rate: float, wait_s: float) -> None:
    """Publish every message of `topics`, unchanged, at `rate` times the bag's own pace; return once all are received.

    Raises InputError if a topic has no subscriber within `wait_s`.
    """
    import rclpy
    from rclpy.duration import Duration
    from rclpy.executors import SingleThreadedExecutor

    from c2f_ros.waiting import spin_until

    rclpy.init(args=[])
    try:
        node, executor = rclpy.create_node("c2f_player"), SingleThreadedExecutor()
        executor.add_node(node)
        publishers = {topic: _publisher(node, topic, reader.topic_types[topic]) for topic in topics}
        is_heard = spin_until(executor, lambda: all(p.get_subscription_count() for p in publishers.values()), wait_s)
        if not is_heard:
            silent = [topic for topic, p in publishers.items() if not p.get_subscription_count()]
            raise InputError(f"nobody has subscribed to {', '.join(silent)} for {wait_s:.0f} s; is the node active?")
        for topic, data in _paced(reader, topics, rate):
            publishers[topic].publish(data)
        for publisher in publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=ACKNOWLEDGE_S))
        executor.shutdown()
        node.destroy_node()
    finally:
        rclpy.try_shutdown()


def _publisher(node: Any, topic: str, kind: str) -> Any:
    from rclpy.qos import QoSProfile

    package, _, name = kind.split("/")
    return node.create_publisher(
        getattr(importlib.import_module(f"{package}.msg"), name), topic, QoSProfile(depth=DEPTH)
    )


def _paced(reader: BagReader, topics: tuple[str, ...], rate: float) -> Iterator[tuple[str, bytes]]:
    """Topic and bytes of every message, each when its time has come."""
    never, start, first = threading.Event(), time.monotonic(), None
    for topic, time_ns, data in reader.serialized(topics):
        first = time_ns if first is None else first
        never.wait(max(0.0, start + (time_ns - first) * 1e-9 / rate - time.monotonic()))
        yield topic, data


if __name__ == "__main__":
    sys.exit(main())
