"""Real upstream segmenters, simulated on label images: what they send instead of the truth, at two strengths.

`simulate` changes a whole sequence, for tables of robustness; `TrackFaults` one short window of label images, for
training. Both use the same faults and numbers, and give the same for the same seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from c2f_ros.contract import InputError
from c2f_ros.geometry import Box
from c2f_train.data.label_changes import Change, Labels, areas
from c2f_train.data.label_faults import LABEL_FAULTS, Stretches, stretches, values_of

KINDS = (*LABEL_FAULTS, "dropped", "rate", "pan", "renamed")
"""The first five within a frame; the others drop frames, move the camera or change ids."""
STRENGTHS = (1, 2)

# Every tuple below: strength 1, strength 2.
DROPPED = (Stretches(0.1, 1, 1), Stretches(0.35, 1, 4))
RATE = (2, 4)
"""Every so many frames one is sent: of 12 Hz clips 6 and 3 Hz, of 10 Hz driving 5 and 2.5 Hz."""
PAN = ((0.8, 0.01), (0.65, 0.04))
"""The camera sees so large a part of the frame, which moves by this share of the frame's width in a frame."""
RENAMED = (0.5, 1.0)
"""Share of the reappearances after which an object has a new id."""
MIXED = {"ragged": 0.7, "merged": 0.25, "split": 0.25, "missed": 0.35}
"""Share of mixtures that hold a fault."""
STRONG_SHARE = 0.25
"""Of the faults that are trained with."""


@dataclass(frozen=True)
class UpstreamFault:
    """One kind of fault (one of `KINDS`) at strength 1 (mild) or 2 (strong). Raises InputError for another."""

    kind: str
    strength: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.strength not in STRENGTHS:
            raise InputError(
                f"upstream fault is {self.kind!r} at strength {self.strength}; expected one of {', '.join(KINDS)}, "
                "at strength 1 or 2"
            )


@dataclass(frozen=True, eq=False)
class UpstreamFrame:
    """What upstream sends of one frame. labels: uint16 [H, W], 0 where nothing is sent. stands_for: the true object of
    every value sent, 0 for none. number: of the frame in the whole sequence. window: part of the image that the camera
    shows; None: all of it."""

    stamp_ns: int
    labels: Labels
    stands_for: Mapping[int, int]
    number: int = 0
    window: Box | None = None


def simulate(frames: Sequence[UpstreamFrame], fault: UpstreamFault, seed: int) -> list[UpstreamFrame]:
    """The frames as they are sent with this fault; fewer of them with kinds `dropped` and `rate`.

    Raises InputError if the label images are not uint16.
    """
    for frame in frames:
        if frame.labels.dtype != np.uint16:
            raise InputError(f"label image is {frame.labels.dtype}, expected uint16; number the instances from 1")
    if not frames:
        return []
    rng = np.random.default_rng([seed, KINDS.index(fault.kind), fault.strength])
    if fault.kind in LABEL_FAULTS:
        labels = [frame.labels for frame in frames]
        changes = LABEL_FAULTS[fault.kind](labels, values_of(labels), fault.strength - 1, rng)
        return [_changed(frame, part) for frame, part in zip(frames, changes, strict=True)]
    return _OF_FRAMES[fault.kind](frames, fault.strength - 1, rng)


@dataclass(frozen=True, eq=False)
class TrackFaults:
    """What upstream does wrong in one window of T frames, for training of one object. changes: per frame, in order."""

    changes: Sequence[Sequence[Change]]

    @staticmethod
    def draw(
        rng: np.random.Generator, frames: Sequence[Labels], target: int, faults: Iterable[UpstreamFault]
    ) -> TrackFaults:
        """Faults of the object with value `target`; borders of all objects are ragged, and others are missed too.

        frames: true label images uint16 [H, W]; faults: of those within a frame, for instance of `draw_mixture`.
        """
        changes: list[list[Change]] = [[] for _ in frames]
        for fault in faults:
            values = values_of(frames) if fault.kind == "missed" else [target]
            drawn = LABEL_FAULTS[fault.kind](frames, values, fault.strength - 1, rng)
            for own, found in zip(changes, drawn, strict=True):
                own += found
        return TrackFaults(changes)

    def apply(self, labels: Labels, index: int) -> Labels:
        """What is sent of frame `index`, uint16 [H, W]: values stay; 0 where an object or a part is not sent, another's
        value where it is sent as part of that, a value that no object has where a part is sent on its own."""
        for change in self.changes[index]:
            labels = change.apply(labels)
        return labels


