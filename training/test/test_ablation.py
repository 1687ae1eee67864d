"""Ablations: variants are what they say, equal ones share weights, the tables stand beside the paper's."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from tiny import CONFIGS, random_store, tiny_config, torch

from c2f_ros.contract import ContractError
from c2f_ros.geometry import place
from c2f_ros.records import SourceFrame, SourceObject
from c2f_ros.sources.predicted import true_visible
from c2f_train.ablation import variants_run as ablation
from c2f_train.ablation.variants import ABLATIONS, EVERY_SET, VISIBLE_MASKS, choose
from c2f_train.ablation.variants_report import ablation_text, write_ablation
from c2f_train.ablation.variants_run import BASE, limit_samples, make_plan, network_view, run_ablations
from c2f_train.cli import main
from c2f_train.config import TrainConfig, load_config
from c2f_train.scores.simulated_masks import RaggedMasks


def sequences():
    """One clip of two frames: a rectangle that another one hides half of."""
    labels = np.zeros((48, 64), np.int32)
    labels[10:40, 10:30], labels[20:48, 25:60] = 1, 2
    whole = {1: np.zeros((48, 64), bool), 2: labels == 2}
    whole[1][10:40, 10:40] = True
    objects = {i: SourceObject("box", place(mask)) for i, mask in whole.items()}
    rgb = np.full((48, 64, 3), 90, np.uint8)
    return [("clip", [SourceFrame(stamp, rgb, labels, objects) for stamp in (0, 100)])]


def video_config() -> TrainConfig:
    config = tiny_config(16)
    transformer = replace(config.network.transformer, temporal=True, window=2, space=4, roll=True)
    return replace(config, network=replace(config.network, transformer=transformer))


def test_every_variant_can_be_made_of_every_preset_and_changes_what_it_names():
    for file in sorted(CONFIGS.glob("*.yaml")):
        config = load_config(file)
        plan = make_plan(config, ABLATIONS)
        refused = [note for note in plan.notes if "does not allow" in note]
        # A memory is written by the refiner: without one there is none.
        allowed = "without refiner" if config.network.is_stream else ()
        assert not [note for note in refused if not allowed or allowed not in note], file.name
        for name, rows in plan.tables.items():
            identities = [row.identity for row in rows]
            assert len(set(identities)) == len(identities) or ABLATIONS[name].needs_video, (file.name, name)
            assert sum("as configured" in row.label for row in rows) == 1, (file.name, name)


def test_steps_need_no_training_and_equal_variants_share_weights():
    plan = make_plan(tiny_config(), choose(["k", "attention", "paper_table_3"]))
    assert {row.folder for row in plan.tables["k"]} == {BASE}
    assert [row.config.network.inference.steps for row in plan.tables["k"]] == [1, 2, 3, 5, 8]
    folder = {row.label: row.folder for rows in plan.tables.values() for row in rows}
    assert folder["none"] == folder["without attention"]
    assert next(iter(plan.trainings)) == BASE and len(plan.trainings) == 1 + 3 + 2


def test_tables_of_video_models_are_left_out_for_images_and_the_roll_is_known_to_do_nothing():
    plan = make_plan(tiny_config(), choose(["paper_table_b2"]))
    assert not plan.tables and "image model" in plan.notes[0]
    rows = make_plan(video_config(), choose(["paper_table_b2"])).tables["paper_table_b2"]
    without, one, two = rows
    assert [row.label for row in rows[1:]] == ["without the roll", "with the roll (as configured)"]
    assert one.folder == two.folder == BASE and one.paper == (69.92, 32.35) and two.paper == (71.67, 36.13)
    assert without.config.network.frames == 1 and without.config.refiner_stage.batch == 16


def test_an_unknown_set_is_refused_with_the_known_ones(tmp_path, capsys):
    with pytest.raises(ContractError, match="--set names nonsense, known are paper_table_3"):
        choose(["k", "nonsense"])
    assert choose([EVERY_SET]) == ABLATIONS
    words = ["ablate", "--config", str(CONFIGS / "tiny.yaml"), "--work", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main([*words, "--set", "odd"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main([*words, "--set", "k"]) == 1
    assert "c2f-train" in capsys.readouterr().err


def test_samples_are_limited_in_proportion_and_the_tokenizer_keeps_its_own():
    config = load_config(CONFIGS / "tiny.yaml")
    limited = limit_samples(config, config.refiner_stage.samples // 2)
    assert limited.transformer_stage.samples == config.transformer_stage.samples // 2
    assert limited.tokenizer_stage == config.tokenizer_stage
    with pytest.raises(ContractError, match="at least one batch"):
        limit_samples(config, 3)


def test_the_threshold_follows_the_sum_of_coarse_and_refined_mask():
    config = tiny_config()
    summed = replace(config.network, inference=replace(config.network.inference, output="sum"))
    without = replace(summed, refiner=replace(summed.refiner, enabled=False))
    thresholds = [
        network_view(replace(config, network=n), 1).threshold for n in (config.network, summed, without)
    ]  # fmt: skip
    assert thresholds == [0.5, 0.25, 0.5]


def test_ragged_masks_change_what_is_given_and_keep_the_truth():
    first, again = (
        [frame for _, frames in RaggedMasks(sequences(), 3) for frame in frames] for _ in range(2)
    )  # fmt: skip
    true = sequences()[0][1]
    for ragged, same, frame in zip(first, again, true, strict=True):
        np.testing.assert_array_equal(ragged.labels, same.labels)
        assert (ragged.labels != frame.labels).any()
        for identity in (1, 2):
            given, visible = ragged.labels == identity, frame.labels == identity
            assert (given & visible).sum() / (given | visible).sum() > 0.6
            np.testing.assert_array_equal(true_visible(ragged, identity).full(48, 64), visible)


def test_variants_are_trained_on_one_tokenizer_scored_and_shown_beside_the_paper(tmp_path, monkeypatch):
    trained = []
    real = ablation.train_network

    def count(config, store, folder, *others):
        trained.append(folder.name)
        return real(config, store, folder, *others)

    monkeypatch.setattr(ablation, "train_network", count)
    config, store = tiny_config(16), random_store()
    chosen = choose(["paper_table_3", "k", VISIBLE_MASKS])
    data = {"clips": {"true": sequences(), "ragged": RaggedMasks(sequences(), 1)}}
    result = run_ablations(config, chosen, store, tmp_path / "ablate", data)
    assert trained == [BASE, "paper_table_3_without_refiner", "paper_table_3_single_branch",
                       "paper_table_3_without_attention"]  # fmt: skip
    tokenizers = {(tmp_path / "ablate" / name / "tokenizer.pt").read_bytes() for name in trained}
    assert len(tokenizers) == 1
    text = ablation_text(result)
    assert "K = 1 (as configured)" in text and "71.91 |     36.57 |" in text
    assert "without refiner" in text and "ragged" in text and "not filled" in text
    write_ablation(result, tmp_path / "out")
    written = json.loads((tmp_path / "out" / "ablation.json").read_text())["data"]["clips"]
    assert [row["variant"] for row in written[VISIBLE_MASKS]] == ["true", "ragged"]
    assert all(row["measures"]["object_frames"] == 4 for rows in written.values() for row in rows)
    stamp = (tmp_path / "ablate" / BASE / "refiner.pt").stat().st_mtime_ns
    again = run_ablations(config, chosen, store, tmp_path / "ablate", data)
    assert (tmp_path / "ablate" / BASE / "refiner.pt").stat().st_mtime_ns == stamp
    assert again.scored["clips"]["k"][0][1] == result.scored["clips"]["k"][0][1]


def test_a_model_of_single_frames_is_scored_in_the_windows_of_the_video_model(tmp_path):
    config, store = video_config(), random_store(frames=2)
    result = run_ablations(config, choose(["paper_table_b2"]), store, tmp_path, {"clips": {"true": sequences()}})
    rows = result.scored["clips"]["paper_table_b2"]
    assert [row.folder for row, _ in rows] == ["paper_table_b2_without_the_spatio_temporal_block", BASE, BASE]
    assert rows[1][1] == rows[2][1]
    assert all(np.isfinite(found["miou_full"]) for _, found in rows)
    assert torch.load(tmp_path / BASE / "refiner.pt", weights_only=True)["step"] == 2
