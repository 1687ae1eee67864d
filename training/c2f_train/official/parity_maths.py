"""Parity of scores, losses and the optimizer on recorded numbers."""

from __future__ import annotations

import torch

from c2f_ros.metrics import published_image_iou, published_video_iou
from c2f_train.config import ScheduleConfig
from c2f_train.fitting.adversarial import discriminator_loss
from c2f_train.fitting.losses import token_loss
from c2f_train.fitting.optimizer import PublishedAdamW, rate_share
from c2f_train.model.tokenizer import Codebook
from c2f_train.official.official_config import PublishedSizes, published_config
from c2f_train.official.parity_checks import EXACT, SCORE, Checks, Recorded
from c2f_train.official.parity_image import floats, tokens

SMOOTHING = 0.1
"""Label smoothing of the published token loss (spec 12.3)."""


def check_maths(checks: Checks, data: Recorded) -> None:
    """Scores, label-smoothed cross entropy, optimizer with its schedule, quantization and its gradients, hinge loss."""
    _check_scores(checks, data)
    if "ce_logits" in data:
        found = token_loss(floats(data.read("ce_logits"))[None], tokens(data.read("ce_targets"))[None], SMOOTHING)
        checks.recorded(data, "ce_loss", found.mean(), SCORE)
    _check_optimizer(checks, data)
    _check_codebook(checks, data)
    if "hinge_real" in data and "hinge_fake" in data:
        real, fake = (floats(data.read(name)) for name in ("hinge_real", "hinge_fake"))
        checks.recorded(data, "hinge_d", discriminator_loss(real, fake, "hinge"), SCORE)
    checks.close(data)


def _check_scores(checks: Checks, data: Recorded) -> None:
    if "pred" not in data:
        return
    masks = [data.read(name) for name in ("pred", "full", "vis")]
    image, video = published_image_iou(*masks), published_video_iou(*masks)
    if "image_eval" in data:
        columns = {"iou": image.full_iou, "occ_iou": image.occluded_iou, "count": image.is_counted}
        for column, name in enumerate(data.read("image_eval_cols").tolist()):
            expected = data.read("image_eval")[:, column]
            checks.near(f"{data.name}: image_eval {name}", columns[name], expected, SCORE)
    checks.recorded(data, "video_full_iou", video.full_iou, SCORE)
    checks.recorded(data, "video_occ_iou", video.occluded_iou, SCORE)


def _check_optimizer(checks: Checks, data: Recorded) -> None:
    """Steps from recorded gradients at recorded hyperparameters: peak rate, betas, eps, decay, warm-up, steps."""
    if "adamw_w0" not in data:
        return
    peak, first, second, eps, decay, warm, steps = data.read("adamw_hyper").tolist()
    schedule = ScheduleConfig(kind="linear", warmup=warm)
    weights = torch.nn.Parameter(floats(data.read("adamw_w0")).clone())
    optimizer = PublishedAdamW([weights], 0.0, (first, second), eps, decay)
    rates, found = [], []
    for step, gradient in enumerate(floats(data.read("adamw_grads"))):
        rates.append(peak * rate_share(step, int(steps), schedule))
        optimizer.param_groups[0]["lr"], weights.grad = rates[-1], gradient
        optimizer.step()
        found.append(weights.detach().clone())
    checks.recorded(data, "adamw_lr", torch.tensor(rates, dtype=torch.float64), 1e-9)
    checks.recorded(data, "adamw_w", torch.stack(found), 1e-6)


def _check_codebook(checks: Checks, data: Recorded) -> None:
    """Indices, quantization loss and its gradients for recorded features [N, dim, h, w]."""
    if "vq_codebook" not in data:
        return
    vectors, z = floats(data.read("vq_codebook")), floats(data.read("vq_z")).requires_grad_()
    sizes = PublishedSizes(codebook_size=len(vectors), code_dim=vectors.shape[1])
    codebook = Codebook(published_config(sizes).tokenizer)
    with torch.no_grad():
        codebook.vectors.copy_(vectors)
    cells = z.permute(0, 2, 3, 1).flatten(0, 2)
    indices = codebook.nearest(cells.detach())
    loss = codebook.loss(cells, codebook.embedding(indices))
    loss.backward()
    checks.recorded(data, "vq_idx", indices, EXACT)
    checks.recorded(data, "vq_loss", loss.detach(), SCORE)
    checks.recorded(data, "vq_grad_z", z.grad, SCORE)
    checks.recorded(data, "vq_grad_codebook", codebook.embedding.weight.grad, SCORE)
