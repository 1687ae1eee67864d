"""What engines are given in comparisons: a generated clip, frame by frame, and golden objects with noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from c2f_ros.bag import BagReader, read_input
from c2f_ros.bag_making import BagOptions, write_bag
from c2f_ros.bundle import Arrays, Bundle
from c2f_ros.geometry import BoolArray, PlacedMask
from c2f_ros.parameters import make_parameters
from c2f_ros.pipeline import Pipeline
from c2f_ros.records import AmodalFrame, Frame, PairedFrame
from c2f_ros.replay_cli import choose_topics
from c2f_ros.sources.generated import ClipRequest
from c2f_ros.sources.opening import open_generator
from c2f_ros.steps.step2_pairing import StampPairing
from c2f_ros.steps.step6_engine import Engine

HEIGHT, WIDTH, FRAMES = 240, 320, 10
REQUEST = ClipRequest(31, FRAMES, HEIGHT, WIDTH, (9, 11), 2.5, (10.0, 16.0), movers=True)
NOISE = 0.02
"""Standard deviation of what is added to golden images and states."""


def generated_frames(folder: Path, count: int = FRAMES) -> list[PairedFrame]:
    """The first frames of a clip of the project's own generator, images with visible masks."""
    bag = folder / "clip"
    with open_generator(REQUEST, 10.0) as source:
        write_bag(bag, source.frames, BagOptions())
    topics, pairing, found = choose_topics(bag), StampPairing(FRAMES, 10.0), []
    with BagReader(bag) as reader:
        for topic, time_ns, message in reader.messages((topics.image, topics.masks)):
            item = read_input(topics, topic, message, time_ns * 1e-9)
            paired = pairing.add_frame(item) if isinstance(item, Frame) else pairing.add_instances(item)
            found += [paired] if paired is not None else []
    return found[:count]


def infer_all(bundle: Bundle, engine: Engine, frames: Sequence[PairedFrame]) -> list[AmodalFrame]:
    """What the whole pipeline makes of the clip with this engine, memory of the objects included. It stays open."""
    engine.reset()
    line = Pipeline(bundle, engine, make_parameters({"model": str(bundle.folder)}))
    return [line.infer(line.observe(frame)) for frame in frames]


def mask_iou(found: Sequence[AmodalFrame], expected: Sequence[AmodalFrame]) -> float:
    """Mean IoU of the amodal masks of objects of equal ids, frame by frame; one that is missing on a side counts 0."""
    ious: list[float] = []
    for one, other in zip(found, expected, strict=True):
        mine, theirs = ({item.track_id: item.amodal for item in frame.instances} for frame in (one, other))
        ious += [_iou(mine[name], theirs[name]) if name in mine and name in theirs else 0.0 for name in mine | theirs]
    return float(np.mean(ious))


def _iou(one: PlacedMask, other: PlacedMask) -> float:
    first, second = _drawn(one), _drawn(other)
    either = (first | second).sum()
    return float((first & second).sum() / either) if either else 1.0


def _drawn(placed: PlacedMask) -> BoolArray:
    image, box = np.zeros((HEIGHT, WIDTH), bool), placed.box
    image[box.y0 : box.y1, box.x0 : box.x1] = placed.mask
    return image


def golden_rows(bundle: Bundle, count: int, rng: np.random.Generator) -> Arrays:
    """So many golden objects, repeated as needed, with noise on images and states."""
    rows = np.arange(count) % len(bundle.golden_inputs["image"])
    noisy = {"image"} | {state.name for state in bundle.manifest.temporal.state}
    arrays = {name: array[rows] for name, array in bundle.golden_inputs.items()}
    return {
        name: (array + rng.normal(0, NOISE, array.shape)).astype(array.dtype) if name in noisy else array
        for name, array in arrays.items()
    }
