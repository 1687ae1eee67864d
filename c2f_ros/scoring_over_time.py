"""Scores what only a sequence of frames shows, and the order from front to back: one recording of a bag or more.

Another recording begins where stamps stand still or go back, a gap is longer than tracks live, or images have another
size: what happened before says nothing about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from c2f_ros.geometry import PlacedMask
from c2f_ros.occlusion_order import SceneOrder
from c2f_ros.order_metrics import OrderAccuracy, true_order
from c2f_ros.records import AmodalFrame, AmodalInstance
from c2f_ros.video_metrics import Flicker, IdSwitches, InvisibleAccuracy, Shown

LONGEST_GAP_S = 2.0
"""The node's default `window.max_gap_s`."""


class ScoringOverTime:
    """Accuracy of objects hidden wholly, flicker, id switches, occlusion order; of methods, the first is the model."""

    def __init__(self, methods: Sequence[str]) -> None:
        self.invisible, self.ids, self.order = InvisibleAccuracy(), IdSwitches(), OrderAccuracy()
        self.flicker = {name: Flicker() for name in methods}
        self._model = methods[0]
        self._last: AmodalFrame | None = None

    def begin(self, truth: AmodalFrame) -> bool:
        """Whether this frame begins another recording than the last one; if so, that one is forgotten."""
        last, self._last = self._last, truth
        if last is None:
            return False
        gap_s = (truth.stamp_ns - last.stamp_ns) * 1e-9
        is_next = 0 < gap_s <= LONGEST_GAP_S and (truth.height, truth.width) == (last.height, last.width)
        if not is_next:
            self.invisible.end_clip()
            self.ids.end_clip()
            for flicker in self.flicker.values():
                flicker.end_clip()
        return not is_next

    def add(self, true: AmodalInstance, predicted: Mapping[str, PlacedMask], number: int) -> None:
        """Take one true object of frame `number`, and its whole mask by every method."""
        self.invisible.add(true.track_id, predicted[self._model], true.amodal, true.visible)
        for name, flicker in self.flicker.items():
            flicker.add(true.track_id, number, predicted[name], true.amodal, true.visible)

    def end_frame(self, result: AmodalFrame, truth: AmodalFrame, ids: Mapping[str, str]) -> None:
        """Take a frame as a whole. ids: the result's track id for every true object that has one."""
        self.ids.add(shown(truth), shown(result))
        visible, amodal = [i.visible for i in truth.instances], [i.amodal for i in truth.instances]
        names = [ids.get(item.track_id, "") for item in truth.instances]
        self.order.add(true_order(visible, amodal), published_order(result, names))

    def summary(self) -> dict[str, Any]:
        """`invisible` with its bins `by_age`, `flicker` per method, `ids`, `order`: the classes' summaries."""
        return {
            "invisible": {**self.invisible.summary(), "by_age": self.invisible.by_age()},
            "flicker": {name: flicker.summary() for name, flicker in self.flicker.items()},
            "ids": self.ids.summary(),
            "order": self.order.summary(),
        }


def shown(frame: AmodalFrame) -> list[Shown]:
    """The frame's objects as the classes of `video_metrics.py` take them."""
    return [Shown(item.track_id, item.visible, item.amodal) for item in frame.instances]


def published_order(frame: AmodalFrame, names: Sequence[str]) -> SceneOrder:
    """What a result says of the order of these objects, by its `occluded_by` and `front_to_back`.

    names: a track id per object, "" where the result has none: it hides nothing and comes last.
    """
    by = {item.track_id: item.occluded_by for item in frame.instances}
    rows = {name: row for row, name in enumerate(names) if name}
    hides = np.zeros((len(names), len(names)), bool)
    for name, row in rows.items():
        for occluder in by[name]:
            if occluder in rows:
                hides[rows[occluder], row] = True
    order = [rows[name] for name in frame.front_to_back if name in rows]
    order += [row for row in range(len(names)) if row not in order]
    return SceneOrder(hides.astype(np.int64), hides, tuple(order), _rings_of(frame, rows))


def _rings_of(frame: AmodalFrame, rows: Mapping[str, int]) -> tuple[tuple[int, ...], ...]:
    groups = (tuple(rows[name] for name in group if name in rows) for group in frame.cycles)
    return tuple(group for group in groups if len(group) > 1)
