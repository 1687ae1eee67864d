"""What imperfect segmenters do to the objects of one sequence of label images: which fault, when, and how much.

Every kind draws, per frame, the changes to be made in order; `upstream.py` makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from c2f_ros.geometry import BoolArray
from c2f_train.data.label_changes import WAYS, Change, Cut, Labels, Recolored, areas, draw_ragged, touching


@dataclass(frozen=True)
class Stretches:
    """When a fault lasts. share: of all frames; least, most: frames of one stretch, drawn evenly."""

    share: float
    least: int
    most: int


# Every tuple below: strength 1, strength 2.
RAGGED = ((0.7, 1.0), (2.0, 2.0))
"""Standard deviation of the border's wave, and how far an object is grown or shrunk: pixels of an image whose shorter
side is 256."""
REDRAWN = 0.25
"""In every frame an object becomes grown, shrunk or neither anew with this probability; the wave is always new."""
MERGED = (Stretches(0.1, 3, 6), Stretches(0.4, 5, 12))
"""Per object that touches another when the stretch begins; the smaller one is sent as part of the larger."""
SPLIT = (Stretches(0.15, 3, 6), Stretches(0.4, 5, 12))
SPLIT_AT = (1.0, 0.3)
"""Where an object is cut: standard deviations of its pixels from the centre; at 1.0 about a sixth is cut off. Half of
the time the part cut off is lost, else it is sent as an instance of its own."""
MISSED = (Stretches(0.1, 1, 2), Stretches(0.3, 2, 6))
LATE = ((1, 4), (4, 10))
"""An object is first sent so many frames (least, most) after it becomes visible."""

Draw = Callable[[Sequence[Labels], Sequence[int], int, np.random.Generator], list[list[Change]]]
"""(label images, values, strength - 1, rng) -> per frame what is done to the objects of these values."""


def stretches(rng: np.random.Generator, frames: int, about: Stretches) -> BoolArray:
    """bool [frames]: in which the fault lasts; it may have begun before the first one."""
    out = np.zeros(frames, bool)
    pause = (about.least + about.most) / 2 * (1 - about.share) / about.share
    at = 0
    if rng.random() < about.share:
        at = int(rng.integers(1, about.most + 1))
        out[:at] = True
    while at < frames:
        at += 1 + int(rng.exponential(max(pause - 1, 1e-6)))
        length = int(rng.integers(about.least, about.most + 1))
        out[at : at + length] = True
        at += length
    return out


def values_of(frames: Sequence[Labels]) -> list[int]:
    """All values of the sequence but 0, rising."""
    found = np.zeros(1 + max(int(labels.max()) for labels in frames), bool)
    for labels in frames:
        found[np.flatnonzero(areas(labels))] = True
    return [int(value) for value in np.flatnonzero(found) if value]


def _draw_ragged(
    frames: Sequence[Labels], values: Sequence[int], level: int, rng: np.random.Generator
) -> list[list[Change]]:
    ways = rng.integers(3, size=WAYS)
    out: list[list[Change]] = []
    for labels in frames:
        ways = np.where(rng.random(WAYS) < REDRAWN, rng.integers(3, size=WAYS), ways)
        out.append([draw_ragged(rng, *labels.shape, *RAGGED[level], ways)])
    return out


def _draw_merged(
    frames: Sequence[Labels], values: Sequence[int], level: int, rng: np.random.Generator
) -> list[list[Change]]:
    tables = _tables(frames)
    for value in values:
        pair = None
        for index, lasts in enumerate(stretches(rng, len(frames), MERGED[level])):
            if not lasts:
                pair = None
                continue
            pair = pair or _pair(frames[index], value)
            if pair and all((frames[index] == one).any() for one in pair):
                tables[index][pair[0]] = pair[1]
    return [[Recolored(_resolved(table))] for table in tables]


def _pair(labels: Labels, value: int) -> tuple[int, int] | None:
    """(the smaller, the larger) of `value` and the instance it touches; None if it touches none."""
    other = touching(labels, value)
    if not other:
        return None
    area, other_area = ((labels == one).sum() for one in (value, other))
    return (value, other) if (area, value) < (other_area, other) else (other, value)


def _resolved(table: Labels) -> Labels:
    """The table with chains followed to their ends: a, part of b, which is part of c, is sent as c."""
    out = table.copy()
    for value in np.flatnonzero(table != np.arange(len(table))):
        met, at = set(), int(value)
        while table[at] != at and at not in met:
            met.add(at)
            at = int(table[at])
        out[value] = max(met) if at in met else at  # a ring of merges is one instance
    return out


def _draw_split(
    frames: Sequence[Labels], values: Sequence[int], level: int, rng: np.random.Generator
) -> list[list[Change]]:
    out: list[list[Change]] = [[] for _ in frames]
    free = 1 + max(int(labels.max()) for labels in frames)
    for value in values:
        cut = None
        for index, lasts in enumerate(stretches(rng, len(frames), SPLIT[level])):
            if not lasts:
                cut = None
                continue
            if cut is None:
                is_lost = rng.random() < 0.5
                offset = SPLIT_AT[level] * float(rng.uniform(0.8, 1.2))
                cut = Cut(value, 0 if is_lost else free, float(rng.uniform(0, 2 * np.pi)), offset)
                free += not is_lost
            out[index].append(cut)
    return out


def _draw_missed(
    frames: Sequence[Labels], values: Sequence[int], level: int, rng: np.random.Generator
) -> list[list[Change]]:
    tables = _tables(frames)
    for value in values:
        for index in np.flatnonzero(stretches(rng, len(frames), MISSED[level])):
            tables[index][value] = 0
    return [[Recolored(table)] for table in tables]


def _draw_late(
    frames: Sequence[Labels], values: Sequence[int], level: int, rng: np.random.Generator
) -> list[list[Change]]:
    tables = _tables(frames)
    for value in values:
        delay = int(rng.integers(LATE[level][0], LATE[level][1] + 1))
        first = next((k for k, labels in enumerate(frames) if (labels == value).any()), len(frames))
        tables[: first + delay, value] = 0
    return [[Recolored(table)] for table in tables]


def _tables(frames: Sequence[Labels]) -> Labels:
    """uint16 [T, L]: per frame every value for itself."""
    count = 1 + max(int(labels.max()) for labels in frames)
    return np.tile(np.arange(count, dtype=np.uint16), (len(frames), 1))


LABEL_FAULTS: Mapping[str, Draw] = {
    "ragged": _draw_ragged,
    "merged": _draw_merged,
    "split": _draw_split,
    "missed": _draw_missed,
    "late": _draw_late,
}
"""How the faults within frames are drawn."""
