"""Operations that a tokenizer and its students need for one object."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from c2f_train.distill.students import FastTokenizer
from c2f_train.model.tokenizer import MaskTokenizer


@torch.no_grad()
def gflops(tokenizer: MaskTokenizer | FastTokenizer, reads_cells: bool) -> dict[str, float]:
    """GFLOP per mask of `encode` and of decoding, as far as the network reads it, and of both; a multiplication and an
    addition count as two."""
    size = tokenizer.grid * tokenizer.config.reduction
    device = tokenizer.quantize.vectors.device
    decode = tokenizer.decode_cells if reads_cells else tokenizer.decode
    was_training = tokenizer.training
    tokenizer.eval()
    with FlopCounterMode(display=False) as encoding:
        tokens: Tensor = tokenizer.encode(torch.zeros(1, 1, size, size, device=device))
    with FlopCounterMode(display=False) as decoding:
        decode(tokens)
    tokenizer.train(was_training)
    found = {"encode": encoding.get_total_flops() / 1e9, "decode": decoding.get_total_flops() / 1e9}
    return {**found, "both": sum(found.values())}
