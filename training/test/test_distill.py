"""Students learn a tokenizer from masks alone, resume to equal weights, and run in the engine in its place."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import published_checkpoint as published
import pytest
from needs_torch import torch
from published_checkpoint import TINY, TINY_VIDEO, settings

from c2f_ros.bundle import load_bundle
from c2f_ros.contract import ContractError, InputError
from c2f_ros.steps.step6_engine import open_engine
from c2f_train.cli import main
from c2f_train.distill import distillation
from c2f_train.distill.cost import gflops
from c2f_train.distill.differences import tokenizer_differences
from c2f_train.distill.distillation import DistillConfig, distill
from c2f_train.distill.held_out import held_out_inputs
from c2f_train.distill.mask_pairs import MaskSource
from c2f_train.distill.outlines import own_masks, silhouettes
from c2f_train.distill.student_files import read_students, weights_hash
from c2f_train.distill.students import CELLS, PIXELS, FastTokenizer, fast_tokenizer, student_config
from c2f_train.distill.targets import Labelling, label, mixed_tokens, mixture
from c2f_train.fitting import loop
from c2f_train.fitting.engine import Engine, EngineConfig
from c2f_train.fitting.stages import Stage
from c2f_train.model.network import C2FNetwork
from c2f_train.model.refiner import coarse_cells
from c2f_train.model.tokenizer import MaskTokenizer
from c2f_train.official.official_bundle import INPUT, published_crop
from c2f_train.official.official_config import IMAGE, VIDEO, PublishedSizes, published_config
from c2f_train.official.synthetic_input import synthetic_batch

pytestmark = pytest.mark.usefixtures("one_thread")
CONFIG = DistillConfig(samples=16, rounds=1, held_out=32, objects=2, batch=8, width=0.2, seed=3)
LONGER = replace(CONFIG, samples=160, rounds=3, batch=16)


@pytest.fixture(autouse=True)
def nothing_is_drawn(monkeypatch):
    """The generator's silhouettes and scenes take seconds; tests of their own are below."""
    monkeypatch.setattr(distillation, "silhouettes", lambda seed: [])
    monkeypatch.setattr(
        distillation,
        "held_out_inputs",
        lambda config, crop, spec, count: (synthetic_batch(config, 1, seed) for seed in range(count)),
    )


def teacher(sizes: PublishedSizes = TINY, seed: int = 0) -> C2FNetwork:
    """A random network whose codes are the features of some masks, so that all of them are used."""
    network = published.random_network(sizes, seed)
    masks = [mask for index in range(64) for mask in MaskSource(sizes.crop_size, True, 7, []).pair(index)]
    with torch.no_grad():
        found = network.tokenizer.embed(torch.from_numpy(np.stack(masks))[:, None].float() / 255).flatten(0, 1)
        picked = torch.randperm(len(found), generator=torch.Generator().manual_seed(0))[: sizes.codebook_size]
        network.tokenizer.quantize.embedding.weight.copy_(found[picked])
    return network


def run(network: C2FNetwork, folder: Path, config: DistillConfig = CONFIG) -> dict:
    engine = Engine(EngineConfig("cpu", 1, "32"))
    return distill(network, published_crop(network.config.crop_size), INPUT, config, engine, folder)


def untrained(network: C2FNetwork, folder: Path, config: DistillConfig = CONFIG) -> dict:
    """What students know before they learn, on the same held-out masks."""
    students = fast_tokenizer(network.tokenizer, student_config(network.config, config.width), config.seed)
    source = MaskSource(network.config.crop_size, True, config.seed + distillation.HELD_OUT_SEED, [])
    labelling = Labelling(source, False, network.config.reads_cells)
    return tokenizer_differences(students, label(network.tokenizer, labelling, config.held_out, folder, ""))


def test_students_learn_a_tokenizer_and_the_report_says_how_well(tmp_path):
    network = teacher()
    before, report = untrained(network, tmp_path / "before"), run(network, tmp_path / "run", LONGER)
    after = report["tokenizer"]
    assert after["equal_tokens_visible"] > before["equal_tokens_visible"] + 0.1
    assert after["equal_tokens_whole"] > before["equal_tokens_whole"] + 0.1
    assert after["coarse_mean_difference"] < 0.7 * before["coarse_mean_difference"]
    assert report == json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["network"]["objects"] == 2 and 0 <= report["network"]["mask_iou_mean"] <= 1
    students, said = read_students(tmp_path / "run", teacher())
    assert said == report and not students.training


class Killed(Exception):
    pass


def kill_after(monkeypatch, owner: type, name: str, calls: int) -> None:
    """The next run dies after so many calls of a method."""
    left, real = iter(range(calls)), getattr(owner, name)

    def die(*arguments):
        if next(left, None) is None:
            raise Killed
        return real(*arguments)

    monkeypatch.setattr(owner, name, die)


