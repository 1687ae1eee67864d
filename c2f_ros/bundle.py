"""Reading a model bundle from disk: manifest, hashes, golden sample."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from c2f_ros.contract import ContractError, Manifest, parse
from c2f_ros.geometry import FloatArray
from c2f_ros.share import share_folders

MANIFEST = "manifest.yaml"
GOLDEN_ARRAYS = ("image", "masks", "amodal")
HASH_BLOCK = 1 << 20


@dataclass(frozen=True, eq=False)
class Bundle:
    """A checked bundle. golden_image, golden_masks: a batch as `Batch` has it; golden_amodal: [N, S, S]. N >= 1."""

    folder: Path
    manifest: Manifest
    golden_image: FloatArray
    golden_masks: FloatArray
    golden_amodal: FloatArray

    @property
    def graph_path(self) -> Path:
        return self.folder / self.manifest.graph.file


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
    _check_hash(folder / manifest.graph.file, manifest.graph.sha256)
    _check_hash(folder / manifest.golden.file, manifest.golden.sha256)
    with np.load(folder / manifest.golden.file) as golden:
        missing = set(GOLDEN_ARRAYS) - set(golden.files)
        if missing:
            raise ContractError(f"{manifest.golden.file} lacks {', '.join(sorted(missing))}; export the bundle again")
        arrays = {name: golden[name] for name in GOLDEN_ARRAYS}
    _check_shapes(arrays, manifest)
    return Bundle(folder, manifest, arrays["image"], arrays["masks"], arrays["amodal"])


def _check_shapes(golden: dict[str, FloatArray], manifest: Manifest) -> None:
    count = len(golden["image"]) if golden["image"].ndim else 0
    tensors = {tensor.name: tensor for tensor in (*manifest.graph.inputs, *manifest.graph.outputs)}
    for name, array in golden.items():
        expected = (count, *tensors[name].shape[1:])
        if count == 0 or array.shape != expected or array.dtype != np.float32:
            raise ContractError(
                f"{manifest.golden.file} holds {name} as {array.dtype} {array.shape}, expected float32 "
                f"{tensors[name].shape} with N >= 1; export the bundle again"
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
