"""Weights of other networks: read from a file or torch's hub cache, never running what is inside."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from c2f_ros.contract import ContractError
from c2f_train.model.resnet import ResNet

RESNET50_URL = "https://download.pytorch.org/models/resnet50-11ad3fa6.pth"
CLASSIFIER = "fc."


def tensors_of(file: Path) -> dict[str, Tensor]:
    """All tensors in a checkpoint, nested mappings flattened with dots.

    Raises ContractError if the file is not there, is no checkpoint, or holds more than plain data.
    """
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ContractError(f"{file} does not exist; correct the path in the configuration") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ContractError(f"{file} is no checkpoint of plain tensors ({reason}); give another file") from None
    return dict(_flat(content, ""))


def _flat(content: Any, prefix: str) -> list[tuple[str, Tensor]]:
    if isinstance(content, Tensor):
        return [(prefix.removesuffix("."), content)]
    if not isinstance(content, Mapping):
        return []
    return [pair for key, value in content.items() for pair in _flat(value, f"{prefix}{key}.")]


def hub_weights(url: str, name: str, advice: str) -> dict[str, Tensor]:
    """The tensors of a public file from torch's hub cache, downloaded into it if need be.

    Raises ContractError with `advice` if it is in neither.
    """
    cached = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(cached), progress=False)
        except OSError as error:
            raise ContractError(f"{name} is not in {cached.parent} and cannot be fetched ({error}); {advice}") from None
    return tensors_of(cached)


def load_pretrained(encoder: ResNet, source: str) -> None:
    """Fill the image encoder from `source`: `none` (nothing is done), `imagenet` or a file in torchvision's layout.

    The classifier `fc` is ignored. Raises ContractError if a tensor is missing, is too much or has another shape, or
    if the file cannot be had.
    """
    if source == "none":
        return
    if source == "imagenet":
        found = hub_weights(
            RESNET50_URL, "resnet50-11ad3fa6.pth", "set `pretrained` to a file of these weights, or to none"
        )
    else:
        found = tensors_of(Path(source))
    found = {name: value for name, value in found.items() if not name.startswith(CLASSIFIER)}
    own = encoder.state_dict()
    # Old files of torchvision lack these counters, which nothing depends on.
    for name in own.keys() - found.keys():
        if name.endswith("num_batches_tracked"):
            found[name] = own[name]
    wrong = sorted(own.keys() ^ found.keys()) or [n for n in own if own[n].shape != found[n].shape]
    if wrong:
        raise ContractError(
            f"pretrained weights {source} do not fit the image encoder: {len(wrong)} tensors differ, first {wrong[0]}; "
            "the encoder must be a ResNet of the same blocks and stem without mask planes"
        )
    encoder.load_state_dict(found)
