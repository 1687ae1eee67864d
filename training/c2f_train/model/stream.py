"""The streaming network: the newest frame of an object, and what the network itself keeps of the earlier ones.

Ours; the published video model looks at whole clips, both ways in time. The memory lies over the object's crop, is laid
over the next one by the object's measured motion, and is written by gates; its size never changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from c2f_train.model.config import NetworkConfig
from c2f_train.model.decoding import Step, complete
from c2f_train.model.network import C2FNetwork, Prediction
from c2f_train.model.transformer import Past

MOST_LOGIT = 8.0
"""Logits in memory are cut to this size, so that nothing is remembered as certain."""
TRUST_KEPT = 0.9
"""What is left of the trust in a memory after a frame in which nothing of its object is seen."""
LEAST_TRUST = 1 / 8
"""Trust above which a place counts as remembered while nothing of the object is seen."""
KEPT_AT_FIRST = -0.5
"""Logit of the share of its memory that an untrained network keeps."""


@dataclass(frozen=True)
class Memory:
    """Of N objects. aligned [N, C, S/2, S/2], over the crops of the frame before; past: keys, values, ages. None where
    the network has no such memory."""

    aligned: Tensor | None
    past: Past | None


@dataclass(frozen=True)
class StreamPrediction:
    """One frame: the prediction, and the memory it leaves: aligned [N, C, S/2, S/2], keys and values
    [N, layers, L, dim] of this frame (None where there is no such memory)."""

    prediction: Prediction
    tokens: Tensor
    aligned: Tensor | None
    keys: Tensor | None
    values: Tensor | None


class Remember(nn.Module):
    """Writes the memory: a gate between what was there and what the newest frame says."""

    def __init__(self, inputs: int, channels: int, features: int) -> None:
        super().__init__()
        self.features = features
        self.write = nn.Conv2d(inputs + channels, 2 * features, 3, padding=1)
        nn.init.constant_(self.write.bias[:features], 1.0)

    def forward(self, written: Tensor, recalled: Tensor) -> Tensor:
        """written [N, 2 features, g, g] of `write`, recalled [N, channels, g, g], its last `features` the old memory ->
        the new one."""
        gate, new = written.split(self.features, 1)
        new = new.tanh()
        return new + gate.sigmoid() * (recalled[:, -self.features :] - new)


class StreamNetwork(C2FNetwork):
    """A `C2FNetwork` with a memory, `config.memory`. Without anything in memory, and untrained, it is that network."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        memory = config.memory
        if memory.channels:
            finest = config.refiner.widths[-1]
            self.recall = nn.Conv2d(memory.channels, config.encoder.outputs[0], 3, padding=1)
            self.recall_late = nn.Conv2d(memory.channels, finest, 3, padding=1)
            for part in (self.recall, self.recall_late):
                nn.init.zeros_(part.weight)
                nn.init.zeros_(part.bias)
            if memory.result:
                self.keep = nn.Conv2d(finest + memory.channels, 4, 3, padding=1)
                nn.init.zeros_(self.keep.weight)
                nn.init.constant_(self.keep.bias, KEPT_AT_FIRST)
            if memory.features:
                self.remember = Remember(finest, memory.channels, memory.features)

    def empty_memory(self, objects: int, device: torch.device | None = None) -> Memory:
        """Nothing in memory, for so many objects."""
        aligned, past = None, None
        for state in self.config.temporal_spec().state:
            if state.kind == "aligned":
                aligned = torch.zeros(objects, *state.shape, device=device)
        if self.config.memory.ring:
            ring, transformer = self.config.memory.ring, self.config.transformer
            shape = (objects, ring, transformer.layers, self.config.grid**2, transformer.dim)
            nothing = torch.zeros(shape, device=device)
            past = Past(nothing, nothing, torch.full((objects, ring), -1, device=device))
        return Memory(aligned, past)

    def step(
        self, image: Tensor, masks: Tensor, warp: Tensor | None, memory: Memory, known: Tensor | None = None
    ) -> StreamPrediction:
        """The newest frame: image [N, 3, S, S], masks [N, M, S, S], warp [N, 3] (`following.alignment`), memory of the
        frames before. known: amodal tokens [N, L] of a training pass; None: the K steps of inference."""
        recalled = None
        if memory.aligned is not None:
            assert warp is not None
            recalled = lay_over(memory.aligned, warp)
        x = torch.cat([image, masks], 1) if self.config.encoder.masks else image
        early, late, *kept = (None, None) if recalled is None else self._from_memory(recalled)
        features = self.encoder(x, early)
        with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
            visible_tokens = self.tokenizer.encode(masks[:, :1].float())
        last, hidden, keys, values = self._tokens(features[-1], visible_tokens, known, memory.past)
        coarse = self.coarse(last)
        coverage = self.tokenizer.coverage(coarse)
        if self.refiner is None:
            return StreamPrediction(
                Prediction(last.logits, coarse, coverage, None, None), last.tokens, None, keys, values
            )
        shared = self.refiner.shared_features(features, hidden, coverage, late)
        found = self.refiner.heads(shared, features, coverage)
        aligned = None
        if recalled is not None:
            is_hidden = masks[:, :1].amax((2, 3), keepdim=True) == 0
            written = [a + b for a, b in zip(kept, self._from_result(shared), strict=True)]
            folded = self.refiner.folded(found["amodal"])
            if self.config.memory.result:
                folded = self._blended(folded, written[0], recalled, is_hidden)
            found["amodal"] = F.pixel_shuffle(folded, 2)
            aligned = self._remembered(folded, written[-1], recalled, is_hidden)
        found = self.refiner.at_crop_size(found)
        prediction = Prediction(last.logits, coarse, coverage, found["amodal"], found.get("visible"))
        return StreamPrediction(prediction, last.tokens, aligned, keys, values)

    def _writers(self) -> list[nn.Conv2d]:
        """The convolutions that look at the result and the memory together: first channels the result's."""
        memory = self.config.memory
        return [*([self.keep] if memory.result else []), *([self.remember.write] if memory.features else [])]

    def _from_memory(self, recalled: Tensor) -> tuple[Tensor, ...]:
        """All that is computed of the memory alone, in one convolution: `recall`, `recall_late`, and the memory's part
        of each of `_writers`."""
        readers, writers = [self.recall, self.recall_late], self._writers()
        result = self.config.refiner.widths[-1]
        weight = torch.cat([*(c.weight for c in readers), *(c.weight[:, result:] for c in writers)])
        bias = torch.cat([*(c.bias for c in readers), *(torch.zeros_like(c.bias) for c in writers)])
        sizes = [c.out_channels for c in (*readers, *writers)]
        return F.conv2d(recalled, weight, bias, padding=1).split(sizes, 1)

    def _from_result(self, shared: Tensor) -> tuple[Tensor, ...]:
        """The result's part of each of `_writers`, in one convolution."""
        writers, result = self._writers(), self.config.refiner.widths[-1]
        weight = torch.cat([c.weight[:, :result] for c in writers])
        bias = torch.cat([c.bias for c in writers])
        return F.conv2d(shared, weight, bias, padding=1).split([c.out_channels for c in writers], 1)

    def _tokens(
        self, features: Tensor, visible_tokens: Tensor, known: Tensor | None, past: Past | None
    ) -> tuple[Step, Tensor, Tensor | None, Tensor | None]:
        """The last of the K steps, hidden states, and the keys and values to keep."""
        given = self.transformer.given(self.transformer.embed_image(features), visible_tokens)
        kept: list[tuple[Tensor, Tensor]] = []

        def logits_of(tokens: Tensor) -> tuple[Tensor, Tensor]:
            if past is None:
                return self.transformer.from_given(given, tokens)
            logits, hidden, *pair = self.transformer.step(given, tokens, past)
            kept.append((pair[0], pair[1]))
            return logits, hidden

        if known is None:
            steps, hidden = complete(
                logits_of, self.transformer.unknown, self.config.tokenizer.codebook_size, self.config.inference
            )
            last = steps[-1]
        else:
            logits, hidden = logits_of(known)
            nothing = known.new_zeros(())
            last = Step(known, logits, known, nothing, nothing, nothing)
        keys, values = (None, None) if not kept else kept[0 if self.config.memory.cached == "first" else -1]
        return last, hidden, keys, values

    def _blended(self, folded: Tensor, kept: Tensor, recalled: Tensor, is_hidden: Tensor) -> Tensor:
        """The result's logits, folded 2x2 as all is here: per pixel a learned share (kept [N, 4, g, g] of `keep`) of
        what memory says, where there is one, the rest of what is new.

        Where nothing of the object is seen (is_hidden [N, 1, 1, 1]) memory is kept as it is: nothing is new, and what
        is learned from others' pixels alone made it worse (training/LOG.md).
        """
        share, trust = kept.sigmoid(), recalled[:, 4:5]
        share = torch.where(is_hidden, (trust / LEAST_TRUST).clamp(max=1), share * trust)
        before = recalled[:, :4] * MOST_LOGIT
        return folded + share * (before - folded.clamp(-MOST_LOGIT, MOST_LOGIT))

    def _remembered(self, folded: Tensor, written: Tensor, recalled: Tensor, is_hidden: Tensor) -> Tensor:
        """The memory that this frame leaves: its logits folded 2x2 (as shares of `MOST_LOGIT`), how far it can be
        trusted (1 where something of the object is seen, less from frame to frame where not), features (written: what
        `Remember` takes)."""
        parts = []
        if self.config.memory.result:
            parts.append((folded.clamp(-MOST_LOGIT, MOST_LOGIT) / MOST_LOGIT).to(recalled.dtype))
        trust = recalled[:, 4:5] if self.config.memory.result else recalled[:, :1]
        parts.append(torch.where(is_hidden, TRUST_KEPT * trust, 1.0))
        if self.config.memory.features:
            parts.append(self.remember(written, recalled).to(recalled.dtype))
        return torch.cat(parts, 1)

    def infer(self, image: Tensor, masks: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """`forward`: everything that it computes is used."""
        return self.forward(image, masks, *states)

    @property
    def outputs(self) -> tuple[str, ...]:
        states = self.config.temporal_spec().state
        return "amodal", "coarse", "tokens", *(f"{state.name}_next" for state in states)

    def forward(self, image: Tensor, masks: Tensor, *states: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """Inference of one frame: amodal and coarse coverage [N, S, S], tokens [N, L], then the states to keep.

        states: as `contract.state_inputs` says, in the manifest's order.
        """
        rest = list(states)
        warp = aligned = past = None
        if self.config.memory.channels:
            warp, aligned = rest.pop(0), rest.pop(0)
        if self.config.memory.ring:
            ages, keys, values = rest
            past = Past(keys, values, ages)
        found = self.step(image, masks, warp, Memory(aligned, past))
        coverage = found.prediction.coverage
        amodal = coverage if found.prediction.amodal is None else found.prediction.amodal.sigmoid()
        kept = [state for state in (found.aligned, found.keys, found.values) if state is not None]
        return amodal[:, 0], coverage[:, 0], found.tokens, *kept


def lay_over(memory: Tensor, warp: Tensor) -> Tensor:
    """The memory [N, C, g, g] of another crop as it lies in this one; outside it is 0. warp [N, 3]: (a, bx, by), the
    point u of this crop lay at a * u + (bx, by) in the other."""
    size = int(memory.shape[-1])
    line = torch.from_numpy((np.arange(size, dtype=np.float32) * 2 + 1) / size - 1).to(memory)
    places = torch.stack([line.expand(size, size), line[:, None].expand(size, size)], 2)
    warp = warp.reshape(-1, 1, 1, 3)
    grid = warp[..., :1] * places + warp[..., 1:]
    return F.grid_sample(memory, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def make_network(config: NetworkConfig) -> C2FNetwork:
    """The network that a configuration describes, with a memory or without."""
    return StreamNetwork(config) if config.is_stream else C2FNetwork(config)
