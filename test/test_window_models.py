"""Models that see a window of frames, and models with the stretched crop, through the whole pipeline with real engines.

The toy models add up the visible masks of the window: which frame was where in it shows in what is pasted.
"""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="toy models are made with onnx, which comes with the training package")

from frames import HEIGHT, WIDTH, labels_with, paired
from toy_bundles import toy_bundle

from c2f_ros.bundle import Bundle
from c2f_ros.contract import ContractError
from c2f_ros.crops import cut_object, network_inputs
from c2f_ros.geometry import count_common, minus, square_crop, union
from c2f_ros.parameters import make_parameters
from c2f_ros.pipeline import Pipeline
from c2f_ros.records import AmodalFrame, Batch, MaskProbabilities, Status
from c2f_ros.steps.step6_engine import open_engine

NEWEST, OLDEST = [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]
RULES = pytest.mark.parametrize("rule", ["square", "stretched"])


class Watched:
    """A real engine that also keeps what it was given."""

    def __init__(self, bundle: Bundle) -> None:
        self.inner, self.name, self.batches = open_engine("onnxruntime", bundle, 1), "watched", []

    def run(self, batch: Batch) -> MaskProbabilities:
        self.batches.append(batch)
        return self.inner.run(batch)

    def keep(self, serials) -> None:
        self.inner.keep(serials)

    def reset(self) -> None:
        self.inner.reset()

    def close(self) -> None:
        self.inner.close()


def opened(bundle: Bundle, **values) -> Pipeline:
    return Pipeline(bundle, Watched(bundle), make_parameters(values))


def step(line: Pipeline, labels: np.ndarray, stamp_ns: int) -> AmodalFrame:
    return line.infer(line.observe(paired(labels, stamp_ns, seed=stamp_ns % 97)))


def moving(k: int) -> np.ndarray:
    """An object of 16 x 12 pixels that runs 9 columns a frame."""
    return labels_with((3 + 9 * k, 10 + 2 * k, 19 + 9 * k, 22 + 2 * k))


@RULES
def test_frames_used_grows_to_the_window_and_the_status_says_so(tmp_path, rule):
    line = opened(toy_bundle(tmp_path / "m", rule, 3, NEWEST))
    seen = [step(line, moving(k), k).instances[0] for k in range(5)]
    assert [i.frames_used for i in seen] == [1, 2, 3, 3, 3]
    assert [i.status for i in seen] == [Status.SHORT_WINDOW] * 2 + [Status.OK] * 3


@RULES
def test_the_newest_frame_s_mask_is_pasted_where_the_object_is_now(tmp_path, rule):
    line = opened(toy_bundle(tmp_path / "m", rule, 3, NEWEST))
    for k in range(5):
        instance = step(line, moving(k), k).instances[0]
        assert count_common(instance.amodal, instance.visible) / union(instance.amodal, instance.visible).area > 0.9


@pytest.mark.parametrize(("rule", "widths"), [("square", (32, 16, 8)), ("stretched", (8, 16, 32))])
def test_the_window_is_handed_over_oldest_first(tmp_path, rule, widths):
    """The object's width changes so that the oldest mask, laid over the newest crop, leaves the visible part."""
    hidden = {}
    for name, shares in {"newest": NEWEST, "oldest": OLDEST}.items():
        line = opened(toy_bundle(tmp_path / name, rule, 3, shares))
        for k, width in enumerate(widths):
            instance = step(line, labels_with((24, 10, 24 + width, 42)), k).instances[0]
        hidden[name] = minus(instance.amodal, instance.visible).area
    assert hidden["newest"] < 60 and hidden["oldest"] > 200


@RULES
def test_a_short_window_repeats_its_oldest_observation_in_front(tmp_path, rule):
    line = opened(toy_bundle(tmp_path / "m", rule, 4, [0.25] * 4))
    for k in range(5):
        step(line, moving(k), k)
    given = [batch.image[0] for batch in line.engine.batches]
    assert all(image.shape == (4, 3, 64, 64) for image in given)
    for frames, image in enumerate(given[:4], start=1):
        repeated = [np.array_equal(image[t], image[0]) for t in range(4)]
        assert repeated == [t <= 4 - frames for t in range(4)]
    assert np.array_equal(given[4][:3], given[3][1:])


@RULES
def test_tracks_of_different_age_share_a_batch_without_mixing(tmp_path, rule):
    bundle = toy_bundle(tmp_path / "m", rule, 3, [0.2, 0.3, 0.5])
    old, young = (5, 5, 25, 20), (50, 20, 70, 44)
    line, alone = opened(bundle), opened(bundle)
    for k in range(2):
        step(line, labels_with(old), k)
    both = step(line, labels_with(old, young), 2)
    assert [(i.frames_used, i.status) for i in both.instances] == [(3, Status.OK), (1, Status.SHORT_WINDOW)]
    batch = line.engine.batches[-1]
    assert batch.image.shape == (2, 3, 3, 64, 64) and batch.masks.shape == (2, 3, 1, 64, 64)
    assert np.array_equal(batch.image[1, 0], batch.image[1, 2]) and not np.array_equal(*batch.image[0, [0, 2]])
    alone.infer(alone.observe(paired(np.where(labels_with(old, young) == 2, 1, 0).astype(np.uint8), 2, seed=2)))
    assert np.array_equal(alone.engine.batches[0].image[0], batch.image[1])


