"""The network's parts: shapes, exactness of tokens, determinism, and what each stage may change."""

from dataclasses import replace

import pytest
from tiny import tiny_config, torch

from c2f_ros.contract import ContractError
from c2f_train.model.decoding import complete, kept_probability, mask_target, seeded
from c2f_train.model.network import C2FNetwork
from c2f_train.model.refiner import coarse_attention, coarse_cells
from c2f_train.model.tokenizer import Codebook
from c2f_train.model.unet import UNet


def config(steps: int = 1, **transformer):
    """The tiny network with K steps and other settings of the transformer."""
    network = tiny_config().network
    inference = replace(network.inference, steps=steps)
    return replace(network, inference=inference, transformer=replace(network.transformer, **transformer))


def network(steps: int = 1, **transformer) -> C2FNetwork:
    torch.manual_seed(0)
    return C2FNetwork(config(steps, **transformer)).eval()


def inputs(*shape: int):
    generator = torch.Generator().manual_seed(1)
    shape = shape or (3,)
    return torch.randn(*shape, 3, 64, 64, generator=generator), torch.rand(*shape, 3, 64, 64, generator=generator)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_inference_gives_probabilities_and_tokens_for_every_k(steps):
    amodal, coarse, tokens = network(steps)(*inputs())
    assert amodal.shape == coarse.shape == (3, 64, 64) and tokens.shape == (3, 64)
    assert 0 <= amodal.min() and amodal.max() <= 1 and tokens.max() < 32


def test_inference_is_deterministic_and_objects_do_not_see_each_other():
    net, (image, masks) = network(2), inputs()
    first, again = net(image, masks)[0], net(image, masks)[0]
    assert torch.equal(first, again)
    assert torch.allclose(net(image[1:2], masks[1:2])[0][0], first[1], atol=1e-5)


def test_a_sequence_of_three_tokens_per_cell_is_as_good_an_input():
    net = network(join="sequence")
    assert net.transformer.pos_emb.weight.shape[0] == 3 * 64
    assert net(*inputs())[2].shape == (3, 64)


def test_each_step_keeps_the_most_confident_tokens_and_never_changes_a_known_one():
    logits = torch.randn(2, 64, 33, generator=torch.Generator().manual_seed(2))
    settings = replace(tiny_config().network.inference, steps=3)
    steps, _ = complete(lambda known: (logits, logits), torch.full((2, 64), 32), 32, settings)
    counts = [mask_target(step, 3, 64) for step in range(3)]
    assert [int((step.known == 32).sum(1)[0]) for step in steps] == [64, *counts[:2]]
    for before, after in zip(steps, steps[1:], strict=False):
        kept = after.known != 32
        assert torch.equal(after.known[kept], before.tokens[kept]) and torch.equal(
            after.tokens[kept], before.tokens[kept]
        )
        assert before.probability[kept].min() >= before.probability[~kept & (before.known == 32)].min()


def test_the_cosine_schedule_is_the_published_one():
    assert [mask_target(step, 3, 256) for step in range(3)] == [221, 128, 0]
    assert [mask_target(step, 5, 256) for step in range(4)] == [243, 207, 150, 79]


def test_sampling_repeats_with_its_seed_and_draws_from_the_kept_tokens_only():
    probability = kept_probability(torch.randn(2, 64, 32, generator=torch.Generator().manual_seed(3)), 3)
    assert ((probability > 0).sum(-1) == 3).all() and torch.allclose(probability.sum(-1), torch.ones(2, 64))
    first, again, other = (seeded(seed)(0, probability) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    gumbel = torch.cat([seeded(seed)(0, probability)[1].flatten() for seed in range(40)])
    assert abs(gumbel.mean() - 0.5772) < 0.1 and abs(gumbel.std() - 1.2825) < 0.1, "standard Gumbel noise"
    assert (probability.gather(-1, first[0].unsqueeze(-1)) > 0).all()


def test_tokens_are_the_nearest_codes_with_the_first_on_ties():
    codebook = Codebook(config().tokenizer)
    z = torch.randn(50, 8)
    slow = torch.stack([((codebook.vectors - v) ** 2).sum(1).argmin() for v in z])
    assert torch.equal(codebook.nearest(z), slow)
    with torch.no_grad():
        codebook.vectors[9] = codebook.vectors[4]
    assert codebook.nearest(codebook.vectors[9][None]).item() == 4


def test_dead_codes_are_restarted_from_data():
    torch.manual_seed(0)
    codebook = Codebook(replace(config().tokenizer, decay=0.9))
    z = torch.randn(64, 8) * 0.01 + 5
    for _ in range(60):
        codebook.learn(z, codebook.nearest(z))
    assert (codebook.vectors - 5).abs().max() < 0.5


def test_attention_is_uniform_for_an_empty_mask_and_has_the_mean_or_sum_of_its_kind():
    features = torch.randn(2, 8, 8, 8)
    empty, some = torch.zeros(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
    assert torch.allclose(coarse_attention(features, empty, "scaled"), torch.ones(2, 1, 8, 8))
    assert torch.allclose(coarse_attention(features, some, "scaled").mean((1, 2, 3)), torch.ones(2))
    assert torch.allclose(coarse_attention(features, some, "published").sum((1, 2, 3)), torch.ones(2))
    assert coarse_attention(features, some, "paper").shape == features.shape


def test_coarse_cells_take_the_top_left_pixel_or_the_mean():
    coarse = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert coarse_cells(coarse, 2, "corner").flatten().tolist() == [0, 2, 8, 10]
    assert coarse_cells(coarse, 2, "mean").flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


def test_the_tokenizer_stays_as_it_is_after_it_is_frozen_and_lets_gradients_through():
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
    assert net.transformer.m_dec.weight.grad.abs().sum() > 0


def test_a_video_network_answers_for_the_newest_frame_and_uses_the_others():
    net = network(temporal=True, window=4, roll=True)
    image, masks = inputs(2, 4)
    amodal, _, tokens = net(image, masks)
    assert amodal.shape == (2, 64, 64) and tokens.shape == (2, 64)
    changed = image.clone()
    changed[:, 0] += 1
    assert not torch.equal(net(changed, masks)[0], amodal)


def test_the_unet_takes_the_same_inputs():
    assert UNet(tiny_config().unet)(*inputs()).shape == (3, 64, 64)
    visible_only = UNet(replace(tiny_config().unet, mask_channels=("visible",)))
    assert visible_only(inputs()[0], inputs()[1][:, :1]).shape == (3, 64, 64)


def test_the_threshold_is_halved_only_where_the_coarse_mask_is_added():
    config = tiny_config().network
    added = replace(config, inference=replace(config.inference, output="sum"))
    assert (config.mask_threshold, added.mask_threshold) == (0.5, 0.25)
    assert replace(added, refiner=replace(added.refiner, enabled=False)).mask_threshold == 0.5
    lower = [replace(c, inference=replace(c.inference, threshold=0.4)) for c in (config, added)]
    assert [c.mask_threshold for c in lower] == [0.4, 0.2]
    with pytest.raises(ContractError, match=r"inference.threshold is 1.0, expected between 0 and 1"):
        replace(config.inference, threshold=1.0)
