"""Stage 3, of models with memory: everything but the tokenizer, on tracks that are followed through their frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from c2f_train.config import TrainConfig
from c2f_train.data.clip_store import ClipStore
from c2f_train.data.samples import input_spec
from c2f_train.data.unrolled import FaultSource, RawUnroll, find_windows, to_frames, unrolled_batch
from c2f_train.fitting.engine import Part
from c2f_train.fitting.losses import Masking, network_loss
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

    Of the frames only the last `graded` have a gradient; those before them fill the memory. A network without a memory
    gets the same frames as so many images.
    """

    def __init__(self, network: C2FNetwork, config: TrainConfig, graded: int, consistency: float) -> None:
        super().__init__()
        self.network, self.config = network, config.loss.network
        self.graded, self.consistency = graded, consistency

    def forward(self, image: Tensor, masks: Tensor, amodal: Tensor, visible: Tensor, warp: Tensor) -> dict[str, Tensor]:
        if not isinstance(self.network, StreamNetwork):
            return self._images(*(x[-self.graded :].flatten(0, 1) for x in (image, masks, amodal, visible)))
        memory, terms = self.network.empty_memory(image.shape[1], image.device), []
        error = None
        for t in range(len(image)):
            is_graded = t >= len(image) - self.graded
            with torch.set_grad_enabled(is_graded and torch.is_grad_enabled()):
                found = self.network.step(image[t], masks[t], warp[t], memory, self._unknown(masks[t]))
            memory = kept_memory(found, memory)
            if is_graded:
                losses = self._losses(found.prediction, masks[t], amodal[t], visible[t])
                if self.consistency and found.prediction.amodal is not None:
                    now = found.prediction.amodal.float().sigmoid() - amodal[t]
                    if error is not None:
                        losses["flicker"] = (now - lay_over(error, warp[t])).abs().mean()
                        losses["total"] = losses["total"] + self.consistency * losses["flicker"]
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
            return network_loss(
                found, masking, tokens, amodal, visible, self.network.config.tokenizer.output, self.config
            )  # fmt: skip


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
        objective = MemoryObjective(network, config, config.unroll.graded, config.loss.flicker)
        super().__init__("memory", network, objective, config.memory_stage, config.ema_decay, config.seed)
        self.network, self.store, self.about, self.faults = network, store, config, faults
        shares = [about.weight for about in config.data.tracks]
        self.windows = find_windows(store, config.data.min_visible_pixels, shares)
        self.spec = input_spec(config.crop, config.network.mask_channels)
        choose_trained(network, True, config.train_everything)
        network.train()

    def draw(self, step: int, part: Part) -> RawUnroll:
        about = self.about
        return unrolled_batch(
            self.store, self.windows, about.crop, self.spec, step, self.config.batch, self.seed, about.unroll,
            about.augment, self.faults, part.index, part.count,
        )  # fmt: skip

    def inputs(self, drawn: RawUnroll) -> Inputs:
        return dict(
            zip(("image", "masks", "amodal", "visible", "warp"), to_frames(drawn, self.engine.device), strict=True)
        )

    def inputs_at(self, step: int, accumulated: int = 0) -> dict[str, Tensor]:
        """As of any stage; the memory is filled by none to all of the frames that are not graded, so that objects just
        met are trained too."""
        found = super().inputs_at(step, accumulated)
        least, most = self.about.unroll.graded, self.about.unroll.frames
        used = least + (step * 7919 + self.seed) % (most - least + 1)
        return {name: values[:used] for name, values in found.items()}

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
