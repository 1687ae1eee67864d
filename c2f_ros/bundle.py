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


@dataclass(frozen=True, eq=False)
class Bundle:
    """A checked bundle. golden_image: [N, 3, S, S], golden_masks: [N, M, S, S], golden_amodal: [N, S, S]."""

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
        missing = {"image", "masks", "amodal"} - set(golden.files)
        if missing:
            raise ContractError(f"{manifest.golden.file} lacks {', '.join(sorted(missing))}; export the bundle again")
        return Bundle(folder, manifest, golden["image"], golden["masks"], golden["amodal"])


def _check_hash(path: Path, expected: str) -> None:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ContractError(f"{path} cannot be read: {error}; copy the whole bundle") from error
    if found != expected:
        raise ContractError(
            f"{path.name} has sha256 {found[:12]}..., the manifest says {expected[:12]}...; "
            "the file was changed or cut, copy the bundle again"
        )
