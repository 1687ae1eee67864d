"""Runs a bag through the pipeline without ROS: the node's steps, every frame, as fast as it goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from c2f_ros.bag import BagReader, BagTopics, ResultWriter, read_input
from c2f_ros.contract import EngineError, InputError
from c2f_ros.pipeline import Pipeline
from c2f_ros.records import Frame, PairedFrame
from c2f_ros.steps.step1_read import stamp_ns
from c2f_ros.steps.step2_pairing import StampPairing
from c2f_ros.steps.step6_engine import engine_line

PAIRING_BUFFER, PAIRING_JUMP_S = 1000, 10.0
"""A bag is read in one go: much may wait for its partner."""


@dataclass(frozen=True)
class FrameCounts:
    """What became of the frames of a bag that carry masks; each ends in exactly one of the last six.

    in_bag: messages with masks. seen: of these, masks that arrived. paired: arrived with their image.
    inferred: answered by a message. skipped: observed, but a newer frame came first (live only). refused: unusable.
    failed: the engine failed. unpaired: the bag has no image of this stamp. lost: not accounted for (live only).
    """

    in_bag: int
    seen: int
    paired: int
    inferred: int
    skipped: int
    refused: int
    failed: int
    unpaired: int
    lost: int

    def __post_init__(self) -> None:
        accounted = self.inferred + self.skipped + self.refused + self.failed + self.unpaired + self.lost
        if accounted != self.in_bag or min(vars(self).values()) < 0:
            raise ValueError(f"{self.in_bag} frames are in the bag, but {accounted} are accounted for: {self}")


@dataclass(frozen=True)
class Run:
    """How a bag was replayed. mode: offline or live. latency: per stage `median_ms`, `p95_ms`, `max_ms`, `count`
    (`max_ms` and `count` not where it comes from diagnostics). problems: one sentence each, repeated ones once."""

    mode: str
    model_id: str
    engine: str
    hidden_under: str
    frames: FrameCounts
    latency: dict[str, dict[str, float]]
    problems: tuple[str, ...] = ()


@dataclass
class _Tally:
    masks: list[int] = field(default_factory=list)
    images: set[int] = field(default_factory=set)
    paired: int = 0
    inferred: int = 0
    failed: int = 0
    problems: dict[str, int] = field(default_factory=dict)

    def complain(self, error: Exception) -> None:
        self.problems[str(error)] = self.problems.get(str(error), 0) + 1


def replay_offline(bag: Path, topics: BagTopics, pipeline: Pipeline, result: Path) -> Run:
    """Infer every frame of the bag and write `result` (result.mcap). The pipeline is closed.

    Raises InputError if the bag is broken; a message that cannot be used is counted and left out.
    """
    tally = _Tally()
    with closing(pipeline), BagReader(bag) as reader, ResultWriter(result) as writer:
        for paired in tqdm(_pairs(reader, topics, tally, pipeline), desc="replay", unit="frame", disable=None):
            try:
                writer.add(pipeline.infer(pipeline.observe(paired)))
                tally.inferred += 1
            except InputError as error:
                tally.complain(error)
            except EngineError as error:
                tally.failed += 1
                tally.complain(error)
    return Run(
        "offline",
        pipeline.manifest.model_id,
        engine_line(pipeline.engine),
        pipeline.parameters.hidden_under,
        _counts(tally),
        pipeline.latency.summary(),
        tuple(tally.problems),
    )


def _pairs(reader: BagReader, topics: BagTopics, tally: _Tally, pipeline: Pipeline) -> Iterator[PairedFrame]:
    """The bag's pairs in order. Where stamps go back (another recording), the pipeline forgets its tracks."""
    pairing, resets = StampPairing(PAIRING_BUFFER, PAIRING_JUMP_S), 0
    for topic, time_ns, message in reader.messages((topics.image, topics.masks)):
        if topic == topics.masks:
            tally.masks.append(stamp_ns(message.header))
        else:
            tally.images.add(stamp_ns(message.header))
        try:
            item = read_input(topics, topic, message, time_ns * 1e-9)
            paired = pairing.add_frame(item) if isinstance(item, Frame) else pairing.add_instances(item)
        except InputError as error:
            tally.complain(error)
            continue
        if pairing.counts.resets != resets:
            resets = pairing.counts.resets
            pipeline.reset()
        if paired is not None:
            tally.paired += 1
            yield paired


def _counts(tally: _Tally) -> FrameCounts:
    total, unpaired = len(tally.masks), sum(stamp not in tally.images for stamp in tally.masks)
    return FrameCounts(
        in_bag=total,
        seen=total,
        paired=tally.paired,
        inferred=tally.inferred,
        skipped=0,
        refused=total - tally.inferred - tally.failed - unpaired,
        failed=tally.failed,
        unpaired=unpaired,
        lost=0,
    )
