"""The streaming network: causal in parallel as in steps, without a memory the image network, and its training."""

from dataclasses import replace

import pytest
from tiny import random_store, tiny_config, torch
from tiny_clips import UNROLL, memory_config, moving_store

from c2f_ros.contract import ContractError
from c2f_train.fitting import loop
from c2f_train.fitting.memory_stage import begin_with, forgotten, kept_memory
from c2f_train.model.config import MemoryConfig
from c2f_train.model.network import C2FNetwork
from c2f_train.model.stream import MOST_LOGIT, TRUST_KEPT, Memory, StreamNetwork, lay_over, make_network
from c2f_train.model.transformer import Past
from c2f_train.train import train_network

BOTH = MemoryConfig(result=True, features=4)
RING = MemoryConfig(ring=3)
ALL = MemoryConfig(result=True, features=4, ring=3)


def network_of(memory, seed=0):
    torch.manual_seed(seed)
    network = make_network(replace(tiny_config().network, memory=memory)).eval()
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.05)
        elif parameter.ndim == 1:
            parameter.data += 0.02 * torch.randn_like(parameter)
    return network


def clip(frames, objects=2, size=64, seed=1):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(frames, objects, 3, size, size, generator=generator)
    masks = (torch.rand(frames, objects, 3, size, size, generator=generator) > 0.5).float()
    warp = torch.tensor([[1.05, 0.02, -0.01]]).repeat(objects, 1)
    return image, masks, warp


@pytest.mark.parametrize("frames", [3, 7])
def test_step_by_step_equals_the_parallel_pass_over_whole_clips(frames):
    network = network_of(RING)
    image, masks, _ = clip(frames)
    whole_image, whole_masks = (x.transpose(0, 1).flatten(0, 1) for x in (image, masks))
    with torch.no_grad():
        visible = network.tokenizer.encode(whole_masks[:, :1])
        unknown = torch.full_like(visible, network.transformer.mask_index)
        embedded = network.transformer.embed_image(network.features(whole_image, whole_masks)[-1])
        parallel, _ = network.transformer(embedded, visible, unknown, frames)
        memory = network.empty_memory(2)
        for t in range(frames):
            found = network.step(image[t], masks[t], None, memory)
            memory = kept_memory(found, memory)
            expected = parallel.unflatten(0, (2, frames))[:, t]
            assert (found.prediction.token_logits - expected).abs().max() < 1e-4, t


def test_a_later_frame_never_changes_an_earlier_result_in_the_parallel_pass():
    network = network_of(RING)
    x = torch.randn(5, network.config.grid**2, 32)
    y = x.clone()
    y[4] += 1
    with torch.no_grad():
        a, b = (network.transformer.blocks[0](v, 5) for v in (x, y))
    assert torch.equal(a[:4], b[:4]) and not torch.equal(a[4], b[4])


def test_the_order_of_the_ring_s_places_does_not_matter():
    network = network_of(RING)
    image, masks, _ = clip(4)
    with torch.no_grad():
        memory = network.empty_memory(2)
        for t in range(3):
            memory = kept_memory(network.step(image[t], masks[t], None, memory), memory)
        order = torch.tensor([2, 0, 1])
        past = Past(memory.past.keys[:, order], memory.past.values[:, order], memory.past.ages[:, order])
        a = network.step(image[3], masks[3], None, memory).prediction.amodal
        b = network.step(image[3], masks[3], None, Memory(None, past)).prediction.amodal
    assert torch.allclose(a, b, atol=1e-5)


def test_an_empty_place_of_the_ring_is_never_read():
    network = network_of(RING)
    image, masks, _ = clip(1)
    empty = network.empty_memory(2).past
    noise = Past(torch.randn_like(empty.keys), torch.randn_like(empty.values), empty.ages)
    with torch.no_grad():
        a, b = (network.step(image[0], masks[0], None, Memory(None, past)).prediction.amodal for past in (empty, noise))
    assert torch.equal(a, b)


@pytest.mark.parametrize("memory", [BOTH, RING, ALL], ids=["aligned", "ring", "all"])
def test_a_memory_just_begun_with_leaves_the_image_network_as_it_was(memory):
    image_network = network_of(MemoryConfig())
    network = make_network(replace(image_network.config, memory=memory)).eval()
    begin_with(network, image_network.state_dict())
    image, masks, warp = clip(2)
    with torch.no_grad():
        held = network.empty_memory(2)
        for t in range(2):
            found = network.step(image[t], masks[t], warp, held)
            held = kept_memory(found, held)
            if t == 0 or not memory.channels:  # from then on a part of the last result is kept
                expected = image_network(image[t], masks[t])[0]
                assert torch.allclose(found.prediction.amodal.sigmoid()[:, 0], expected, atol=1e-5), t