@pytest.mark.parametrize(
    ("owner", "name", "calls"),
    [(MaskSource, "pair", 12), (Stage, "clip_and_step", 13)],
    ids=["labels", "head"],
)
def test_a_distillation_that_was_killed_goes_on_to_the_same_students(tmp_path, monkeypatch, owner, name, calls):
    monkeypatch.setattr(loop, "SAVE_EVERY_S", -1.0)
    monkeypatch.setattr("c2f_train.distill.targets.PASS_BYTES", 4 * 4 * 64 * 64 * 5)  # five masks at once
    config = replace(CONFIG, samples=20, rounds=2)
    run(teacher(), tmp_path / "whole", config)
    with monkeypatch.context() as patch:
        kill_after(patch, owner, name, calls)
        with pytest.raises(Killed):
            run(teacher(), tmp_path / "cut", config)
    run(teacher(), tmp_path / "cut", config)
    whole, cut = (read_students(tmp_path / folder, teacher())[0] for folder in ("whole", "cut"))
    assert weights_hash(whole) == weights_hash(cut)


def test_a_second_run_of_a_finished_distillation_labels_and_trains_nothing(tmp_path, monkeypatch):
    report, same = run(teacher(), tmp_path, CONFIG), teacher()
    kill_after(monkeypatch, MaskSource, "pair", 0)
    kill_after(monkeypatch, Stage, "clip_and_step", 0)
    again = run(same, tmp_path, CONFIG)
    for measured in (report, again):
        for name in ("seconds_exact", "seconds_fast"):
            del measured["network"][name]
    assert report == again


@pytest.mark.parametrize(
    ("sizes", "tokens"), [(TINY, "classes"), (TINY_VIDEO, "nearest")], ids=["image by classes", "video by nearest"]
)
def test_a_fast_bundle_runs_in_the_engine_and_its_manifest_says_what_it_is(tmp_path, capsys, sizes, tokens):
    network = teacher(sizes)
    vq, c2f = published.write(tmp_path, *published.contents(network))
    given = ["--vq", vq, "--c2f", c2f, "--config", settings(tmp_path, n_head=4, window_length=2)]
    out, bundle = tmp_path / "students", tmp_path / "models" / "fast"
    words = ["--samples", 16, "--rounds", 1, "--batch", 8, "--objects", 1, "--width", 0.2, "--tokens", tokens]
    words += ["--held-out", 8, "--accelerator", "cpu", "--precision", "32", "--threads", 1]
    assert main([str(word) for word in ["distill", *given, "--out", out, *words]]) == 0
    assert "mean IoU" in capsys.readouterr().out
    assert main([str(word) for word in ["import-official", *given, "--out", bundle, "--fast", out]]) == 0
    assert "its tokenizer is distilled" in capsys.readouterr().out
    loaded = load_bundle(bundle)
    fast = loaded.manifest.made["fast"]
    assert fast["students"]["tokens"] == tokens and fast["network"]["objects"] == 1
    assert fast["students"]["reads"] == (PIXELS if sizes.window else CELLS)
    engine = open_engine("onnxruntime", loaded, 1)  # refuses a bundle whose golden sample does not come out
    try:
        found = engine.compute(loaded.golden_inputs)["amodal"]
    finally:
        engine.close()
    network.tokenizer, _ = read_students(out, network)
    with torch.no_grad():
        expected = network(*(torch.from_numpy(loaded.golden_inputs[name]) for name in ("image", "masks")))[0]
    assert np.abs(found - expected.numpy()).max() < 1e-4


def test_students_of_another_checkpoint_are_refused_in_one_sentence(tmp_path, capsys):
    run(teacher(), tmp_path / "students", CONFIG)
    vq, c2f = published.write(tmp_path, *published.contents(teacher(seed=1)))
    words = ["import-official", "--vq", vq, "--c2f", c2f, "--config", settings(tmp_path, n_head=4)]
    words += ["--out", tmp_path / "bundle", "--fast", tmp_path / "students"]
    capsys.readouterr()
    assert main([str(word) for word in words]) == 1
    said = capsys.readouterr().err
    assert "belongs to the checkpoint" in said and "c2f-train distill" in said and len(said.splitlines()) == 1
    assert not (tmp_path / "bundle").exists()


def test_files_that_hold_no_students_are_refused_in_one_sentence(tmp_path):
    with pytest.raises(ContractError, match="does not exist; make it with"):
        read_students(tmp_path, teacher())
    (tmp_path / "students.pt").write_bytes(b"something else")
    with pytest.raises(ContractError, match="is no file of students"):
        read_students(tmp_path, teacher())
    torch.save({"encoder": torch.zeros(1)}, tmp_path / "students.pt")
    with pytest.raises(ContractError, match="it holds encoder"):
        read_students(tmp_path / "students.pt", teacher())


def test_labels_of_another_teacher_and_a_missing_teacher_are_refused(tmp_path, capsys):
    run(teacher(), tmp_path, CONFIG)
    with pytest.raises(ContractError, match="labels of another teacher"):
        run(teacher(seed=1), tmp_path, CONFIG)
    assert main(["distill", "--out", str(tmp_path / "new")]) == 1
    assert "give --vq and --c2f" in capsys.readouterr().err


