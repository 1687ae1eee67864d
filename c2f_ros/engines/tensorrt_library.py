"""TensorRT and TensorRT for RTX, imported when asked for; the only file that does.

Both bring the same names (Builder, OnnxParser, Runtime ...). What differs is asked here, so that nobody else compares
names: TensorRT for RTX compiles for many cards at once and without any, keeps what it compiled at run time in a runtime
cache and has no timing cache; TensorRT builds for the card it sees and keeps its timings.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from c2f_ros.contract import ContractError

BACKENDS = ("tensorrt", "tensorrt_rtx")
INSTALL = {
    "tensorrt": "install it with JetPack or apt (python3-libnvinfer), or `pip install tensorrt`",
    "tensorrt_rtx": "install it with `pip install tensorrt_rtx`",
}
OLDEST = {"tensorrt": (10, 0), "tensorrt_rtx": (1, 0)}
"""First versions whose networks are strongly typed and whose engines name their tensors, as everything here expects."""


def is_installed(backend: str) -> bool:
    """Whether the library of this backend could be imported. Imports nothing; raises ContractError if it is unknown."""
    return _module_name(backend) is not None


@cache
def open_library(backend: str) -> ModuleType:
    """The library of this backend.

    Raises ContractError if the backend is unknown, its library is missing or cannot be loaded, or is too old.
    """
    name = _module_name(backend)
    if name is None:
        raise ContractError(f"{backend} is not installed; {INSTALL[backend]}, or choose another engine")
    try:
        library = import_module(name)
    except (ImportError, OSError) as error:
        raise ContractError(f"{name} is installed but does not load ({error}); {INSTALL[backend]}") from error
    version = library_version(library)
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST[backend]:
        oldest = ".".join(map(str, OLDEST[backend]))
        raise ContractError(f"{backend} {version} is too old, expected {oldest} or newer; {INSTALL[backend]}")
    return library


def library_version(library: ModuleType) -> str:
    """Such as 10.9.0.34; plans of one version are not run by another."""
    return str(library.__version__)


def is_portable(library: ModuleType) -> bool:
    """Whether plans run on other cards than the one they were built on, and are built without a card (for RTX)."""
    return hasattr(library.IBuilderConfig, "set_compute_capability")


def has_timing_cache(library: ModuleType) -> bool:
    """Whether a build leaves timings that make the next one quicker. TensorRT for RTX times nothing while it builds."""
    return not is_portable(library)


def make_network(library: ModuleType, builder: Any) -> Any:
    """An empty network that computes in the types its graph says: no layer's precision is left to the builder."""
    flags = library.NetworkDefinitionCreationFlag
    strong = getattr(flags, "STRONGLY_TYPED", None)  # the only kind there is, once the flag is gone
    return builder.create_network(0 if strong is None else 1 << int(strong))


def _module_name(backend: str) -> str | None:
    """The module to import, or None: PyPI's bindings alone, without the package that only renames them, do as well."""
    if backend not in BACKENDS:
        raise ContractError(f"backend is {backend!r}, expected one of {', '.join(BACKENDS)}; correct it")
    return next((name for name in (backend, f"{backend}_bindings") if find_spec(name)), None)
