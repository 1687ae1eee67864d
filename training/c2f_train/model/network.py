"""C2F-Seg: image features, mask-and-predict in token space, decoding, refinement. Image and video, every size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from c2f_train.model.config import NetworkConfig
from c2f_train.model.decoding import Draw, Step, complete, kept_probability, most_likely
from c2f_train.model.refiner import Refiner
from c2f_train.model.resnet import ResNet
from c2f_train.model.tokenizer import MaskTokenizer
from c2f_train.model.transformer import TokenTransformer


@dataclass(frozen=True)
class Prediction:
    """token_logits [N, L, classes]; coarse: the tokenizer's decoder values [N, 1, S, S]; coverage: the same as 0..1;
    amodal, visible: refined logits [N, 1, S, S], None if that branch was not run."""

    token_logits: Tensor
    coarse: Tensor
    coverage: Tensor
    amodal: Tensor | None
    visible: Tensor | None


class C2FNetwork(nn.Module):
    """image [N, 3, S, S] normalized, masks [N, M, S, S] in 0..1, planes as `config.mask_channels`.

    The video model (`config.frames` = T > 1) takes image [N, T, 3, S, S] and masks [N, T, M, S, S], oldest first.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        planes = 3 + (len(config.mask_channels) if config.encoder.masks else 0)
        self.tokenizer = MaskTokenizer(config.tokenizer, config.grid)
        self.encoder = ResNet(config.encoder, planes)
        self.transformer = TokenTransformer(
            config.transformer, config.encoder.outputs[-1], config.grid, config.memory.ring
        )
        self.refiner = (
            Refiner(config.refiner, config.encoder, config.transformer.dim, config.crop_size)
            if config.refiner.enabled
            else None
        )

    def freeze_tokenizer(self) -> None:
        """The tokenizer is trained first and then stays as it is (gradients still pass through it)."""
        self.tokenizer.requires_grad_(False)
        self.tokenizer.eval()

    def train(self, mode: bool = True) -> C2FNetwork:
        super().train(mode)
        self.tokenizer.eval()
        return self

    def features(self, image: Tensor, masks: Tensor) -> list[Tensor]:
        """Feature maps of frames [M, ...], finest first."""
        return self.encoder(torch.cat([image, masks], 1) if self.config.encoder.masks else image)

    def complete(
        self, features: list[Tensor], visible_tokens: Tensor, frames: int, draw: Draw = most_likely
    ) -> tuple[list[Step], Tensor]:
        """The K mask-and-predict steps on frames [B * frames, ...], and the hidden states of the last."""
        return self.complete_from(self.transformer.embed_image(features[-1]), visible_tokens, frames, draw)

    def complete_from(
        self, image: Tensor, visible_tokens: Tensor, frames: int, draw: Draw = most_likely
    ) -> tuple[list[Step], Tensor]:
        """`complete` of the image part of the embedding."""
        given = self.transformer.given(image, visible_tokens)
        return complete(
            lambda known: self.transformer.from_given(given, known, frames),
            self.transformer.unknown,
            self.config.tokenizer.codebook_size,
            self.config.inference,
            draw,
        )

    def coarse(self, step: Step) -> Tensor:
        """The tokenizer's decoder values [N, 1, S, S] of a step's outcome, by tokens or by expected code vectors."""
        if self.config.inference.decode == "hard":
            return self.tokenizer.decode(step.tokens)
        return self._soft(step.logits)

    def _soft(self, logits: Tensor) -> Tensor:
        codes = self.config.tokenizer.codebook_size
        return self.tokenizer.decode_vectors(logits[..., :codes].float().softmax(-1) @ self.tokenizer.quantize.vectors)

    def predict(
        self, image: Tensor, masks: Tensor, visible_tokens: Tensor, known: Tensor, refine: bool, frames: int = 1
    ) -> Prediction:
        """One training pass over frames [B * frames, ...]: tokens of the visible mask and the amodal tokens `known`,
        each [B * frames, L] ([MASK] where unknown). Hard decoding draws from the top five, detached (spec 12.4)."""
        features = self.features(image, masks)
        embedded = self.transformer.embed_image(features[-1])
        logits, hidden = self.transformer(embedded, visible_tokens, known, frames)
        if self.config.inference.decode == "soft":
            coarse = self._soft(logits)
        else:
            coarse = self._drawn(logits.detach())
        coverage = self.tokenizer.coverage(coarse)
        if not refine or self.refiner is None:
            return Prediction(logits, coarse, coverage, None, None)
        found = self.refiner(features, hidden, coverage)
        return Prediction(logits, coarse, coverage, found["amodal"], found.get("visible"))

    @torch.no_grad()
    def _drawn(self, logits: Tensor) -> Tensor:
        probability = kept_probability(logits[..., : self.config.tokenizer.codebook_size].float(), 5)
        tokens = torch.multinomial(probability.flatten(0, 1), 1).reshape(logits.shape[:2])
        return self.tokenizer.decode(tokens)

    def forward(self, image: Tensor, masks: Tensor, draw: Draw = most_likely) -> tuple[Tensor, Tensor, Tensor]:
        """Inference of the (newest) frame: amodal and coarse coverage [N, S, S], tokens [N, L].

        draw: how tokens are chosen; the default is deterministic and is what is exported. With `inference.output: sum`
        the first is (refined + coarse) / 2: threshold it at 0.25.
        """
        return self.finish(*self._last_step(image, masks, draw))

    def infer(self, image: Tensor, masks: Tensor) -> tuple[Tensor, ...]:
        """`forward` without what cannot change the amodal mask; what is exported: the outputs that `outputs` names.

        Of `tokenizer` it uses `encode`, `coverage` and, where `config.reads_cells`, `decode_cells`, otherwise `decode`
        (or `decode_vectors`): another module with these methods may take its place.
        """
        last, features, hidden = self._last_step(image, masks, most_likely)
        return self.conclude(last, features, hidden)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what `infer` returns, in order."""
        return ("amodal", "tokens") if self.config.reads_cells else ("amodal", "coarse", "tokens")

    def _last_step(self, image: Tensor, masks: Tensor, draw: Draw) -> tuple[Step, list[Tensor], Tensor]:
        """Of the newest frame: the last of the K steps, features and hidden states."""
        frames = self.config.frames
        if frames > 1:
            image, masks = image.flatten(0, 1), masks.flatten(0, 1)
        features = self.features(image, masks)
        visible_tokens = self.tokenizer.encode(masks[:, :1])
        steps, hidden = self.complete(features, visible_tokens, frames, draw)
        return newest(steps[-1], features, hidden, frames)

    def conclude(self, last: Step, features: list[Tensor], hidden: Tensor) -> tuple[Tensor, ...]:
        """What `infer` returns, of single frames' last step, features and hidden states."""
        if not self.config.reads_cells:
            return self.finish(last, features, hidden)
        coverage = self.tokenizer.coverage(self.tokenizer.decode_cells(last.tokens))
        amodal = self.refiner(features, hidden, coverage)["amodal"].sigmoid()
        return amodal[:, 0], last.tokens

    def finish(self, last: Step, features: list[Tensor], hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What `forward` returns, of single frames' last step, features and hidden states."""
        coverage = self.tokenizer.coverage(self.coarse(last))
        amodal = coverage
        if self.refiner is not None:
            amodal = self.refiner(features, hidden, coverage)["amodal"].sigmoid()
            if self.config.inference.output == "sum":
                amodal = (amodal + coverage) * 0.5
        return amodal[:, 0], coverage[:, 0], last.tokens


def newest(step: Step, features: list[Tensor], hidden: Tensor, frames: int) -> tuple[Step, list[Tensor], Tensor]:
    """Only the last frame of every clip: what is decoded and refined."""
    if frames == 1:
        return step, features, hidden

    def last(x: Tensor) -> Tensor:
        return x.reshape(-1, frames, *(int(size) for size in x.shape[1:]))[:, -1]

    parts = (step.known, step.logits, step.tokens, step.probability, step.masked, step.count)
    return Step(*(last(part) for part in parts)), [last(f) for f in features], last(hidden)


class Inference(nn.Module):
    """A network's `infer` as a module of its own: what is exported and what an export is compared with."""

    def __init__(self, network: C2FNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.network.infer(*inputs)