@pytest.mark.parametrize("memory", [BOTH, RING, ALL], ids=["aligned", "ring", "all"])
def test_forward_takes_and_gives_the_manifest_s_states(memory):
    network = network_of(memory)
    spec = network.config.temporal_spec()
    image, masks, warp = clip(1)
    states = {s.name: torch.rand(2, *((spec.window,) if s.kind == "ring" else ()), *s.shape) for s in spec.state}
    inputs = [warp, states["memory"]] if memory.channels else []
    if memory.ring:
        inputs += [torch.tensor([[0, 1, -1]] * 2), states["keys"], states["values"]]
    with torch.no_grad():
        amodal, coarse, tokens, *kept = network(image[0], masks[0], *inputs)
    assert amodal.shape == coarse.shape == (2, 64, 64) and tokens.shape == (2, network.config.grid**2)
    assert [tuple(k.shape) for k in kept] == [(2, *s.shape) for s in spec.state]


def test_laying_over_moves_a_map_by_whole_cells_exactly():
    memory = torch.rand(1, 2, 8, 8)
    moved = lay_over(memory, torch.tensor([[1.0, 2 * 2 / 8, -1 * 2 / 8]]))
    assert torch.allclose(moved[:, :, 1:, :6], memory[:, :, :7, 2:], atol=1e-6)
    assert (moved[:, :, 0] == 0).all() and (moved[:, :, :, 6:] == 0).all()
    assert torch.allclose(lay_over(memory, torch.tensor([[1.0, 0.0, 0.0]])), memory, atol=1e-6)


def test_the_memory_s_first_channels_are_the_result_folded():
    network = network_of(BOTH)
    image, masks, warp = clip(1)
    with torch.no_grad():
        found = network.step(image[0], masks[0], warp, network.empty_memory(2))
    folded = torch.nn.functional.pixel_unshuffle(found.prediction.amodal.clamp(-8, 8) / 8, 2)
    assert torch.equal(found.aligned[:, :4], folded) and (found.aligned[:, 4] == 1).all()


def test_a_wholly_hidden_object_s_last_result_is_kept_as_it_is():
    network = network_of(BOTH)
    image, masks, _ = clip(1)
    masks[:, 0, 0] = 0  # nothing of the first object is visible
    still = torch.tensor([[1.0, 0.0, 0.0]]).repeat(2, 1)
    with torch.no_grad():
        held = network.empty_memory(2)
        held.aligned[:, :4], held.aligned[:, 4] = torch.rand(2, 4, 32, 32) * 2 - 1, 1.0
        kept = network.step(image[0], masks[0], still, held).prediction.amodal
    before = torch.nn.functional.pixel_shuffle(held.aligned[:, :4], 2) * 8
    assert torch.allclose(kept[0], before[0], atol=1e-4)
    assert not torch.allclose(kept[1], before[1], atol=1e-1)


def test_a_share_of_the_last_result_is_kept_where_the_memory_reaches():
    network = network_of(MemoryConfig(result=True))
    torch.nn.init.zeros_(network.keep.weight)
    torch.nn.init.zeros_(network.keep.bias)  # one half
    for part in (network.recall, network.recall_late):
        torch.nn.init.zeros_(part.weight)
    image, masks, _ = clip(1)
    half = torch.tensor([[1.0, 1.0, 0.0]]).repeat(2, 1)  # the newest crop's right half lay outside the last one
    with torch.no_grad():
        held = network.empty_memory(2)
        new = network.step(image[0], masks[0], half, held).prediction.amodal
        held.aligned[:, :4], held.aligned[:, 4] = 0.5, 1.0
        kept = network.step(image[0], masks[0], half, held).prediction.amodal
    assert torch.allclose(kept[..., :30], (new[..., :30] + 4.0) / 2, atol=1e-4)
    assert torch.allclose(kept[..., 34:], new[..., 34:], atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: replace(c, crop=replace(c.crop, rule="square")), "crop.rule is 'square'"),
        (lambda c: replace(c, unroll=None), "unroll and memory_stage belong together"),
        (lambda c: replace(c, unroll=None, memory_stage=None), "it needs 'followed', unroll and memory_stage"),
    ],
)
def test_a_memory_without_what_it_needs_is_refused(change, message):
    with pytest.raises(ContractError, match=message):
        change(memory_config())


