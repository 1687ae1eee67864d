"""Networks to distill: published checkpoints, or a run of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from c2f_ros.contract import ContractError, CropSpec, InputSpec
from c2f_train.config import load_config
from c2f_train.data.samples import input_spec
from c2f_train.model.network import C2FNetwork
from c2f_train.official.checkpoints import load_official
from c2f_train.official.official_bundle import INPUT, published_crop
from c2f_train.scores.predictors import load_network


@dataclass(frozen=True)
class Teacher:
    """A network, and how its inputs are made."""

    network: C2FNetwork
    crop: CropSpec
    input: InputSpec


def open_teacher(
    run: Path | None, vq: Path | None, c2f: Path | None, configs: Sequence[Path], window: int | None, steps: int
) -> Teacher:
    """The run's network, or the published one in `vq` and `c2f` with `steps` mask-and-predict steps.

    Raises ContractError, one sentence: neither or both given, a streaming network, or what `load_official` refuses.
    """
    if (run is None) == (vq is None or c2f is None):
        raise ContractError("give --vq and --c2f, a published checkpoint, or --run, a folder of `c2f-train train`")
    if run is None:
        assert vq is not None and c2f is not None
        network = load_official(vq, c2f, configs, window, steps)
        return Teacher(network, published_crop(network.config.crop_size), INPUT)
    config = load_config(run / "config.yaml")
    if config.network.is_stream:
        raise ContractError(f"{run} is of a network with a memory, which has no use for students; give another run")
    spec = input_spec(config.crop, config.network.mask_channels)
    return Teacher(load_network(config, run), config.crop, spec)
