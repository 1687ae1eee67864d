"""Training configuration: typed, read from YAML, unknown keys refused; a copy goes beside every checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from c2f_ros.contract import CropSpec, parse, to_plain
from c2f_train.model.config import NetworkConfig, UNetConfig


@dataclass(frozen=True)
class SetConfig:
    """One generated set of clips: how many, how long, from which seed, which shape families.

    families: `train`, `held_out` or `all`. orbit_degrees: camera motion per frame.
    """

    clips: int
    frames: int
    seed: int
    families: str
    orbit_degrees: float
    elevation_degrees: tuple[float, float]
    sparse_fraction: float


@dataclass(frozen=True)
class DataConfig:
    """Generated sets and how crops are cut from them.

    min_visible_pixels: smaller visible masks are not trained on. scale_jitter, shift_jitter: random change of
    the crop's side and centre, as a share of the side. unsegmented_fraction: share of samples for which a
    random subset of the other objects (half of the time: all) is missing from the `others` plane.
    """

    train: SetConfig
    validation: SetConfig
    test: SetConfig
    held_out: SetConfig
    min_visible_pixels: int
    scale_jitter: float
    shift_jitter: float
    unsegmented_fraction: float


@dataclass(frozen=True)
class AugmentConfig:
    """flip: share mirrored. ragged: share whose visible mask is dilated, eroded or blurred."""

    flip: float
    ragged: float


@dataclass(frozen=True)
class StageConfig:
    """One stage: samples seen, batch, peak learning rate (cosine, with warm-up as a share of the steps)."""

    samples: int
    batch: int
    learning_rate: float
    warmup: float
    weight_decay: float


@dataclass(frozen=True)
class LossConfig:
    """Weights: `iou` beside each cross entropy, `coarse`, `tokens` (label smoothing), `visible`;
    full_mask: share of samples whose amodal tokens are all masked, the rest masks U(0.5, 1) (paper A.2)."""

    iou: float
    coarse: float
    tokens: float
    label_smoothing: float
    visible: float
    full_mask: float


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run."""

    name: str
    seed: int
    crop: CropSpec
    data: DataConfig
    network: NetworkConfig
    unet: UNetConfig
    augment: AugmentConfig
    loss: LossConfig
    ema_decay: float
    tokenizer_stage: StageConfig
    transformer_stage: StageConfig
    refiner_stage: StageConfig


def load_config(path: Path) -> TrainConfig:
    """Read and check a YAML file. Raises ContractError (one sentence) on an unknown key or wrong type."""
    return parse(TrainConfig, yaml.safe_load(path.read_text()), path.name)


def save_config(config: TrainConfig, path: Path) -> None:
    """Write `config` as YAML; `load_config` reads the same back."""
    path.write_text(yaml.safe_dump(to_plain(config), sort_keys=False))
