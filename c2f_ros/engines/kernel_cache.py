"""What TensorRT for RTX compiles when a plan meets a card, kept on disk for the next start of the node."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Any

from c2f_ros.plan_store import PlanStore, StalePlan


class KernelCache:
    """The compiled kernels of one plan. The library itself refuses what was compiled for another card, version or
    driver; then it compiles anew."""

    def __init__(self, store: PlanStore, plan: bytes, gpu_name: str) -> None:
        self._store = store
        self._key = f"kernels-{hashlib.sha256(plan + gpu_name.encode()).hexdigest()[:40]}"
        self._about = {"kernels": True, "gpu": gpu_name}
        self._loaded = b""
        self._cache: Any = None

    def attach(self, config: Any) -> None:
        """Let contexts of this IRuntimeConfig use the cache, and fill it."""
        with suppress(StalePlan):  # damaged: as if there were none
            self._loaded = self._store.load(self._key) or b""
        self._cache = config.create_runtime_cache()
        if self._loaded and not self._cache.deserialize(self._loaded):
            self._loaded = b""
        config.set_runtime_cache(self._cache)

    def save(self) -> None:
        """Write what was compiled since it was attached, if anything."""
        if self._cache is None:
            return
        data = bytes(self._cache.serialize())
        self._cache = None
        if data != self._loaded:
            with suppress(OSError):  # a full disk costs the next start a few seconds, and must not fail this end
                self._store.save(self._key, data, self._about)
