"""Published checkpoints: names and sizes, and what is refused and how."""

from __future__ import annotations

import json
import lzma
import pickle
from dataclasses import replace
from pathlib import Path

import published_checkpoint as published
import pytest
from needs_torch import torch
from published_checkpoint import TINY, TINY_VIDEO, settings

from c2f_ros.contract import ContractError
from c2f_train.model.network import C2FNetwork
from c2f_train.official.checkpoints import load_official
from c2f_train.official.official_config import IMAGE, VIDEO, published_config
from c2f_train.official.official_keys import UNUSED_TENSORS, published_name
from c2f_train.official.synthetic_input import synthetic_batch

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def made(tmp_path):
    """The contents of a tiny image checkpoint, and how to load them after a test changed them."""
    vq, c2f = published.contents(published.random_network(TINY))

    def load(**options) -> C2FNetwork:
        if "configs" not in options:
            options["configs"] = [settings(tmp_path, n_head=4)]
        return load_official(*published.write(tmp_path / "files", vq, c2f), **options)

    return vq, c2f, load


def refused(load, match: str, **options) -> None:
    with pytest.raises(ContractError, match=match) as caught:
        load(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("kind", "sizes"), [("image", IMAGE), ("video", VIDEO)])
def test_our_full_size_networks_have_exactly_the_published_names_and_shapes(shared_dir, kind, sizes):
    files = json.loads((shared_dir / "fixtures" / "c2f_seg_keys" / f"{kind}.json").read_text())
    theirs = {
        f"{part}.{key}": tuple(shape)
        for content in files.values()
        for part in ("g_model", "model", "img_encoder", "refine")
        for key, shape in content.get(part, {}).items()
    }
    with torch.device("meta"):
        network = C2FNetwork(published_config(sizes))
    ours = {published_name(name): tuple(value.shape) for name, value in network.state_dict().items()}
    assert ours == {name: shape for name, shape in theirs.items() if not UNUSED_TENSORS.fullmatch(name)}
    assert len(theirs) - len(ours) == 2


@pytest.mark.parametrize("sizes", [TINY, TINY_VIDEO], ids=["image", "video"])
def test_a_checkpoint_loads_as_the_network_it_was_made_of(tmp_path, sizes):
    network = published.random_network(sizes)
    files = published.write(tmp_path, *published.contents(network))
    loaded = load_official(*files, [settings(tmp_path, n_head=4)], window=sizes.window or None)
    assert loaded.config == network.config
    with torch.no_grad():
        for a, b in zip(*(net(*synthetic_batch(network.config, 2, 1)) for net in (network, loaded)), strict=True):
            assert torch.equal(a, b)


def test_packed_files_wrapped_names_and_files_without_training_s_entries_load_too(tmp_path):
    vq, c2f = published.contents(published.random_network(TINY))
    for part in ("model", "refine"):
        c2f[part] = {f"module.{key}": value for key, value in c2f[part].items()}
    files = published.write(
        tmp_path, {"g_model": vq["g_model"]}, {k: c2f[k] for k in ("model", "img_encoder", "refine")}
    )
    packed = [file.with_name(file.name + ".xz") for file in files]
    for file, target in zip(files, packed, strict=True):
        target.write_bytes(lzma.compress(file.read_bytes()))
    assert load_official(*packed, [settings(tmp_path, n_head=4)]).config == published_config(TINY)


def test_a_file_in_torch_s_old_format_loads_too(tmp_path, made):
    vq, c2f, _ = made
    files = tmp_path / "vqgan_TINY.pth", tmp_path / "c2f_seg_TINY.pth"
    for content, file in zip((vq, c2f), files, strict=True):
        torch.save(content, file, _use_new_zipfile_serialization=False)
    assert load_official(*files, [settings(tmp_path, n_head=4)]).config == published_config(TINY)


def test_unused_and_missing_tensors_are_both_listed(made):
    _, c2f, load = made
    c2f["model"]["blocks.0.attn.gate.weight"] = torch.zeros(3)
    del c2f["refine"]["adapter1.bias"], c2f["img_encoder"]["encoder.model.bn1.running_mean"]
    refused(
        load,
        r"without use: model\.blocks\.0\.attn\.gate\.weight; parameters without tensor: "
        r"img_encoder\.encoder\.model\.bn1\.running_mean, refine\.adapter1\.bias;",
    )


def test_a_long_list_of_missing_tensors_is_shortened_and_counted(made):
    vq, _, load = made
    for key in [key for key in vq["g_model"] if key.startswith("decoder.up.2.")]:
        del vq["g_model"][key]
    refused(load, r"without use: none; parameters without tensor: (g_model\S+, ){7}g_model\S+ and \d+ more;")


