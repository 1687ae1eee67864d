"""Training configuration: typed, read from YAML, unknown keys refused; a copy goes beside every checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from c2f_ros.contract import ContractError, CropSpec, parse, to_plain
from c2f_train.data_config import AugmentConfig, DataConfig, UnrollConfig
from c2f_train.model.config import PAPER, PUBLISHED, NetworkConfig, UNetConfig


@dataclass(frozen=True)
class ScheduleConfig:
    """Learning rate over a stage's steps, as a share of its peak.

    kind: `cosine` (to zero), `linear` (to zero; the published one: the first step has rate 0), `halving` (halved every
    `halve_every` steps) or `constant`. warmup: below 1 a share of the steps, from 1 on a number of steps.
    """

    kind: str
    warmup: float
    halve_every: int = 0

    def __post_init__(self) -> None:
        _one_of(self.kind, ("cosine", "linear", "halving", "constant"), "schedule.kind")
        if (self.kind == "halving") != (self.halve_every > 0) or self.warmup < 0:
            raise ContractError(
                f"schedule.kind is {self.kind}, halve_every {self.halve_every}, warmup {self.warmup}; give `halving` "
                "a positive halve_every, the others none, and no negative warmup"
            )


@dataclass(frozen=True)
class OptimizerConfig:
    """name: `adamw` (torch), `adam`, or `published` (spec 12.7: the decay comes after the step). Matrices decay by
    `weight_decay`, vectors (biases, norms) never. clip: largest norm of the gradient, 0 = not clipped."""

    name: str
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    clip: float

    def __post_init__(self) -> None:
        _one_of(self.name, ("adamw", "adam", "published"), "optimizer.name")


@dataclass(frozen=True)
class StageConfig:
    """One stage: samples seen in all, samples per step over all devices, passes per step (gradient accumulation),
    peak learning rate and its course, optimizer. A sample of a video model is a clip."""

    samples: int
    batch: int
    accumulate: int
    learning_rate: float
    schedule: ScheduleConfig
    optimizer: OptimizerConfig

    def __post_init__(self) -> None:
        if self.batch < 1 or self.accumulate < 1 or self.batch % self.accumulate:
            raise ContractError(
                f"a stage has batch {self.batch} and accumulate {self.accumulate}; make it a divisor of batch"
            )

    @property
    def steps(self) -> int:
        """Optimizer steps; 0 if the stage is left out."""
        return self.samples // self.batch


@dataclass(frozen=True)
class TokenizerLossConfig:
    """What the tokenizer minimizes beside the quantization loss (paper A.1, spec 11.2).

    reconstruction: `bce_iou` (cross entropy plus `iou` times 1 - soft IoU; needs output `sigmoid`), `l1` (published) or
    `none` (paper: the perceptual loss alone). perceptual: `lpips` (weights from `perceptual_files`, or from torch's hub
    cache), its substitute without weights `pyramid`, or `none`. adversarial: `hinge` (published), `log` (paper) or
    `none`. balance: the adaptive weight of the adversarial term: `published` (spec 11.2: over reconstruction and
    perceptual loss, delta 1e-4, at most 1e4) or `paper` (over the perceptual loss, delta 1e-6); times
    `adversarial_weight` (0.75 and 1). amodal_share: of the masks, the rest are visible (published: 1).
    """

    reconstruction: str
    iou: float
    perceptual: str
    perceptual_weight: float
    perceptual_files: tuple[str, ...]
    adversarial: str
    balance: str
    adversarial_weight: float
    amodal_share: float

    def __post_init__(self) -> None:
        _one_of(self.reconstruction, ("bce_iou", "l1", "none"), "loss.tokenizer.reconstruction")
        _one_of(self.perceptual, ("none", "pyramid", "lpips"), "loss.tokenizer.perceptual")
        _one_of(self.adversarial, ("none", "hinge", "log"), "loss.tokenizer.adversarial")
        _one_of(self.balance, (PUBLISHED, PAPER), "loss.tokenizer.balance")
        needs_perceptual = self.reconstruction == "none" or (self.adversarial != "none" and self.balance == PAPER)
        if needs_perceptual and self.perceptual == "none":
            raise ContractError(
                "loss.tokenizer.perceptual is 'none', but there is no reconstruction loss or the adversarial weight "
                "follows the perceptual loss; choose 'pyramid' or 'lpips'"
            )


@dataclass(frozen=True)
class NetworkLossConfig:
    """What transformer and refiner minimize (paper eq. 7 and 10) and how tokens are hidden from them.

    masking: `uniform` (a ratio from U(0.5, 1) per sample, paper) or `published` (spec 12.2: one per batch). full_mask:
    share of samples whose tokens are all hidden, as inference begins (`uniform` only). tokens_over: `masked`
    positions count (paper) or `all` (published). mask_samples: mask losses count the fully hidden samples (`full`) or
    `all`. tokens, coarse, refined, visible: weights of the terms; iou: of 1 - soft IoU beside amodal cross entropies.
    """

    masking: str
    full_mask: float
    tokens_over: str
    mask_samples: str
    tokens: float
    label_smoothing: float
    coarse: float
    refined: float
    visible: float
    iou: float

    def __post_init__(self) -> None:
        _one_of(self.masking, ("uniform", PUBLISHED), "loss.network.masking")
        _one_of(self.tokens_over, ("masked", "all"), "loss.network.tokens_over")
        _one_of(self.mask_samples, ("full", "all"), "loss.network.mask_samples")
        if (self.masking == PUBLISHED and self.full_mask) or (self.mask_samples == "full" and not self.full_mask):
            raise ContractError(
                f"loss.network.full_mask is {self.full_mask} with masking {self.masking} and mask_samples "
                f"{self.mask_samples}; published masking has none, and mask_samples 'full' needs some"
            )


@dataclass(frozen=True)
class LossConfig:
    """The losses of stage 1 and of the others; the rest are weights in the memory stage. flicker: how much the error of
    a model with memory changes from a frame to the next, laid over each other. hidden: 1 - soft IoU of hidden parts.
    """

    tokenizer: TokenizerLossConfig
    network: NetworkLossConfig
    flicker: float = 0.0
    hidden: float = 0.0


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run.

    pretrained: the image encoder's first weights: `none`, `imagenet` (torch's hub cache, or downloaded) or a file in
    torchvision's layout. train_everything: false leaves the transformer's biases and layer norms as they were at the
    start, as the published code does (spec B1). transformer_stage: without the refiner; 0 samples leave it out, then
    everything is trained together from the first step, as published. memory_stage: after the others, on tracks that are
    followed as `unroll` says; a sample is a track. The stages before it see single frames, the memory empty. A network
    without a memory gets the same frames as so many images.
    """

    name: str
    seed: int
    crop: CropSpec
    pretrained: str
    data: DataConfig
    network: NetworkConfig
    unet: UNetConfig
    augment: AugmentConfig
    loss: LossConfig
    ema_decay: float
    train_everything: bool
    tokenizer_stage: StageConfig
    transformer_stage: StageConfig
    refiner_stage: StageConfig
    unroll: UnrollConfig | None = None
    memory_stage: StageConfig | None = None

    def __post_init__(self) -> None:
        self._check_memory()
        sizes = (self.crop.size, self.network.crop_size, self.unet.crop_size)
        if len(set(sizes)) > 1:
            raise ContractError(f"crop.size, network.crop_size and unet.crop_size are {sizes}; make them equal")
        if self.unet.mask_channels != self.network.mask_channels:
            raise ContractError("unet.mask_channels differ from network.mask_channels; both get the same samples")
        output = self.network.tokenizer.output
        if self.loss.tokenizer.reconstruction == "bce_iou" and output != "sigmoid":
            raise ContractError(f"loss.tokenizer.reconstruction is 'bce_iou', tokenizer.output {output!r}; use 'l1'")
        if self.loss.tokenizer.adversarial != "none" and self.tokenizer_stage.accumulate > 1:
            raise ContractError(
                f"tokenizer_stage.accumulate is {self.tokenizer_stage.accumulate}; adversarial training updates the "
                "discriminator before the tokenizer in every step and needs 1"
            )
        self._check_stages()

    def _check_memory(self) -> None:
        if (self.unroll is None) != (self.memory_stage is None):
            raise ContractError("unroll and memory_stage belong together; give both or none")
        if self.network.is_stream and (self.memory_stage is None or self.crop.rule != "followed"):
            raise ContractError(
                f"network.memory is set, crop.rule is {self.crop.rule!r}; it needs 'followed', unroll and memory_stage"
            )

    @property
    def last_stage(self) -> str:
        """The stage whose weights are used: models with and without a memory may share a folder."""
        if self.memory_stage is None:
            return "refiner"
        return "memory" if self.network.is_stream else "tracks"

    @property
    def without_tracks(self) -> TrainConfig:
        """The same of single frames alone."""
        data = replace(self.data, tracks=())
        return replace(self, data=data, unroll=None, memory_stage=None)

    @property
    def image_crop(self) -> CropSpec:
        """How single frames are cut: what is followed is, in its first frame, a square."""
        return replace(self.crop, rule="square") if self.crop.rule == "followed" else self.crop

    def _check_stages(self) -> None:
        if not self.refiner_stage.steps or not self.tokenizer_stage.steps:
            raise ContractError("tokenizer_stage and refiner_stage need at least one batch of samples; raise `samples`")


def _one_of(value: str, allowed: tuple[str, ...], name: str) -> None:
    if value not in allowed:
        raise ContractError(f"{name} is {value!r}, expected one of {', '.join(allowed)}; correct the configuration")


def load_config(path: Path) -> TrainConfig:
    """Read and check a YAML file. Raises ContractError (one sentence) on an unknown key or wrong type."""
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ContractError(f"{path.name} is no YAML file ({' '.join(str(error).split())}); correct it") from None
    return parse(TrainConfig, content, path.name)


def save_config(config: TrainConfig, path: Path) -> None:
    """Write `config` as YAML; `load_config` reads the same back."""
    path.write_text(yaml.safe_dump(to_plain(config), sort_keys=False))
