"""The network's parts: shapes, exactness of tokens, determinism, and what each stage may change."""

from dataclasses import replace

import pytest
from tiny import random_store, tiny_config, torch

from c2f_train.batches import batch_at, ragged
from c2f_train.losses import mask_loss, masked_tokens, network_loss
from c2f_train.model.network import C2FNetwork
from c2f_train.model.refiner import CoarseAttention
from c2f_train.model.tokenizer import Codebook
from c2f_train.model.unet import UNet


def network(steps: int = 1) -> C2FNetwork:
    torch.manual_seed(0)
    config = replace(tiny_config().network, steps=steps)
    return C2FNetwork(config).eval()


def inputs(count: int = 3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, 64, 64, generator=generator), torch.rand(count, 3, 64, 64, generator=generator)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_inference_gives_probabilities_and_tokens_for_every_k(steps):
    amodal, coarse, tokens = network(steps)(*inputs())
    assert amodal.shape == coarse.shape == (3, 64, 64) and tokens.shape == (3, 64)
    assert 0 <= amodal.min() and amodal.max() <= 1 and tokens.max() < 32


def test_inference_is_deterministic_and_objects_do_not_see_each_other():
    net, (image, masks) = network(2), inputs()
    first, again = net(image, masks)[0], net(image, masks)[0]
    assert torch.equal(first, again)
    assert torch.allclose(net(image[1:2], masks[1:2])[0][0], first[1], atol=1e-6)


def test_each_step_keeps_the_most_confident_tokens_and_never_changes_a_known_one():
    net = network(3)
    logits = torch.randn(2, 64, 32)
    known = torch.full((2, 64), net.transformer.mask_index)
    known[:, 5] = 7
    kept = net._keep_confident(logits, known, 0)
    assert (kept[:, 5] == 7).all()
    assert ((kept != net.transformer.mask_index).sum(1) == 64 - 55).all()


def test_tokens_are_the_nearest_codes_with_the_first_on_ties():
    codebook = Codebook(tiny_config().network.tokenizer)
    z = torch.randn(50, 8)
    slow = torch.stack([((codebook.vectors - v) ** 2).sum(1).argmin() for v in z])
    assert torch.equal(codebook.nearest(z), slow)
    codebook.vectors[9] = codebook.vectors[4]
    assert codebook.nearest(codebook.vectors[9][None]).item() == 4


def test_dead_codes_are_restarted_from_data():
    torch.manual_seed(0)
    codebook = Codebook(tiny_config().network.tokenizer)
    z = torch.randn(64, 8) * 0.01 + 5
    for _ in range(600):
        codebook.learn(z, codebook.nearest(z))
    assert (codebook.vectors - 5).abs().max() < 0.5


def test_the_attention_s_mean_is_one_and_uniform_for_an_empty_mask():
    features = torch.randn(2, 8, 8, 8)
    assert torch.allclose(CoarseAttention()(features, torch.zeros(2, 1, 8, 8)), torch.ones(2, 1, 8, 8))
    attention = CoarseAttention()(features, torch.rand(2, 1, 8, 8))
    assert torch.allclose(attention.mean((1, 2, 3)), torch.ones(2))


def test_the_tokenizer_stays_as_it_is_after_it_is_frozen():
    net = network()
    net.freeze_tokenizer()
    net.train()
    assert not net.tokenizer.training and net.encoder.training
    before = {k: v.clone() for k, v in net.tokenizer.state_dict().items()}
    image, masks = inputs()
    known = torch.full((3, 64), net.transformer.mask_index)
    prediction = net.predict(image, masks, net.tokenizer.encode(masks[:, :1]), known, True)
    prediction.coarse.sum().backward()
    assert all(torch.equal(v, before[k]) for k, v in net.tokenizer.state_dict().items())
    assert net.transformer.head.weight.grad.abs().sum() > 0


def test_masked_tokens_hide_all_or_at_least_about_half():
    tokens = torch.randint(0, 32, (400, 64))
    known, is_full = masked_tokens(tokens, 32, 0.5, torch.Generator().manual_seed(0))
    hidden = (known == 32).float().mean(1)
    assert (hidden[is_full] == 1).all()
    assert 0.3 < hidden[~is_full].min() and abs(hidden[~is_full].mean() - 0.75) < 0.05
    assert 150 < is_full.sum() < 250
    assert torch.equal(known[known != 32], tokens[known != 32])


def test_a_perfect_mask_costs_almost_nothing_and_a_wrong_one_much():
    target = torch.zeros(1, 1, 8, 8)
    target[..., 2:5, 2:5] = 1
    good, bad = mask_loss((target * 2 - 1) * 20, target, 0.5), mask_loss((1 - target * 2) * 20, target, 0.5)
    assert good.item() < 1e-6 and bad.item() > 10


def test_token_loss_counts_masked_positions_only():
    config, net = tiny_config(), network()
    image, masks = inputs()
    tokens = torch.randint(0, 32, (3, 64))
    known, is_full = masked_tokens(tokens, 32, 0.0, torch.Generator().manual_seed(0))
    prediction = net.predict(image, masks, tokens, known, True)
    terms = network_loss(prediction, known, is_full, tokens, masks[:, :1], masks[:, :1], config.loss, 32)
    other = torch.where(known == 32, tokens, (tokens + 1) % 32)
    again = network_loss(prediction, known, is_full, other, masks[:, :1], masks[:, :1], config.loss, 32)
    assert torch.equal(terms["tokens"], again["tokens"])


def test_the_unet_takes_the_same_inputs():
    assert UNet(tiny_config().unet)(*inputs()).shape == (3, 64, 64)


def test_batches_depend_on_seed_and_step_alone_and_every_epoch_holds_every_sample():
    config, store = tiny_config(), random_store(32)
    a, b = (batch_at(store, 5, 8, 3, config.augment) for _ in range(2))
    assert torch.equal(a.image, b.image) and torch.equal(a.masks, b.masks)
    still = replace(config.augment, flip=0.0, ragged=0.0)
    seen = torch.cat([batch_at(store, step, 8, 3, still).image[:, 0, 0, 0] for step in range(4)])
    everything = (torch.from_numpy(store.samples[:, 0, 0, 0]) / 255.0 - 0.5) / 0.25
    assert torch.allclose(seen.sort().values, everything.float().sort().values)


def test_a_ragged_mask_never_vanishes():
    import numpy as np

    mask = torch.zeros(1, 64, 64)
    mask[0, 30, 30:36] = 1
    rng = np.random.default_rng(0)
    assert all(ragged(mask, rng).sum() > 4 for _ in range(50))
