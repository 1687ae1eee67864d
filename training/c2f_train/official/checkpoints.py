"""Published checkpoints as our network: read safely, every tensor used, every parameter filled."""

from __future__ import annotations

import lzma
import pickle
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from c2f_ros.contract import ContractError
from c2f_train.model.network import C2FNetwork
from c2f_train.official.official_config import published_config, read_settings, sizes_of
from c2f_train.official.official_keys import (
    KNOWN_UNUSED,
    NETWORK_PARTS,
    TOKENIZER_PART,
    UNUSED_TENSORS,
    listing,
    published_name,
    without_wrapper,
)

Tensors = Mapping[str, Tensor]
"""Published name, part in front -> tensor."""
_UNREADABLE = (
    pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError,
    AssertionError, struct.error, lzma.LZMAError,
)  # fmt: skip
"""What a broken or foreign file makes the reader raise."""


def load_official(
    vq: Path, c2f: Path, configs: Sequence[Path] = (), window: int | None = None, steps: int = 3
) -> C2FNetwork:
    """The published model in `vq` and `c2f`, ready for inference; its weights stay mapped from the files.

    configs: the YAML files that belong to it, if there are any; window: frames of a video model, instead of theirs.
    Raises ContractError, one sentence: unreadable or unsafe file, another layout, tensors without use, parameters
    without tensor, other shapes, a configuration that contradicts the tensors.
    """
    settings = read_settings(configs)
    tensors = {**read_part_tensors(vq, (TOKENIZER_PART,)), **read_part_tensors(c2f, NETWORK_PARTS)}
    return assemble(tensors, settings, window, steps)


def read_part_tensors(file: Path, parts: Sequence[str]) -> dict[str, Tensor]:
    """All tensors of the checkpoint's `parts`, part in front of the name. Raises ContractError as `load_official`."""
    content = read_checkpoint(file)
    absent = [part for part in parts if not isinstance(content, Mapping) or not isinstance(content.get(part), Mapping)]
    if absent:
        raise ContractError(
            f"{file.name} is not of the published layout: it lacks {', '.join(absent)} "
            f"(it holds {listing(map(str, content)) if isinstance(content, Mapping) else type(content).__name__}); "
            "give --vq the vqgan file and --c2f the c2f_seg file"
        )
    unknown = [str(key) for key in content if key not in parts and key not in KNOWN_UNUSED]
    if unknown:
        raise ContractError(
            f"{file.name} holds {listing(unknown)}, which the published layout does not have; "
            f"it has {', '.join(parts)} and what only training needs ({', '.join(KNOWN_UNUSED)})"
        )
    found = {}
    for part in parts:
        for name, short in without_wrapper(map(str, content[part])).items():
            value = content[part].get(name)
            if not isinstance(value, Tensor):
                raise ContractError(f"{file.name}: {part}.{name} is no tensor; give a file of the published layout")
            found[f"{part}.{short}"] = value.detach()
    return found


def read_checkpoint(file: Path) -> Any:
    """What torch.save wrote to `file` (`.xz`: packed), tensors and plain values only: nothing of it is executed.

    Tensors are mapped, not read, where the format allows it. Raises ContractError if it cannot be read so.
    """
    try:
        if file.suffix != ".xz":
            return _load(file)
        with tempfile.NamedTemporaryFile(suffix=".pth") as plain, lzma.open(file) as packed:
            shutil.copyfileobj(packed, plain, 1 << 20)
            plain.flush()
            return _load(Path(plain.name))
    except _UNREADABLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].split(". ")[0].rstrip(".")
        raise ContractError(
            f"{file} cannot be read as a checkpoint of tensors alone ({reason}); "
            "it is cut, of another format, or holds code, which is not run: get the published file again"
        ) from error


def _load(file: Path) -> Any:
    return torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))


def assemble(tensors: Tensors, settings: Mapping[str, Any], window: int | None, steps: int) -> C2FNetwork:
    """The network that these tensors of the published layout make. Raises ContractError as `load_official`."""
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    config = published_config(sizes_of(shapes, settings, window), steps)
    with torch.device("meta"):
        network = C2FNetwork(config)
    wanted = {published_name(name): (name, value) for name, value in network.state_dict().items()}
    _refuse_unequal_names(set(tensors), set(wanted))
    other = [
        f"{name} is {list(shapes[name])} (expected {list(value.shape)})"
        for name, (_, value) in sorted(wanted.items())
        if shapes[name] != tuple(value.shape)
    ]
    if other:
        rest = f" and {len(other) - 4} more" if len(other) > 4 else ""
        raise ContractError(
            f"tensors of other sizes than the rest of the checkpoint tells: {', '.join(other[:4])}{rest}; "
            "give the two files of one model"
        )
    state = {name: tensors[published].to(value.dtype) for published, (name, value) in wanted.items()}
    network.load_state_dict(state, strict=True, assign=True)
    return network.requires_grad_(False).eval()


def _refuse_unequal_names(found: set[str], wanted: set[str]) -> None:
    unused = {name for name in found - wanted if not UNUSED_TENSORS.fullmatch(name)}
    missing = wanted - found
    if unused or missing:
        raise ContractError(
            f"the checkpoint and the published model differ: tensors without use: {listing(unused)}; "
            f"parameters without tensor: {listing(missing)}; give complete files of the published layout"
        )
