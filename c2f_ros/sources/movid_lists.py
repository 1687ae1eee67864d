"""MOViD-A's lists of what counts: `SPLIT_instance.txt` has `video_object_value` per line, `SPLIT_frame_list.txt`
`video_object_frame`. Without a list everything counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from c2f_ros.contract import InputError
from c2f_ros.sources.parts import Refuse


@dataclass(frozen=True)
class Listed:
    """objects: (video, object) that count; frames: (video, object, frame) that count; None: all."""

    objects: frozenset[tuple[str, int]] | None
    frames: frozenset[tuple[str, int, int]] | None

    def has(self, video: str, item: int, frame: int) -> bool:
        """Whether object `item` counts in this frame."""
        is_object = self.objects is None or (video, item) in self.objects
        return is_object and (self.frames is None or (video, item, frame) in self.frames)

    def has_video(self, video: str) -> bool:
        """Whether any object of the video counts."""
        return all(part is None or any(entry[0] == video for entry in part) for part in (self.objects, self.frames))

    def of_video(self, video: str) -> Listed:
        """What is listed of one video."""
        objects = None if self.objects is None else frozenset(e for e in self.objects if e[0] == video)
        frames = None if self.frames is None else frozenset(e for e in self.frames if e[0] == video)
        return Listed(objects, frames)


EVERYTHING = Listed(None, None)


def read_lists(root: Path, split: str, refuse: Refuse) -> Listed:
    """What the lists of one split name. A line that is not of the form is refused, and so is an object whose value in
    the images is not its number + 1."""
    objects = frames = None
    instance_file, frame_file = root / f"{split}_instance.txt", root / f"{split}_frame_list.txt"
    if instance_file.is_file():
        entries = list(_entries(instance_file, refuse))
        for number, video, item, value in entries:
            if value != item + 1:
                refuse(InputError(
                    f"{instance_file}: line {number} gives object {item} of video {video} the value {value}, its masks "
                    f"hold object + 1; correct the line"
                ))  # fmt: skip
        objects = frozenset((video, item) for _, video, item, value in entries if value == item + 1)
    if frame_file.is_file():
        frames = frozenset((video, item, frame) for _, video, item, frame in _entries(frame_file, refuse))
    return Listed(objects, frames)


def _entries(path: Path, refuse: Refuse) -> Iterator[tuple[int, str, int, int]]:
    """Line number, video, object, and the last number of every line."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except UnicodeDecodeError as error:
        refuse(InputError(f"{path}: this is not text ({error}); replace the file"))
        return
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line:
            continue
        video, *rest = line.rsplit("_", 2)
        if len(rest) == 2 and video and all(text.isdecimal() for text in rest):
            yield number, video, int(rest[0]), int(rest[1])
        else:
            refuse(InputError(f"{path}: line {number} is {line!r:.60}, expected video_object_number; correct the line"))
