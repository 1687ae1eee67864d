"""Mask-and-predict: the published schedule, seeded sampling, and what no draw may change."""

from dataclasses import replace

import pytest
from tiny import tiny_config, torch

from c2f_train.model.decoding import complete, kept_probability, mask_target, most_likely, seeded
from c2f_train.model.network import C2FNetwork

CODES, LENGTH = 8, 64


def random_logits(seed):
    table = torch.randn(CODES + 1, LENGTH, CODES + 1, generator=torch.Generator().manual_seed(seed))

    def logits_of(known):
        return table[0].expand(len(known), -1, -1) + 0.1 * known[..., None], torch.zeros(len(known), LENGTH, 4)

    return logits_of


def inference(**values):
    return replace(tiny_config().network.inference, **{"top_k": 3, "temperature": 4.5, **values})


def run(draw, **values):
    unknown = torch.full((2, LENGTH), CODES)
    return complete(random_logits(0), unknown, CODES, inference(**values), draw)[0]


@pytest.mark.parametrize(
    ("steps", "targets"),
    [(1, [0]), (2, [181, 0]), (3, [221, 128, 0]), (5, [243, 207, 150, 79, 0]),
     (8, [251, 236, 212, 181, 142, 97, 49, 0])],
)  # fmt: skip
def test_the_cosine_schedule_is_the_published_one(steps, targets):
    assert [mask_target(step, steps, 256) for step in range(steps)] == targets


def test_only_the_three_most_likely_tokens_are_considered_and_ties_are_kept():
    probability = kept_probability(torch.tensor([[3.0, 1.0, 2.0, 2.0, 0.0], [5.0, 4.0, 3.0, 2.0, 1.0]]), 3)
    assert (probability > 0).tolist() == [[True, False, True, True, False], [True, True, True, False, False]]
    assert torch.allclose(probability.sum(-1), torch.ones(2))


def test_each_step_masks_as_many_as_the_schedule_says_and_keeps_what_it_knew():
    steps = run(most_likely, steps=3)
    assert [int(step.masked[0].sum()) for step in steps] == [55, 32, 1]
    for before, after in zip(steps, steps[1:], strict=False):
        kept = after.known != CODES
        assert torch.equal(after.known[kept], before.tokens[kept])
        assert torch.equal(after.tokens[kept], after.known[kept])


def test_sampling_repeats_with_its_seed_and_differs_with_another():
    first, again, other = (run(seeded(seed), steps=3)[-1].tokens for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(first, run(most_likely, steps=3)[-1].tokens)


def test_sampled_tokens_follow_the_probabilities():
    unknown = torch.full((400, LENGTH), CODES)
    step = complete(random_logits(0), unknown, CODES, inference(steps=1), seeded(0))[0][0]
    expected = kept_probability(step.logits[0, :, :CODES], 3)
    found = torch.nn.functional.one_hot(step.tokens, CODES).float().mean(0)
    assert (found - expected).abs().max() < 0.13 and (found - expected).abs().mean() < 0.02


def test_the_paper_s_confidence_never_masks_a_known_token():
    for step in run(seeded(3), steps=4, confidence="paper")[:-1]:
        assert not (step.masked & (step.known != CODES)).any()


def test_one_step_asks_the_transformer_once():
    calls = []

    def logits_of(known):
        calls.append(known)
        return random_logits(0)(known)

    complete(logits_of, torch.full((1, LENGTH), CODES), CODES, inference(steps=1))
    assert len(calls) == 1


def test_a_network_samples_only_when_told_to():
    config = tiny_config().network
    network = C2FNetwork(replace(config, inference=inference(decode="hard", steps=2))).eval()
    image, masks = torch.randn(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        plain, again = network(image, masks)[2], network(image, masks)[2]
        sampled = network(image, masks, seeded(0))[2]
    assert torch.equal(plain, again) and not torch.equal(plain, sampled)
