"""Every check on a folder of recorded results of the published model: checkpoints, stages, objects, a clip, maths."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from c2f_ros.contract import ContractError
from c2f_train.export import output_shapes
from c2f_train.model.network import C2FNetwork, Inference
from c2f_train.official.checkpoints import load_official
from c2f_train.official.parity_checks import STAGE, Checks, Recorded
from c2f_train.official.parity_image import check_item, check_stages, with_steps
from c2f_train.official.parity_maths import check_maths
from c2f_train.official.parity_video import check_clip
from c2f_train.official.synthetic_input import synthetic_batch
from c2f_train.onnx_graph import export_onnx

STEPS = 3
"""Mask-and-predict steps of the exported graph that is compared."""


def run_parity(folder: Path, say: Callable[[str], None] = lambda text: None) -> Checks:
    """All checks that the files in `folder` allow; `say` is told what is being done.

    Layout: image/ and video/ with vqgan_X.pth, c2f_seg_X.pth (or .pth.xz) and their YAML files, image_stages.npz,
    image_item*.npz, video_stages.npz, video_clip*.npz, maths.npz, any of them. Raises ContractError if there is nothing
    to check, or recordings without their checkpoint.
    """
    checks = Checks()
    for kind, whole, check in (("image", "image_item*.npz", check_item), ("video", "video_clip*.npz", check_clip)):
        stages, recordings = folder / f"{kind}_stages.npz", sorted(folder.glob(whole))
        if not (folder / kind).is_dir():
            if stages.exists() or recordings:
                raise ContractError(
                    f"{folder} holds recordings of {kind} models but no folder {kind}/ with checkpoints"
                )
            continue
        say(f"{kind}: reading the checkpoint")
        network = load_checkpoint(folder / kind)
        if stages.exists():
            say(f"{kind}: stages")
            check_stages(checks, network, Recorded(stages))
        for file in recordings:
            say(f"{kind}: {file.stem}")
            check(checks, network, Recorded(file))
        say(f"{kind}: exported graph")
        check_export(checks, f"{kind} graph", with_steps(network, STEPS))
    if (folder / "maths.npz").exists():
        check_maths(checks, Recorded(folder / "maths.npz"))
    if not checks.found:
        raise ContractError(
            f"{folder} holds nothing to check: no image/, video/ or maths.npz; name the folder of recorded results"
        )
    return checks


def load_checkpoint(folder: Path) -> C2FNetwork:
    """The network of the one published checkpoint pair in `folder`, its YAML files with it."""
    vq, c2f = (_only(folder, pattern) for pattern in ("vqgan_*.pth*", "c2f_seg_*.pth*"))
    return load_official(vq, c2f, sorted(folder.glob("*.yml")))


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ContractError(f"{folder} holds {names} as {pattern}, expected exactly one; keep one model per folder")
    return found[0]


@torch.no_grad()
def check_export(checks: Checks, name: str, network: C2FNetwork) -> None:
    """The exported graph in ONNX Runtime against torch, on made-up inputs of two sizes of batch."""
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "c2f.onnx"
        image, masks = synthetic_batch(network.config, 1 if network.config.frames > 1 else 2, 0)
        outputs = output_shapes(network)
        export_onnx(Inference(network), {"image": image, "masks": masks}, outputs, file)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        expected = [output.numpy() for output in network.infer(image, masks)]
        for rows in (list(range(len(image))), [0] * (len(image) + 1)):
            found = session.run(None, {"image": _rows(image, rows), "masks": _rows(masks, rows)})
            for output, ours, theirs in zip(outputs, found, expected, strict=True):
                label = f"{name}, batch {len(rows)}: {output}"
                if output == "tokens":
                    checks.equal(label, ours, theirs[rows])
                else:
                    checks.near(label, ours, theirs[rows], STAGE)


def _rows(tensor: Tensor, rows: Sequence[int]) -> np.ndarray:
    return tensor[list(rows)].numpy()