def draw_faults(rng: np.random.Generator, frames: Sequence[Labels], target: int) -> TrackFaults:
    """A random mixture of faults for one window, a quarter of them strong; arguments as of `TrackFaults.draw`."""
    return TrackFaults.draw(rng, frames, target, draw_mixture(rng, STRONG_SHARE))


def draw_mixture(rng: np.random.Generator, strong: float = 0.0) -> list[UpstreamFault]:
    """Several faults within frames at once, each mild; strong: share of them that have strength 2 all the same."""
    kinds = [kind for kind, share in MIXED.items() if rng.random() < share]
    return [UpstreamFault(kind, 2 if rng.random() < strong else 1) for kind in kinds]


def _changed(frame: UpstreamFrame, changes: Sequence[Change]) -> UpstreamFrame:
    labels = frame.labels
    for change in changes:
        labels = change.apply(labels)
    present = (int(value) for value in np.flatnonzero(areas(labels)) if value)
    return replace(frame, labels=labels, stands_for={v: frame.stands_for.get(v, 0) for v in present})


def _dropped(frames: Sequence[UpstreamFrame], level: int, rng: np.random.Generator) -> list[UpstreamFrame]:
    lost = stretches(rng, len(frames), DROPPED[level])
    lost[0] = False
    return [frame for frame, is_lost in zip(frames, lost, strict=True) if not is_lost]


def _slower(frames: Sequence[UpstreamFrame], level: int, rng: np.random.Generator) -> list[UpstreamFrame]:
    return list(frames[:: RATE[level]])


def _panned(frames: Sequence[UpstreamFrame], level: int, rng: np.random.Generator) -> list[UpstreamFrame]:
    share, speed = PAN[level]
    start, direction = rng.random(2), rng.uniform(0, 2 * np.pi)
    out = []
    for index, frame in enumerate(frames):
        height, width = frame.labels.shape
        rows, columns = max(1, round(share * height)), max(1, round(share * width))
        moved = index * speed * width * np.array([np.cos(direction), np.sin(direction)])
        x0, y0 = (
            _bounced(begin * room + way, room)
            for begin, way, room in zip(start, moved, (width - columns, height - rows), strict=True)
        )
        window = Box(x0, y0, x0 + columns, y0 + rows)
        whole = frame.window or Box(0, 0, width, height)
        shown = Box(whole.x0 + window.x0, whole.y0 + window.y0, whole.x0 + window.x1, whole.y0 + window.y1)
        out.append(_changed(replace(frame, labels=frame.labels[window.slices], window=shown), ()))
    return out


def _bounced(at: float, room: int) -> int:
    """`at` folded into 0 to `room`: what reaches an end turns back."""
    if room <= 0:
        return 0
    folded = at % (2 * room)
    return round(min(folded, 2 * room - folded))


def _renamed(frames: Sequence[UpstreamFrame], level: int, rng: np.random.Generator) -> list[UpstreamFrame]:
    free = 1 + max(int(frame.labels.max()) for frame in frames)
    names: dict[int, int] = {}
    before: set[int] = set()
    out = []
    for frame in frames:
        seen = {int(value) for value in np.flatnonzero(areas(frame.labels)) if value}
        for value in sorted(seen - before):
            if value in names and rng.random() < RENAMED[level]:
                names[value], free = free, free + 1
            names.setdefault(value, value)
        before = seen
        table = np.arange(int(frame.labels.max()) + 1, dtype=np.uint16)
        for value in seen:
            table[value] = names[value]
        stands_for = {names[value]: frame.stands_for.get(value, 0) for value in seen}
        out.append(replace(frame, labels=table[frame.labels], stands_for=stands_for))
    return out


_OF_FRAMES: dict[str, Callable[[Sequence[UpstreamFrame], int, np.random.Generator], list[UpstreamFrame]]] = {
    "dropped": _dropped,
    "rate": _slower,
    "pan": _panned,
    "renamed": _renamed,
}
