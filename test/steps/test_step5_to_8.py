"""Batch, engine, paste, publish: shapes, faults, and what is promised of every published mask."""

import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from frames import FakeEngine, bundle, header, labels_with, manifest, paired

from c2f_ros.contract import EngineError, InputError
from c2f_ros.geometry import minus
from c2f_ros.metrics import expected_iou
from c2f_ros.parameters import make_parameters
from c2f_ros.pipeline import Pipeline
from c2f_ros.records import Batch, MaskProbabilities, Status
from c2f_ros.steps.step3_identity import Identities
from c2f_ros.steps.step4_observe import WindowStore
from c2f_ros.steps.step6_engine import run_engine
from c2f_ros.steps.step7_paste import paste_back, predict_whole
from c2f_ros.steps.step8_publish import to_message


def pipeline(engine=None, window: int = 1, **values) -> Pipeline:
    return Pipeline(bundle(window), engine or FakeEngine(), make_parameters(values))


def infer(labels: np.ndarray, engine=None, **values):
    line = pipeline(engine, **values)
    return line.infer(line.observe(paired(labels)))


def test_inputs_are_normalized_as_the_manifest_says():
    seen = []
    engine = FakeEngine(lambda batch: seen.append(batch) or MaskProbabilities(np.zeros((1, 64, 64), np.float32)))
    infer(labels_with((0, 0, 64, 48)), engine)
    image, masks = seen[0].image, seen[0].masks
    assert image.shape == (1, 3, 64, 64) and image.dtype == np.float32 and masks.shape == (1, 3, 64, 64)
    assert image.min() >= -2.0 and image.max() <= 2.0
    assert masks.min() == 0.0 and masks.max() == 1.0


def test_a_frame_without_objects_gives_an_empty_result_and_no_engine_call():
    engine = FakeEngine()
    assert infer(labels_with(), engine).instances == ()
    assert engine.batches == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda b: 1 / 0, "division by zero"),
        (lambda b: MaskProbabilities(np.ones((1, 64, 64), np.float32)), "returned"),
        (lambda b: MaskProbabilities(np.full((2, 64, 64), np.nan, np.float32)), "nan"),
        (lambda b: MaskProbabilities(np.full((2, 64, 64), 1.5, np.float32)), "expected 0..1"),
    ],
)
def test_an_engine_that_fails_or_lies_is_refused(answer, message):
    batch = Batch(np.zeros((2, 3, 64, 64), np.float32), np.zeros((2, 3, 64, 64), np.float32))
    with pytest.raises(EngineError, match=message):
        run_engine(FakeEngine(answer), batch)


@pytest.mark.parametrize("hidden_under", ["anything", "other_instances"])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_the_amodal_mask_always_contains_the_visible_mask(hidden_under, level):
    answer = FakeEngine(lambda b: MaskProbabilities(np.full((len(b.image), 64, 64), level, np.float32)))
    labels = np.random.default_rng(0).integers(0, 4, (48, 80)).astype(np.uint8)
    for instance in infer(labels, answer, hidden_under=hidden_under).instances:
        assert minus(instance.visible, instance.amodal).area == 0


def test_under_other_instances_keeps_hidden_pixels_only_where_another_object_is_seen():
    labels = labels_with((10, 10, 20, 20), (20, 10, 30, 20))
    everywhere = infer(labels)
    under = infer(labels, hidden_under="other_instances")
    assert everywhere.instances[0].amodal.area > 200
    assert np.array_equal(under.instances[0].amodal.full(48, 80), (labels > 0) & (np.arange(80)[None] < 25))


def test_occlusion_ratio_and_occluders_follow_from_the_masks():
    labels = labels_with((10, 10, 20, 20), (20, 10, 30, 20), (70, 40, 75, 45))
    result = infer(labels, hidden_under="other_instances")
    first, second, third = result.instances
    assert first.occlusion_ratio == pytest.approx(50 / 150)
    assert first.occluded_by == ("2",) and second.occluded_by == ("1",)
    assert third.occluded_by == () and third.occlusion_ratio == 0.0


def test_pasting_back_takes_memory_for_the_objects_not_for_the_image():
    """Twenty objects of 60 x 60 pixels in an image of 3000 x 4000: one mask of the image's size is 12 MB."""
    labels = np.zeros((3000, 4000), np.uint8)
    for k in range(20):
        labels[140 * k : 140 * k + 60, 190 * k : 190 * k + 60] = k + 1
    model = manifest()
    model = replace(model, crop=replace(model.crop, min_side_fraction=0.0))
    observed = WindowStore(model, 32, 1.0).observe(Identities(False, 0.3, 2).assign(paired(labels)))
    answer = MaskProbabilities(np.ones((20, 64, 64), np.float32), np.ones(20, np.int64))
    tracemalloc.start()
    result = paste_back(observed, answer, predict_whole(observed, answer, model), model, "other_instances")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(result.instances) == 20 and peak < 3e6


def test_objects_beyond_the_limit_are_published_as_not_inferred():
    result = infer(labels_with((0, 0, 10, 10), (20, 0, 23, 3)), max_objects=1)
    assert [i.status for i in result.instances] == [Status.OK, Status.NOT_INFERRED]
    small = result.instances[1]
    assert small.amodal is small.visible and small.amodal_score == 0.0 and small.frames_used == 0


def test_a_model_of_single_images_uses_one_frame_whatever_its_manifest_calls_the_window():
    line, seen = pipeline(window=3), []
    for k in range(4):
        instance = line.infer(line.observe(paired(labels_with((10, 10, 20, 20)), k))).instances[0]
        seen.append((instance.frames_used, instance.status))
    assert seen == [(1, Status.OK)] * 4


def test_expected_iou_is_one_for_a_certain_mask_and_lower_for_doubt():
    certain = np.zeros((8, 8), np.float32)
    certain[:4] = 1.0
    assert expected_iou(certain, 0.5) == 1.0
    assert expected_iou(np.full((8, 8), 0.6, np.float32), 0.5) == pytest.approx(0.6)
    assert expected_iou(np.zeros((8, 8), np.float32), 0.5) == 0.0


def test_inferring_twice_gives_equal_masks():
    line = pipeline()
    observed = line.observe(paired(labels_with((10, 10, 20, 20), (18, 10, 30, 20))))
    a, b = line.infer(observed), line.infer(observed)
    for one, two in zip(a.instances, b.instances, strict=True):
        assert np.array_equal(one.amodal.mask, two.amodal.mask)


def test_images_and_masks_of_different_size_are_refused():
    pair = paired(labels_with((1, 1, 5, 5)))
    from c2f_ros.records import PairedFrame
    from c2f_ros.steps.step1_read import instances_of_labels

    with pytest.raises(InputError, match="image is 48x80"):
        PairedFrame(pair.frame, instances_of_labels(0, np.zeros((80, 48), np.uint8)))


class PlainTypes:
    amodal_array = amodal_instance = instance_mask = region = occlusion_cycle = SimpleNamespace

    @staticmethod
    def data(data):
        return data


def test_the_message_carries_the_image_s_header_unchanged_and_every_field():
    result = infer(labels_with((10, 10, 20, 20), (20, 10, 30, 20)))
    message = to_message(result, PlainTypes, "MONO8")
    assert message.header is result.header
    assert message.header.frame_id == header(0).frame_id
    assert (message.image_height, message.image_width, message.model_id) == (48, 80, manifest().model_id)
    first = message.instances[0]
    assert first.track_id == "1" and first.amodal.roi.width == result.instances[0].amodal.box.width
    assert len(first.amodal.data) == first.amodal.roi.width * first.amodal.roi.height
