"""Window models in two graphs: each frame is computed once, and the answers are those of the model in one graph."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="toy models are made with onnx, which comes with the training package")

from frames import SIZE, labels_with, paired
from toy_bundles import cached_bundle, toy_bundle

from c2f_ros.contract import EngineError, Manifest
from c2f_ros.engines import Graph
from c2f_ros.engines.frame_cache import CachedWindow
from c2f_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from c2f_ros.parameters import make_parameters
from c2f_ros.pipeline import Pipeline
from c2f_ros.records import Batch, MaskProbabilities, ObservedFrame, TrackedFrame
from c2f_ros.steps.step4_observe import WindowStore
from c2f_ros.steps.step5_batch import make_batch
from c2f_ros.steps.step6_engine import open_engine, run_engine

SHARES = [0.1, 0.2, 0.3, 0.4]
RULES = pytest.mark.parametrize("rule", ["square", "stretched"])


class Counted:
    """The real engine around graphs that say how many frames they were given; `one` is the same model in one graph."""

    def __init__(self, folder: Path, rule: str) -> None:
        folder.mkdir()
        self.one = open_engine("onnxruntime", toy_bundle(folder / "one", rule, len(SHARES), SHARES), 1)
        self.one_manifest = toy_bundle(folder / "plain", rule, len(SHARES), SHARES).manifest
        bundle = cached_bundle(folder / "two", rule, SHARES)
        self.manifest: Manifest = bundle.manifest
        self.inner = open_engine("onnxruntime", bundle, 1)
        assert isinstance(self.inner, OnnxRuntimeEngine)
        mode = self.inner._mode
        assert isinstance(mode, CachedWindow)
        self.cache, self.frames = mode, 0
        mode._graphs.frame_graph = self._counting(mode._graphs.frame_graph)

    def _counting(self, graph: Graph) -> Graph:
        def counting(inputs, wanted):
            self.frames += len(inputs["image"])
            return graph(inputs, wanted)

        return counting

    def both(self, observed: ObservedFrame) -> tuple[MaskProbabilities, MaskProbabilities, int]:
        """Answers in one graph and in two, and the frames that were computed for the latter."""
        before = self.frames
        two = run_engine(self.inner, make_batch(observed, self.manifest))
        return run_engine(self.one, make_batch(observed, self.one_manifest)), two, self.frames - before


def observer(counted: Counted, gap_s: float = 10.0) -> WindowStore:
    return WindowStore(counted.manifest, 8, gap_s)


def seen(store: WindowStore, stamp_ns: int, *boxes: tuple[int, int, int, int]) -> ObservedFrame:
    pair = paired(labels_with(*boxes), stamp_ns, seed=stamp_ns)
    return store.observe(TrackedFrame(pair, tuple(i.upstream_id for i in pair.instances.instances)))


def equal(one: MaskProbabilities, two: MaskProbabilities) -> bool:
    return np.allclose(one.amodal, two.amodal, rtol=0, atol=1e-6) and np.array_equal(one.frames, two.frames)


@RULES
def test_each_frame_of_steady_objects_is_computed_once(tmp_path, rule):
    counted = Counted(tmp_path / "m", rule)
    store = observer(counted)
    for k in range(7):
        one, two, computed = counted.both(seen(store, k, (20 + k, 10, 40 + k, 30), (50, 15 + k, 66, 27 + k)))
        assert equal(one, two) and computed == 2
        assert two.frames.tolist() == [min(k + 1, 4)] * 2


@pytest.mark.parametrize(("rule", "expected"), [("square", [1, 1, 1, 1]), ("stretched", [1, 2, 1, 4])])
def test_frames_are_computed_again_only_where_the_window_s_scale_changed(tmp_path, rule, expected):
    counted = Counted(tmp_path / "m", rule)
    store, found = observer(counted), []
    for k, width in enumerate((10, 14, 12, 16)):
        one, two, computed = counted.both(seen(store, k, (30, 14, 30 + width, 26)))
        assert equal(one, two)
        found.append(computed)
    assert found == expected


@RULES
def test_frames_that_were_not_inferred_are_computed_when_they_are_needed(tmp_path, rule):
    counted = Counted(tmp_path / "m", rule)
    store = observer(counted)
    observed = [seen(store, k, (20 + k, 10, 40 + k, 30)) for k in range(6)]
    _, _, computed = counted.both(observed[0])
    assert computed == 1
    one, two, computed = counted.both(observed[4])
    assert equal(one, two) and computed == 4
    one, two, computed = counted.both(observed[5])
    assert equal(one, two) and computed == 1


@RULES
def test_any_motion_gives_the_answers_of_the_model_in_one_graph(tmp_path, rule):
    counted, rng = Counted(tmp_path / "m", rule), np.random.default_rng(1)
    store = observer(counted)
    for k in range(12):
        x, y, w, h = rng.integers(0, 30), rng.integers(0, 20), rng.integers(6, 40), rng.integers(6, 26)
        boxes = [(int(x), int(y), int(x + w), int(y + h)), (60, 30, 76, 40)][: 1 + k % 2]
        observed = seen(store, k, *boxes)
        if k % 3 != 2:
            one, two, _ = counted.both(observed)
            assert equal(one, two)


def test_a_reset_forgets_all_frames_and_changes_no_answer(tmp_path):
    counted = Counted(tmp_path / "m", "stretched")
    store = observer(counted)
    for k in range(4):
        counted.both(seen(store, k, (20, 10, 40, 30)))
    counted.inner.reset()
    assert len(counted.cache) == 0
    one, two, computed = counted.both(seen(store, 4, (20, 10, 40, 30)))
    assert equal(one, two) and computed == 4


def test_frames_go_with_the_windows_that_hold_them(tmp_path):
    counted = Counted(tmp_path / "m", "square")
    store = observer(counted, gap_s=20e-9)
    for k in range(80):
        x = 2 + k % 50
        boxes = [(x, 10, x + 10, 20)] if k % 40 < 20 else [(0, 0, 1, 1), (x, 10, x + 10, 20)]
        counted.both(seen(store, k, *boxes))
    gc.collect()
    assert len(counted.cache) <= 2 * len(SHARES)
    store.reset()
    gc.collect()
    assert len(counted.cache) == 0


def test_a_frame_that_fails_is_not_kept(tmp_path):
    counted = Counted(tmp_path / "m", "square")
    store = observer(counted)
    counted.both(seen(store, 0, (20, 10, 40, 30)))
    observed = seen(store, 1, (20, 10, 40, 30))
    batch = make_batch(observed, counted.manifest)
    batch.image[0, 0, 3, 3] = np.nan
    with pytest.raises(EngineError, match="frame graph returned values that are not finite"):
        run_engine(counted.inner, batch)
    assert len(counted.cache) == 1
    one, two, computed = counted.both(seen(store, 2, (20, 10, 40, 30)))
    assert equal(one, two) and computed == 2


def test_objects_and_frames_per_call_are_bounded_as_the_manifest_says(tmp_path):
    bundle = cached_bundle(tmp_path / "m", "square", SHARES)
    graphs = {name: replace(getattr(bundle.manifest, name), batch_limit=2) for name in ("graph", "frame_graph")}
    bounded = replace(bundle, manifest=replace(bundle.manifest, **graphs))
    store = WindowStore(bundle.manifest, 8, 10.0)
    boxes = [(5, 5, 15, 15), (20, 20, 40, 44), (50, 2, 60, 30)]
    for k in range(3):
        observed = seen(store, k, *boxes)
    batch = make_batch(observed, bundle.manifest)
    whole, parts = (run_engine(open_engine("onnxruntime", one, 1), batch) for one in (bundle, bounded))
    assert equal(whole, parts)


def test_a_batch_without_windows_is_refused(tmp_path):
    engine = open_engine("onnxruntime", cached_bundle(tmp_path / "m", "square", SHARES), 1)
    image, masks = np.zeros((1, 3, SIZE, SIZE), np.float32), np.zeros((1, 1, SIZE, SIZE), np.float32)
    with pytest.raises(EngineError, match="1 rows have 0 windows"):
        run_engine(engine, Batch(image, masks))


def test_the_pipeline_pastes_what_the_model_in_one_graph_gives(tmp_path):
    bundles = toy_bundle(tmp_path / "one", "stretched", 4, SHARES), cached_bundle(tmp_path / "two", "stretched", SHARES)
    lines = [Pipeline(b, open_engine("onnxruntime", b, 1), make_parameters({})) for b in bundles]
    for k in range(6):
        labels = labels_with(*([] if k == 2 else [(10 + 4 * k, 8, 24 + 5 * k, 30), (5, 34, 30 + k, 46)]))
        one, two = (line.infer(line.observe(paired(labels, k))) for line in lines)
        assert len(one.instances) == len(two.instances)
        for ours, theirs in zip(two.instances, one.instances, strict=True):
            assert ours.amodal.box == theirs.amodal.box and np.array_equal(ours.amodal.mask, theirs.amodal.mask)
            assert (ours.frames_used, ours.status) == (theirs.frames_used, theirs.status)
