"""Training of the mask-only completion network (PCNet-M; Zhan et al., CVPR 2020, section 3.2), and its predictor.

It learns from visible masks alone: another object's mask is laid over a mask, the network gives back what it covered;
now and then that mask lies behind, so that the network does not always grow. No image, no whole mask is used.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from c2f_ros.contract import MASK_CHANNELS, CropSpec, to_plain
from c2f_ros.geometry import FloatArray
from c2f_train.config import StageConfig, TrainConfig, save_config
from c2f_train.data.batches import masks_at
from c2f_train.data.samples import input_spec
from c2f_train.data.store import SampleStore
from c2f_train.fitting.checkpoint import load_checkpoint
from c2f_train.fitting.engine import Engine, EngineConfig, Part
from c2f_train.fitting.loop import run_stage
from c2f_train.fitting.pictures import contact_sheet
from c2f_train.fitting.stages import Inputs, Stage
from c2f_train.model.completion import CompletionNetwork
from c2f_train.scores.evaluate import View
from c2f_train.scores.predictors import Predictor

NAME = "completion"
PICTURED = 8
"""Samples on a contact sheet."""

COVERED = 0.8
"""Share of the samples whose mask is covered; in the others the second mask lies behind."""
INSIDE_WEIGHT = 5.0
"""Weight of pixels inside the eraser; 1 outside."""
LEAST_COVERED, MOST_COVERED = 0.05, 0.75
"""A placement should cover this share of the mask; the first of `TRIES` random ones that does is taken, else the last.
What is left is then enough to complete, what is covered enough to learn from."""
TRIES = 4
SCALES = (0.6, 1.6)
"""Range of the second mask's random magnification."""


@dataclass(frozen=True)
class Occluded:
    """Pairs to learn from, each [B, 1, S, S] in 0..1: what is left of the masks, where they may go on, the masks."""

    visible: Tensor
    eraser: Tensor
    whole: Tensor

    def rows(self, first: int, count: int) -> Occluded:
        """The part of the batch from row `first` on."""
        part = slice(first, first + count)
        return Occluded(self.visible[part], self.eraser[part], self.whole[part])


def occlude(masks: Tensor, generator: torch.Generator) -> Occluded:
    """Masks [B, 1, S, S] with other masks of the batch over them, or behind them.

    The same generator state gives the same pairs. Visible part and eraser never overlap.
    """
    second = _placed_over(masks, generator)
    is_covered = torch.rand(len(masks), 1, 1, 1, generator=generator) < COVERED
    visible = torch.where(is_covered, masks * (1 - second), masks)
    eraser = torch.where(is_covered, second, second * (1 - masks))
    return Occluded(visible, eraser, masks)


def _placed_over(masks: Tensor, generator: torch.Generator) -> Tensor:
    """Another mask of the batch per sample, mirrored, magnified and moved so that the two touch; of 0 and 1."""
    others = masks[torch.randperm(len(masks), generator=generator)]
    area = masks.sum((1, 2, 3)).clamp_min(1e-6)
    taken = torch.zeros_like(masks)
    is_taken = torch.zeros(len(masks), dtype=torch.bool)
    for attempt in range(TRIES):
        placed = _place_at_random(others, masks, generator)
        share = (placed * masks).sum((1, 2, 3)) / area
        fits = (share >= LEAST_COVERED) & (share <= MOST_COVERED) | (attempt == TRIES - 1)
        taken = torch.where((fits & ~is_taken)[:, None, None, None], placed, taken)
        is_taken |= fits
    return taken


def _place_at_random(others: Tensor, masks: Tensor, generator: torch.Generator) -> Tensor:
    """`others` with a random point of each laid upon a random point of the mask it goes with."""
    count, scale = len(masks), torch.empty(len(masks)).uniform_(*SCALES, generator=generator)
    mirror = (torch.rand(count, generator=generator) < 0.5).float() * 2 - 1
    source, goal = _random_point(others, generator), _random_point(masks, generator)
    across, down = mirror / scale, 1 / scale
    zero = torch.zeros(count)
    theta = torch.stack(
        [across, zero, source[:, 0] - across * goal[:, 0], zero, down, source[:, 1] - down * goal[:, 1]], 1
    ).view(count, 2, 3)
    grid = F.affine_grid(theta, list(masks.shape), align_corners=False)
    return (F.grid_sample(others, grid, align_corners=False) > 0.5).float()


def _random_point(masks: Tensor, generator: torch.Generator) -> Tensor:
    """x and y [B, 2] in -1..1 of a random pixel of each mask; anywhere if a mask is empty."""
    size = masks.shape[-1]
    index = torch.multinomial(masks.flatten(1) + 1e-9, 1, generator=generator)[:, 0]
    column, row = index % size, index // size
    return (torch.stack([column, row], 1).float() + 0.5) * (2 / size) - 1


