"""Comparison of what the network gives with recorded arrays: each a check with its largest error and a tolerance."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from c2f_ros.contract import ContractError

STAGE = 1e-4
"""One stage alone, from recorded inputs; probabilities end to end as well."""
FEATURE = 1e-3
"""Image features, whose values reach 15; logits end to end as well."""
EXACT = 0.0
"""Tokens, masks, positions: the error is the number of unequal values."""
SCORE = 1e-5
"""Mean scores, recorded in single precision."""

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Check:
    """error: largest absolute difference, or the number of unequal values where `tolerance` is 0."""

    name: str
    error: float
    tolerance: float

    @property
    def is_ok(self) -> bool:
        """Whether the error is a number within the tolerance."""
        return self.error <= self.tolerance


class Recorded:
    """The arrays of one recorded file, unpacked; it knows which of them were asked for."""

    def __init__(self, file: Path) -> None:
        try:
            with np.load(file) as content:
                self._arrays = {name: content[name] for name in content.files}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise ContractError(f"{file} cannot be read ({error}); copy the folder again") from error
        self.name, self._used = file.stem, set[str]()

    def __contains__(self, name: str) -> bool:
        return self._stored(name) is not None

    def _stored(self, name: str) -> str | None:
        packed = re.compile(name + r"_((int8|u8)_div\d+|bits)")
        return next((key for key in self._arrays if key == name or packed.fullmatch(key)), None)

    def read(self, name: str, shape: Sequence[int] = ()) -> Array:
        """The array, whatever it is stored as: plain; bytes to divide (`NAME_int8_divN`), as float32; bits
        (`NAME_bits`) of `shape` or of the recorded `NAME_shape`. Raises ContractError if there is none."""
        key = self._stored(name)
        if key is None:
            raise ContractError(f"{self.name}.npz lacks {name}; copy the folder again")
        self._used.add(key)
        values = self._arrays[key]
        if key == name:
            return values
        if key.endswith("_bits"):
            if f"{name}_shape" in self._arrays:
                self._used.add(f"{name}_shape")
                shape = self._arrays[f"{name}_shape"].tolist()
            count = int(np.prod(shape))
            if values.size * 8 < count:
                raise ContractError(f"{self.name}.npz holds {values.size * 8} bits of {name}, expected {count}")
            return np.unpackbits(values)[:count].reshape(tuple(shape)).astype(bool)
        return values.astype(np.float32) / np.float32(key.rsplit("_div", 1)[1])

    def unused(self) -> list[str]:
        """Names of arrays that nothing asked for."""
        return sorted(set(self._arrays) - self._used)


@dataclass
class Checks:
    """Collects checks, and what was recorded but not compared."""

    found: list[Check] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)

    def near(self, name: str, found: object, expected: object, tolerance: float) -> None:
        """Largest absolute difference where `expected` is finite; infinite for other shapes or where `found` is not."""
        a, b = np.asarray(found, np.float64), np.asarray(expected, np.float64)
        error = np.inf
        if a.size == b.size and a.squeeze().shape == b.squeeze().shape:
            a, b = a.ravel(), b.ravel()
            difference = np.abs(a - b)[np.isfinite(b)]
            error = float(difference.max()) if difference.size else 0.0
        self.found.append(Check(name, error if np.isfinite(error) else np.inf, tolerance))

    def equal(self, name: str, found: object, expected: object) -> None:
        """How many values are unequal; infinite if shapes differ."""
        a, b = np.asarray(found), np.asarray(expected)
        is_same = a.squeeze().shape == b.squeeze().shape
        error = float((a.squeeze() != b.squeeze()).sum()) if is_same else np.inf
        self.found.append(Check(name, error, EXACT))

    def recorded(
        self,
        data: Recorded,
        name: str,
        found: Callable[[], object] | object,
        tolerance: float,
        shape: Sequence[int] = (),
    ) -> None:
        """Compare with the recorded `name` if it is there: exactly where `tolerance` is 0."""
        if name not in data:
            return
        value = found() if callable(found) else found
        label, expected = f"{data.name}: {name}", data.read(name, shape)
        if tolerance == EXACT:
            self.equal(label, value, expected)
        else:
            self.near(label, value, expected, tolerance)

    def close(self, data: Recorded) -> None:
        """All checks on `data` are done: what is left was not compared."""
        if data.unused():
            self.not_compared.append(f"{data.name}: {', '.join(data.unused())}")

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.found if not check.is_ok]

    def table(self) -> str:
        """One line per check: name, largest error, tolerance, ok or FAILED."""
        width = max((len(check.name) for check in self.found), default=5)
        lines = [f"{'check':<{width}}  {'error':>9}  {'tolerance':>9}"]
        for check in self.found:
            allowed = "exact" if check.tolerance == EXACT else f"{check.tolerance:.0e}"
            verdict = "ok" if check.is_ok else "FAILED"
            lines.append(f"{check.name:<{width}}  {check.error:>9.2g}  {allowed:>9}  {verdict}")
        lines += [f"recorded, not compared: {text}" for text in self.not_compared]
        lines.append(f"{len(self.found)} checks, {len(self.failed)} failed")
        return "\n".join(lines)


def stride_of(total: int, kept: int) -> int:
    """The step n for which every n-th of `total` values gives `kept` of them (ContractError if there is none)."""
    for step in range(1, total + 1):
        count = -(-total // step)
        if count == kept:
            return step
        if count < kept:
            break
    raise ContractError(f"{kept} of {total} values cannot be every n-th one; the recording is of another model")