def test_full_size_students_need_less_than_three_percent_of_their_teacher():
    for sizes, reads in ((IMAGE, CELLS), (VIDEO, PIXELS)):
        config = published_config(sizes)
        with torch.device("meta"):
            tokenizer = MaskTokenizer(config.tokenizer, config.grid)
            students = FastTokenizer(tokenizer, student_config(config))
        assert students.students.reads == reads
        exact, fast = (gflops(one, config.reads_cells)["both"] for one in (tokenizer, students))
        assert 380 < exact < 390 and fast < 0.03 * exact
        tokens = students.encode(torch.zeros(2, 1, 256, 256, device="meta"))
        assert tokens.shape == (2, 256) and students.decode_cells(tokens).shape == (2, 1, 16, 16)
        assert students.decode(tokens).shape == (2, 1, 256, 256)


@pytest.mark.parametrize("sizes", [TINY, TINY_VIDEO], ids=["cells", "pixels"])
def test_cells_are_the_corners_of_what_is_decoded(sizes):
    network = teacher(sizes)
    students = fast_tokenizer(network.tokenizer, student_config(network.config, 0.2), 0).eval()
    tokens = torch.arange(32).reshape(2, 16) % 16
    decoded = students.decode(tokens)
    assert decoded.shape == (2, 1, 64, 64)
    assert torch.equal(coarse_cells(decoded, 4, "corner"), students.decode_cells(tokens))


def test_mask_pairs_repeat_and_now_and_then_are_hidden_or_cut():
    source = MaskSource(64, True, 0, [np.ones((30, 20), bool)])
    pairs = [source.pair(index) for index in range(200)]
    for (visible, whole), (again, _) in zip(pairs, (source.pair(index) for index in range(200)), strict=True):
        assert np.array_equal(visible, again) and set(np.unique(visible)) <= {0, 255} and whole.shape == (64, 64)
    assert 1 <= sum(not visible.any() for visible, _ in pairs) <= 20
    assert sum(visible.sum() < whole.sum() for visible, whole in pairs) > 80
    fractional = MaskSource(64, False, 0, []).pair(5)[1]
    assert ((fractional > 0) & (fractional < 255)).any()


def test_held_out_inputs_are_objects_of_generated_clips_as_the_network_gets_them():
    network = teacher(TINY_VIDEO)
    inputs = list(held_out_inputs(network.config, published_crop(64), INPUT, 3))
    assert len(inputs) == 3
    for image, masks in inputs:
        assert image.shape == (1, 2, 3, 64, 64) and masks.shape == (1, 2, 1, 64, 64)
        assert masks[0, -1].any() and image.std() > 0


def test_silhouettes_are_tight_and_of_every_kind():
    found = silhouettes(0)
    assert len(found) > 200
    assert all(m[0].any() and m[-1].any() and m[:, 0].any() and m[:, -1].any() for m in found)


def test_own_masks_are_the_objects_of_label_images(tmp_path):
    labels = np.zeros((40, 60), np.uint8)
    labels[5:15, 5:25], labels[20:30, 30:50], labels[0, 0] = 1, 2, 3  # the third is too small
    cv2.imwrite(str(tmp_path / "a.png"), labels)
    (tmp_path / "more").mkdir()
    cv2.imwrite(str(tmp_path / "more" / "b.png"), (labels == 1).astype(np.uint8) * 255)
    found = own_masks(tmp_path)
    assert [m.shape for m in found] == [(10, 20)] * 3 and all(m.all() for m in found)


def test_folders_without_masks_are_refused_in_one_sentence(tmp_path):
    with pytest.raises(InputError, match="holds no mask"):
        own_masks(tmp_path / "nothing")
    cv2.imwrite(str(tmp_path / "colour.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(InputError, match="3 channels, expected one"):
        own_masks(tmp_path)


def test_a_decoder_gets_whole_masks_codes_and_codes_of_no_mask():
    rng = np.random.default_rng(0)
    whole, visible = rng.integers(0, 16, (200, 16)), rng.integers(0, 16, (200, 16))
    near = np.stack([(np.arange(16) + 1) % 16, (np.arange(16) + 2) % 16], 1)
    first, _, share = mixed_tokens(np.random.default_rng(1), visible, whole, near, False)
    unchanged = (first == whole).all(1).mean()
    assert 0.3 < unchanged < 0.6 and not share.any() and first.max() < 16
    soft = mixed_tokens(np.random.default_rng(1), visible, whole, near, True)
    assert soft[2].any() and (soft[2] == 0).any()


def test_a_mixture_of_codes_lies_between_them():
    vectors = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    one, other = np.array([[0, 0, 0]], np.uint16), np.array([[1, 1, 1]], np.uint16)
    found = mixture(vectors, one, other, np.array([[0, 255, 51]], np.uint8))
    assert torch.allclose(found, torch.tensor([[[0.0, 0.0], [1.0, 2.0], [0.2, 0.4]]]))
