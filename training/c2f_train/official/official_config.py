"""Sizes of a published checkpoint: from its tensors' shapes, and, where those cannot show them, from its YAML files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from c2f_ros.contract import ContractError
from c2f_train.model.config import (
    PUBLISHED,
    EncoderConfig,
    InferenceConfig,
    NetworkConfig,
    RefinerConfig,
    TokenizerConfig,
    TransformerConfig,
)

Shapes = Mapping[str, tuple[int, ...]]
"""Published name -> shape."""
HEAD_WIDTH = 64
"""Channels per attention head of the published models; tells the heads where no configuration does."""


@dataclass(frozen=True)
class PublishedSizes:
    """What may differ between published models; the defaults are the paper's image model. window: frames the video
    model looks at, 0: image model. widths, stages: of the ResNet. rises: widths of the refiner."""

    channels: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    blocks: int = 2
    z_channels: int = 256
    code_dim: int = 256
    codebook_size: int = 256
    widths: tuple[int, ...] = (64, 128, 256, 512)
    stages: tuple[int, ...] = (3, 4, 6, 3)
    dim: int = 768
    layers: int = 12
    heads: int = 12
    vocabulary: int = 256
    adapter: int = 256
    rises: tuple[int, ...] = (128, 64, 32, 16)
    crop_size: int = 256
    window: int = 0


IMAGE = PublishedSizes()
VIDEO = replace(IMAGE, layers=8, window=24)


def published_config(sizes: PublishedSizes, steps: int = 3) -> NetworkConfig:
    """The configuration of the published model in these sizes (spec 3 to 9), with `steps` mask-and-predict steps."""
    is_video = sizes.window > 0
    return NetworkConfig(
        crop_size=sizes.crop_size,
        mask_channels=("visible",),
        tokenizer=TokenizerConfig(
            channels=sizes.channels, multipliers=sizes.multipliers, blocks=sizes.blocks, patch=1, middle=True,
            norm="group", z_channels=sizes.z_channels, code_dim=sizes.code_dim, codebook_size=sizes.codebook_size,
            output="clamp", learning="gradient", decay=0.99, commitment=1.0, codebook=0.25,
        ),
        encoder=EncoderConfig(
            stem="imagenet", block="bottleneck", widths=sizes.widths, blocks=sizes.stages, strides=(1, 2, 2, 1),
            masks=False, activation="relu",
        ),
        transformer=TransformerConfig(
            dim=sizes.dim, layers=sizes.layers, heads=sizes.heads, vocabulary=sizes.vocabulary, join="channels",
            image_kernel=3, dropout=0.01, temporal=is_video, window=max(1, sizes.window), space=4, roll=True,
        ),
        refiner=RefinerConfig(
            enabled=True, adapter=sizes.adapter, widths=sizes.rises, shared=1, blocks=0, branches="both",
            attention=PUBLISHED, coarse_cells="corner", hidden=False, join_coarse=False, head="convolution",
            activation="relu",
        ),
        inference=InferenceConfig(
            steps=steps, top_k=3, temperature=4.5, confidence=PUBLISHED, decode="hard",
            output="sum" if is_video else "refined",
        ),
    )  # fmt: skip


def sizes_of(shapes: Shapes, settings: Mapping[str, Any], window: int | None = None) -> PublishedSizes:
    """The sizes of a checkpoint. settings: of `read_settings`; window: instead of the settings' `window_length`.

    Raises ContractError where a tensor that tells a size is missing, where the settings contradict the tensors, and
    where nothing says how many heads or (video) how many frames there are.
    """
    channels = _shape(shapes, "g_model.encoder.conv_in.weight")[0]
    levels = _count(shapes, r"g_model\.encoder\.down\.(\d+)\.")
    widths = [_shape(shapes, f"g_model.encoder.down.{i}.block.0.conv1.weight")[0] for i in range(levels)]
    codes, code_dim = _shape(shapes, "g_model.quantize.embedding.weight")
    places, dim = _shape(shapes, "model.pos_emb.weight")
    grid = round(places**0.5)
    stages = _count(shapes, r"img_encoder\.encoder\.model\.layer(\d+)\.") - 1
    resnet = "img_encoder.encoder.model.layer"
    rises = ("lay2", "lay3", "lay4_am", "lay5_am")
    is_video = any(name.startswith("model.blocks.0.attn1.") for name in shapes)
    sizes = PublishedSizes(
        channels=channels,
        multipliers=tuple(width // channels for width in widths),
        blocks=_count(shapes, r"g_model\.encoder\.down\.0\.block\.(\d+)\."),
        z_channels=_shape(shapes, "g_model.encoder.conv_out.weight")[0],
        code_dim=code_dim,
        codebook_size=codes,
        widths=tuple(_shape(shapes, f"{resnet}{i}.0.conv1.weight")[0] for i in range(1, stages + 1)),
        stages=tuple(_count(shapes, rf"{re.escape(resnet)}{i}\.(\d+)\.") for i in range(1, stages + 1)),
        dim=dim,
        layers=_count(shapes, r"model\.blocks\.(\d+)\."),
        heads=_heads(settings, dim),
        vocabulary=_shape(shapes, "model.m_bias")[0] - 1,
        adapter=_shape(shapes, "refine.conv_in.weight")[0],
        rises=tuple(_shape(shapes, f"refine.{name}.weight")[0] for name in rises),
        crop_size=grid << (levels - 1),
        window=_window(settings, window) if is_video else 0,
    )
    _refuse_contradictions(settings, sizes, grid * grid)
    return sizes


def read_settings(files: Sequence[Path]) -> dict[str, Any]:
    """The values of published YAML files by their last key, wherever they are nested; the outermost one counts.

    Raises ContractError if a file cannot be read.
    """
    found: dict[str, Any] = {}
    for file in files:
        try:
            content = yaml.safe_load(file.read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            reason = str(error).splitlines()[0]
            raise ContractError(f"{file} cannot be read ({reason}); give the checkpoint's YAML file") from error
        if not isinstance(content, Mapping):
            raise ContractError(f"{file} holds no mapping of keys; give the checkpoint's YAML file")
        for key, value in _leaves(content):
            found.setdefault(key, value)
    return found


def _leaves(content: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    nested = [value for value in content.values() if isinstance(value, Mapping)]
    yield from ((key, value) for key, value in content.items() if not isinstance(value, Mapping))
    for inner in nested:
        yield from _leaves(inner)


def _shape(shapes: Shapes, name: str) -> tuple[int, ...]:
    if not shapes.get(name):
        raise ContractError(f"the checkpoint lacks {name}, which tells its size; give files of the published layout")
    return shapes[name]


def _count(shapes: Shapes, pattern: str) -> int:
    """One more than the largest number at the pattern's group; 0 if no name matches."""
    return max((int(m[1]) + 1 for name in shapes if (m := re.match(pattern, name))), default=0)


