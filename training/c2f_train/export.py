"""From trained weights to a model bundle: ONNX graph, golden sample, manifest; torch against ONNX Runtime."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
import yaml
from torch import Tensor, nn

from c2f_ros.contract import (
    MASK_CHANNELS,
    SCHEMA_VERSION,
    CropSpec,
    GoldenSpec,
    GraphSpec,
    InputSpec,
    Manifest,
    TemporalSpec,
    TensorSpec,
    TokenSpec,
    to_plain,
)
from c2f_train.batches import MEAN, STD
from c2f_train.model.network import C2FNetwork

OPSET = 17
GRAPH, GOLDEN, MANIFEST = "c2f.onnx", "golden.npz", "manifest.yaml"
PARITY = 1e-4
"""Largest difference of probabilities between torch and ONNX Runtime that an export may show."""
GOLDEN_TOLERANCE = 2e-3
"""What another machine's engine may differ from the stored output (other instruction sets round differently)."""


def export_onnx(module: nn.Module, outputs: tuple[str, ...], size: int, file: Path) -> None:
    """Write `module(image, masks)` as ONNX with a dynamic batch N. Two runs give equal bytes."""
    module = module.eval()
    example = (torch.zeros(2, 3, size, size), torch.zeros(2, len(MASK_CHANNELS), size, size))
    dynamic = {name: {0: "N"} for name in ("image", "masks", *outputs)}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, example, str(file), input_names=["image", "masks"], output_names=list(outputs),
            dynamic_axes=dynamic, opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    model = onnx.load(str(file))
    for value in model.graph.output:
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    model.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""
    onnx.checker.check_model(model)
    onnx.save(model, str(file))


def export_bundle(
    network: C2FNetwork,
    crop: CropSpec,
    name: str,
    description: str,
    golden: tuple[Tensor, Tensor],
    made: Mapping[str, Any],
    folder: Path,
) -> float:
    """Write the bundle to `folder` (replaced as a whole) and return the largest difference torch - ONNX Runtime.

    golden: image [N, 3, S, S] and masks [N, 3, S, S] of real crops.
    Raises ValueError above `PARITY` or if tokens differ.
    """
    network = network.eval()
    grid, config = network.config.grid, network.config
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        part = Path(temporary) / "bundle"
        part.mkdir()
        export_onnx(network, ("amodal", "coarse", "tokens"), crop.size, part / GRAPH)
        difference, amodal = parity(network, part / GRAPH, golden)
        np.savez_compressed(part / GOLDEN, image=golden[0].numpy(), masks=golden[1].numpy(), amodal=amodal)
        size = crop.size
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            model_id=name,
            description=description,
            temporal=TemporalSpec("image", 1),
            crop=crop,
            input=InputSpec("rgb", MEAN, STD, MASK_CHANNELS),
            tokens=TokenSpec(grid, config.tokenizer.codebook_size, config.steps),
            mask_threshold=0.5,
            graph=GraphSpec(
                GRAPH,
                sha256(part / GRAPH),
                (
                    TensorSpec("image", "float32", ("N", 3, size, size)),
                    TensorSpec("masks", "float32", ("N", len(MASK_CHANNELS), size, size)),
                ),
                (
                    TensorSpec("amodal", "float32", ("N", size, size)),
                    TensorSpec("coarse", "float32", ("N", size, size)),
                    TensorSpec("tokens", "int64", ("N", grid * grid)),
                ),
            ),
            golden=GoldenSpec(GOLDEN, sha256(part / GOLDEN), GOLDEN_TOLERANCE),
            made={**made, "parity_torch_onnxruntime": round(difference, 8)},
        )
        (part / MANIFEST).write_text(yaml.safe_dump(to_plain(manifest), sort_keys=False))
        if folder.exists():
            shutil.rmtree(folder)
        shutil.move(str(part), str(folder))
    return difference


def parity(network: C2FNetwork, graph: Path, golden: tuple[Tensor, Tensor]) -> tuple[float, np.ndarray]:
    """Largest difference of probabilities between torch and ONNX Runtime, and the latter's amodal output."""
    with torch.no_grad():
        expected = [t.numpy() for t in network(*golden)]
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    found = session.run(None, {"image": golden[0].numpy(), "masks": golden[1].numpy()})
    difference = max(float(np.abs(expected[i] - found[i]).max()) for i in (0, 1))
    wrong = int((expected[2] != found[2]).sum())
    if difference > PARITY or wrong:
        raise ValueError(
            f"ONNX Runtime differs from torch by {difference:.2g} and in {wrong} tokens, at most {PARITY} and 0 allowed"
        )
    return difference, found[0]


def sha256(file: Path) -> str:
    """Hash of a file's bytes, hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
