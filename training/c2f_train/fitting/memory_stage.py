"""Stage 3, of models with memory: everything but the tokenizer, on tracks that are followed through their frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from c2f_train.config import TrainConfig
from c2f_train.data.clip_store import ClipStore
from c2f_train.data.samples import input_spec
from c2f_train.data.unrolled import FaultSource, RawUnroll, find_windows, to_frames, unrolled_batch
from c2f_train.fitting.engine import Part
from c2f_train.fitting.losses import Masking, hidden_loss, network_loss
from c2f_train.fitting.network_stage import choose_trained
from c2f_train.fitting.pictures import contact_sheet
from c2f_train.fitting.stages import Inputs, Stage
from c2f_train.model.network import C2FNetwork, Prediction
from c2f_train.model.stream import Memory, StreamNetwork, StreamPrediction, lay_over
from c2f_train.model.transformer import Past

PICTURED = 6
"""Tracks on a contact sheet."""


class MemoryObjective(nn.Module):
    """Losses of tracks, frame after frame: image [T, B, 3, S, S], masks, amodal, visible [T, B, ., S, S], warp
    [T, B, 3].

    Of the frames only the last `graded` have a gradient; those before them fill the memory, which some tracks lose now
    and then. A network without a memory gets the same frames as so many images.
    """

    def __init__(self, network: C2FNetwork, config: TrainConfig) -> None:
        super().__init__()
        self.network, self.config, self.unroll = network, config.loss, config.unroll

    def forward(self, image: Tensor, masks: Tensor, amodal: Tensor, visible: Tensor, warp: Tensor) -> dict[str, Tensor]:
        graded = self.unroll.graded
        if not isinstance(self.network, StreamNetwork):
            return self._images(*(x[-graded:].flatten(0, 1) for x in (image, masks, amodal, visible)))
        memory, terms = self.network.empty_memory(image.shape[1], image.device), []
        error = None
        for t in range(len(image)):
            is_graded = t >= len(image) - graded
            if is_graded and self.unroll.forget_share:
                memory = forgotten(memory, torch.rand(image.shape[1], device=image.device) < self.unroll.forget_share)
            with torch.set_grad_enabled(is_graded and torch.is_grad_enabled()):
                found = self.network.step(image[t], masks[t], warp[t], memory, self._unknown(masks[t]))
            memory = kept_memory(found, memory)
            if is_graded:
                losses = self._losses(found.prediction, masks[t], amodal[t], visible[t])
                if self.config.flicker and found.prediction.amodal is not None:
                    now = found.prediction.amodal.float().sigmoid() - amodal[t]
                    if error is not None:
                        losses["flicker"] = (now - lay_over(error, warp[t])).abs().mean()
                        losses["total"] = losses["total"] + self.config.flicker * losses["flicker"]
                    error = now
                terms.append(losses)
        names = sorted({name for losses in terms for name in losses})
        return {name: torch.stack([losses[name] for losses in terms if name in losses]).mean() for name in names}

    def _unknown(self, masks: Tensor) -> Tensor:
        length, index = self.network.config.grid**2, self.network.transformer.mask_index
        return torch.full((masks.shape[0], length), index, device=masks.device)

    def _images(self, image: Tensor, masks: Tensor, amodal: Tensor, visible: Tensor) -> dict[str, Tensor]:
        network = self.network
        with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
            visible_tokens = network.tokenizer.encode(masks[:, :1])
        found = network.predict(image, masks, visible_tokens, self._unknown(masks), True, 1)
        return self._losses(found, masks, amodal, visible)

    def _losses(self, found: Prediction, masks: Tensor, amodal: Tensor, visible: Tensor) -> dict[str, Tensor]:
        with torch.autocast(masks.device.type, enabled=False):
            with torch.no_grad():
                tokens = self.network.tokenizer.encode(amodal)
            weight = torch.ones(len(masks), device=masks.device)
            if not isinstance(self.network, StreamNetwork):  # an image network is never asked about what is hidden
                weight = (masks[:, 0].amax((1, 2)) > 0).float()
                weight = weight * (len(weight) / weight.sum().clamp_min(1))
            masking = Masking(torch.ones_like(tokens, dtype=torch.bool), weight[:, None].expand(tokens.shape), weight)
            terms = network_loss(
                found, masking, tokens, amodal, visible, self.network.config.tokenizer.output, self.config.network
            )
            if self.config.hidden and found.amodal is not None:
                terms["hidden"] = (hidden_loss(found.amodal, amodal, visible) * weight).mean()
                terms["total"] = terms["total"] + self.config.hidden * terms["hidden"]
            return terms


def forgotten(memory: Memory, lost: Tensor) -> Memory:
    """The memory with nothing in it of the objects that are `lost`, bool [N]."""
    aligned, past = memory.aligned, memory.past
    if aligned is not None:
        aligned = torch.where(lost[:, None, None, None], torch.zeros_like(aligned), aligned)
    if past is not None:
        past = Past(past.keys, past.values, torch.where(lost[:, None], torch.full_like(past.ages, -1), past.ages))
    return Memory(aligned, past)


def kept_memory(found: StreamPrediction, before: Memory) -> Memory:
    """The memory after a frame: its aligned states, and its keys and values in front of the ring."""
    if found.keys is None or found.values is None or before.past is None:
        return Memory(found.aligned, None)
    ages = before.past.ages
    older = torch.where((ages >= 0) & (ages + 1 < ages.shape[1]), ages + 1, torch.full_like(ages, -1))
    newest = torch.zeros_like(ages[:, :1])
    past = Past(
        torch.cat([found.keys[:, None], before.past.keys[:, :-1]], 1),
        torch.cat([found.values[:, None], before.past.values[:, :-1]], 1),
        torch.cat([newest, older[:, :-1]], 1),
    )
    return Memory(found.aligned, past)


class MemoryStage(Stage):
    """Trains everything but the tokenizer on unrolled tracks; a sample is a track."""

    def __init__(
        self, network: C2FNetwork, store: ClipStore, config: TrainConfig, faults: FaultSource | None = None
    ) -> None:
        objective = MemoryObjective(network, config)
        super().__init__(config.last_stage, network, objective, config.memory_stage, config.ema_decay, config.seed)
        self.network, self.store, self.about, self.faults = network, store, config, faults
        shares = [about.weight for about in config.data.tracks]
        self.windows = find_windows(store, config.data.min_visible_pixels, shares)
        self.spec = input_spec(config.crop, config.network.mask_channels)
        choose_trained(network, True, config.train_everything)
        network.train()

    def draw(self, step: int, part: Part) -> RawUnroll:
        about = self.about
        unroll = replace(about.unroll, frames=self.frames_at(step))
        return unrolled_batch(
            self.store, self.windows, about.crop, self.spec, step, self.config.batch, self.seed, unroll,
            about.augment, self.faults, part.index, part.count,
        )  # fmt: skip

    def frames_at(self, step: int) -> int:
        """Through how many frames the tracks of this step are followed: the memory is filled by none to all of the
        frames that are not graded, so that objects just met are trained too."""
        least, most = self.about.unroll.graded, self.about.unroll.frames
        return least + (step * 7919 + self.seed) % (most - least + 1)

    def inputs(self, drawn: RawUnroll) -> Inputs:
        return dict(
            zip(("image", "masks", "amodal", "visible", "warp"), to_frames(drawn, self.engine.device), strict=True)
        )

    @torch.no_grad()
    def picture(self, step: int, file: Path) -> None:
        shown = {name: values[:, :PICTURED] for name, values in self.inputs(self.draw(step, Part(0, 1))).items()}
        self.network.eval()
        refined = self._followed(shown)
        self.network.train()
        rows = [shown["image"], shown["masks"][:, :, :1], refined, shown["amodal"]]
        contact_sheet([values.transpose(0, 1).flatten(0, 1) for values in rows], file)

    def _followed(self, shown: Mapping[str, Tensor]) -> Tensor:
        """Probabilities [T, B, 1, S, S]."""
        if not isinstance(self.network, StreamNetwork):
            found = self.network(shown["image"].flatten(0, 1), shown["masks"].flatten(0, 1))[0]
            return found[:, None].unflatten(0, shown["image"].shape[:2])
        memory, out = self.network.empty_memory(shown["image"].shape[1], self.engine.device), []
        for image, masks, warp in zip(shown["image"], shown["masks"], shown["warp"], strict=True):
            found = self.network.step(image, masks, warp, memory)
            memory = kept_memory(found, memory)
            prediction = found.prediction
            out.append(prediction.coverage if prediction.amodal is None else prediction.amodal.sigmoid())
        return torch.stack(out)


def begin_with(network: C2FNetwork, weights: Mapping[str, Tensor]) -> None:
    """Take up the weights of the same network without a memory; what only the memory has stays as it was made.

    Blocks with a ring have one more norm: that of the image block's MLP is their third; what they attend to in memory
    adds nothing at first.
    """
    own = network.state_dict()
    ring = network.config.memory.ring
    moved = {}
    for name, value in weights.items():
        if ring and ".ln2." in name and name.startswith("transformer.blocks."):
            name = name.replace(".ln2.", ".ln3.")
        moved[name] = value
    network.load_state_dict({**own, **moved})
    if ring:
        for block in network.transformer.blocks:
            nn.init.zeros_(block.ring.proj.weight)
            nn.init.zeros_(block.ring.proj.bias)
