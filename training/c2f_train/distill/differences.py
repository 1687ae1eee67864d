"""How far students are from their teacher: tokens, coarse masks, and the masks of the whole network."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from c2f_train.distill.students import FastTokenizer
from c2f_train.distill.targets import Labels, exact_float32, mixture
from c2f_train.model.network import C2FNetwork

BATCH = 16


@torch.no_grad()
def tokenizer_differences(students: FastTokenizer, labels: Labels) -> dict[str, Any]:
    """On labels that were not trained on: shares of equal tokens of visible and of whole masks; the coarse values that
    the network reads: mean difference, and mean IoU of their masks (threshold 0.5)."""
    students.eval()
    equal, difference, overlap = [], [], []
    device = students.quantize.vectors.device
    with exact_float32():
        for start in range(0, labels.samples, BATCH):
            chosen = np.arange(start, min(start + BATCH, labels.samples))
            masks = torch.from_numpy(labels.crops(chosen)).to(device).float() / 255
            found = students.encode(masks).cpu().numpy()
            equal.append((found == labels.tokens[chosen]).mean(1))
        for start in range(0, len(labels.values), BATCH):
            rows = slice(start, start + BATCH)
            mixed = mixture(students.quantize.vectors, labels.first[rows], labels.second[rows], labels.share[rows])
            values = students.head(students.on_grid(mixed)).sigmoid().cpu().numpy()
            wanted = labels.values[rows].astype(np.float32)
            difference.append(np.abs(values - wanted).mean((1, 2, 3)))
            overlap.append(_iou(values > 0.5, wanted > 0.5))
    shares = np.concatenate(equal)
    return {
        "masks": labels.samples,
        "equal_tokens_visible": round(float(shares[0::2].mean()), 5),
        "equal_tokens_whole": round(float(shares[1::2].mean()), 5),
        "reads": students.students.reads,
        "coarse_mean_difference": round(float(np.concatenate(difference).mean()), 6),
        "coarse_iou": round(float(np.concatenate(overlap).mean()), 5),
    }


@torch.no_grad()
def network_differences(
    network: C2FNetwork, students: FastTokenizer, inputs: Iterable[tuple[Tensor, Tensor]], count: int
) -> dict[str, Any]:
    """The network with its students against itself in float32: IoU of the amodal masks at crop resolution (1 where both
    are empty), difference of probabilities, tokens, and seconds per object of both.

    The parts alone too: with the encoder's student and the exact decoder, and the other way round.
    """
    device, teacher, threshold = students.quantize.vectors.device, network.tokenizer, network.config.mask_threshold
    variants = {
        "exact": teacher,
        "fast": students,
        "encoder": _Joined(students, teacher),
        "head": _Joined(teacher, students),
    }
    found: dict[str, list[np.ndarray]] = {
        name: [] for name in ("iou", "encoder", "head", "difference", "tokens", "seen")
    }
    seconds, is_mask = {"exact": 0.0, "fast": 0.0}, []
    students.eval()
    with tqdm(total=count, desc="whole network", unit="object", mininterval=2) as bar, exact_float32():
        for image, masks in inputs:
            given = image.to(device), masks.to(device)
            results = {}
            for name, tokenizer in variants.items():
                start = time.monotonic()
                results[name] = _run(network, tokenizer, *given)
                if name in seconds:
                    seconds[name] += time.monotonic() - start
            exact, fast = results["exact"], results["fast"]
            for name, key in (("fast", "iou"), ("encoder", "encoder"), ("head", "head")):
                found[key].append(_iou(results[name]["amodal"] > threshold, exact["amodal"] > threshold))
            found["difference"].append(np.abs(fast["amodal"] - exact["amodal"]).mean((1, 2)))
            found["tokens"].append((fast["tokens"] == exact["tokens"]).mean(1))
            seen = given[1].flatten(0, -4)[:, :1]
            found["seen"].append((students.encode(seen) == teacher.encode(seen)).float().mean(1).cpu().numpy())
            is_mask.append((exact["amodal"] > threshold).any((1, 2)))
            bar.update(len(image))
    values = {name: np.concatenate(rows) for name, rows in found.items()}
    objects = len(values["iou"])
    return {
        "objects": objects,
        "steps": network.config.inference.steps,
        "with_a_mask": int(np.concatenate(is_mask).sum()),
        "mask_iou_mean": round(float(values["iou"].mean()), 5),
        "mask_iou_least_5_percent": round(float(np.quantile(values["iou"], 0.05)), 5),
        "mask_iou_least": round(float(values["iou"].min()), 5),
        "mask_iou_encoder_alone": round(float(values["encoder"].mean()), 5),
        "mask_iou_head_alone": round(float(values["head"].mean()), 5),
        "probability_mean_difference": round(float(values["difference"].mean()), 6),
        "equal_tokens_visible": round(float(values["seen"].mean()), 5),
        "equal_tokens_amodal": round(float(values["tokens"].mean()), 5),
        "seconds_exact": round(seconds["exact"] / objects, 4),
        "seconds_fast": round(seconds["fast"] / objects, 4),
    }


class _Joined(torch.nn.Module):
    """The encoder of one tokenizer and the decoder of another, as a network uses them."""

    def __init__(self, encoder: torch.nn.Module, decoder: torch.nn.Module) -> None:
        super().__init__()
        self.encode, self.quantize = encoder.encode, decoder.quantize
        self.decode, self.decode_vectors = decoder.decode, decoder.decode_vectors
        self.decode_cells, self.coverage = decoder.decode_cells, decoder.coverage


def _run(network: C2FNetwork, tokenizer: torch.nn.Module, image: Tensor, masks: Tensor) -> dict[str, np.ndarray]:
    own = network.tokenizer
    network.tokenizer = tokenizer
    try:
        outputs = network.infer(image, masks)
    finally:
        network.tokenizer = own
    return {name: x.cpu().numpy() for name, x in zip(network.outputs, outputs, strict=False)}


def _iou(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Per row; 1 where both are empty."""
    axes = tuple(range(1, found.ndim))
    union = (found | wanted).sum(axes)
    return np.where(union == 0, 1.0, (found & wanted).sum(axes) / np.maximum(union, 1))
