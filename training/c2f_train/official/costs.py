"""What the published image model computes for one object, part by part, as published and as we export it.

Counted on tensors without values: multiplications and additions of convolutions and matrix products, in GFLOP.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from c2f_train.model.engine_form import engine_form
from c2f_train.model.network import C2FNetwork
from c2f_train.official.official_config import IMAGE, PublishedSizes, published_config


@dataclass(frozen=True)
class Cost:
    """GFLOP of a part per object, all its calls together: as published, and in an exported graph; why they differ."""

    part: str
    published: float
    exported: float
    why: str


def image_costs(sizes: PublishedSizes = IMAGE, steps: int = 3) -> list[Cost]:
    """One row per part of the image model, in the order in which it runs (spec 15)."""
    with torch.device("meta"), torch.no_grad():
        network = C2FNetwork(published_config(sizes, steps)).eval()
        form = engine_form(network)
        config = network.config
        mask = torch.zeros(1, 1, config.crop_size, config.crop_size)
        image, tokens = mask.expand(-1, 3, -1, -1), torch.zeros(1, config.grid**2, dtype=torch.int64)
        features = network.features(image, mask)
        joined = network.transformer.embed_image(features[-1])
        hidden = torch.zeros(1, config.grid**2, config.transformer.dim)

        def amodal(model: C2FNetwork) -> object:
            refiner = model.refiner
            shared = refiner.shared_features(features, hidden, mask)
            skips = [None if source is None else features[source] for source in refiner.sources]
            return refiner.branches["amodal"](shared, skips[refiner.config.shared :], mask)

        encode, found = gflop(lambda: network.tokenizer.encode(mask)), gflop(lambda: network.features(image, mask))
        embed = gflop(lambda: network.transformer.embed_image(features[-1]))
        step = steps * gflop(lambda: network.transformer(joined, tokens, tokens))
        return [
            Cost("mask encoder", encode, gflop(lambda: form.tokenizer.encode(mask)), ""),
            Cost("ResNet", found, found, ""),
            Cost("image part of the embedding", steps * embed, embed, "once, not in every step"),
            Cost(f"transformer, {steps} steps", step, step, ""),
            Cost(
                "mask decoder",
                gflop(lambda: network.tokenizer.decode(tokens)),
                gflop(lambda: form.tokenizer.decode_cells(tokens)),
                "convolved before doubled; last layer only where read",
            ),
            Cost(
                "refiner",
                gflop(lambda: network.refiner(features, hidden, mask)),
                gflop(lambda: amodal(form)),
                "no visible branch; convolved before doubled",
            ),
        ]


def gflop(run: Callable[[], object]) -> float:
    """GFLOP of a call."""
    with FlopCounterMode(display=False) as counted:
        run()
    return counted.get_total_flops() / 1e9


def table(costs: list[Cost]) -> str:
    """The costs as a Markdown table, with their sums."""
    total = Cost("all", sum(c.published for c in costs), sum(c.exported for c in costs), "")
    head = ["| part | published, GFLOP | exported, GFLOP | why |", "| --- | ---: | ---: | --- |"]
    return "\n".join(head + [f"| {c.part} | {c.published:.2f} | {c.exported:.2f} | {c.why} |" for c in (*costs, total)])