@pytest.mark.parametrize("memory", [BOTH, RING, MemoryConfig()], ids=["aligned", "ring", "none"])
def test_the_memory_stage_trains_what_has_a_memory_and_resumes_to_the_same_weights(tmp_path, monkeypatch, memory):
    config = memory_config(memory, samples=24)
    if not memory.channels and not memory.ring:
        config = replace(config, crop=replace(config.crop, rule="square"))
    clips, store = moving_store(2), random_store()
    whole = train_network(config, store, tmp_path / "a", clips=clips)
    assert type(whole) is (StreamNetwork if memory != MemoryConfig() else C2FNetwork)
    monkeypatch.setattr(loop, "SAVE_EVERY_S", -1.0)
    (tmp_path / "b").mkdir()
    for name in ("tokenizer", "transformer", "refiner"):
        (tmp_path / "b" / f"{name}.pt").write_bytes((tmp_path / "a" / f"{name}.pt").read_bytes())
    calls, step = [], loop._Run.step

    def die(run, number):
        calls.append(number)
        if len(calls) == 2 and run.stage.name in ("memory", "tracks"):
            raise KeyboardInterrupt
        return step(run, number)

    monkeypatch.setattr(loop._Run, "step", die)
    with pytest.raises(KeyboardInterrupt):
        train_network(config, store, tmp_path / "b", clips=clips)
    again = train_network(config, store, tmp_path / "b", clips=clips)
    for (name, a), b in zip(whole.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_frames_that_only_fill_the_memory_have_no_gradient():
    from c2f_train.fitting.memory_stage import MemoryObjective

    config = replace(memory_config(), unroll=replace(UNROLL, graded=1))
    network = network_of(BOTH)
    network.freeze_tokenizer()
    image, masks, warp = clip(3)
    image.requires_grad_(True)
    objective = MemoryObjective(network, config)
    terms = objective(image, masks, masks[:, :, :1], masks[:, :, :1], warp[None].repeat(3, 1, 1))
    terms["total"].backward()
    assert image.grad[:2].abs().max() == 0 and image.grad[2].abs().max() > 0


def test_a_forgotten_memory_is_that_of_an_object_just_met_and_the_others_keep_theirs():
    network = network_of(ALL)
    image, masks, warp = clip(3)
    with torch.no_grad():
        memory = network.empty_memory(2)
        for t in range(2):
            memory = kept_memory(network.step(image[t], masks[t], warp, memory), memory)
        lost = forgotten(memory, torch.tensor([True, False]))
        found, kept, new = (
            network.step(image[2], masks[2], warp, m).prediction.amodal for m in (lost, memory, network.empty_memory(2))
        )
    assert torch.allclose(found[0], new[0], atol=1e-5) and torch.equal(found[1], kept[1])
    assert not torch.allclose(found[0], kept[0], atol=1e-3)


def test_the_stages_before_it_are_the_image_model_s_own(tmp_path):
    """A finished run of the image model goes on as the run of a model with memory."""
    store = random_store()
    train_network(tiny_config(), store, tmp_path)
    stamps = {f.name: f.stat().st_mtime_ns for f in tmp_path.glob("*.pt")}
    train_network(memory_config(samples=8), store, tmp_path, clips=moving_store(1))
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in stamps} == stamps
    assert (tmp_path / "memory.pt").exists() and UNROLL.frames == 4


def test_trust_in_a_memory_fades_while_its_object_is_hidden_and_is_whole_when_it_is_seen_again():
    network = network_of(BOTH)
    image, masks, _ = clip(4)
    masks[1:3, :, 0] = 0
    still, memory, trust = torch.tensor([[1.0, 0.0, 0.0]]).repeat(2, 1), network.empty_memory(2), []
    with torch.no_grad():
        for t in range(4):
            memory = kept_memory(network.step(image[t], masks[t], still, memory), memory)
            trust.append(memory.aligned[:, 4])
    assert all(torch.equal(found, torch.full_like(found, found[0, 0, 0].item())) for found in trust)
    assert [found[0, 0, 0].item() for found in trust] == pytest.approx([1, TRUST_KEPT, TRUST_KEPT**2, 1])


def test_a_hidden_object_s_result_is_what_was_remembered():
    network = network_of(BOTH)
    image, masks, _ = clip(2)
    masks[1, :, 0] = 0
    still = torch.tensor([[1.0, 0.0, 0.0]]).repeat(2, 1)
    with torch.no_grad():
        first = network.step(image[0], masks[0], still, network.empty_memory(2))
        second = network.step(image[1], masks[1], still, kept_memory(first, network.empty_memory(2)))
    assert second.prediction.amodal == pytest.approx(first.prediction.amodal.clamp(-MOST_LOGIT, MOST_LOGIT), abs=1e-5)
