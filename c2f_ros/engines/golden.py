"""Whether an engine makes of a bundle's golden sample what the model made of it where it was exported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from c2f_ros.bundle import Arrays, Bundle
from c2f_ros.contract import ContractError
from c2f_ros.engines.checks import check_amodal
from c2f_ros.geometry import BoolArray

if TYPE_CHECKING:
    from c2f_ros.steps.step6_engine import Engine

LEAST_IOU = 0.995
"""Mean IoU of masks with the golden ones that an engine must reach in a precision below fp32."""
MOST_STATE_ERROR = 0.02
"""Such an engine's states: root mean square of the difference, of that of the golden ones."""


def check_golden(engine: Engine, bundle: Bundle) -> float:
    """Largest absolute difference from the bundle's stored outputs; in a precision below fp32, what the masks' mean IoU
    lacks to 1. Raises ContractError if the engine is not to be used: above the manifest's tolerance, or, below fp32,
    with a mean IoU below `LEAST_IOU` or states that are off by more than `MOST_STATE_ERROR`."""
    found = _golden_outputs(engine, bundle)
    if getattr(engine, "precision", "fp32") != "fp32":
        return _check_roughly(engine, bundle, found)
    differences = {name: _difference(found[name], expected) for name, expected in bundle.golden_outputs.items()}
    worst = max(differences, key=lambda name: differences[name])
    tolerance = bundle.manifest.golden.tolerance
    if not differences[worst] <= tolerance:
        raise ContractError(
            f"golden sample of {bundle.manifest.model_id} differs by {differences[worst]:.2g} in {worst} on "
            f"{engine.name}, at most {tolerance:.2g} is allowed; do not use this engine here, or export the bundle "
            "again"
        )
    return differences[worst]


def _golden_outputs(engine: Engine, bundle: Bundle) -> dict[str, NDArray[Any]]:
    """What the engine makes of the golden inputs. Raises ContractError if it fails on them."""
    count = len(bundle.golden_outputs["amodal"])
    try:
        found = engine.compute(bundle.golden_inputs)
        check_amodal(f"engine {engine.name}", found["amodal"], count, bundle.manifest.crop.size)
    except Exception as error:  # whatever the library raises: the engine is not to be used
        raise ContractError(f"golden sample of {bundle.manifest.model_id}: {error}; build the bundle again") from error
    return found


def _check_roughly(engine: Engine, bundle: Bundle, found: Arrays) -> float:
    """1 - mean IoU of the masks. Raises ContractError as `check_golden` says."""
    threshold, expected = bundle.manifest.mask_threshold, bundle.golden_outputs
    iou = mean_iou(found["amodal"] >= threshold, expected["amodal"] >= threshold)
    errors = {name: _relative_error(found[name], expected[name]) for name in expected if name != "amodal"}
    worst = max(errors, key=lambda name: errors[name], default="")
    what = f"golden sample of {bundle.manifest.model_id} in {engine.precision} on {engine.name}"
    advice = "set engine_precision to fp32 or use another engine"
    if iou < LEAST_IOU:
        raise ContractError(f"{what} has a mean mask IoU of {iou:.4f}, at least {LEAST_IOU} is expected; {advice}")
    if worst and not errors[worst] <= MOST_STATE_ERROR:
        raise ContractError(
            f"{what} differs by {errors[worst]:.2%} in {worst}, at most {MOST_STATE_ERROR:.0%} is allowed; {advice}"
        )
    return 1.0 - iou


def mean_iou(found: BoolArray, expected: BoolArray) -> float:
    """Mean over rows [N, ...] of the IoU of two masks; two empty ones are equal: 1."""
    axes = tuple(range(1, found.ndim))
    both, either = (found & expected).sum(axes), (found | expected).sum(axes)
    return float(np.where(either == 0, 1.0, both / np.maximum(either, 1)).mean())


def _relative_error(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Root mean square of the difference, of that of `expected`; infinite where it is no number, or shapes differ."""
    if found.shape != expected.shape:
        return float("inf")
    scale = float(np.sqrt(np.mean(np.square(expected, dtype=np.float64)))) or 1.0
    error = float(np.sqrt(np.mean(np.square(found - expected, dtype=np.float64)))) / scale
    return error if error == error else float("inf")


def _difference(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Largest absolute difference; infinite where it is no number, or the shapes differ."""
    if found.shape != expected.shape:
        return float("inf")
    difference = float(np.abs(found - expected).max())
    return difference if difference == difference else float("inf")
