"""Samples hold what the clip holds; evaluation equals a literal computation and shows every baseline."""

from dataclasses import replace

import numpy as np
import pytest
from tiny import tiny_config, torch

from c2f_train.evaluate import RULE, evaluate, table
from c2f_train.predictors import network_predictor
from c2f_train.samples import AMODAL, MASKS, OTHERS, VISIBLE, cut_sample, open_store, write_store
from c2f_train.sequences import clip_frames, generated_sequences
from c2f_train.synth.generate import generate_clip, generate_set
from c2f_train.synth.scene import SceneConfig

SCENE = SceneConfig(height=64, width=96, objects_min=4, objects_max=6)


@pytest.fixture(scope="module")
def clip():
    return generate_clip(SCENE, 3, 5)


def still(config):
    """Without any random change."""
    return replace(config.data, scale_jitter=0.0, shift_jitter=0.0, unsegmented_fraction=0.0, min_visible_pixels=1)


def test_planes_of_a_sample_agree_with_each_other(clip):
    config = tiny_config()
    rng, made = np.random.default_rng(0), 0
    for index in np.unique(clip.labels[0])[1:] - 1:
        sample = cut_sample(clip, 0, int(index), config.crop, still(config), rng)
        made += 1
        visible, others, amodal = (sample[p].astype(int) for p in (VISIBLE, OTHERS, AMODAL))
        assert (visible <= amodal + 8).all()
        assert (visible + others <= 255 + 8).all()
        assert sample[MASKS].shape == (3, 64, 64)
    assert made > 1


def test_unsegmented_objects_disappear_from_the_others_plane(clip):
    config = tiny_config()
    data = replace(still(config), unsegmented_fraction=1.0)
    shares = []
    for seed in range(30):
        sample = cut_sample(
            clip, 0, int(np.unique(clip.labels[0])[1]) - 1, config.crop, data, np.random.default_rng(seed)
        )
        shares.append(sample[OTHERS].mean())
    assert min(shares) == 0 and len(set(shares)) > 2


def test_a_store_is_written_once_and_refused_when_cut_short(tmp_path):
    config = tiny_config()
    generate_set(SCENE, 2, 2, 9, tmp_path / "clips")
    write_store(tmp_path / "clips", tmp_path / "store", config.crop, config.data, 1, 1)
    store, stamp = open_store(tmp_path / "store"), (tmp_path / "store" / "samples.u8").stat().st_mtime_ns
    assert len(store) > 4
    write_store(tmp_path / "clips", tmp_path / "store", config.crop, config.data, 1, 1)
    assert (tmp_path / "store" / "samples.u8").stat().st_mtime_ns == stamp
    with open(tmp_path / "store" / "samples.u8", "r+b") as file:
        file.truncate(100)
    with pytest.raises(FileNotFoundError, match="not"):
        open_store(tmp_path / "store")
    with pytest.raises(FileNotFoundError, match="generate"):
        write_store(tmp_path / "empty", tmp_path / "s2", config.crop, config.data, 1, 1)


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
