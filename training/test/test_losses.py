"""Losses, optimizers and schedules: exact on small numbers, and equal to the recorded numbers of the published code."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_config, torch

from c2f_ros.contract import ContractError
from c2f_train.config import ScheduleConfig
from c2f_train.fitting.adversarial import (
    DiscriminatorObjective,
    PatchDiscriminator,
    adaptive_weight,
    discriminator_loss,
    generator_loss,
)
from c2f_train.fitting.losses import coverage_loss, draw_masking, hidden_loss, mask_loss, network_loss, token_loss
from c2f_train.fitting.optimizer import PublishedAdamW, learning_rate, optimizer_groups, rate_share
from c2f_train.fitting.perceptual import VGG16, WIDTHS, Lpips, PyramidLoss, make_perceptual
from c2f_train.fitting.weights import load_pretrained, tensors_of
from c2f_train.model.network import C2FNetwork, Prediction
from c2f_train.model.tokenizer import Codebook


@pytest.fixture(scope="module")
def recorded(shared_dir):
    """What the published code computed; the product itself never reads it."""
    file = shared_dir / "fixtures" / "c2f_seg_parity" / "maths.npz"
    return {
        name: torch.from_numpy(np.asarray(array)) for name, array in np.load(file).items() if array.dtype.kind != "U"
    }


def generator(seed: int = 0):
    return torch.Generator().manual_seed(seed)


def test_the_published_optimizer_and_schedule_take_the_recorded_steps(recorded):
    peak, first, second, eps, decay, warm, steps = recorded["adamw_hyper"].tolist()
    weights = torch.nn.Parameter(recorded["adamw_w0"].clone())
    optimizer = PublishedAdamW([weights], 0.0, (first, second), eps, decay)
    for step, gradient in enumerate(recorded["adamw_grads"]):
        rate = peak * rate_share(step, int(steps), ScheduleConfig("linear", warm))
        assert rate == pytest.approx(float(recorded["adamw_lr"][step]), abs=1e-9)
        optimizer.param_groups[0]["lr"], weights.grad = rate, gradient
        optimizer.step()
        assert torch.allclose(weights, recorded["adamw_w"][step], atol=1e-6)


def test_label_smoothing_is_the_recorded_one(recorded):
    loss = token_loss(recorded["ce_logits"][None], recorded["ce_targets"][None], 0.1).mean()
    assert loss.item() == pytest.approx(recorded["ce_loss"].item(), abs=1e-6)


def test_the_quantization_loss_and_its_gradients_are_the_recorded_ones(recorded):
    config = replace(
        tiny_config().network.tokenizer, code_dim=4, codebook_size=8, learning="gradient", commitment=1.0, codebook=0.25
    )
    codebook = Codebook(config)
    with torch.no_grad():
        codebook.embedding.weight.copy_(recorded["vq_codebook"])
    z = recorded["vq_z"].clone().requires_grad_()
    cells = z.permute(0, 2, 3, 1).flatten(0, 2)
    indices = codebook.nearest(cells.detach())
    loss = codebook.loss(cells, codebook.embedding(indices))
    loss.backward()
    assert torch.equal(indices[:, None], recorded["vq_idx"])
    assert loss.item() == pytest.approx(recorded["vq_loss"].item(), abs=1e-6)
    assert torch.allclose(z.grad, recorded["vq_grad_z"], atol=1e-6)
    assert torch.allclose(codebook.embedding.weight.grad, recorded["vq_grad_codebook"], atol=1e-6)


def test_the_discriminator_s_losses_are_what_their_formulas_say():
    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-2.0, 0.5, -0.5])
    assert discriminator_loss(real, fake, "hinge").item() == pytest.approx(0.5 * (2.5 / 3 + 2.0 / 3))
    exact = -(torch.log(torch.sigmoid(real)).mean() + torch.log(1 - torch.sigmoid(fake)).mean()) / 2
    assert discriminator_loss(real, fake, "log").item() == pytest.approx(exact.item(), abs=1e-6)
    assert generator_loss(fake, "hinge").item() == pytest.approx(2.0 / 3)
    assert generator_loss(fake, "log").item() == pytest.approx(-torch.log(torch.sigmoid(fake)).mean().item(), abs=1e-6)


def test_the_adaptive_weight_is_the_ratio_of_the_gradients_at_the_last_layer():
    last = torch.tensor([3.0, 4.0], requires_grad=True)
    reconstruction, adversarial = (last * torch.tensor([6.0, 8.0])).sum(), (last * torch.tensor([0.3, 0.4])).sum()
    assert adaptive_weight(reconstruction, adversarial, last, "published").item() == pytest.approx(10 / (0.5 + 1e-4))
    assert adaptive_weight(reconstruction, adversarial, last, "paper").item() == pytest.approx(
        10 / (0.5 + 1e-6), rel=1e-5
    )
    nothing = (last * 0.0).sum()
    assert adaptive_weight(reconstruction, nothing, last, "published").item() == 1e4
    assert adaptive_weight(reconstruction, nothing, last, "paper").item() == pytest.approx(1e7)
    assert last.grad is None


def test_the_discriminator_has_the_published_layers():
    shapes = {name: list(value.shape) for name, value in PatchDiscriminator().state_dict().items()}
    assert shapes["main.0.weight"] == [64, 1, 4, 4] and shapes["main.8.weight"] == [1, 256, 4, 4]
    assert "main.2.bias" not in shapes and "main.5.bias" not in shapes and shapes["main.6.running_var"] == [256]
    assert PatchDiscriminator(8)(torch.zeros(2, 1, 64, 64)).shape == (2, 1, 14, 14)
    assert (
        DiscriminatorObjective(PatchDiscriminator(8), "hinge")(torch.ones(2, 1, 32, 32), torch.zeros(2, 1, 32, 32)) > 0
    )


def test_a_perfect_mask_costs_almost_nothing_and_a_wrong_one_much():
    target = torch.zeros(1, 1, 8, 8)
    target[..., 2:5, 2:5] = 1
    good, bad = mask_loss((target * 2 - 1) * 20, target, 0.5), mask_loss((1 - target * 2) * 20, target, 0.5)
    assert good.item() < 1e-6 and bad.item() > 10
    assert coverage_loss(target, target, 0.5).item() == 0.0
    values = (target - 3.0).requires_grad_()
    coverage_loss(values, target, 0.5).sum().backward()
    assert (values.grad != 0).all(), "outside 0..1 there is still a gradient"


def test_the_hidden_loss_looks_at_the_hidden_part_alone_and_at_objects_that_have_one():
    amodal = torch.zeros(3, 1, 16, 16)
    amodal[..., 2:12, 2:12] = 1
    visible = amodal.clone()
    visible[0, ..., 7:12, :] = 0
    visible[1, ..., 11:12, 2:4] = 0  # 2 of 100 pixels
    whole, as_seen = ((mask * 2 - 1) * 20 for mask in (amodal, visible))
    assert hidden_loss(whole, amodal, visible) == pytest.approx([0, 0, 0], abs=1e-4)
    lost = hidden_loss(as_seen, amodal, visible)
    assert lost[0] > 0.9 and lost[1:].tolist() == [0, 0]
    spilled = torch.where(visible == 0, 20.0, -20.0)  # all that is not seen, nothing of what is
    assert hidden_loss(spilled, amodal, visible)[0] == pytest.approx(1 - (50 + 1) / (256 - 50 + 1), abs=1e-4)


def network_loss_config(**changes):
    return replace(tiny_config().loss.network, **changes)


def test_uniform_masking_hides_all_or_a_ratio_between_a_half_and_one():
    masking = draw_masking(400, 1, 64, network_loss_config(full_mask=0.5), generator())
    share, is_full = masking.hide.float().mean(1), masking.mask_weight > 0
    assert (share[is_full] == 1).all() and 150 < is_full.sum() < 250
    assert 0.3 < share[~is_full].min() and abs(share[~is_full].mean() - 0.75) < 0.05


def test_published_masking_hides_equally_many_positions_in_all_samples_and_a_third_of_the_batches_exactly_half():
    config = network_loss_config(masking="published", full_mask=0.0, mask_samples="all")
    counts = [draw_masking(4, 1, 256, config, generator(seed)).hide.sum(1) for seed in range(600)]
    assert all((c == c[0]).all() for c in counts)
    ratios = np.array([c[0].item() / 256 for c in counts])
    assert ratios.min() == 0.5 and abs((ratios == 0.5).mean() - 1 / 3) < 0.06
    assert abs(ratios.mean() - 0.717) < 0.02


def test_a_clip_s_frames_are_masked_at_one_ratio():
    masking = draw_masking(50, 4, 64, network_loss_config(full_mask=0.5), generator())
    is_full = (masking.mask_weight > 0).unflatten(0, (50, 4))
    share = masking.hide.float().mean(1).unflatten(0, (50, 4))
    assert torch.equal(is_full.any(1), is_full.all(1)) and 10 < is_full.all(1).sum() < 40
    assert (share.amax(1) - share.amin(1)).max() < 0.35 and share.amin() < 0.55


@pytest.mark.parametrize("tokens_over", ["masked", "all"])
def test_weighted_means_of_equal_parts_average_to_the_mean_over_what_counts_in_the_batch(tokens_over):
    config = network_loss_config(full_mask=0.3, tokens_over=tokens_over)
    masking = draw_masking(8, 1, 16, config, generator(3))
    values = torch.rand(8, 16, generator=generator(4))
    counted = values[masking.hide] if tokens_over == "masked" else values
    parts = [(values[i : i + 2] * masking.rows(i, 2).token_weight).mean() for i in range(0, 8, 2)]
    assert torch.stack(parts).mean().item() == pytest.approx(counted.mean().item(), rel=1e-5)
    is_full = masking.mask_weight > 0
    parts = [(values[i : i + 2, 0] * masking.rows(i, 2).mask_weight).mean() for i in range(0, 8, 2)]
    assert torch.stack(parts).mean().item() == pytest.approx(values[is_full, 0].mean().item(), rel=1e-5)


def prediction(count: int = 4):
    g = generator(5)
    logits, masks = torch.randn(count, 16, 33, generator=g), torch.randn(3, count, 1, 32, 32, generator=g)
    return Prediction(logits, masks[0], masks[0].sigmoid(), masks[1], masks[2])


def test_tokens_that_are_known_count_only_if_asked_for():
    tokens, truth = torch.randint(0, 32, (4, 16), generator=generator()), torch.zeros(4, 1, 32, 32)
    for over, is_equal in (("masked", True), ("all", False)):
        config = network_loss_config(tokens_over=over)
        masking = draw_masking(4, 1, 16, replace(config, full_mask=0.01), generator(1))
        other = torch.where(masking.hide, tokens, (tokens + 1) % 32)
        a, b = (
            network_loss(prediction(), masking, t, truth, truth, "sigmoid", config)["tokens"] for t in (tokens, other)
        )
        assert torch.equal(a, b) == is_equal


def test_the_published_loss_is_the_plain_sum_of_its_three_terms():
    config = network_loss_config(
        masking="published", full_mask=0.0, tokens_over="all", mask_samples="all", tokens=1.0, label_smoothing=0.1,
        coarse=0.0, refined=1.0, visible=1.0, iou=0.0,
    )  # fmt: skip
    found, truth = prediction(), (torch.rand(2, 4, 1, 32, 32, generator=generator(6)) > 0.5).float()
    tokens = torch.randint(0, 32, (4, 16), generator=generator())
    terms = network_loss(found, draw_masking(4, 1, 16, config, generator()), tokens, *truth, "sigmoid", config)
    entropy = torch.nn.functional.cross_entropy(found.token_logits.flatten(0, 1), tokens.flatten(), label_smoothing=0.1)
    masks = [
        torch.nn.functional.binary_cross_entropy(x.sigmoid(), t)
        for x, t in zip((found.amodal, found.visible), truth, strict=True)
    ]
    assert terms["total"].item() == pytest.approx((entropy + sum(masks)).item(), rel=1e-5)


def test_without_refiner_the_coarse_mask_carries_the_loss():
    bare = replace(prediction(), amodal=None, visible=None)
    truth, tokens = torch.zeros(4, 1, 32, 32), torch.zeros(4, 16, dtype=torch.int64)
    config = network_loss_config(full_mask=1.0)
    terms = network_loss(bare, draw_masking(4, 1, 16, config, generator()), tokens, truth, truth, "sigmoid", config)
    assert set(terms) == {"tokens", "coarse", "total"}
    assert terms["total"].item() == pytest.approx(
        (config.tokens * terms["tokens"] + config.coarse * terms["coarse"]).item()
    )


def test_every_trainable_parameter_is_in_exactly_one_group_and_vectors_do_not_decay():
    network = C2FNetwork(tiny_config().network)
    network.freeze_tokenizer()
    groups = optimizer_groups(network, 0.1)
    ids = [id(p) for g in groups for p in g["params"]]
    assert sorted(ids) == sorted(id(p) for p in network.parameters() if p.requires_grad)
    assert len(set(ids)) == len(ids)
    assert all(p.ndim > 1 for p in groups[0]["params"]) and groups[1]["weight_decay"] == 0.0


def test_learning_rates_warm_up_peak_and_end_as_their_names_say():
    stage = replace(tiny_config().refiner_stage, samples=8000, batch=8, schedule=ScheduleConfig("cosine", 0.1))
    rates = [learning_rate(step, stage) for step in range(1000)]
    assert rates[0] == pytest.approx(stage.learning_rate / 100) and rates[-1] < 1e-5 * 1.0
    assert max(rates) == stage.learning_rate and np.argmax(rates) in (99, 100)
    linear = [rate_share(step, 10, ScheduleConfig("linear", 4)) for step in range(11)]
    assert linear == pytest.approx([0, 0.25, 0.5, 0.75, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0])
    halving = [rate_share(step, 10, ScheduleConfig("halving", 0, 4)) for step in (0, 3, 4, 8)]
    assert halving == [1, 1, 0.5, 0.25]


def test_the_pyramid_loss_is_zero_for_equal_masks_and_grows_with_the_distance_of_their_outlines():
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 8:24, 8:24] = 1
    loss = PyramidLoss()
    near, far = (loss(mask, mask.roll(shift, 3)) for shift in (1, 5))
    assert loss(mask, mask).item() == 0.0 and 0 < near < far
    assert make_perceptual("none", ()) is None and not list(loss.parameters()) and not loss.state_dict()


def vgg_and_lpips_files(folder: Path) -> list[str]:
    """Random weights in the layouts of torchvision's VGG16 and of LPIPS."""
    g, before, vgg = generator(), 3, {}
    for numbers, width in zip(VGG16, WIDTHS, strict=True):
        for number in numbers:
            vgg[f"features.{number}.weight"] = torch.randn(width, before, 3, 3, generator=g) / math.sqrt(9 * before)
            vgg[f"features.{number}.bias"], before = torch.zeros(width), width
    vgg["classifier.0.weight"] = torch.zeros(2, 2)
    heads = {f"lin{i}.model.1.weight": torch.rand(1, w, 1, 1, generator=g) for i, w in enumerate(WIDTHS)}
    torch.save(vgg, folder / "vgg16.pth")
    torch.save(heads, folder / "vgg.pth")
    return [str(folder / "vgg16.pth"), str(folder / "vgg.pth")]


