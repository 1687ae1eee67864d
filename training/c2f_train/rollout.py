"""A streaming network frame after frame, in torch and in ONNX Runtime, each fed its own states."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from c2f_ros.contract import TemporalSpec
from c2f_ros.geometry import Box, FloatArray
from c2f_ros.motion import Similarity
from c2f_ros.object_memory import ObjectMemory
from c2f_ros.records import Batch

FRAMES = 6

Arrays = Mapping[str, NDArray[Any]]
Step = Callable[[Arrays], Arrays]
"""A network's named inputs -> its named outputs."""


@dataclass(frozen=True)
class Rollout:
    """inputs: the last frame's, states included, as the first of two networks had them; difference: the largest between
    the two in any output of any frame that is not a token."""

    inputs: dict[str, NDArray[Any]]
    difference: float


def roll_out(first: Step, second: Step, image: FloatArray, masks: FloatArray, temporal: TemporalSpec) -> Rollout:
    """Both networks over `FRAMES` frames in which the crops drift and grow.

    image [N, 3, S, S], masks [N, M, S, S]: in every frame each object gets the next row's. Difference: NaN if a value
    is none.
    """
    memories = [ObjectMemory(temporal, len(image)) for _ in range(2)]
    difference, inputs = 0.0, {}
    for frame in range(FRAMES):
        batch = _batch(np.roll(image, frame, 0), np.roll(masks, frame, 0), frame)
        found = []
        for step, memory in zip((first, second), memories, strict=True):
            given = {"image": batch.image, "masks": batch.masks, **memory.inputs(batch)}
            if not found:
                inputs = {name: array.copy() for name, array in given.items()}
            found.append(step(given))
            memory.write(batch, found[-1])
        difference = float(np.maximum(difference, largest_difference(*found)))
    return Rollout(inputs, difference)


def largest_difference(first: Arrays, second: Arrays) -> float:
    """Of all values that are not whole numbers; NaN if one is none."""
    pairs = [(first[name], second[name]) for name in first if first[name].dtype.kind == "f"]
    return float(np.max([np.abs(a - b).max() for a, b in pairs]))


def torch_step(network: torch.nn.Module, names: list[str]) -> Step:
    """The network as a function of named arrays; names: of its outputs, in order."""

    def step(inputs: Arrays) -> Arrays:
        with torch.no_grad():
            found = network(*(torch.from_numpy(np.ascontiguousarray(array)) for array in inputs.values()))
        return dict(zip(names, (tensor.numpy() for tensor in found), strict=True))

    return step


def _batch(image: FloatArray, masks: FloatArray, frame: int) -> Batch:
    rows = range(len(image))
    side = 100 + 3 * frame
    boxes = tuple(Box(4 * frame - row, row, 4 * frame - row + side, row + side) for row in rows)
    anchors = tuple(Similarity(1.02**frame, 3.0 * frame, float(-row)) for row in rows)
    return Batch(image, masks, tuple(rows), boxes, anchors)
