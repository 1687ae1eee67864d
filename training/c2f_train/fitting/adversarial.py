"""Adversarial loss of the tokenizer (paper A.1, spec 11.2 and 11.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from c2f_train.distributed import mean_over_ranks


class PatchDiscriminator(nn.Module):
    """Masks [N, 1, S, S] -> one value per patch [N, 1, s, s], high where the mask looks real.

    Parameter names are those of the published checkpoints (`d_model`, prefix `discriminator.`).
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(1, width, 4, 2, 1), nn.LeakyReLU(0.2, True),
            nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2, True),
            nn.Conv2d(2 * width, 4 * width, 4, 1, 1, bias=False), nn.BatchNorm2d(4 * width), nn.LeakyReLU(0.2, True),
            nn.Conv2d(4 * width, 1, 4, 1, 1),
        )  # fmt: skip
        for module in self.main:
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def forward(self, masks: Tensor) -> Tensor:
        return self.main(masks)


class DiscriminatorObjective(nn.Module):
    """The discriminator's loss, through one forward pass so that gradients are averaged over ranks."""

    def __init__(self, discriminator: PatchDiscriminator, kind: str) -> None:
        super().__init__()
        self.discriminator, self.kind = discriminator, kind

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        return discriminator_loss(self.discriminator(real).float(), self.discriminator(fake).float(), self.kind)


def discriminator_loss(real: Tensor, fake: Tensor, kind: str) -> Tensor:
    """Loss of the discriminator's values for real and reconstructed masks.

    `hinge` (published): (relu(1 - real) + relu(1 + fake)) / 2; `log` (paper): minus the log-likelihood, halved too.
    """
    if kind == "hinge":
        return 0.5 * (F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean())
    return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())


def generator_loss(fake: Tensor, kind: str) -> Tensor:
    """Loss of the tokenizer: `hinge` (published): -mean(fake); `log`: -log(sigmoid(fake)), which does not saturate."""
    return -fake.mean() if kind == "hinge" else F.softplus(-fake).mean()


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_layer: Tensor, balance: str) -> Tensor:
    """lambda = |grad of reconstruction| / (|grad of adversarial| + delta) at the decoder's last layer; no gradient.

    balance: `published` (delta 1e-4, at most 1e4) or `paper` (A.1: delta 1e-6). Both losses keep their graphs. Over
    several ranks it is the weight of the whole batch.
    """
    wanted = mean_over_ranks(torch.autograd.grad(reconstruction, last_layer, retain_graph=True)[0])
    given = mean_over_ranks(torch.autograd.grad(adversarial, last_layer, retain_graph=True)[0])
    if balance == "published":
        return (wanted.norm() / (given.norm() + 1e-4)).clamp(0.0, 1e4).detach()
    return (wanted.norm() / (given.norm() + 1e-6)).detach()