def completion_loss(logits: Tensor, pairs: Occluded) -> Tensor:
    """Cross entropy of the whole masks; a pixel inside the eraser weighs `INSIDE_WEIGHT` times one outside."""
    weight = 1 + (INSIDE_WEIGHT - 1) * pairs.eraser
    entropy = F.binary_cross_entropy_with_logits(logits.float(), pairs.whole, reduction="none")
    return (entropy * weight).sum() / weight.sum()


class CompletionObjective(nn.Module):
    """`completion_loss` of pairs; visible, eraser, whole: [N, 1, S, S]."""

    def __init__(self, network: CompletionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, visible: Tensor, eraser: Tensor, whole: Tensor) -> dict[str, Tensor]:
        logits = self.network.logits(visible, eraser)
        with torch.autocast(visible.device.type, enabled=False):
            return {"total": completion_loss(logits, Occluded(visible, eraser, whole))}


class CompletionStage(Stage):
    """Trains the completion network on the visible masks of a store."""

    def __init__(self, network: CompletionNetwork, store: SampleStore, config: TrainConfig) -> None:
        objective = CompletionObjective(network)
        super().__init__(NAME, network.train(), objective, stage_config(config), config.ema_decay, config.seed)
        self.network, self.store, self.flip = network, store, config.augment.flip

    def draw(self, step: int, part: Part) -> Occluded:
        size = self.config.batch
        # The whole batch is paired, whatever the number of parts: its masks are laid over each other.
        masks = masks_at(self.store, step, size, self.seed, 0.0, self.flip)
        pairs = occlude(masks, torch.Generator().manual_seed(self.seed * 1_000_003 + step))
        own = size // part.count
        return pairs.rows(part.index * own, own)

    def inputs(self, drawn: Occluded) -> Inputs:
        device = self.engine.device
        return {"visible": drawn.visible.to(device), "eraser": drawn.eraser.to(device), "whole": drawn.whole.to(device)}

    @torch.no_grad()
    def picture(self, step: int, file: Path) -> None:
        shown = {k: v[:PICTURED] for k, v in self.inputs_at(step).items()}
        self.network.eval()
        completed = self.network(shown["visible"], shown["eraser"])[:, None]
        self.network.train()
        contact_sheet([shown["visible"], shown["eraser"], completed, shown["whole"]], file)


def train_completion(
    config: TrainConfig, store: SampleStore, folder: Path, engine: Engine | None = None
) -> CompletionNetwork:
    """The completion network on as many samples as the plain U-Net, in the same order; a finished one is loaded.

    engine: one CPU in bfloat16 if None. Raises ContractError if `folder` holds one of another configuration.
    """
    engine = engine or Engine(EngineConfig("cpu"))
    folder.mkdir(parents=True, exist_ok=True)
    if engine.is_first:
        save_config(config, folder / "config.yaml")
    torch.manual_seed(config.seed)
    network = CompletionNetwork(config.unet).to(memory_format=torch.channels_last)
    run_stage(CompletionStage(network, store, config), engine, folder, _about(config))
    return network.eval()


def stage_config(config: TrainConfig) -> StageConfig:
    """The last stage's schedule over the samples of the transformer and refiner stages together."""
    samples = config.transformer_stage.samples + config.refiner_stage.samples
    return replace(config.refiner_stage, samples=samples)


def _about(config: TrainConfig) -> str:
    """What decides the weights, as text."""
    plain = to_plain(config)
    kept = {key: plain[key] for key in ("seed", "crop", "unet", "ema_decay")}
    data = {key: value for key, value in plain["data"].items() if key not in ("validation", "test", "held_out")}
    stage = to_plain(stage_config(config))
    return json.dumps({**kept, "data": data, "flip": config.augment.flip, "stage": stage}, sort_keys=True)


def load_completion(config: TrainConfig, folder: Path) -> CompletionNetwork:
    """The network with its averaged weights in `folder`, finished or not. Raises FileNotFoundError if there are none,
    ContractError if they are of another configuration."""
    file = folder / f"{NAME}.pt"
    state = load_checkpoint(file, _about(config))
    if state is None:
        raise FileNotFoundError(f"{file} does not exist; run `c2f-train train --completion` first")
    network = CompletionNetwork(config.unet)
    network.load_state_dict(state["average"])
    return network.eval()


def completion_view(crop: CropSpec) -> View:
    """How the network sees objects: single frames with all of `MASK_CHANNELS`, whatever planes another model gets."""
    return View(crop, input_spec(crop))


def completion_predictor(network: CompletionNetwork) -> Predictor:
    """The network as a row of an evaluation, with the view `completion_view`; the image is not used.

    The eraser is what other objects' visible masks cover (PCNet-M without an order of depth).
    """
    visible_at, others_at = MASK_CHANNELS.index("visible"), MASK_CHANNELS.index("others")

    def predict(image: FloatArray, masks: FloatArray) -> FloatArray:
        planes = torch.from_numpy(np.ascontiguousarray(masks))
        visible, others = planes[:, [visible_at]], planes[:, [others_at]]
        with torch.no_grad():
            return network(visible, others * (1 - visible)).numpy().astype(np.float32)

    return predict