def test_a_tensor_of_another_size_is_named_with_both_sizes(made):
    _, c2f, load = made
    c2f["refine"]["lay2.bias"] = torch.zeros(99)
    refused(load, r"refine\.lay2\.bias is \[99\] \(expected \[12\]\)")


def test_files_of_two_models_are_refused(made):
    vq, _, load = made
    vq.update(published.contents(published.random_network(replace(TINY, codebook_size=64, vocabulary=64)))[0])
    refused(load, "the codebook has 64 codes, transformer.vocabulary is 16")


def test_the_two_files_in_the_wrong_order_are_refused(made):
    vq, c2f, load = made
    held = dict(vq)
    vq.clear(), vq.update(c2f)
    c2f.clear(), c2f.update(held)
    refused(load, "vqgan_TINY.pth is not of the published layout: it lacks g_model .*give --vq the vqgan file")


def test_another_layout_and_an_entry_that_is_no_tensor_are_refused(made):
    vq, c2f, load = made
    c2f["ema"] = {}
    refused(load, "c2f_seg_TINY.pth holds ema, which the published layout does not have")
    del c2f["ema"]
    c2f["model"]["m_bias"] = [1.0, 2.0]
    refused(load, r"model\.m_bias is no tensor")
    c2f["model"].clear()
    refused(load, r"lacks model\.pos_emb\.weight, which tells its size")


@pytest.mark.parametrize("packing", [lambda data: data, lzma.compress], ids=["plain", "xz"])
def test_a_cut_file_is_refused(tmp_path, made, packing):
    vq, c2f, _ = made
    files = published.write(tmp_path, vq, c2f)
    cut = tmp_path / ("cut.pth.xz" if packing is lzma.compress else "cut.pth")
    whole = packing(files[1].read_bytes())
    cut.write_bytes(whole[: len(whole) // 2])
    refused(lambda: load_official(files[0], cut), "cannot be read as a checkpoint of tensors alone")


def test_a_file_that_is_missing_or_of_another_kind_is_refused(tmp_path):
    refused(lambda: load_official(tmp_path / "no.pth", tmp_path / "no.pth"), "no.pth cannot be read as a checkpoint")
    (tmp_path / "text.pth").write_text("hello\n" * 100)
    refused(lambda: load_official(tmp_path / "text.pth", tmp_path / "no.pth"), "text.pth cannot be read")


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("is_zip", [True, False])
def test_code_in_a_file_is_refused_and_does_not_run(tmp_path, made, is_zip):
    vq, c2f, _ = made
    target = tmp_path / "it_ran"
    c2f["opt"] = Bomb(target)
    files = published.write(tmp_path, vq, c2f)
    torch.save(c2f, files[1], _use_new_zipfile_serialization=is_zip)
    refused(lambda: load_official(*files), "holds code, which is not run")
    assert not target.exists()
    pickle.loads(pickle.dumps(Bomb(target)))
    assert target.exists(), "the file was no trap"


def test_heads_and_frames_come_from_the_configuration_or_are_asked_for(tmp_path, made):
    refused(made[2], "heads of a transformer of width 32 cannot be told", configs=[])
    wide = published.write(tmp_path / "wide", *published.contents(published.random_network(replace(TINY, dim=64))))
    assert load_official(*wide).config.transformer.heads == 1
    clip = published.write(tmp_path / "clip", *published.contents(published.random_network(TINY_VIDEO)))
    config = settings(tmp_path, n_head=4)
    refused(lambda: load_official(*clip, [config]), r"--window \(24 for MOViD-A\)")
    assert load_official(*clip, [config], window=3).config.frames == 3
    assert load_official(*clip, [settings(tmp_path, n_head=4, window_length=5)]).config.frames == 5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_layer": 3}, "n_layer is 3, the tensors have 2"),
        ({"vocab_size": 99, "n_embd": 48}, "n_embd is 48, the tensors have 32; vocab_size is 99, the tensors have 16"),
        ({"model": {"params": {"ddconfig": {"ch_mult": [1, 2]}}}}, r"ch_mult is \[1, 2\], the tensors have"),
        ({"n_head": 5}, "transformer.dim is 32, expected a multiple of 4 and of its 5 heads"),
        ({"n_head": "four"}, "n_head of the configuration is 'four', expected a whole number"),
    ],
)
def test_a_configuration_that_contradicts_the_tensors_is_refused(tmp_path, made, values, message):
    refused(made[2], message, configs=[settings(tmp_path, **{"n_head": 4, **values})])


def test_a_configuration_that_cannot_be_read_is_refused(tmp_path, made):
    (tmp_path / "bad.yml").write_text("a: [1,")
    refused(made[2], "bad.yml cannot be read", configs=[tmp_path / "bad.yml"])
    (tmp_path / "bad.yml").write_text("just text")
    refused(made[2], "bad.yml holds no mapping", configs=[tmp_path / "bad.yml"])
