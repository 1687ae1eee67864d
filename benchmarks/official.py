"""Our engines beside the published implementation: same weights, same inputs, in turn, on this machine's CPU."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.effort import Effort
from benchmarks.measuring import Measured, Run, in_turn, ratio
from benchmarks.opening import open_default, open_openvino
from benchmarks.operations import Work, total, work_of_graph
from benchmarks.peaks import Peaks
from benchmarks.published_code import CONFIGS, PublishedModel, published_model
from benchmarks.random_models import engine_run
from benchmarks.roofline import least_ms
from benchmarks.section import Row, Section
from c2f_ros.bundle import Bundle, load_bundle
from c2f_ros.contract import ContractError
from c2f_ros.steps.step6_engine import Engine, open_engine
from c2f_train.distill.stand_in import stand_in
from c2f_train.distill.students import fast_tokenizer, student_config
from c2f_train.export import GOLDEN_TOLERANCE, export_bundle
from c2f_train.model.network import C2FNetwork
from c2f_train.official.checkpoints import assemble, read_part_tensors
from c2f_train.official.official_bundle import INPUT, published_crop
from c2f_train.official.official_config import read_settings
from c2f_train.official.official_keys import NETWORK_PARTS, TOKENIZER_PART
from c2f_train.official.synthetic_input import steady_seeds, synthetic_batch

OBJECTS = 3
"""Made-up objects on which masks are compared; the first is the one that is timed."""
AIMS = {"fp32": 2.2, "bf16": 4.0, "fast": 8.0, "default": 500.0}
LEAST_IOU = 0.99
PUBLISHED = "published code, PyTorch eager"
COLUMNS = {
    "what": "one object, K = 3", "ms": "ms", "ratio": "published / this", "aim": "aim", "iou": "mask IoU with float32",
    "gflop": "GFLOP", "least": "least ms", "share": "% of the bound",
}  # fmt: skip


@dataclass(frozen=True)
class Official:
    """What `--official` is given. folder: the checkout; weights: the published vqgan and c2f_seg files, or none: random
    ones; students: of `c2f-train distill` for these weights, or none: untrained ones, which cost the same."""

    folder: Path
    weights: tuple[Path, Path] | None = None
    students: Path | None = None


@dataclass(frozen=True)
class _Rival:
    """One way to run a network on one object. outputs: on all the made-up objects; None where they cannot be compared
    with float32's. work: of one object."""

    name: str
    run: Run
    close: Callable[[], None]
    outputs: Callable[[], NDArray[Any]] | None
    work: Work
    precision: str
    aim: float


def official(given: Official, default: Path, folder: Path, peaks: Peaks, effort: Effort) -> list[Section]:
    """The table. default: the shipped model that is timed beside them; folder: for bundles made here.

    Raises ContractError, one sentence, if the folder is no checkout of the published implementation, its code does not
    run here, or weights or students do not fit it.
    """
    with published_model(given.folder) as published:
        if given.weights is not None:
            vq, c2f = given.weights
            published.load(read_part_tensors(vq, (TOKENIZER_PART,)) | read_part_tensors(c2f, NETWORK_PARTS))
        network = assemble(published.tensors(), read_settings([given.folder / name for name in CONFIGS]), None, 3)
        inputs = [synthetic_batch(network.config, 1, seed) for seed in range(OBJECTS)]
        same = _share_of_equal_tokens(published, network, [masks for _, masks in inputs])
        exact, fast = _bundles(network, given.students, folder)
        del network
        rivals = chain(
            _engines("exact", exact, inputs, (AIMS["fp32"], AIMS["bf16"]), True, effort.threads),
            _engines("--fast", fast, inputs, (AIMS["fast"],) * 2, given.students is not None, effort.threads),
            [_default(default, folder, effort)],
        )
        rows = list(_rows(lambda: published.run(*inputs[0]), rivals, exact.manifest.mask_threshold, peaks, effort))
    return [Section("official", "Beside the published implementation", _note(given, same), COLUMNS, rows)]


def _rows(published: Run, rivals: Iterable[_Rival], threshold: float, peaks: Peaks, effort: Effort) -> Iterator[Row]:
    """Each rival in turn with the published code, one after the other: full-size models are not in memory together.

    The first rival's outputs are those that the others' are compared with.
    """
    taken: list[float] = []
    rows: list[Row] = []
    expected: NDArray[Any] | None = None
    for rival in rivals:
        ms = in_turn({PUBLISHED: published, "ours": rival.run}, effort.rounds(5), effort.seconds(25))
        found = rival.outputs() if rival.outputs is not None else None
        expected = found if expected is None else expected
        rival.close()
        gc.collect()
        taken += ms[PUBLISHED].ms
        least, _ = least_ms(rival.work, peaks, rival.precision)
        rows.append(
            {
                "what": rival.name,
                "ms": ms["ours"],
                "published": ms[PUBLISHED],
                "ratio": ratio(ms[PUBLISHED], ms["ours"]),
                "aim": rival.aim,
                "iou": _mean_iou(found, expected, threshold),
                "gflop": 2e-9 * rival.work.macs,
                "least": least,
                "share": 100 * least / ms["ours"].median,
            }
        )
    yield {"what": PUBLISHED, "ms": Measured(tuple(taken)), "aim": None, "iou": None}
    yield from rows