def test_a_track_that_was_gone_too_long_starts_a_new_window(tmp_path):
    line = opened(toy_bundle(tmp_path / "m", "stretched", 3, NEWEST), **{"window.max_gap_s": 1.0})
    used = [step(line, moving(1), round(s * 1e9)).instances[0].frames_used for s in (0.0, 0.1, 0.2, 2.0, 2.1)]
    assert used == [1, 2, 3, 1, 2]


def test_all_frames_of_a_stretched_window_are_scaled_alike(tmp_path):
    line = opened(toy_bundle(tmp_path / "m", "stretched", 2, [0.5, 0.5]))
    step(line, labels_with((20, 10, 50, 40)), 0)
    step(line, labels_with((20, 10, 35, 40)), 1)
    large, small = line.engine.batches[-1].masks[0, :, 0].sum(axis=(1, 2))
    assert small / large == pytest.approx(0.5, abs=0.03)
    image = line.engine.batches[-1].image[0, 1]
    filled = round(64 / 61 * 31)
    assert image[:, :, :filled].min() >= 0 and image[:, 5, :filled].any() and not image[:, :, filled:].any()


def test_frames_of_a_square_window_keep_their_own_crops(tmp_path):
    line = opened(toy_bundle(tmp_path / "m", "square", 2, [0.5, 0.5]))
    step(line, labels_with((20, 10, 44, 34)), 0)
    step(line, labels_with((20, 10, 32, 22)), 1)
    older, newer = line.engine.batches[-1].masks[0, :, 0].sum(axis=(1, 2))
    assert older == pytest.approx(32 * 32, rel=0.05) and newer == pytest.approx(32 * 32, rel=0.05)


def test_square_crops_of_the_newest_frame_are_those_that_training_cuts(tmp_path):
    bundle = toy_bundle(tmp_path / "m", "square", None, [1.0])
    line, pair = opened(bundle), paired(labels_with((5, 5, 25, 20), (20, 10, 60, 48)), 0)
    line.infer(line.observe(pair))
    crop, spec, labels = bundle.manifest.crop, bundle.manifest.input, pair.instances.labels
    cut = []
    for instance in pair.instances.instances:
        box = square_crop(instance.visible.box, HEIGHT, WIDTH, crop.scale, crop.min_side_fraction)
        cut.append(cut_object(pair.frame.pixels, "rgb8", labels, instance.visible, box, crop.size, spec.mask_channels))
    image, masks = network_inputs([rgb for rgb, _ in cut], [planes for _, planes in cut], spec)
    given = line.engine.batches[0]
    assert np.array_equal(given.image, image) and np.array_equal(given.masks, masks)


def test_objects_per_call_are_bounded_as_the_manifest_says_and_nothing_else_changes(tmp_path, monkeypatch):
    boxes = [(5, 5, 15, 15), (20, 20, 40, 44), (50, 2, 60, 30), (62, 30, 78, 46), (18, 2, 30, 12)]
    free, bounded = (
        opened(toy_bundle(tmp_path / str(limit), "stretched", 3, [0.2, 0.3, 0.5], limit)) for limit in (0, 2)
    )
    rows: dict[Pipeline, list[int]] = {free: [], bounded: []}

    def counting(line: Pipeline, call):
        return lambda batch: rows[line].append(len(batch.image)) or call(batch)

    for line in (free, bounded):
        mode = line.engine.inner._mode
        monkeypatch.setattr(mode, "run", counting(line, mode.run))
    whole, parts = (step(line, labels_with(*boxes), 0).instances for line in (free, bounded))
    assert (rows[free], rows[bounded]) == ([5], [2, 2, 1])
    for one, other in zip(whole, parts, strict=True):
        assert one.amodal.box == other.amodal.box and np.array_equal(one.amodal.mask, other.amodal.mask)


@pytest.mark.parametrize("seed", range(8))
def test_an_image_model_that_returns_the_visible_mask_pastes_it_back(tmp_path, seed):
    line = opened(toy_bundle(tmp_path / "m", "stretched", None, [1.0]))
    rng = np.random.default_rng(seed)
    x, y = int(rng.integers(0, WIDTH - 12)), int(rng.integers(0, HEIGHT - 12))
    if seed >= 4:  # an object that touches a border
        x, y = ((0, y), (x, 0), (WIDTH - 12, y), (x, HEIGHT - 12))[seed - 4]
    box = (x, y, int(rng.integers(x + 8, WIDTH)) if x < WIDTH - 12 else WIDTH, min(HEIGHT, y + 12))
    result = step(line, labels_with(box), 0)
    instance = result.instances[0]
    assert line.engine.batches[0].image.shape == (1, 3, 64, 64)
    assert (result.height, result.width) == (HEIGHT, WIDTH) and instance.status is Status.OK
    assert count_common(instance.amodal, instance.visible) / instance.amodal.area > 0.9


def test_a_frame_without_objects_has_an_empty_batch_of_the_window_s_shape(tmp_path):
    line = opened(toy_bundle(tmp_path / "m", "stretched", 3, NEWEST))
    assert step(line, labels_with(), 0).instances == () and line.engine.batches == []


def test_a_manifest_whose_window_is_not_the_graph_s_is_refused(tmp_path):
    with pytest.raises(ContractError, match="graph inputs are .* the manifest says"):
        open_engine("onnxruntime", toy_bundle(tmp_path / "m", "square", 4, NEWEST), 1)
