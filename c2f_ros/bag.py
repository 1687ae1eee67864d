"""Bags: rosbag2 in MCAP, written and read without ROS. What a bag of ours holds is in `bag_making.py`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rosbags.highlevel import AnyReader
from rosbags.highlevel.anyreader import AnyReaderError
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer

from c2f_ros.contract import InputError
from c2f_ros.messages import read_amodal_array, rosbags_types, typestore
from c2f_ros.records import AmodalFrame, Frame, Instances
from c2f_ros.steps.step1_read import read_compressed_image, read_image, read_instance_array, read_label_image
from c2f_ros.steps.step8_publish import to_message

IMAGE_TOPIC = "/camera/image"
COMPRESSED_TOPIC = "/camera/image/compressed"
MASKS_TOPIC = "/segmenter/masks"
INSTANCES_TOPIC = "/segmenter/instances"
TRUTH_TOPIC = "/ground_truth/instances"
RESULT_TOPIC = "/c2f/output/instances"

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"
INSTANCES_TYPE = "c2f_ros/msg/InstanceArray"
AMODAL_TYPE = "c2f_ros/msg/AmodalInstanceArray"

METADATA_VERSIONS: dict[str, Literal[8, 9]] = {"jazzy": 9, "humble": 8}

_FOREVER = QosTime(9223372036, 854775807)
OFFERED_QOS = Qos(
    QosHistory.KEEP_LAST,
    10,
    QosReliability.RELIABLE,
    QosDurability.VOLATILE,
    _FOREVER,
    _FOREVER,
    QosLiveliness.AUTOMATIC,
    _FOREVER,
    False,
)
"""What `ros2 bag play` offers when it plays the bag: reliable, so that best-effort subscribers match too."""


class BagWriter:
    """A bag folder being written, one message after the other in order of time. A context manager; after an error
    the folder is removed."""

    def __init__(self, path: Path, distro: str = "jazzy") -> None:
        if path.exists():
            raise InputError(f"{path}: it exists already; remove it or choose another name")
        self._path = path
        self._store = typestore(distro)
        self._writer = Writer(path, version=METADATA_VERSIONS[distro], storage_plugin=StoragePlugin.MCAP)
        self._topics: dict[str, Connection] = {}

    def __enter__(self) -> BagWriter:
        self._writer.open()
        return self

    def __exit__(self, *error: Any) -> None:
        self._writer.__exit__(*error)
        if error[0] is not None:
            shutil.rmtree(self._path, ignore_errors=True)

    def open_topic(self, topic: str, message_type: str) -> None:
        """Make `topic` part of the bag even if no message follows."""
        if topic not in self._topics:
            self._topics[topic] = self._writer.add_connection(
                topic, message_type, typestore=self._store, offered_qos_profiles=[OFFERED_QOS]
            )

    def add(self, topic: str, message_type: str, time_ns: int, message: Any) -> None:
        """Write one message of rosbags' types."""
        self.add_serialized(topic, message_type, time_ns, self._store.serialize_cdr(message, message_type))

    def add_serialized(self, topic: str, message_type: str, time_ns: int, data: bytes | memoryview) -> None:
        """Write one message that is CDR already."""
        self.open_topic(topic, message_type)
        self._writer.write(self._topics[topic], time_ns, data)


class ResultWriter:
    """`result.mcap` being written: one MCAP file with every amodal frame on `RESULT_TOPIC`. Replaces `path`.

    A context manager; `path` appears when it ends without an error.
    """

    def __init__(self, path: Path, distro: str = "jazzy") -> None:
        self._path, self._types = path, rosbags_types(distro)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix=".result_", dir=path.parent))
        self._bag = BagWriter(self._folder / path.stem, distro)  # so that the file's own metadata has its final name

    def __enter__(self) -> ResultWriter:
        self._bag.__enter__()
        self._bag.open_topic(RESULT_TOPIC, AMODAL_TYPE)
        return self

    def __exit__(self, *error: Any) -> None:
        self._bag.__exit__(*error)
        if error[0] is None:
            (self._folder / self._path.stem / f"{self._path.stem}.mcap").replace(self._path)
        shutil.rmtree(self._folder)

    def add(self, frame: AmodalFrame) -> None:
        """Write one frame at its own stamp; its header must have the fields of std_msgs/Header."""
        self._bag.add(RESULT_TOPIC, AMODAL_TYPE, frame.stamp_ns, to_message(frame, self._types, "PACKED"))

    def add_serialized(self, stamp_ns: int, data: bytes | memoryview) -> None:
        """Write one AmodalInstanceArray that is CDR already."""
        self._bag.add_serialized(RESULT_TOPIC, AMODAL_TYPE, stamp_ns, data)


