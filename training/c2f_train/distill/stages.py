"""The two stages of a distillation: the encoder's student, then the decoder's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from c2f_train.config import OptimizerConfig, ScheduleConfig, StageConfig
from c2f_train.distill.students import FastTokenizer
from c2f_train.distill.targets import Labels, mixture
from c2f_train.fitting.engine import Part
from c2f_train.fitting.pictures import contact_sheet
from c2f_train.fitting.stages import Inputs, Stage
from c2f_train.model.tokenizer import MaskTokenizer

AVERAGE = 0.998
PICTURED = 8
HARD = 0.5
"""Share of the teacher's choice in the token loss; the rest is how near the other codes are."""
GAP_SAMPLES = 64
FASTER = 4.0
"""Times that the sharpness of scores learns faster than everything else."""

Arrays = dict[str, NDArray[Any]]


def stage_config(samples: int, batch: int) -> StageConfig:
    """A stage over so many samples, seen once or again."""
    optimizer = OptimizerConfig("adamw", (0.9, 0.98), 1e-8, 0.02, 1.0)
    return StageConfig(samples, batch, 1, 8e-3, ScheduleConfig("cosine", 0.04), optimizer)


class _EncoderObjective(nn.Module):
    """Scores of all codes, given or by distance, and latents against the teacher's."""

    def __init__(self, students: FastTokenizer, gap: float, spread: float) -> None:
        super().__init__()
        self.encoder, self.gap, self.spread = students.encoder, gap, spread
        self.register_buffer("vectors", students.quantize.vectors.detach().clone(), persistent=False)

    def forward(self, masks: Tensor, latents: Tensor, tokens: Tensor) -> dict[str, Tensor]:
        found, scores = self.encoder.lesson(masks)
        with torch.autocast(masks.device.type, enabled=False):
            found = found.float()
            soft = (self._scores(latents) / self.gap).softmax(-1)
            wanted = soft * (1 - HARD)
            wanted = wanted.scatter_add(-1, tokens[..., None], torch.full_like(wanted[..., :1], HARD))
            scores = self._scores(found) * self._sharpness() if scores is None else scores.float()
            terms = {
                "tokens": -(wanted * scores.log_softmax(-1)).sum(-1).mean(),
                "latents": F.mse_loss(found, latents) / self.spread,
            }
            wrong = (scores.detach().argmax(-1) != tokens).float().mean()
            return {"wrong_tokens": wrong, **terms, "total": torch.stack(list(terms.values())).sum()}

    def _scores(self, z: Tensor) -> Tensor:
        """Negative squared distances to all codes, but for what is the same for all."""
        return 2.0 * z @ self.vectors.T - (self.vectors * self.vectors).sum(1)

    def _sharpness(self) -> Tensor:
        """Of the student's scores: far from its end it errs by much more than the gap between two codes."""
        return (FASTER * self.encoder.sharpness).exp() / self.spread


