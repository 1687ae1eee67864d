"""Reading a model bundle from disk: manifest, hashes, golden sample."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from c2f_ros.contract import ContractError, GraphSpec, Manifest, TensorSpec, parse
from c2f_ros.share import share_folders

MANIFEST = "manifest.yaml"
HASH_BLOCK = 1 << 20

Arrays = Mapping[str, NDArray[Any]]
"""Tensors of a graph by name."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """A checked bundle. golden_inputs: the arrays of `Manifest.inputs`, N >= 1; golden_outputs: what the model makes of
    them, `amodal` and NAME_next of every state."""

    folder: Path
    manifest: Manifest
    golden_inputs: Arrays
    golden_outputs: Arrays

    def path(self, graph: GraphSpec) -> Path:
        """The file of one of the manifest's graphs."""
        return self.folder / graph.file

    @property
    def graph_path(self) -> Path:
        return self.path(self.manifest.graph)


def find_model(model: str) -> Path:
    """The folder of a bundle: a path that holds a manifest, or a name under `models/`.

    Raises ContractError that lists the names there are.
    """
    if model and (Path(model).expanduser() / MANIFEST).is_file():
        return Path(model).expanduser()
    roots = [folder / "models" for folder in share_folders()]
    for root in roots:
        if model and (root / model / MANIFEST).is_file():
            return root / model
    names = sorted({path.parent.name for root in roots for path in root.glob(f"*/{MANIFEST}")})
    known = ", ".join(names) if names else "none is installed"
    raise ContractError(
        f"model {model!r} is neither a folder with {MANIFEST} nor a known name ({known}); name one of these"
    )


def load_bundle(folder: Path) -> Bundle:
    """Read and check everything but the engine. Raises ContractError in one sentence."""
    try:
        plain = yaml.safe_load((folder / MANIFEST).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ContractError(f"{folder / MANIFEST} cannot be read: {error}; export the bundle again") from error
    manifest = parse(Manifest, plain, f"{folder.name}/{MANIFEST}")
    for part in (*manifest.graphs, manifest.golden):
        _check_hash(folder / part.file, part.sha256)
    outputs = {"amodal", *(f"{state.name}_next" for state in manifest.temporal.state)}
    tensors = [*manifest.inputs, *(tensor for tensor in manifest.graph.outputs if tensor.name in outputs)]
    with np.load(folder / manifest.golden.file) as golden:
        missing = {tensor.name for tensor in tensors} - set(golden.files)
        if missing:
            raise ContractError(f"{manifest.golden.file} lacks {', '.join(sorted(missing))}; export the bundle again")
        arrays = {tensor.name: golden[tensor.name] for tensor in tensors}
    _check_shapes(arrays, tensors, manifest.golden.file)
    return Bundle(
        folder,
        manifest,
        {name: array for name, array in arrays.items() if name not in outputs},
        {name: array for name, array in arrays.items() if name in outputs},
    )


def _check_shapes(golden: Arrays, tensors: Sequence[TensorSpec], file: str) -> None:
    count = len(golden["image"]) if golden["image"].ndim else 0
    for tensor in tensors:
        array = golden[tensor.name]
        if count == 0 or array.shape != (count, *tensor.shape[1:]) or array.dtype != tensor.dtype:
            raise ContractError(
                f"{file} holds {tensor.name} as {array.dtype} {array.shape}, expected {tensor.dtype} "
                f"{tensor.shape} with N >= 1; export the bundle again"
            )


def _sha256(path: Path) -> str:
    """Hexadecimal; read in blocks, since a published model's graph has hundreds of megabytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _check_hash(path: Path, expected: str) -> None:
    try:
        found = _sha256(path)
    except OSError as error:
        raise ContractError(f"{path} cannot be read: {error}; copy the whole bundle") from error
    if found != expected:
        raise ContractError(
            f"{path.name} has sha256 {found[:12]}..., the manifest says {expected[:12]}...; "
            "the file was changed or cut, copy the bundle again"
        )
