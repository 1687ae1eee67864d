"""Accuracy on whole sequences, pasted back at image resolution, always beside the baselines.

Every object-frame with at least one visible pixel counts; averages are those of `c2f_ros.metrics`. Rows: the baselines,
and per predictor its mask joined with the visible one, and the same with hidden pixels kept only under other objects.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tqdm import tqdm

from c2f_ros.baselines import BASELINES, keep_under_others
from c2f_ros.contract import MASK_CHANNELS, CropSpec, InputSpec, Manifest, TemporalSpec
from c2f_ros.crops import observe_object, paste_window, window_inputs
from c2f_ros.geometry import FloatArray, PlacedMask, union
from c2f_ros.metrics import EVERYTHING, Selection, expected_iou
from c2f_ros.records import Observation, SourceFrame
from c2f_ros.sources.datasets import Dataset
from c2f_ros.sources.predicted import FIRST_UNMATCHED_ID
from c2f_train.scores.evaluation_report import table
from c2f_train.scores.evaluation_result import (
    Answer,
    Collecting,
    Collector,
    EvaluationResult,
    FrameAnswers,
    Sequences,
    Target,
    baseline_answers,
    targets_of,
)

if TYPE_CHECKING:
    from c2f_train.scores.predictors import Predictor

__all__ = ["RULE", "EvaluationResult", "Sequences", "View", "evaluate", "table", "targets_of"]

SINGLE = TemporalSpec("image", 1)
RULE = " + under others"
"""Suffix of the rows whose hidden pixels are kept only under other visible objects."""

Window = Sequence[Observation]


def trained_input() -> InputSpec:
    """The value range that networks are trained with."""
    from c2f_train.data.batches import MEAN, STD  # imports torch, which scoring results does without

    return InputSpec("rgb", MEAN, STD, MASK_CHANNELS)


@dataclass(frozen=True)
class View:
    """How a predictor sees objects and where it puts the threshold, as its manifest says."""

    crop: CropSpec
    input: InputSpec = field(default_factory=trained_input)
    temporal: TemporalSpec = SINGLE
    threshold: float = 0.5

    @staticmethod
    def of(manifest: Manifest) -> View:
        """The view of a bundle's model."""
        return View(manifest.crop, manifest.input, manifest.temporal, manifest.mask_threshold)


@dataclass
class _Clip:
    """The windows of one view in one clip: per object its newest observations."""

    view: View
    windows: dict[str, deque[Observation]] = field(default_factory=dict)

    def observe(self, frame: SourceFrame, seen: Sequence[Target]) -> list[Window]:
        """The windows of the objects seen, this frame's observation last."""
        view = self.view
        for target in seen:
            window = self.windows.setdefault(target.key, deque(maxlen=view.temporal.frames))
            window.append(
                observe_object(
                    frame.rgb, "rgb8", frame.labels, target.given, view.crop, view.input.mask_channels, frame.stamp_ns
                )
            )
        return [list(self.windows[target.key]) for target in seen]


def inputs_of(windows: Sequence[Window], view: View) -> tuple[FloatArray, FloatArray]:
    """The network's image and masks of these windows."""
    return window_inputs(windows, view.crop, view.input, view.temporal)


def paste(probability: FloatArray, window: Window, view: View, height: int, width: int) -> PlacedMask:
    """The mask in the image, of the network's map [S, S] for a window's newest frame."""
    return paste_window(probability, window, view.crop, view.temporal, height, width, view.threshold)


def evaluate(
    sequences: Sequences,
    predictors: Mapping[str, Predictor],
    crop: CropSpec,
    every: int = 1,
    *,
    name: str = "",
    views: Mapping[str, View] | None = None,
    selection: Selection = EVERYTHING,
    with_precision: bool = False,
    by_class: bool = False,
    cases: int = 12,
    followed: str = "",
) -> EvaluationResult:
    """One row per baseline and per predictor, the latter with and without the rule that hidden parts lie only under
    other objects.

    every: score each n-th frame of a clip. crop: of predictors without a view of their own in `views`. selection: which
    object-frames count. with_precision: AP and AR too (ContractError without pycocotools), by_class: averaged over
    categories; a predictor's score is the IoU it expects, a baseline's is 1. cases: how many worst and best ones of row
    `followed` (the last predictor's) to keep.
    """
    own = views or {}
    known = {method: own[method] if method in own else View(crop) for method in predictors}
    methods = [*BASELINES, *(row for method in predictors for row in (method, method + RULE))]
    main = followed or (list(predictors)[-1] if predictors else BASELINES[-1])
    collector = Collector(Collecting(methods, main, selection, with_precision, cases, by_class))
    strange = 0
    for clip, frames in tqdm(sequences, desc="evaluating", unit="clip"):
        clips = {view: _Clip(view) for view in dict.fromkeys(known.values())}
        for number, frame in enumerate(frames):
            is_scored = number % every == 0
            seen, unseen = targets_of(clip, frame)
            windows = {v: c.observe(frame, seen) for v, c in clips.items() if is_scored or v.temporal.frames > 1}
            if is_scored:
                strange += sum(identity >= FIRST_UNMATCHED_ID for identity in frame.objects)
                answers = baseline_answers(seen, frame.labels)
                for method, predict in predictors.items():
                    view = known[method]
                    answers |= _predictor_answers(method, predict, view, windows[view], seen, frame)
                collector.add(FrameAnswers(clip, number, frame, seen, unseen, answers))
    refused = sequences.refused if isinstance(sequences, Dataset) else ()
    notes = [f"Left out: {text}" for text in refused]
    if strange:
        notes.append(f"Predicted visible masks of no true object; they are not completed and not in AP: {strange}.")
    return collector.result(name, notes)


def _predictor_answers(
    name: str, predict: Predictor, view: View, windows: Sequence[Window], seen: Sequence[Target], frame: SourceFrame
) -> dict[str, list[Answer]]:
    """The predictor's two rows."""
    rows: dict[str, list[Answer]] = {name: [], name + RULE: []}
    if not seen:
        return rows
    probabilities = predict(*inputs_of(windows, view))
    for probability, window, target in zip(probabilities, windows, seen, strict=True):
        pasted = paste(probability, window, view, *frame.labels.shape)
        score = expected_iou(probability, view.threshold)
        rows[name].append(Answer(union(pasted, target.given), score))
        rows[name + RULE].append(Answer(keep_under_others(pasted, target.given, frame.labels), score))
    return rows
