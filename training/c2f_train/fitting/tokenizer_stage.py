"""Stage 1: the tokenizer learns to reconstruct masks (paper section 3.1 and A.1)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from c2f_ros.contract import ContractError
from c2f_train.config import TokenizerLossConfig, TrainConfig
from c2f_train.data.batches import masks_at
from c2f_train.data.store import SampleStore
from c2f_train.fitting.adversarial import DiscriminatorObjective, PatchDiscriminator, adaptive_weight, generator_loss
from c2f_train.fitting.engine import Engine, Part
from c2f_train.fitting.losses import reconstruction_loss
from c2f_train.fitting.optimizer import make_optimizer
from c2f_train.fitting.perceptual import make_perceptual
from c2f_train.fitting.pictures import contact_sheet
from c2f_train.fitting.stages import Inputs, Stage, seed_step, set_rate
from c2f_train.model.tokenizer import MaskTokenizer

PICTURED = 8
"""Samples on a contact sheet."""


class TokenizerObjective(nn.Module):
    """Reconstruction, perceptual and quantization loss of masks [N, 1, S, S], and the reconstruction itself.

    The perceptual network is fixed and has no part in the state that is trained.
    """

    def __init__(self, tokenizer: MaskTokenizer, perceptual: nn.Module | None, config: TokenizerLossConfig) -> None:
        super().__init__()
        self.tokenizer, self.perceptual, self.config = tokenizer, perceptual, config

    def forward(self, masks: Tensor) -> dict[str, Tensor]:
        values, quantization = self.tokenizer(masks)
        output = self.tokenizer.config.output
        with torch.autocast(masks.device.type, enabled=False):
            image = values.float().sigmoid() if output == "sigmoid" else values.float()
            mask = reconstruction_loss(values, masks, output, self.config)
            terms = {"mask": mask, "quantization": quantization}
            if self.perceptual is not None:
                terms["perceptual"] = self.config.perceptual_weight * self.perceptual(masks, image)
            return {"image": image, **terms, "total": torch.stack(list(terms.values())).sum()}


class TokenizerStage(Stage):
    """Trains the tokenizer on amodal masks and, for a share, visible ones."""

    def __init__(self, tokenizer: MaskTokenizer, store: SampleStore, config: TrainConfig) -> None:
        loss = config.loss.tokenizer
        objective = TokenizerObjective(tokenizer, make_perceptual(loss.perceptual, loss.perceptual_files), loss)
        super().__init__("tokenizer", tokenizer.train(), objective, config.tokenizer_stage, 0.0, config.seed)
        self.tokenizer, self.store, self.loss = tokenizer, store, loss
        self.flip = config.augment.flip

    def draw(self, step: int, part: Part) -> Tensor:
        share = (self.loss.amodal_share, self.flip)
        return masks_at(self.store, step, self.config.batch, self.seed, *share, part.index, part.count)

    def inputs(self, drawn: Tensor) -> Inputs:
        return {"masks": drawn.to(self.engine.device)}

    def step(self, step: int, rate: float) -> dict[str, Tensor]:
        terms = super().step(step, rate)
        del terms["image"]
        return terms

    @torch.no_grad()
    def picture(self, step: int, file: Path) -> None:
        masks = self.inputs_at(step)["masks"][:PICTURED]
        self.tokenizer.eval()
        coverage = self.tokenizer.coverage(self.tokenizer.decode(self.tokenizer.encode(masks)))
        self.tokenizer.train()
        contact_sheet([masks, coverage], file)


class AdversarialTokenizerStage(TokenizerStage):
    """The same against a discriminator, which is updated first in every step (spec 11.3)."""

    def __init__(self, tokenizer: MaskTokenizer, store: SampleStore, config: TrainConfig) -> None:
        super().__init__(tokenizer, store, config)
        self.discriminator = PatchDiscriminator()
        self.rival = DiscriminatorObjective(self.discriminator, self.loss.adversarial)

    def open(self, engine: Engine) -> None:
        if engine.is_scaled:
            raise ContractError("the adversarial loss needs unscaled gradients; train it with --precision bf16 or 32")
        super().open(engine)
        self.rival_optimizer = make_optimizer(self.rival, self.config.optimizer)
        self.wrapped_rival, self.rival_stepper = engine.wrap(self.rival, self.rival_optimizer)

    def step(self, step: int, rate: float) -> dict[str, Tensor]:
        fabric = self.engine.fabric
        set_rate(self.optimizer, rate)
        set_rate(self.rival_optimizer, rate)
        masks = self.inputs_at(step)["masks"]
        seed_step(self.seed, step, self.engine.part(0, 1).index)
        terms = self.wrapped(masks)
        image = terms.pop("image")

        self.rival_optimizer.zero_grad(set_to_none=True)
        self.discriminator.requires_grad_(True)
        judged = self.wrapped_rival(masks, image.detach())
        fabric.backward(judged)
        self.clip_and_step(self.wrapped_rival, self.rival_stepper)

        self.optimizer.zero_grad(set_to_none=True)
        self.discriminator.requires_grad_(False)
        with fabric.autocast():
            fake = self.discriminator(image)
        adversarial = generator_loss(fake.float(), self.loss.adversarial)
        weight = self._weight(terms, adversarial)
        terms["total"] = terms["total"] + self.loss.adversarial_weight * weight * adversarial
        fabric.backward(terms["total"])
        self.clip_and_step(self.wrapped, self.stepper)
        return {**terms, "adversarial": adversarial, "discriminator": judged, "adaptive_weight": weight}

    def _weight(self, terms: Mapping[str, Tensor], adversarial: Tensor) -> Tensor:
        perceptual = terms.get("perceptual", torch.zeros_like(terms["mask"]))
        wanted = perceptual if self.loss.balance == "paper" else terms["mask"] + perceptual
        return adaptive_weight(wanted, adversarial, self.tokenizer.decoder.conv_out.weight, self.loss.balance)

    def state(self) -> dict[str, Any]:
        rival = {"discriminator": self.discriminator.state_dict(), "rival_optimizer": self.rival_optimizer.state_dict()}
        return {**super().state(), **rival}

    def load(self, state: Mapping[str, Any]) -> None:
        super().load(state)
        self.discriminator.load_state_dict(state["discriminator"])
        self.rival_optimizer.load_state_dict(state["rival_optimizer"])


def tokenizer_stage(tokenizer: MaskTokenizer, store: SampleStore, config: TrainConfig) -> TokenizerStage:
    """Stage 1 as configured."""
    kind = TokenizerStage if config.loss.tokenizer.adversarial == "none" else AdversarialTokenizerStage
    return kind(tokenizer, store, config)
