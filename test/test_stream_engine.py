"""Streaming models in the real engine: what an object's memory gives back, and what never enters it.

The toy models remember where an object's mask was seen; amodal maps show it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="toy models are made with onnx, which comes with the training package")

import yaml
from frames import SIZE, labels_with, paired
from toy_bundles import stream_bundle, toy_bundle

from c2f_ros.bundle import load_bundle
from c2f_ros.contract import ContractError, EngineError
from c2f_ros.geometry import Box
from c2f_ros.motion import STILL, Similarity
from c2f_ros.records import Batch, HiddenTrack, Observation, ObservedFrame, TrackedFrame
from c2f_ros.steps.step5_batch import make_batch
from c2f_ros.steps.step6_engine import Engine, open_engine, run_engine

BOX = Box(10, 10, 10 + SIZE, 10 + SIZE)
KINDS = pytest.mark.parametrize("kinds", [("aligned",), ("ring",), ("aligned", "ring")], ids=" and ".join)
Rectangle = tuple[int, int, int, int]


def batch_of(seen: dict[int, Rectangle | None], box: Box = BOX, anchor: Similarity = STILL) -> Batch:
    """Objects by serial, each visible in a rectangle (x0, y0, x1, y1) of its crop, or hidden."""
    masks = np.zeros((len(seen), 1, SIZE, SIZE), np.float32)
    for plane, rectangle in zip(masks, seen.values(), strict=True):
        if rectangle is not None:
            x0, y0, x1, y1 = rectangle
            plane[0, y0:y1, x0:x1] = 1.0
    image = np.zeros((len(seen), 3, SIZE, SIZE), np.float32)
    return Batch(image, masks, tuple(seen), (box,) * len(seen), (anchor,) * len(seen))


def drawn(rectangle: Rectangle) -> np.ndarray:
    return batch_of({0: rectangle}).masks[0, 0]


def opened(
    folder: Path, kinds: tuple[str, ...] = ("aligned", "ring"), slots: int = 8, limit: int = 0, name: str = "m"
) -> Engine:
    return open_engine("onnxruntime", stream_bundle(folder / name, kinds, limit=limit), 1, slots)


LEFT, RIGHT, LOW = (8, 8, 24, 40), (40, 8, 56, 40), (8, 44, 56, 60)


@KINDS
def test_a_hidden_object_s_mask_comes_back_from_its_own_memory(tmp_path, kinds):
    engine = opened(tmp_path, kinds)
    run_engine(engine, batch_of({1: LEFT, 2: RIGHT}))
    found = run_engine(engine, batch_of({2: None, 3: None, 1: None}))
    assert np.allclose(found.amodal, [drawn(RIGHT), np.zeros((SIZE, SIZE)), drawn(LEFT)], atol=1e-6)
    assert found.frames.tolist() == [2, 1, 2]


def test_the_memory_is_laid_over_the_crop_where_the_object_is_now(tmp_path):
    engine = opened(tmp_path, ("aligned",))
    run_engine(engine, batch_of({1: LEFT}))
    moved = Similarity(1.0, 30.0, 0.0)
    followed = Box(BOX.x0 + 26, BOX.y0 + 3, BOX.x1 + 26, BOX.y1 + 3)
    found = run_engine(engine, batch_of({1: None}, followed, moved)).amodal[0]
    assert np.allclose(found, drawn((12, 5, 28, 37)), atol=1e-4)


def test_a_ring_forgets_what_is_older_than_its_frames(tmp_path):
    engine = opened(tmp_path, ("ring",))
    found = [run_engine(engine, batch_of({1: LEFT if k == 0 else None})).amodal[0].max() for k in range(6)]
    assert found == [1, 1, 1, 1, 0, 0]


def test_a_sequence_run_twice_gives_equal_bytes_with_a_reset_between(tmp_path):
    engine = opened(tmp_path)
    runs = []
    for _ in range(2):
        steps = [{1: LEFT, 2: LOW}, {1: None, 3: RIGHT}, {1: RIGHT, 2: None, 3: None}]
        runs.append([run_engine(engine, batch_of(step)).amodal.tobytes() for step in steps])
        engine.reset()
    assert runs[0] == runs[1]


def test_objects_per_call_are_bounded_and_nothing_else_changes(tmp_path):
    free, bounded = opened(tmp_path), opened(tmp_path, name="bounded", limit=2)
    for step in ({1: LEFT, 2: LOW, 3: RIGHT}, {3: None, 1: None, 4: LEFT, 5: LOW, 2: None}):
        one, other = run_engine(free, batch_of(step)), run_engine(bounded, batch_of(step))
        assert np.array_equal(one.amodal, other.amodal) and np.array_equal(one.frames, other.frames)


def test_only_objects_to_keep_are_remembered_and_a_reset_forgets_all(tmp_path):
    engine = opened(tmp_path)
    run_engine(engine, batch_of({1: LEFT, 2: RIGHT}))
    engine.keep({2})
    assert run_engine(engine, batch_of({1: None, 2: None})).frames.tolist() == [1, 2]
    engine.reset()
    found = run_engine(engine, batch_of({1: None, 2: None}))
    assert found.frames.tolist() == [1, 1] and not found.amodal.any()


@KINDS
def test_states_that_are_not_finite_are_refused_and_only_that_object_begins_anew(tmp_path, kinds):
    engine = opened(tmp_path, kinds)
    run_engine(engine, batch_of({1: LEFT, 2: RIGHT}))
    bad = batch_of({1: LOW, 2: LOW})
    bad.image[1, 0, 5, 5] = np.nan
    with pytest.raises(EngineError, match="states that are not finite for 1 objects"):
        run_engine(engine, bad)
    found = run_engine(engine, batch_of({1: None, 2: None, 3: None}))
    assert found.frames.tolist() == [2, 1, 1]
    assert np.allclose(found.amodal[0], drawn(LEFT), atol=1e-6) and not found.amodal[1:].any()


def test_an_answer_outside_its_range_and_a_failing_graph_leave_the_memory_as_it_was(tmp_path):
    engine = opened(tmp_path)
    run_engine(engine, batch_of({1: LEFT}))
    bad, wrong = batch_of({1: LOW, 2: LOW}), batch_of({1: LOW, 2: LOW})
    bad.masks[1] *= 1.5
    with pytest.raises(EngineError, match=r"0\.0\.\.1\.5"):
        run_engine(engine, bad)
    cut = Batch(wrong.image[:, :, :32], wrong.masks, wrong.serials, wrong.boxes, wrong.anchors)
    with pytest.raises(EngineError, match="failed on 2 objects"):
        run_engine(engine, cut)
    found = run_engine(engine, batch_of({1: None, 2: None}))
    assert found.frames.tolist() == [2, 1]
    assert np.allclose(found.amodal[0], drawn(LEFT), atol=1e-6) and not found.amodal[1].any()


@pytest.mark.parametrize("serials", [(), (1,), (1, 1)])
def test_a_batch_without_one_serial_per_row_is_refused(tmp_path, serials):
    engine, whole = opened(tmp_path), batch_of({1: LEFT, 2: RIGHT})
    with pytest.raises(EngineError, match="give each row one of its own"):
        run_engine(engine, Batch(whole.image, whole.masks, serials, whole.boxes, whole.anchors))


def test_more_objects_than_slots_are_inferred_all_the_same(tmp_path):
    engine = opened(tmp_path, slots=2)
    for _ in range(2):
        found = run_engine(engine, batch_of({1: LEFT, 2: RIGHT, 3: LOW}))
        assert np.allclose(found.amodal, [drawn(LEFT), drawn(RIGHT), drawn(LOW)], atol=1e-6)
    assert found.frames.tolist() == [1, 2, 2]


def changed_golden(folder: Path, **arrays: np.ndarray | None) -> Path:
    with np.load(folder / "golden.npz") as golden:
        kept = {name: golden[name] for name in golden.files} | arrays
    np.savez(folder / "golden.npz", **{name: array for name, array in kept.items() if array is not None})
    plain = yaml.safe_load((folder / "manifest.yaml").read_text())
    plain["golden"]["sha256"] = hashlib.sha256((folder / "golden.npz").read_bytes()).hexdigest()
    (folder / "manifest.yaml").write_text(yaml.safe_dump(plain))
    return folder


@pytest.mark.parametrize("name", ["amodal", "memory_next", "past_next", "warp", "ages", "past"])
def test_the_golden_sample_proves_every_state_that_goes_in_and_out(tmp_path, name):
    bundle = stream_bundle(tmp_path / "m", ("aligned", "ring"))
    arrays = {**bundle.golden_inputs, **bundle.golden_outputs}
    other = np.full_like(arrays[name], -1) if name == "ages" else 1 - arrays[name]
    with pytest.raises(ContractError, match="golden sample of toy differs by .* in "):
        open_engine("onnxruntime", load_bundle(changed_golden(tmp_path / "m", **{name: other})), 1)


def test_a_golden_sample_of_some_states_or_other_types_is_refused(tmp_path):
    bundle = stream_bundle(tmp_path / "m", ("aligned", "ring"))
    with pytest.raises(ContractError, match="golden.npz lacks past, past_next"):
        load_bundle(changed_golden(tmp_path / "m", past=None, past_next=None))
    ages = bundle.golden_inputs["ages"]
    arrays = {**bundle.golden_inputs, **bundle.golden_outputs, "ages": ages.astype(np.int32)}
    changed_golden(tmp_path / "m", **arrays)
    with pytest.raises(ContractError, match="holds ages as int32"):
        load_bundle(tmp_path / "m")


def test_the_golden_sample_leaves_no_memory(tmp_path):
    engine = opened(tmp_path, slots=1)
    assert run_engine(engine, batch_of({0: None})).frames.tolist() == [1]


def observation(x: int) -> Observation:
    rgb, masks = np.full((SIZE, SIZE, 3), x, np.uint8), np.full((1, SIZE, SIZE), x, np.uint8)
    return Observation(0, Box(x, 0, x + SIZE, SIZE), rgb, masks, Similarity(1.0, float(x), 0.0))


def test_hidden_objects_follow_the_seen_ones_each_with_its_own_serial_box_and_anchor(tmp_path):
    tracked = TrackedFrame(paired(labels_with((0, 0, 9, 9), (20, 0, 29, 9), (40, 0, 49, 9))), ("a", "b", "c"))
    hidden = HiddenTrack("d", "", 0.5, 3, (observation(7), observation(8)), 100)
    observed = ObservedFrame(tracked, ((observation(5),), None, (observation(6),)), (11, None, 12), (hidden,))
    batch = make_batch(observed, stream_bundle(tmp_path / "m").manifest)
    assert batch.serials == (11, 12, 3)
    assert [box.x0 for box in batch.boxes] == [anchor.dx for anchor in batch.anchors] == [5, 6, 8]
    assert np.allclose(batch.image[:, 0, 0, 0] * 255, [5, 6, 8]) and batch.masks.shape == (3, 1, SIZE, SIZE)


def test_models_without_memory_forget_nothing_and_count_the_batch_s_frames(tmp_path):
    engine = open_engine("onnxruntime", toy_bundle(tmp_path / "m", "square", 3, [0.0, 0.0, 1.0]), 1)
    image, masks = np.zeros((2, 3, 3, SIZE, SIZE), np.float32), np.zeros((2, 3, 1, SIZE, SIZE), np.float32)
    engine.keep({1})
    engine.reset()
    assert run_engine(engine, Batch(image, masks, frames=(3, 1))).frames.tolist() == [3, 1]
    assert run_engine(engine, Batch(image, masks)).frames.tolist() == [1, 1]
