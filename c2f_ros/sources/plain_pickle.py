"""Pickles of plain values, read without running anything that is in them.

A pickle may call any function of any module. Here it may build dicts, lists, tuples, sets, text, bytes, numbers, and
NumPy scalars and arrays of numbers, which come back as Python numbers and lists: NumPy's own restoring is not called.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from c2f_ros.contract import InputError
from c2f_ros.sources.files import require_file

BROKEN = (
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What reading a damaged pickle raises."""


def read_plain_pickle(path: Path) -> Any:
    """The value in a pickle. Raises InputError if it is damaged, or would build anything but plain values."""
    try:
        return _PlainUnpickler(io.BytesIO(require_file(path).read_bytes())).load()
    except BROKEN as error:
        raise InputError(f"{path}: this pickle is not one of plain values ({error}); replace the file") from error


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        make = ALLOWED.get((module.replace("numpy.core.", "numpy._core."), name))
        if make is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused")
        return _Call(make)


class _Call:
    """What a pickle gets for a name: it can be called, and nothing else can be done with it."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes a name, which is refused")


class _NumberType:
    """A NumPy number type by its name, such as f8; its state tells the byte order."""

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not re.fullmatch(r"[biuf][1248]", name):
            raise pickle.UnpicklingError(f"it holds NumPy values of type {name!r:.20}, expected numbers")
        self.name, self.order = name, "<"

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"it holds NumPy values of byte order {order!r:.20}")
        self.order = order

    def numbers(self, data: bytes) -> list[Any]:
        return np.frombuffer(data, np.dtype(self.order + self.name)).tolist()


class _Array(list[Any]):
    """A NumPy array as nested lists, filled by its state: version, shape, type, whether columns come first, bytes."""

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, is_column_first, data = state
        self[:] = _nested(kind.numbers(data), shape, "F" if is_column_first else "C")


def _nested(numbers: list[Any], shape: Any, order: Any) -> list[Any]:
    if not isinstance(shape, tuple) or len(shape) == 0 or math.prod(shape) != len(numbers) or order not in ("C", "F"):
        raise pickle.UnpicklingError(f"it holds a NumPy array of shape {shape!r:.40} and {len(numbers)} numbers")
    return np.asarray(numbers).reshape(shape, order=order).tolist()


def _make_type(name: Any, *_: Any) -> _NumberType:
    return _NumberType(name)


def _make_scalar(kind: _NumberType, data: bytes) -> Any:
    (number,) = kind.numbers(data)
    return number


def _make_array(*_: Any) -> _Array:
    return _Array()


def _array_of_bytes(data: bytes, kind: _NumberType, shape: Any, order: Any) -> list[Any]:
    return _nested(kind.numbers(data), shape, order)


def _latin1(text: str, encoding: str) -> bytes:
    """Bytes as protocols 0 to 2 write them."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it encodes text as {encoding!r:.20}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Empty bytes as protocols 0 to 2 write them; bytes(n) would take any memory."""
    return b""


ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("__builtin__", "set"): set,
    ("__builtin__", "bytes"): _no_bytes,
    ("_codecs", "encode"): _latin1,
    ("collections", "OrderedDict"): dict,
    ("numpy", "dtype"): _make_type,
    ("numpy", "ndarray"): _make_array,
    ("numpy._core.multiarray", "scalar"): _make_scalar,
    ("numpy._core.multiarray", "_reconstruct"): _make_array,
    ("numpy._core.numeric", "_frombuffer"): _array_of_bytes,
}
