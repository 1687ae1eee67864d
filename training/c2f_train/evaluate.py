"""Accuracy on whole sequences, pasted back at image resolution, always beside the baselines.

Every object-frame with at least one visible pixel counts; averages are the published ones (`c2f_ros.metrics`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tqdm import tqdm

from c2f_ros.baselines import BASELINES, baseline, keep_under_others
from c2f_ros.contract import MASK_CHANNELS, CropSpec, InputSpec
from c2f_ros.crops import cut_object, network_inputs
from c2f_ros.geometry import Box, PlacedMask, paste_probability, place, square_crop, union
from c2f_ros.metrics import Accuracy, score_frame
from c2f_ros.records import SourceFrame
from c2f_train.batches import MEAN, STD
from c2f_train.predictors import Predictor

INPUT = InputSpec("rgb", MEAN, STD, MASK_CHANNELS)
RULE = " + under others"
"""Suffix of the rows whose hidden pixels are kept only under other visible objects."""

Sequences = Iterable[tuple[str, Iterable[SourceFrame]]]
"""Name and frames of each clip."""


@dataclass(frozen=True, eq=False)
class _Seen:
    """A visible object with known truth."""

    key: str
    visible: PlacedMask
    truth: PlacedMask
    box: Box


def evaluate(
    sequences: Sequences, predictors: Mapping[str, Predictor], crop: CropSpec, every: int = 1
) -> dict[str, dict[str, float | int | None]]:
    """One row (`Accuracy.summary`) per baseline and per predictor, the latter with and without the rule that
    hidden parts lie only under other objects. `every`: use each n-th frame."""
    rows = {name: Accuracy() for name in BASELINES}
    for name in predictors:
        rows[name], rows[name + RULE] = Accuracy(), Accuracy()
    for clip, frames in tqdm(sequences, desc="evaluating", unit="clip"):
        for number, frame in enumerate(frames):
            if number % every == 0:
                _score(clip, frame, predictors, crop, rows)
    return {name: accuracy.summary() for name, accuracy in rows.items()}


def _score(
    clip: str, frame: SourceFrame, predictors: Mapping[str, Predictor], crop: CropSpec, rows: Mapping[str, Accuracy]
) -> None:
    seen = list(_visible_objects(clip, frame, crop))
    if not seen:
        return
    labels = frame.labels
    cut = [cut_object(frame.rgb, "rgb8", labels, s.visible, s.box, crop.size) for s in seen]
    image, masks = network_inputs([c[0] for c in cut], [c[1] for c in cut], INPUT)
    found: dict[str, list[PlacedMask]] = {n: [baseline(n, s.visible, labels) for s in seen] for n in BASELINES}
    for name, predict in predictors.items():
        pasted = [
            paste_probability(probability, s.box, *labels.shape, 0.5)
            for probability, s in zip(predict(image, masks), seen, strict=True)
        ]
        found[name] = [union(p, s.visible) for p, s in zip(pasted, seen, strict=True)]
        found[name + RULE] = [keep_under_others(p, s.visible, labels) for p, s in zip(pasted, seen, strict=True)]
    for name, amodal in found.items():
        for mask, s in zip(amodal, seen, strict=True):
            score = score_frame(mask, s.truth, s.visible)
            if score is not None:
                rows[name].add(s.key, score)


def _visible_objects(clip: str, frame: SourceFrame, crop: CropSpec) -> Iterator[_Seen]:
    height, width = frame.labels.shape
    for identity, truth in frame.objects.items():
        visible = place(frame.labels == identity)
        if visible.is_empty or truth.amodal is None:
            continue
        box = square_crop(visible.box, height, width, crop.scale, crop.min_side_fraction)
        yield _Seen(f"{clip}/{identity}", visible, truth.amodal, box)


def table(results: Mapping[str, Mapping[str, float | int | None]]) -> str:
    """Markdown: one line per row of `evaluate`, in percent."""
    columns = (
        "miou_full",
        "miou_occ",
        "miou_full_hidden",
        "miou_occ_hidden",
        "miou_full_mostly_hidden",
        "miou_occ_mostly_hidden",
    )
    titles = (
        "mIoU full",
        "mIoU occ",
        "full, hidden > 5 %",
        "occ, hidden > 5 %",
        "full, hidden > 70 %",
        "occ, hidden > 70 %",
    )
    lines = ["| method | " + " | ".join(titles) + " |", "|---|" + "---|" * len(titles)]
    for name, row in results.items():
        cells = ("-" if row[c] is None else f"{row[c]:.1f}" for c in columns)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