class _DistillStage(Stage):
    """What both stages share: samples in an order of their own in every round."""

    def __init__(
        self, name: str, module: nn.Module, objective: nn.Module, count: int, config: StageConfig, seed: int
    ) -> None:
        super().__init__(name, module.train(), objective, config, AVERAGE, seed)
        self.count = count

    def open(self, engine: Any) -> None:
        self.objective.to(engine.device)
        super().open(engine)

    def chosen(self, step: int, part: Part) -> NDArray[np.int64]:
        """Indices of one part of the step's batch."""
        first = step * self.config.batch
        places = np.arange(first, first + self.config.batch)[part.index :: part.count]
        found = np.empty(len(places), np.int64)
        for turn in np.unique(places // self.count):
            order = np.random.default_rng([self.seed, int(turn)]).permutation(self.count)
            here = places // self.count == turn
            found[here] = order[places[here] % self.count]
        return found

    def inputs(self, drawn: Arrays) -> Inputs:
        device = self.engine.device
        found = {name: torch.from_numpy(array).to(device) for name, array in drawn.items()}
        return {name: x.float() if x.dtype == torch.float16 else x for name, x in found.items()}


class EncoderStage(_DistillStage):
    """Masks -> the teacher's tokens and latents."""

    def __init__(
        self, students: FastTokenizer, teacher: MaskTokenizer, labels: Labels, config: StageConfig, seed: int
    ) -> None:
        sample = torch.from_numpy(labels.latents[:GAP_SAMPLES].astype(np.float32)).flatten(0, 1)
        objective = _EncoderObjective(students, *_gap_and_spread(sample, teacher.quantize.vectors.detach().cpu()))
        super().__init__("encoder", students.encoder, objective, labels.samples, config, seed)
        self.students, self.teacher, self.labels = students, teacher, labels

    def draw(self, step: int, part: Part) -> Arrays:
        chosen = self.chosen(step, part)
        masks = self.labels.crops(chosen).astype(np.float32) / 255
        return {
            "masks": masks,
            "latents": self.labels.latents[chosen],
            "tokens": self.labels.tokens[chosen].astype(np.int64),
        }

    @torch.no_grad()
    def picture(self, step: int, file: Path) -> None:
        inputs = {name: x[:PICTURED] for name, x in self.inputs_at(step).items()}
        self.students.eval()
        tokens = (inputs["tokens"], self.students.encode(inputs["masks"]))
        self.students.train()
        contact_sheet([inputs["masks"], *(self.teacher.coverage(self.teacher.decode(t)) for t in tokens)], file)


class HeadStage(_DistillStage):
    """Codes -> the teacher's decoded coverage, as far as the network reads it."""

    def __init__(self, students: FastTokenizer, labels: Labels, config: StageConfig, seed: int) -> None:
        super().__init__("head", students.head, _HeadObjective(students), len(labels.values), config, seed)
        self.students, self.labels = students, labels

    def draw(self, step: int, part: Part) -> Arrays:
        chosen = self.chosen(step, part)
        names = ("first", "second", "share", "values")
        return {name: np.ascontiguousarray(getattr(self.labels, name)[chosen]) for name in names}

    def inputs(self, drawn: Arrays) -> Inputs:
        device, vectors = self.engine.device, self.students.quantize.vectors.detach()
        mixed = mixture(vectors, drawn["first"], drawn["second"], drawn["share"])
        values = torch.from_numpy(drawn["values"]).to(device).float()
        return {"grid": self.students.on_grid(mixed), "values": values}

    @torch.no_grad()
    def picture(self, step: int, file: Path) -> None:
        inputs = {name: x[:PICTURED] for name, x in self.inputs_at(step).items()}
        self.students.eval()
        found = self.students.head(inputs["grid"]).sigmoid()
        self.students.train()
        contact_sheet([inputs["values"], found], file)


class _HeadObjective(nn.Module):
    """Cross entropy with the teacher's coverage, and the mean difference from it."""

    def __init__(self, students: FastTokenizer) -> None:
        super().__init__()
        self.head = students.head

    def forward(self, grid: Tensor, values: Tensor) -> dict[str, Tensor]:
        found = self.head(grid)
        with torch.autocast(grid.device.type, enabled=False):
            found = found.float()
            terms = {
                "entropy": F.binary_cross_entropy_with_logits(found, values),
                "difference": (found.sigmoid() - values).abs().mean(),
            }
            return {**terms, "total": torch.stack(list(terms.values())).sum()}


def _gap_and_spread(latents: Tensor, vectors: Tensor) -> tuple[float, float]:
    """How much nearer the nearest code is than the next (squared, mean), and the variance of latents [M, C]."""
    distance = torch.cdist(latents, vectors).square().topk(2, largest=False).values
    gap = float((distance[:, 1] - distance[:, 0]).mean())
    return max(gap, 1e-6), max(float(latents.var()), 1e-6)