@dataclass(frozen=True)
class BagTopics:
    """Which topics of a bag are used, with their types; truth: "" where the bag has none."""

    image: str
    image_type: str
    masks: str
    masks_type: str
    truth: str


class BagReader:
    """A bag (folder or single .mcap or .db3 file) being read. A context manager; every iterator starts anew.

    Raises InputError, naming the bag, if it is missing or broken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> BagReader:
        if not self.path.exists():
            raise InputError(f"{self.path}: there is no such bag; name a rosbag2 folder or .mcap file")
        try:
            self._reader = AnyReader([self.path], default_typestore=typestore())
            self._reader.open()
        except (AnyReaderError, OSError, KeyError) as error:
            raise InputError(
                f"{self.path}: this bag cannot be read ({error}); name a rosbag2 folder or .mcap file"
            ) from error
        return self

    def __exit__(self, *error: Any) -> None:
        self._reader.close()

    @property
    def topic_types(self) -> dict[str, str]:
        """The message type of each topic."""
        return {c.topic: c.msgtype for c in self._reader.connections}

    def serialized(self, topics: Collection[str]) -> Iterator[tuple[str, int, bytes]]:
        """Topic, time in nanoseconds and CDR bytes of every message of `topics`, in order of time."""
        chosen = [c for c in self._reader.connections if c.topic in topics]
        if not chosen:
            return
        try:
            for connection, time_ns, data in self._reader.messages(chosen):
                yield connection.topic, time_ns, data
        except AnyReaderError as error:
            raise InputError(f"{self.path}: this bag is broken ({error}); record it again") from error

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, Any]]:
        """Topic, time in nanoseconds and message (rosbags' types) of every message of `topics`, in order of time."""
        kinds = self.topic_types
        for topic, time_ns, data in self.serialized(topics):
            yield topic, time_ns, self._reader.deserialize(data, kinds[topic])

    def amodal_frames(self, topic: str) -> Iterator[AmodalFrame]:
        """Every AmodalInstanceArray on `topic`, in order of time."""
        for _, _, message in self.messages((topic,)):
            yield read_amodal_array(message)


def read_input(topics: BagTopics, topic: str, message: Any, received_s: float) -> Frame | Instances:
    """Step 1 for a message of the image or the masks topic. Raises InputError if it cannot be used."""
    if topic == topics.masks:
        return read_label_image(message) if topics.masks_type == IMAGE_TYPE else read_instance_array(message)
    read = read_image if topics.image_type == IMAGE_TYPE else read_compressed_image
    return read(message, received_s)


def find_topics(types: dict[str, str], image: str = "", masks: str = "") -> BagTopics:
    """The topics to use of a bag with these topic types; a named `image` or `masks` topic is taken as it is.

    Otherwise the topics that `c2f-bag` writes, or the only ones of a fitting type. Raises InputError if that leaves
    none or a choice.
    """
    masks = masks or _choose(types, (MASKS_TOPIC, INSTANCES_TOPIC), (INSTANCES_TYPE,), "masks")
    others = {topic: kind for topic, kind in types.items() if topic != masks}
    image = image or _choose(others, (IMAGE_TOPIC, COMPRESSED_TOPIC), (IMAGE_TYPE, COMPRESSED_TYPE), "image")
    for topic, kinds in ((image, (IMAGE_TYPE, COMPRESSED_TYPE)), (masks, (IMAGE_TYPE, INSTANCES_TYPE))):
        if types.get(topic) not in kinds:
            found = types.get(topic, "not in the bag")
            raise InputError(f"topic {topic} is {found}, expected {' or '.join(kinds)}; the bag has {_listed(types)}")
    truth = TRUTH_TOPIC if types.get(TRUTH_TOPIC) == AMODAL_TYPE else ""
    return BagTopics(image, types[image], masks, types[masks], truth)


def _choose(types: dict[str, str], names: tuple[str, ...], kinds: tuple[str, ...], what: str) -> str:
    known = [name for name in names if name in types]
    fitting = [topic for topic, kind in types.items() if kind in kinds]
    if known:
        return known[0]
    if len(fitting) == 1:
        return fitting[0]
    found = "no" if not fitting else "more than one"
    raise InputError(f"the bag has {found} {what} topic; name it with --{what}-topic: it has {_listed(types)}")


def _listed(types: dict[str, str]) -> str:
    return ", ".join(f"{topic} ({kind})" for topic, kind in sorted(types.items())) or "no topic"
