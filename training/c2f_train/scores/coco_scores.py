"""AP, AP50, AP75 and AR of amodal masks, by pycocotools' COCOeval.

Masks are kept as run lengths only. Classes: objects of one category compete with each other alone, and the average is
over categories; where every mask is given the same category the numbers are class-agnostic.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from c2f_ros.contract import ContractError
from c2f_ros.geometry import PlacedMask

MOST_DETECTIONS = 100
"""Per image and category, as COCO counts them; those with the lowest scores are dropped."""
NAMES = ("ap", "ap50", "ap75", "ar")
Encoded = dict[str, Any]
"""Compressed run lengths: {"size": [H, W], "counts": bytes}."""


def require_pycocotools() -> None:
    """Raises ContractError if pycocotools cannot be imported."""
    try:
        import pycocotools.mask  # noqa: F401
    except ImportError as error:
        raise ContractError(
            f"AP and AR need pycocotools, which cannot be imported ({error}); install pycocotools or leave AP out"
        ) from error


def encode(mask: PlacedMask, height: int, width: int) -> Encoded:
    """The mask as compressed run lengths of an image of `height` x `width`."""
    from pycocotools import mask as coco

    # Runs go down the columns: only those of the box need to be looked at, which takes a third of the time.
    columns = np.zeros((mask.box.width, height), np.int8)
    columns[:, mask.box.y0 : mask.box.y1] = mask.mask.T
    changes = np.flatnonzero(np.diff(columns.ravel(), prepend=np.int8(0), append=np.int8(0))) + mask.box.x0 * height
    ends = np.concatenate([[0], changes, [] if changes.size and changes[-1] == height * width else [height * width]])
    return coco.frPyObjects({"size": [height, width], "counts": np.diff(ends).astype(int).tolist()}, height, width)


@dataclass
class CocoTruth:
    """True masks of a data set, shared by the detections of several methods. images: sizes, by position."""

    images: list[tuple[int, int]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    categories: dict[str, int] = field(default_factory=dict)

    def add_image(self, height: int, width: int) -> int:
        """Begin the next image; returns its number."""
        self.images.append((height, width))
        return len(self.images) - 1

    def add(self, image: int, mask: PlacedMask, category: str = "", is_counted: bool = True) -> None:
        """One true object. is_counted False: finding it is neither right nor wrong, missing it neither."""
        self.annotations.append(
            {
                "id": len(self.annotations) + 1,
                "image_id": image,
                "category_id": self.category(category),
                "segmentation": encode(mask, *self.images[image]),
                # COCOeval ignores objects whose area is outside its range, which begins at 0.
                "area": mask.area if is_counted else -1,
                "iscrowd": 0,
            }
        )

    def category(self, name: str) -> int:
        """The number of a category, given at its first mention."""
        return self.categories.setdefault(name, len(self.categories) + 1)


@dataclass
class CocoDetections:
    """One method's masks with scores, on the images of `truth`."""

    truth: CocoTruth
    annotations: list[dict[str, Any]] = field(default_factory=list)

    def add(self, image: int, mask: PlacedMask, score: float, category: str = "") -> None:
        """One detection; an empty mask is a wrong one."""
        self.annotations.append(
            {
                "id": len(self.annotations) + 1,
                "image_id": image,
                "category_id": self.truth.category(category),
                "segmentation": encode(mask, *self.truth.images[image]),
                "area": mask.area,
                "score": score,
                "iscrowd": 0,
            }
        )

    def scores(self) -> dict[str, float | None]:
        """`ap` (mean over IoU 0.50, 0.55 ... 0.95), `ap50`, `ap75`, `ar` (100 detections an image), in percent.

        None where no true object counts. Raises ContractError without pycocotools.
        """
        require_pycocotools()
        from pycocotools.cocoeval import COCOeval

        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = COCOeval(_dataset(self.truth, self.truth.annotations), _dataset(self.truth, self.annotations))
            evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
            evaluation.params.maxDets = [MOST_DETECTIONS]
            evaluation.evaluate()
            evaluation.accumulate()
        precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
        values = (_mean(precision), _mean(precision[0]), _mean(precision[5]), _mean(recall))
        return dict(zip(NAMES, values, strict=True))


def _dataset(truth: CocoTruth, annotations: list[dict[str, Any]]) -> Any:
    from pycocotools.coco import COCO

    out = COCO()
    out.dataset = {
        "images": [{"id": k, "height": h, "width": w} for k, (h, w) in enumerate(truth.images)],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in truth.categories.items()],
    }
    out.createIndex()
    return out


def _mean(values: Any) -> float | None:
    """Percent; -1 marks categories without counted objects."""
    known = values[values > -1]
    return round(100.0 * float(known.mean()), 2) if known.size else None