def test_lpips_reads_torchvision_s_and_the_published_names_and_stays_in_evaluation_mode(tmp_path):
    files = vgg_and_lpips_files(tmp_path)
    loss = make_perceptual("lpips", files)
    assert isinstance(loss, Lpips)
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 8:24, 8:24] = 1
    assert loss(mask, mask).item() == 0.0 and loss(mask, mask.roll(3, 3)).item() > 0
    published = {f"d_model.perceptual_loss.{name}": value for name, value in loss.state_dict().items()}
    torch.save(published, tmp_path / "vqgan.pth")
    again = make_perceptual("lpips", [str(tmp_path / "vqgan.pth")])
    assert torch.equal(again(mask, mask.roll(3, 3)), loss(mask, mask.roll(3, 3)))
    assert not loss.train().training and not any(p.requires_grad for p in loss.parameters())
    with pytest.raises(ContractError, match="perceptual_files"):
        make_perceptual("lpips", files[:1])


def test_weights_that_cannot_be_had_or_read_are_one_sentence(tmp_path, monkeypatch):
    def unreachable(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(ContractError, match="choose loss.tokenizer.perceptual: pyramid"):
        make_perceptual("lpips", ())
    encoder = C2FNetwork(tiny_config().network).encoder
    with pytest.raises(ContractError, match="set `pretrained`"):
        load_pretrained(encoder, "imagenet")
    (tmp_path / "no.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(ContractError, match="no.pth is no checkpoint"):
        tensors_of(tmp_path / "no.pth")


def test_pretrained_weights_fill_the_encoder_ignore_the_classifier_and_must_fit(tmp_path):
    config = tiny_config().network
    torch.manual_seed(1)
    given, encoder = C2FNetwork(config).encoder, C2FNetwork(config).encoder
    state = {**given.state_dict(), "fc.weight": torch.zeros(10, 16), "fc.bias": torch.zeros(10)}
    torch.save(state, tmp_path / "resnet.pth")
    load_pretrained(encoder, str(tmp_path / "resnet.pth"))
    assert all(
        torch.equal(a, b) for a, b in zip(given.state_dict().values(), encoder.state_dict().values(), strict=True)
    )
    torch.save({name: v for name, v in state.items() if "layer2" not in name}, tmp_path / "less.pth")
    with pytest.raises(ContractError, match="first layer2"):
        load_pretrained(encoder, str(tmp_path / "less.pth"))
