"""Tracing a large network in seconds and little memory: what is costly gives zeros of the right shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from needs_torch import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = ("mm", "bmm", "addmm", "baddbmm")
ELEMENTWISE = ("add", "clone", "div", "gelu", "mul", "relu", "sigmoid", "silu", "sub", "tanh")
NORMS = ("native_batch_norm", "native_group_norm", "native_layer_norm")
LARGE = 1 << 18
"""Numbers in a tensor from which on it is hollow: the tracer keeps every tensor until it is done."""


class WithoutArithmetic(torch.nn.Module):
    """`module`, whose tracing costs little and gives the same graph: an exporter records which operators are called on
    which tensors, and no value."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: torch.Tensor) -> Any:
        with _zeros():
            return self.module(*inputs)


@contextmanager
def _zeros() -> Iterator[None]:
    with _Convolutions(), _Products():
        yield


class _Convolutions(TorchFunctionMode):
    """Convolutions as the operator that the tracer records; the one above it would be taken for a constant."""

    def __torch_function__(
        self, function: Callable, types: Sequence[type], inputs: tuple = (), named: Mapping[str, Any] | None = None
    ) -> Any:
        if function is torch.nn.functional.conv2d:
            return _recorded(*inputs, **(named or {}))
        return function(*inputs, **(named or {}))


class _Products(TorchDispatchMode):
    """What would compute a product of matrices, a convolution or a large map gives zeros that take no memory."""

    def __torch_dispatch__(
        self, function: Any, types: Sequence[type], inputs: tuple = (), named: Mapping[str, Any] | None = None
    ) -> Any:
        name = function.overloadpacket.__name__
        assert name != "convolution", "a convolution was called in a way that the tracer would not record"
        if name == "_convolution":
            return _hollow(_convolved(*inputs[:6]))
        if name in PRODUCTS:
            left, right = inputs[-2:]
            return _hollow([*_sizes(left)[:-1], _sizes(right)[-1]])
        tensors = [x for x in inputs if isinstance(x, torch.Tensor)]
        if tensors and all(x.is_floating_point() for x in tensors) and max(map(_numbers, tensors)) >= LARGE:
            if name.endswith("_"):
                return inputs[0]
            if name in ELEMENTWISE:
                return _hollow(torch.broadcast_shapes(*map(_sizes, tensors)))
            if name in NORMS:
                return _hollow(_sizes(tensors[0])), torch.zeros(0), torch.zeros(0)
            if name in ("view", "_unsafe_view"):
                return _hollow(_filled(inputs[1], _numbers(tensors[0])))
            return _hollowed(function(*inputs, **(named or {})))
        return function(*inputs, **(named or {}))


def _hollow(sizes: Sequence[int]) -> torch.Tensor:
    """Zeros that are one number in memory."""
    return torch.zeros(()).expand(list(sizes))


def _hollowed(result: Any) -> Any:
    """The result without its memory, if it is a large map."""
    is_one = isinstance(result, torch.Tensor) and result.is_floating_point()
    return _hollow(_sizes(result)) if is_one and _numbers(result) >= LARGE else result


def _numbers(x: torch.Tensor) -> int:
    return math.prod(_sizes(x))


def _filled(sizes: Sequence[Any], numbers: int) -> list[int]:
    """The sizes of a view, -1 resolved."""
    given = [int(size) for size in sizes]
    known = math.prod(size for size in given if size >= 0)
    return [numbers // known if size < 0 else size for size in given]


def _recorded(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> torch.Tensor:  # fmt: skip
    stride, padding, dilation = ((n, n) if isinstance(n, int) else n for n in (stride, padding, dilation))
    return torch._convolution(
        x, weight, bias, stride, padding, dilation, False, (0, 0), groups, False, False, False, False
    )


def _sizes(x: torch.Tensor) -> list[int]:
    """Plain numbers; the tracer makes tensors of them."""
    return [int(size) for size in x.shape]


def _convolved(
    x: torch.Tensor, weight: torch.Tensor, bias: object, stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int],
) -> list[int]:  # fmt: skip
    """The sizes of a convolution's result."""
    count, _, *plane = _sizes(x)
    channels, _, *kernel = _sizes(weight)
    steps = zip(plane, kernel, stride, padding, dilation, strict=True)
    return [count, channels, *((size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, s, p, d in steps)]