def _whole(settings: Mapping[str, Any], key: str) -> int:
    value = settings[key]
    if type(value) is not int or value < 1:
        raise ContractError(f"{key} of the configuration is {value!r}, expected a whole number above 0; correct it")
    return value


def _heads(settings: Mapping[str, Any], dim: int) -> int:
    if "n_head" in settings:
        return _whole(settings, "n_head")
    if dim % HEAD_WIDTH:
        raise ContractError(
            f"the heads of a transformer of width {dim} cannot be told from its tensors; give --config with n_head"
        )
    return dim // HEAD_WIDTH


def _window(settings: Mapping[str, Any], window: int | None) -> int:
    if window is not None:
        return _whole({"--window": window}, "--window")
    if "window_length" in settings:
        return _whole(settings, "window_length")
    raise ContractError(
        "this is a video model, and the frames of its window cannot be told from its tensors; "
        "give --config with window_length, or --window (24 for MOViD-A)"
    )


def _refuse_contradictions(settings: Mapping[str, Any], sizes: PublishedSizes, places: int) -> None:
    shown = {
        "ch": sizes.channels, "ch_mult": list(sizes.multipliers), "num_res_blocks": sizes.blocks,
        "z_channels": sizes.z_channels, "embed_dim": sizes.code_dim, "n_embed": sizes.codebook_size,
        "n_embd": sizes.dim, "n_layer": sizes.layers, "vocab_size": sizes.vocabulary, "sequence_length": places,
        "in_channels": 1, "out_ch": 1, "double_z": False,
    }  # fmt: skip
    wrong = [
        f"{key} is {settings[key]!r}, the tensors have {value!r}"
        for key, value in shown.items()
        if key in settings and settings[key] != value
    ]
    if wrong:
        raise ContractError(f"configuration and checkpoint differ: {'; '.join(wrong)}; give the files of one model")
