"""The three stages of the network (tokenizer, transformer, refiner) and the U-Net beside it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from c2f_train.batches import TrainBatch, batch_at
from c2f_train.config import StageConfig, TrainConfig, save_config
from c2f_train.loop import Losses, run_stage
from c2f_train.losses import mask_loss, masked_tokens, network_loss
from c2f_train.model.network import C2FNetwork
from c2f_train.model.tokenizer import MaskTokenizer
from c2f_train.model.unet import UNet
from c2f_train.samples import AMODAL, VISIBLE, SampleStore


def train_network(config: TrainConfig, store: SampleStore, folder: Path) -> C2FNetwork:
    """All three stages; finished ones are loaded. Checkpoints, logs and the configuration go to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    save_config(config, folder / "config.yaml")
    torch.manual_seed(config.seed)
    network = C2FNetwork(config.network).to(memory_format=torch.channels_last)
    tokenizer = network.tokenizer
    run_stage(
        "tokenizer", tokenizer.train(), _tokenizer_losses(config, tokenizer, store), config.tokenizer_stage, 0.0, folder
    )
    network.freeze_tokenizer()
    network.train()
    first = config.transformer_stage.samples // config.transformer_stage.batch
    for name, stage, is_refined, offset in (
        ("transformer", config.transformer_stage, False, 0),
        ("refiner", config.refiner_stage, True, first),
    ):
        losses = _network_losses(config, network, store, stage, is_refined, offset)
        run_stage(name, network, losses, stage, config.ema_decay, folder)
    return network.eval()


def train_unet(config: TrainConfig, store: SampleStore, folder: Path) -> UNet:
    """The U-Net on the same samples in the same order as the transformer and refiner stages together."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    unet = UNet(config.unet).to(memory_format=torch.channels_last).train()
    last = config.refiner_stage
    stage = StageConfig(
        config.transformer_stage.samples + last.samples, last.batch, last.learning_rate, last.warmup, last.weight_decay
    )

    def losses(step: int) -> dict[str, Tensor]:
        batch = batch_at(store, step, stage.batch, config.seed, config.augment)
        with torch.autocast("cpu", torch.bfloat16):
            logits = unet.logits(_last(batch.image), _last(batch.masks))
        return {"total": mask_loss(logits, batch.amodal, config.loss.iou).mean()}

    run_stage("unet", unet, losses, stage, config.ema_decay, folder)
    return unet.eval()


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _tokenizer_losses(config: TrainConfig, tokenizer: MaskTokenizer, store: SampleStore) -> Losses:
    """Reconstruction of amodal masks (60 %) and visible masks (40 %), plus commitment."""
    stage = config.tokenizer_stage

    def losses(step: int) -> dict[str, Tensor]:
        torch.manual_seed(config.seed * 1_000_003 + step)
        rows = torch.randint(len(store), (stage.batch,)).sort().values.numpy()
        planes = torch.from_numpy(store.samples[rows][:, [VISIBLE, AMODAL]]).float() / 255.0
        is_amodal = torch.rand(stage.batch, 1, 1, 1) < 0.6
        masks = _last(torch.where(is_amodal, planes[:, 1:], planes[:, :1]))
        masks = torch.where(torch.rand(stage.batch, 1, 1, 1) < 0.5, masks.flip(3), masks)
        with torch.autocast("cpu", torch.bfloat16):
            logits, commitment = tokenizer(masks)
        mask = mask_loss(logits, masks, config.loss.iou).mean()
        return {"mask": mask, "commitment": commitment, "total": mask + commitment}

    return losses


def _network_losses(
    config: TrainConfig, network: C2FNetwork, store: SampleStore, stage: StageConfig, is_refined: bool, offset: int
) -> Losses:
    mask_index = network.transformer.mask_index

    def losses(step: int) -> dict[str, Tensor]:
        batch: TrainBatch = batch_at(store, offset + step, stage.batch, config.seed, config.augment)
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + offset + step)
        with torch.no_grad():
            tokens = network.tokenizer.encode(_last(batch.amodal))
            visible_tokens = network.tokenizer.encode(_last(batch.masks[:, :1]))
        known, is_full = masked_tokens(tokens, mask_index, config.loss.full_mask, generator)
        with torch.autocast("cpu", torch.bfloat16):
            prediction = network.predict(_last(batch.image), _last(batch.masks), visible_tokens, known, is_refined)
        return network_loss(
            prediction, known, is_full, tokens, batch.amodal, batch.visible_truth, config.loss, mask_index
        )

    return losses
