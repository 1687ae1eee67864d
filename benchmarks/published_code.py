"""The published implementation, imported from a checkout of its repository, and made to run without a GPU.

Nothing of it is copied or changed. What it takes for granted and this machine may lack is stood in for, and only while
it is imported: torchvision (of which its inference uses ResNet-50's layers alone), a download library that it never
calls, a process group of one. While the model is open and there is no GPU, `.cuda()` of a tensor, which it calls
whatever the device is, does nothing.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from c2f_ros.contract import ContractError
from c2f_train.model.resnet import ResNet
from c2f_train.official.official_config import IMAGE, published_config

NEEDED = ("src/image_model.py", "src/image_component.py", "taming_src/taming_models.py", "utils/utils.py")
CONFIGS = ("configs/c2f_seg_KINS.yml", "configs/vqgan_KINS.yml")
TOP = ("src", "taming_src", "utils", "data")
"""Names of its packages, which are too common to stay imported."""
PARTS = {"g_model": "g_model", "transformer": "model", "img_encoder": "img_encoder", "refine_module": "refine"}
"""Attributes of its model, and the names of their parts in its checkpoints."""


def check_checkout(folder: Path) -> None:
    """Raises ContractError, one sentence, if the folder is no checkout of the published implementation."""
    missing = [name for name in (*NEEDED, *CONFIGS) if not (folder / name).is_file()]
    if missing:
        raise ContractError(
            f"{folder} is no checkout of the published C2F-Seg implementation: it lacks {', '.join(missing[:3])}; "
            "give --official the folder of github.com/amazon-science/c2f-seg (the other repository of that name holds "
            "the project's page alone)"
        )


class PublishedModel:
    """Its image model (KINS configuration), in evaluation, on the CPU."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def tensors(self) -> dict[str, Tensor]:
        """Its weights as its checkpoints have them: part in front of the name."""
        return {
            f"{part}.{name}": tensor
            for attribute, part in PARTS.items()
            for name, tensor in getattr(self.module, attribute).state_dict().items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take these weights, named as `tensors` names them. What inference does not use may be missing or too much."""
        for attribute, part in PARTS.items():
            own = {n.removeprefix(f"{part}."): t for n, t in tensors.items() if n.startswith(f"{part}.")}
            found = getattr(self.module, attribute).load_state_dict(own, strict=False)
            if found.missing_keys:
                raise ContractError(f"the weights lack {part}.{found.missing_keys[0]}; give files of the image model")

    @torch.inference_mode()
    def run(self, image: Tensor, visible: Tensor, steps: int = 3) -> Tensor:
        """Probabilities [1, 1, S, S] of one object, by its own inference: image [1, 3, S, S], visible [1, 1, S, S]. Its
        tokens are drawn at random."""
        meta = {
            "img_crop": image.permute(0, 2, 3, 1), "vm_crop": visible, "vm_crop_gt": visible, "fm_crop": visible,
            "obj_position": None, "vm_pad": None,
        }  # fmt: skip
        self.module.batch_predict_maskgit(meta, 0, "test", T=steps)
        return self.module.found

    @torch.inference_mode()
    def visible_tokens(self, visible: Tensor) -> Tensor:
        """[1, L]"""
        return self.module.encode_to_z(visible)[1]


@contextlib.contextmanager
def published_model(folder: Path) -> Iterator[PublishedModel]:
    """The model with random weights, from the checkout in `folder`; to be used inside the block.

    Raises ContractError if the folder is no such checkout, or if its code does not run here.
    """
    check_checkout(folder)
    with contextlib.ExitStack() as stack:
        if not torch.cuda.is_available():
            stack.enter_context(patch.object(Tensor, "cuda", lambda tensor, *_, **__: tensor))
        with _importable(folder), patch.object(torch.distributed, "get_rank", lambda: 0):
            model = _build(folder)
        yield PublishedModel(model)


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Its packages can be imported inside the block, and are gone afterwards: others may have their names."""
    kept, stand_ins = {name: sys.modules.pop(name) for name in _own_modules()}, _stand_ins()
    sys.modules.update(stand_ins)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in (*_own_modules(), *stand_ins):
            del sys.modules[name]
        sys.modules.update(kept)


def _build(folder: Path) -> nn.Module:
    """Its class without what it does after inference: pasting back, drawing, scoring; `found` holds the result."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            model, config = import_module("src.image_model"), import_module("utils.utils").Config
            settings = config(str(folder / CONFIGS[0]))
            settings.device, settings.dataset = torch.device("cpu"), "KINS"

            class InferenceAlone(model.C2F_Seg):
                def align_raw_size(self, full_mask: Tensor, *_: Any) -> Tensor:
                    self.found = full_mask  # of the amodal mask: it comes last
                    return full_mask

                def visualize(self, *_: Any) -> None:
                    pass

                def loss_and_evaluation(self, *_: Any, **__: Any) -> dict[str, Any]:
                    return {}

            return InferenceAlone(settings, str(folder / "configs"), mode="test").eval()
    except (ImportError, AttributeError, TypeError, KeyError, RuntimeError) as error:
        raise ContractError(
            f"the published code in {folder} does not run here ({type(error).__name__}: {error}); check out the state "
            "that benchmarks/published_code.py was written for (817d656)"
        ) from error


def _own_modules() -> list[str]:
    return [name for name in sys.modules if name.split(".")[0] in TOP]


def _stand_ins() -> dict[str, ModuleType]:
    """Modules that its files import, for those that are not installed."""
    found: dict[str, ModuleType] = {}
    if find_spec("requests") is None:
        found["requests"] = ModuleType("requests")
    if not _has_torchvision():
        parts = {name: ModuleType(f"torchvision.{name}") for name in ("models", "transforms")}
        parts["models"].resnet50 = _resnet50  # type: ignore[attr-defined]
        parts["models"].resnet18 = None  # type: ignore[attr-defined]
        functional = ModuleType("torchvision.transforms.functional")
        parts["transforms"].functional = functional  # type: ignore[attr-defined]
        whole = ModuleType("torchvision")
        for name, part in parts.items():
            setattr(whole, name, part)
        found |= {"torchvision": whole, "torchvision.transforms.functional": functional}
        found |= {f"torchvision.{name}": part for name, part in parts.items()}
    return found


def _has_torchvision() -> bool:
    try:
        import torchvision.models  # noqa: F401
    except (ImportError, RuntimeError, AttributeError):
        return False
    return True


def _resnet50(pretrained: bool) -> nn.Module:
    """Layers and names of torchvision's, but for the classifier, which the published model does not call."""
    network = ResNet(published_config(IMAGE).encoder, 3)
    network.maxpool = nn.MaxPool2d(3, 2, 1)
    return network
