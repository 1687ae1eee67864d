"""Twenty thousand frames with many births and deaths leave the memory of objects, and all other memory, flat."""

import gc
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from frames import header, plain_manifest

from c2f_ros.bundle import Bundle
from c2f_ros.contract import Manifest, parse
from c2f_ros.engines.modes import Streaming, make_mode
from c2f_ros.geometry import Box, PlacedMask
from c2f_ros.mailbox import Worker
from c2f_ros.parameters import make_parameters
from c2f_ros.pipeline import SLOTS_PER_OBJECT, Pipeline
from c2f_ros.records import Frame, Instances, PairedFrame, Status, VisibleInstance

FRAMES, WARM_UP = 20_000, 4_000
ROWS, COLUMNS, SIZE = 12, 32, 8
LIMIT, LANES, LIFE = 2, 3, 60
STEP_NS = 50_000_000
EPOCH = 80


def small_manifest() -> Manifest:
    plain = plain_manifest()
    plain["crop"] |= {"rule": "followed", "size": SIZE}
    plain["temporal"] = {
        "mode": "stream", "window": 3, "state_bytes": 4 * SIZE * SIZE * 4,
        "state": [
            {"name": "memory", "kind": "aligned", "shape": [1, SIZE, SIZE]},
            {"name": "past", "kind": "ring", "shape": [SIZE, SIZE]},
        ],
    }  # fmt: skip
    tensors = {"image": [3, SIZE, SIZE], "masks": [3, SIZE, SIZE], "warp": [3], "memory": [1, SIZE, SIZE]}
    tensors |= {"ages": [3], "past": [3, SIZE, SIZE]}
    plain["graph"]["inputs"] = [
        {"name": n, "dtype": "int64" if n == "ages" else "float32", "shape": ["N", *s]} for n, s in tensors.items()
    ]
    made = {"amodal": [SIZE, SIZE], "memory_next": [1, SIZE, SIZE], "past_next": [SIZE, SIZE]}
    plain["graph"]["outputs"] = [{"name": n, "dtype": "float32", "shape": ["N", *s]} for n, s in made.items()]
    return parse(Manifest, plain, "soak")


class FakeEngine:
    """The runtime's own memory of objects around a graph that says: the object is where it was ever seen."""

    name = "fake"

    def __init__(self, manifest: Manifest, slots: int) -> None:
        self.mode = make_mode(manifest, [self.graph], slots)
        assert isinstance(self.mode, Streaming)
        self.run, self.keep, self.reset = self.mode.run, self.mode.keep, self.mode.reset
        self.state_bytes, self.memory = self.mode.state_bytes, self.mode.memory

    @staticmethod
    def graph(inputs, wanted):
        amodal = np.maximum(inputs["masks"][:, 0], inputs["memory"][:, 0])
        found = {"amodal": amodal, "memory_next": amodal[:, None], "past_next": amodal}
        return {name: found[name] for name in wanted}

    def close(self) -> None:
        """Nothing to give back."""


def frame_at(index: int, pixels: np.ndarray) -> PairedFrame:
    """Three lanes; in each an object lives for some frames, vanishes for some, and comes back, maybe as another."""
    stamp, seen = index * STEP_NS, []
    labels = np.zeros((ROWS, COLUMNS), np.uint8)
    for lane in range(LANES):
        life, age = divmod(index + 11 * lane, LIFE + 7 * lane)
        is_away = 20 <= age < 22 + 5 * lane
        if age >= LIFE - 20 or is_away:
            continue
        name = f"{lane} {life}" + (" again" if age >= 20 and life % 2 else "")
        x, y = (age // 2 + 5 * lane) % (COLUMNS - 4), 4 * lane
        box = Box(x, y, x + 4, y + 3)
        seen.append(VisibleInstance(name, "", 0.9, PlacedMask(box, np.ones((3, 4), bool))))
        labels[box.slices] = len(seen)
    return sent(stamp, pixels, seen, labels)


def sent(stamp: int, pixels: np.ndarray, seen: list[VisibleInstance], labels: np.ndarray) -> PairedFrame:
    return PairedFrame(Frame(stamp, header(stamp), pixels, "rgb8", 0.0), Instances(stamp, tuple(seen), labels))


def start(manifest: Manifest) -> tuple[Pipeline, FakeEngine]:
    values = {"max_objects": LIMIT, "tracking.invisible_s": 0.5, "window.max_gap_s": 0.5}
    engine = FakeEngine(manifest, SLOTS_PER_OBJECT * LIMIT)
    return Pipeline(Bundle(Path("soak"), manifest, {}, {}), engine, make_parameters(values)), engine


def test_one_thread_observes_and_resets_while_another_infers_and_only_that_one_touches_the_engine():
    """What comes out of the worker is always of one epoch: an object's memory never holds frames from before."""
    line, engine = start(small_manifest())
    toucher, errors, seen = set(), [], {}

    def touching(method):
        return lambda *given: (toucher.add(threading.get_ident()), method(*given))[1]

    for name in ("run", "keep", "reset", "state_bytes"):
        setattr(engine, name, touching(getattr(engine, name)))

    def infer(observed) -> None:
        for item in line.infer(observed).instances:
            seen[observed.epoch] = max(seen.get(observed.epoch, 0), item.frames_used)
            last_in_epoch = observed.tracked.paired.frame.stamp_ns // STEP_NS % EPOCH
            assert item.frames_used <= last_in_epoch + 1

    worker = Worker(infer, errors.append)
    pixels = np.random.default_rng(0).integers(0, 255, (ROWS, COLUMNS, 3)).astype(np.uint8)
    for index in range(6 * EPOCH):
        if index % EPOCH == 0:
            line.reset()
        worker.submit(line.observe(frame_at(index % EPOCH, pixels)))
    is_ended, _ = worker.stop(60.0)
    assert is_ended and errors == []
    assert len(toucher) == 1 and threading.get_ident() not in toucher
    assert line.counts.memory_drops == 5 and seen


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_thousand_frames_with_births_and_deaths_leave_memory_flat():
    manifest = small_manifest()
    line, engine = start(manifest)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (ROWS, COLUMNS, 3)).astype(np.uint8)
    serials, statuses, blocks = set(), set(), []
    for index in range(FRAMES):
        observed = line.observe(frame_at(index, pixels))
        serials |= observed.alive
        if index % 3 != 1:  # every third frame comes while the worker is busy
            result = line.infer(observed)
            statuses |= {item.status for item in result.instances}
            assert len({item.track_id for item in result.instances}) == len(result.instances)
        assert line.tracks <= LANES + LIMIT and len(engine.memory) <= engine.memory.slots
        assert len(line._endings) <= 2 * (LANES + LIMIT)
        if index >= WARM_UP and index % 2000 == 0:
            gc.collect()
            blocks.append(sys.getallocatedblocks())
    counts = line.counts
    deaths = sum(counts.ended.values())
    assert len(serials) > 800 and deaths > 800 and counts.reassociated > 100
    assert {Status.OK, Status.SHORT_WINDOW, Status.INVISIBLE, Status.NOT_INFERRED} == statuses
    assert max(blocks) - min(blocks) < 2000, blocks
    for index in range(FRAMES, FRAMES + 20):
        nothing = np.zeros((ROWS, COLUMNS), np.uint8)
        line.infer(line.observe(sent(index * STEP_NS, pixels, [], nothing)))
    assert line.tracks == 0 and len(engine.memory) == 0 and len(line._endings) == 0
    assert engine.state_bytes() == (0, SLOTS_PER_OBJECT * LIMIT * manifest.temporal.state_bytes)