def _share_of_equal_tokens(published: PublishedModel, network: C2FNetwork, visible: Sequence[Tensor]) -> float:
    """Of the visible masks' tokens, by their code and by our network: 1 if both have the same weights."""
    tokens = [(published.visible_tokens(v), network.tokenizer.encode(v)) for v in visible]
    return float(np.mean([(a.flatten() == b.flatten()).float().mean().item() for a, b in tokens]))


def _bundles(network: C2FNetwork, students: Path | None, folder: Path) -> tuple[Bundle, Bundle]:
    """The network as it is imported, exact and with `--fast`. It is changed for the second."""
    seeds, _ = steady_seeds(network, 1, 4, GOLDEN_TOLERANCE / 2)
    golden = synthetic_batch(network.config, 1, seeds[0])
    crop, found = published_crop(network.config.crop_size), []
    for name in ("exact", "fast"):
        if name == "fast" and students is not None:
            network.tokenizer, _ = stand_in(students)(network)
        elif name == "fast":
            network.tokenizer = fast_tokenizer(network.tokenizer, student_config(network.config), 0)
        network.eval().requires_grad_(False)
        try:
            export_bundle(network, crop, INPUT, name, "", golden, {}, folder / name)
        except ValueError as error:
            raise ContractError(f"the {name} graph could not be exported ({error}); run again") from error
        found.append(load_bundle(folder / name))
    return found[0], found[1]


def _engines(
    what: str,
    bundle: Bundle,
    inputs: Sequence[tuple[Tensor, Tensor]],
    aims: tuple[float, float],
    is_comparable: bool,
    threads: int,
) -> Iterator[_Rival]:
    """The bundle in every engine and precision of this CPU, each opened when its turn comes; float32 in ONNX Runtime
    first. aims: in float32, in bf16."""
    work = total(work_of_graph(bundle.graph_path))
    for precision, opening in (
        ("fp32", lambda: open_engine("onnxruntime", bundle, threads)),
        ("fp32", lambda: open_openvino(bundle, threads, "fp32")),
        ("bf16", lambda: open_openvino(bundle, threads, "bf16")),
    ):
        try:
            engine = opening()
        except (ImportError, ContractError) as error:
            print(f"left out: {what} in {precision} ({error})")
            continue
        runs = [_compute(engine, *one) for one in inputs]
        outputs = partial(_joined, runs) if is_comparable else None
        aim = aims[1] if precision == "bf16" else aims[0]
        yield _Rival(f"{what}: {engine.name}", runs[0], engine.close, outputs, work, precision, aim)
        del engine, runs, outputs


def _joined(runs: Sequence[Callable[[], NDArray[Any]]]) -> NDArray[Any]:
    return np.concatenate([run() for run in runs])


def _compute(engine: Engine, image: Tensor, masks: Tensor) -> Callable[[], NDArray[Any]]:
    inputs = {"image": image.numpy(), "masks": masks.numpy()}
    return lambda: engine.compute(inputs)["amodal"]


def _default(model: Path, folder: Path, effort: Effort) -> _Rival:
    bundle = load_bundle(model)
    engine = open_default(bundle, effort.threads, folder / "cache")
    work, precision = total(work_of_graph(bundle.graph_path)), getattr(engine, "precision", "fp32")
    name = f"default model {model.name}: {engine.name}"
    return _Rival(name, engine_run(engine, bundle.manifest, 1), engine.close, None, work, precision, AIMS["default"])


def _mean_iou(found: NDArray[Any] | None, expected: NDArray[Any] | None, threshold: float) -> float | None:
    """Of masks at the threshold; where all of float32's would be full or empty, as random weights make them, at the
    median of its probabilities."""
    if found is None or expected is None:
        return None
    flat = expected.reshape(len(expected), -1)
    level = np.where((flat > threshold).mean(1) % 1.0 == 0.0, np.median(flat, 1), threshold)[:, None]
    a, b = flat > level, found.reshape(len(expected), -1) > level
    return float((((a & b).sum(1) + 1e-10) / ((a | b).sum(1) + 1e-10)).mean())


def _note(given: Official, same: float) -> str:
    weights = "random weights of the published layout" if given.weights is None else "the weights given"
    masks = "" if given.weights is not None else (
        " Random weights have nearly tied tokens, which rounding turns over: IoU is what trained weights would exceed."
    )  # fmt: skip
    students = "" if given.students is not None else " Students are untrained: they cost what trained ones cost."
    return (
        f"The image model at full size with {weights}, the same in all rows but the last ({same:.1%} of the visible "
        "masks' tokens are equal). Published code: `batch_predict_maskgit` of the checkout, without pasting back and "
        f"scoring.{masks}{students} Aims: for masks of an IoU of at least {LEAST_IOU} with float32."
    )
