"""Stage 2: transformer and refiner on the frozen tokenizer (paper sections 3.2 to 3.5); and the U-Net beside them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from c2f_train.config import StageConfig, TrainConfig
from c2f_train.data.batches import RawBatch, raw_batch, to_tensors
from c2f_train.data.store import SampleStore
from c2f_train.fitting.engine import Part
from c2f_train.fitting.losses import Masking, draw_masking, mask_loss, network_loss
from c2f_train.fitting.optimizer import never_trained
from c2f_train.fitting.pictures import contact_sheet
from c2f_train.fitting.stages import Inputs, Stage
from c2f_train.model.network import C2FNetwork
from c2f_train.model.unet import UNet

PICTURED = 8
"""Samples on a contact sheet."""


class NetworkObjective(nn.Module):
    """Losses of one pass; frames of clips in a row, N = samples * frames.

    image [N, 3, S, S], masks [N, M, S, S], amodal and visible (truth) [N, 1, S, S], the three parts of `Masking`.
    """

    def __init__(self, network: C2FNetwork, config: TrainConfig, is_refined: bool) -> None:
        super().__init__()
        self.network, self.config, self.is_refined = network, config.loss.network, is_refined

    def forward(
        self, image: Tensor, masks: Tensor, amodal: Tensor, visible: Tensor,
        hide: Tensor, token_weight: Tensor, mask_weight: Tensor,
    ) -> dict[str, Tensor]:  # fmt: skip
        network, device = self.network, image.device.type
        with torch.no_grad(), torch.autocast(device, enabled=False):
            tokens = network.tokenizer.encode(amodal)
            visible_tokens = network.tokenizer.encode(masks[:, :1])
        known = tokens.masked_fill(hide, network.transformer.mask_index)
        prediction = network.predict(image, masks, visible_tokens, known, self.is_refined, network.config.frames)
        with torch.autocast(device, enabled=False):
            return network_loss(
                prediction, Masking(hide, token_weight, mask_weight), tokens, amodal, visible,
                network.config.tokenizer.output, self.config,
            )  # fmt: skip


class NetworkStage(Stage):
    """Trains everything but the tokenizer; without the refiner where `is_refined` is false.

    first_step: of the samples, so that a later stage does not see those of the earlier one again.
    """

    def __init__(
        self, name: str, network: C2FNetwork, store: SampleStore, config: TrainConfig, stage: StageConfig,
        is_refined: bool, first_step: int,
    ) -> None:  # fmt: skip
        objective = NetworkObjective(network, config, is_refined)
        super().__init__(name, network, objective, stage, config.ema_decay, config.seed)
        self.network, self.store, self.first_step = network, store, first_step
        self.augment, self.loss = config.augment, config.loss.network
        choose_trained(network, is_refined, config.train_everything)
        network.train()

    def draw(self, step: int, part: Part) -> tuple[RawBatch, Masking]:
        step, size, frames = self.first_step + step, self.config.batch, self.network.config.frames
        batch = raw_batch(self.store, step, size, self.seed, self.augment, frames, part.index, part.count)
        # Drawn for the whole batch and then parted, so that every rank knows what counts in all of it.
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        masking = draw_masking(size, frames, self.network.config.grid**2, self.loss, generator)
        own = size * frames // part.count
        return batch, masking.rows(part.index * own, own)

    def inputs(self, drawn: tuple[RawBatch, Masking]) -> Inputs:
        device, masking = self.engine.device, drawn[1]
        batch = to_tensors(drawn[0], device)
        return {
            "image": batch.image, "masks": batch.masks, "amodal": batch.amodal, "visible": batch.visible_truth,
            "hide": masking.hide.to(device), "token_weight": masking.token_weight.to(device),
            "mask_weight": masking.mask_weight.to(device),
        }  # fmt: skip

    @torch.no_grad()
    def picture(self, step: int, file: Path) -> None:
        frames = self.network.config.frames
        shown = {k: v[: PICTURED * frames] for k, v in self.inputs_at(step).items()}
        image, masks = (shown[k].unflatten(0, (-1, frames)) for k in ("image", "masks"))
        self.network.eval()
        refined, coarse, _ = self.network(*((image, masks) if frames > 1 else (image[:, 0], masks[:, 0])))
        self.network.train()
        truth = shown["amodal"].unflatten(0, (-1, frames))[:, -1]
        contact_sheet([image[:, -1], masks[:, -1, :1], coarse[:, None], refined[:, None], truth], file)


def choose_trained(network: C2FNetwork, is_refined: bool, train_everything: bool) -> None:
    """Set what has a gradient: not the tokenizer, the refiner only if asked, all of the transformer or what the
    published code trains of it (spec B1)."""
    network.requires_grad_(True)
    network.freeze_tokenizer()
    if network.refiner is not None:
        network.refiner.requires_grad_(is_refined)
    if not train_everything:
        left_out = set(never_trained(network.transformer))
        for name, parameter in network.transformer.named_parameters():
            parameter.requires_grad_(name not in left_out)


class UNetObjective(nn.Module):
    """The U-Net's mask loss."""

    def __init__(self, unet: UNet, iou: float) -> None:
        super().__init__()
        self.unet, self.iou = unet, iou

    def forward(self, image: Tensor, masks: Tensor, amodal: Tensor) -> dict[str, Tensor]:
        logits = self.unet.logits(image, masks)
        with torch.autocast(image.device.type, enabled=False):
            return {"total": mask_loss(logits, amodal, self.iou).mean()}


class UNetStage(Stage):
    """Trains the U-Net on single frames."""

    def __init__(self, unet: UNet, store: SampleStore, config: TrainConfig, stage: StageConfig) -> None:
        objective = UNetObjective(unet, config.loss.network.iou)
        super().__init__("unet", unet.train(), objective, stage, config.ema_decay, config.seed)
        self.unet, self.store, self.augment = unet, store, config.augment

    def draw(self, step: int, part: Part) -> RawBatch:
        return raw_batch(self.store, step, self.config.batch, self.seed, self.augment, 1, part.index, part.count)

    def inputs(self, drawn: RawBatch) -> Inputs:
        batch = to_tensors(drawn, self.engine.device)
        return {"image": batch.image, "masks": batch.masks, "amodal": batch.amodal}

    @torch.no_grad()
    def picture(self, step: int, file: Path) -> None:
        shown = {k: v[:PICTURED] for k, v in self.inputs_at(step).items()}
        self.unet.eval()
        refined = self.unet(shown["image"], shown["masks"])[:, None]
        self.unet.train()
        contact_sheet([shown["image"], shown["masks"][:, :1], refined, shown["amodal"]], file)
