"""Visible masks as an imperfect segmenter would give them, for sequences whose true ones are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from c2f_ros.geometry import Box, PlacedMask, cut_mask, place
from c2f_ros.records import SourceFrame
from c2f_ros.sources.predicted import MatchedObject
from c2f_train.data.augment import change_masks, draw_changes
from c2f_train.data_config import AugmentConfig

RAGGED = AugmentConfig(flip=0.0, ragged=1.0)


class RaggedMasks:
    """`sequences` with every visible mask grown, shrunk or with a wavy border, as training augments them; the truth
    stays. Iterating gives (name, frames), each time the same."""

    def __init__(self, sequences: Iterable[tuple[str, Iterable[SourceFrame]]], seed: int) -> None:
        self._sequences, self._seed = sequences, seed

    def __iter__(self) -> Iterator[tuple[str, Iterator[SourceFrame]]]:
        for number, (name, frames) in enumerate(self._sequences):
            yield name, self._ragged(frames, np.random.default_rng([self._seed, number]))

    def _ragged(self, frames: Iterable[SourceFrame], rng: np.random.Generator) -> Iterator[SourceFrame]:
        for frame in frames:
            yield ragged_frame(frame, rng)


def ragged_frame(frame: SourceFrame, rng: np.random.Generator) -> SourceFrame:
    """`frame` with ragged visible masks as its labels. Where two overlap the smaller object is seen."""
    visible = {identity: place(frame.labels == identity) for identity in frame.objects}
    objects = {
        identity: MatchedObject(item.class_id, item.amodal, visible[identity], 1.0)
        for identity, item in frame.objects.items()
    }
    labels = np.zeros_like(frame.labels)
    for identity in sorted(visible, key=lambda i: (-visible[i].area, i)):
        if not visible[identity].is_empty:
            _paint(labels, identity, visible[identity], rng)
    return replace(frame, labels=labels, objects=objects)


def _paint(labels: np.ndarray, identity: int, mask: PlacedMask, rng: np.random.Generator) -> None:
    """Put a changed `mask` into `labels` [H, W]; it is changed in a square twice as large, as a crop shows it."""
    box = mask.box
    side = 2 * max(box.width, box.height, 4)
    x0, y0 = box.x0 - (side - box.width) // 2, box.y0 - (side - box.height) // 2
    square = Box(x0, y0, x0 + side, y0 + side)
    cut = cut_mask(mask, square).astype(np.uint8) * np.uint8(255)
    changed = change_masks(cut[None], draw_changes(1, RAGGED, rng))[0] > 127
    inside = square.clip(*labels.shape)
    labels[inside.slices][changed[inside.within(square)]] = identity
