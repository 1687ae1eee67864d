"""Evaluation of generated clips equals a literal computation and shows every baseline."""

import numpy as np
import pytest
from tiny import tiny_config, torch

from c2f_train.data.sequences import clip_frames, generated_sequences
from c2f_train.scores.evaluate import RULE, evaluate, table
from c2f_train.scores.predictors import network_predictor
from c2f_train.synth.generate import generate_clip, generate_set
from c2f_train.synth.scene import SceneConfig

SCENE = SceneConfig(height=64, width=96, objects_min=4, objects_max=6)


@pytest.fixture(scope="module")
def clip():
    return generate_clip(SCENE, 3, 5)


def test_evaluation_equals_the_literal_computation(clip):
    config = tiny_config()
    truth_side = 64

    def all_of_the_crop(image, masks):
        return np.ones((len(image), truth_side, truth_side), np.float32)

    rows = evaluate([("clip", clip_frames(clip))], {"all": all_of_the_crop}, config.crop).rows()
    assert list(rows) == ["visible", "hull", "clipped_hull", "all", "all" + RULE]
    per_object = {}
    for frame in range(3):
        for index in range(len(clip.categories)):
            visible, amodal = clip.labels[frame] == index + 1, clip.amodal[frame, index]
            if visible.any():
                per_object.setdefault(index, []).append(visible.sum() / (amodal | visible).sum())
    assert rows["visible"]["miou_full"] == pytest.approx(
        100 * np.mean([np.mean(v) for v in per_object.values()]), abs=0.02
    )
    assert rows["all" + RULE]["miou_full"] > rows["all"]["miou_full"]
    assert "| clipped_hull " in table(rows)


def test_an_untrained_network_is_scored_without_complaint(tmp_path):
    from c2f_train.model.network import C2FNetwork

    torch.manual_seed(0)
    generate_set(SCENE, 1, 2, 9, tmp_path)
    rows = evaluate(
        generated_sequences(tmp_path),
        {"net": network_predictor(C2FNetwork(tiny_config().network).eval())},
        tiny_config().crop,
    ).rows()
    assert rows["net"]["objects"] == rows["visible"]["objects"] > 0
