"""Step 4 for crop rule `followed`: every object is followed from frame to frame, seen or hidden, and its crop is cut.

`TrackStore` is the only memory of the thread that observes; what it hands on are frozen snapshots.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from c2f_ros.contract import InputError, Manifest
from c2f_ros.endings import Findings, Prediction
from c2f_ros.follower import Follower
from c2f_ros.geometry import PlacedMask
from c2f_ros.reassociation import Expected, move_mask
from c2f_ros.records import Frame, HiddenTrack, Observation, ObservedFrame, TrackedFrame
from c2f_ros.statistics import TrackCounts


@dataclass
class Track:
    """A followed object. serial: its number, never used again; class_id, score: as upstream sent them last."""

    serial: int
    class_id: str
    score: float
    seen_ns: int
    window: deque[Observation]
    prediction: Prediction | None = field(default=None)


class TrackStore:
    """All tracks of one stream of frames. Per frame, in this order: `begin`, step 3 with this store, `observe`.

    Every track's place moves on in every frame, whether the frame is inferred or not, so what a model remembers of
    frames further back can still be laid over the newest. At most `max_objects` crops are cut: of the visible objects
    those with most pixels, then of the hidden ones those seen last. So many hidden ones are followed at most: memory
    and work are bounded whatever upstream sends.

    A hidden track is handed on for `invisible_s`, to models with a memory, and forgotten after the longer of that and
    `max_gap_s`. All is forgotten, and a new epoch begins, when no frame came for `max_gap_s`, when the image's size
    changes, and on `reset`.
    """

    def __init__(self, manifest: Manifest, max_objects: int, max_gap_s: float, invisible_s: float) -> None:
        self.manifest, self.max_objects, self.max_gap_ns = manifest, max_objects, round(max_gap_s * 1e9)
        self.invisible_ns = round(invisible_s * 1e9) if manifest.temporal.mode == "stream" else 0
        self.counts = TrackCounts()
        self._follower = Follower(manifest.crop, manifest.input.mask_channels, max(max_gap_s, invisible_s))
        self._tracks: dict[str, Track] = {}
        self._born = self._epoch = 0
        self._last: tuple[int, tuple[int, int]] | None = None
        self._frame: Frame | None = None

    def __len__(self) -> int:
        return len(self._tracks)

    def __contains__(self, track_id: str) -> bool:
        return track_id in self._tracks

    def reset(self, why: str = "") -> None:
        """Forget every track; what is inferred of earlier frames will not be heard. why: for people."""
        if self._tracks:
            self.counts.memory_drops += 1
            self.counts.last_drop = why
        self._tracks.clear()
        self._follower.reset()
        self._epoch += 1
        self._last = None
        self.counts.hidden = 0

    def begin(self, frame: Frame) -> None:
        """Make ready for this frame. Raises InputError if it is not newer than the one before."""
        size = frame.height, frame.width
        if self._last is not None:
            last_ns, last_size = self._last
            if frame.stamp_ns <= last_ns:
                raise InputError(
                    f"frame of {frame.stamp_ns} ns comes after one of {last_ns} ns; send frames in order or reset"
                )
            if size != last_size:
                self.reset("the image's size changed from {}x{} to {}x{} (rows x columns)".format(*last_size, *size))
            elif frame.stamp_ns - last_ns > self.max_gap_ns:
                self.reset(f"no frame came for {(frame.stamp_ns - last_ns) * 1e-9:.1f} s")
        self._frame = frame

    def learn(self, findings: Findings) -> None:
        """Take in what inference found out; what it says of another epoch or of tracks seen again since is void."""
        if findings.epoch != self._epoch:
            return
        self.counts.state_bytes = findings.state_bytes
        names = {track.serial: name for name, track in self._tracks.items()}
        for serial, prediction in findings.predictions.items():
            if serial in names:
                self._tracks[names[serial]].prediction = prediction
                self._follower.believe(names[serial], prediction.mask.box, prediction.anchor)
        for end in findings.ends:
            name = names.get(end.serial)
            if name in self._tracks and self._tracks[name].seen_ns == end.seen_ns:
                self.end(name, end.reason)

    def end(self, track_id: str, reason: str) -> None:
        """Forget this track for a reason that is counted; if it is seen again it begins anew."""
        del self._tracks[track_id]
        self._follower.forget(track_id)
        self.counts.ended[reason] = self.counts.ended.get(reason, 0) + 1

    def forget(self, track_id: str) -> None:
        """End this track, which was mistaken for another object, if it is followed."""
        if track_id in self._tracks:
            self.end(track_id, "mistaken")

    def predicted(self) -> Collection[str]:
        """Ids of the tracks whose whole mask has been predicted."""
        return {name for name, track in self._tracks.items() if track.prediction is not None}

    def expect(self, track_ids: Collection[str], visible: Mapping[str, PlacedMask]) -> list[Expected]:
        """Where the predicted masks of these tracks should be in the frame that was begun: moved as their places.

        visible: masks of the tracks that are seen in it, as far as their ids are known.
        """
        frame = self._frame
        assert frame is not None
        places = self._follower.foresee(frame.pixels, frame.encoding, frame.stamp_ns, track_ids, visible)
        expected = []
        for name in track_ids:
            track = self._tracks[name]
            assert track.prediction is not None
            motion = places[name].anchor.after(track.prediction.anchor.inverse())
            mask = move_mask(track.prediction.mask, motion, frame.height, frame.width)
            expected.append(Expected(name, track.class_id, mask))
        return expected

    def observe(self, tracked: TrackedFrame) -> ObservedFrame:
        """Follow all tracks into the frame that was begun, and cut the crops of those that will be inferred."""
        frame, instances = tracked.paired.frame, tracked.paired.instances
        assert frame is self._frame
        visible = {n: i.visible for n, i in zip(tracked.track_ids, instances.instances, strict=True)}
        if any(mask.is_empty for mask in visible.values()):
            raise InputError("an instance has no visible pixel; leave it out of the frame")
        order = self._follower.advance(frame.pixels, frame.encoding, instances.labels, visible, frame.stamp_ns)
        self._last, self._frame = (frame.stamp_ns, (frame.height, frame.width)), None
        self._update(tracked)
        hidden = self._end_hidden(order[len(visible) :], frame)
        seen = sorted(visible, key=lambda name: -visible[name].area)[: self.max_objects]
        hidden = [name for name in hidden if frame.stamp_ns - self._tracks[name].seen_ns <= self.invisible_ns]
        hidden = hidden[: self.max_objects - len(seen)]
        for name, made in self._follower.cut(frame.pixels, frame.encoding, [*seen, *hidden]).items():
            self._tracks[name].window.append(made)
        self.counts.hidden = len(hidden)
        return self._snapshot(tracked, set(seen), hidden)

    def _update(self, tracked: TrackedFrame) -> None:
        """Births, and what upstream says of the tracks that it sends."""
        stamp = tracked.paired.frame.stamp_ns
        for name, instance in zip(tracked.track_ids, tracked.paired.instances.instances, strict=True):
            track = self._tracks.get(name)
            if track is None:
                self._born += 1
                window: deque[Observation] = deque(maxlen=self.manifest.temporal.frames)
                self._tracks[name] = Track(self._born, instance.class_id, instance.score, stamp, window)
            else:
                track.class_id = instance.class_id or track.class_id
                track.score, track.seen_ns = instance.score, stamp

    def _end_hidden(self, hidden: list[str], frame: Frame) -> list[str]:
        """The hidden tracks that go on; ended are those unseen for too long, outside the image, or too many."""
        followed = set(hidden)
        for name in [n for n, t in self._tracks.items() if t.seen_ns != frame.stamp_ns and n not in followed]:
            self.end(name, "time")
        kept: list[str] = []
        for name in hidden:
            box = self._follower.crop_box(name)
            if box.clip(frame.height, frame.width).is_empty:
                self.end(name, "left")
            elif len(kept) >= self.max_objects:
                self.end(name, "crowded")
            else:
                kept.append(name)
        return kept

    def _snapshot(self, tracked: TrackedFrame, seen: set[str], hidden: list[str]) -> ObservedFrame:
        windows = [tuple(self._tracks[n].window) if n in seen else None for n in tracked.track_ids]
        serials = [self._tracks[n].serial if n in seen else None for n in tracked.track_ids]
        stamp = tracked.paired.frame.stamp_ns
        return ObservedFrame(
            tracked, tuple(windows), tuple(serials),
            tuple(
                HiddenTrack(n, t.class_id, t.score, t.serial, tuple(t.window), stamp - t.seen_ns)
                for n, t in ((name, self._tracks[name]) for name in hidden)
            ),
            self._epoch, frozenset(track.serial for track in self._tracks.values()),
        )  # fmt: skip
