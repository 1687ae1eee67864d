"""Names of the published checkpoints' tensors (spec 0.2, 0.3), and of ours."""

from __future__ import annotations

import re
from collections.abc import Iterable

TOKENIZER_PART = "g_model"
NETWORK_PARTS = ("model", "img_encoder", "refine")
KNOWN_UNUSED = ("d_model", "optimizer_states", "opt", "iteration", "sample_iter")
"""Top-level entries that only training needs; a file without them is complete."""
UNUSED_TENSORS = re.compile(r"img_encoder\.encoder\.model\.fc\.(weight|bias)")
"""The ResNet's classifier, which nothing calls."""

_PARTS = {
    "tokenizer": "g_model.",
    "transformer": "model.",
    "encoder": "img_encoder.encoder.model.",
    "refiner": "refine.",
}
_LAYERS = {"conv": "lay", "norm": "bn"}
_BRANCHES = {"amodal": "_am", "visible": "_vm"}


def published_name(name: str) -> str:
    """The published name `part.key` of our parameter or buffer `name` of a network in the published layout.

    Raises KeyError for a name that the published model does not have.
    """
    part, key = name.split(".", 1)
    return _PARTS[part] + (_refiner_key(key) if part == "refiner" else key)


def _refiner_key(key: str) -> str:
    branch, rest = "", key
    if key.startswith("branches."):
        _, name, rest = key.split(".", 2)
        branch = _BRANCHES[name]
    # The layers are counted through: two of the trunk, one shared rise, then those of a branch.
    first = {"trunk": 1, "rise": 4 if branch else 3}
    head, _, tail = rest.partition(".")
    if head in ("adapt", "project"):
        return f"{'conv_adapter' if head == 'adapt' else 'conv_in'}.{tail}"
    if head == "out":
        return f"out_lay{branch}.{tail}"
    index, kind, *leaf = tail.split(".")
    number = first[head] + int(index)
    if kind == "adapter":
        return f"adapter{number - 2}{branch}.{'.'.join(leaf)}"
    kind, *leaf = leaf if kind == "layer" else (kind, *leaf)
    return f"{_LAYERS[kind]}{number}{branch}.{'.'.join(leaf)}"


def without_wrapper(names: Iterable[str]) -> dict[str, str]:
    """Name -> the name without the `module.` that data-parallel training puts in front of every key of a part."""
    names = list(names)
    is_wrapped = bool(names) and all(name.startswith("module.") for name in names)
    return {name: name.removeprefix("module.") if is_wrapped else name for name in names}


def listing(names: Iterable[str], most: int = 8) -> str:
    """The first names, and how many more there are; `none` for none."""
    found = sorted(names)
    if not found:
        return "none"
    rest = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + rest
