"""The profiles of a plan: for how many objects a call it was made, and what memory such a call needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from c2f_ros.contract import ContractError, GraphSpec, TensorSpec


class Profile(NamedTuple):
    """index: in the plan. rows: objects in one call at most. activation_bytes: what a call takes while it runs."""

    index: int
    rows: int
    activation_bytes: int


def profiles_of(library: Any, plan: Any, spec: GraphSpec, most_rows: int) -> list[Profile]:
    """A plan's profiles, those with more rows later, none with more than `most_rows`. Raises ContractError unless it is
    a plan of this very graph, for single objects too."""
    _check_tensors(library, plan, spec)
    found = []
    for index in range(plan.num_optimization_profiles):
        least, _, most = plan.get_tensor_profile_shape(spec.inputs[0].name, index)
        if least[0] != 1:
            raise ContractError(
                f"the plan of {spec.file} takes {least[0]} objects at least, not 1; build the engine again"
            )
        activation_bytes = int(plan.get_device_memory_size_for_profile_v2(index))
        found.append(Profile(index, min(int(most[0]), most_rows), activation_bytes))
    return sorted(found, key=lambda profile: profile.rows)


def from_most(every: Sequence[Sequence[Profile]]) -> Iterator[list[Profile]]:
    """Profiles to try, one of each plan: those with most rows first, then in all plans those with fewer."""
    for left in range(max(map(len, every)), 0, -1):
        yield [one[min(left, len(one)) - 1] for one in every]


def _check_tensors(library: Any, plan: Any, spec: GraphSpec) -> None:
    found = {}
    for index in range(plan.num_io_tensors):
        name = plan.get_tensor_name(index)
        dtype = np.dtype(library.nptype(plan.get_tensor_dtype(name))).name
        found[name] = plan.get_tensor_mode(name), dtype, tuple(plan.get_tensor_shape(name))
    modes = library.TensorIOMode
    expected = _listed(spec.inputs, modes.INPUT) | _listed(spec.outputs, modes.OUTPUT)
    if found != expected:
        raise ContractError(f"the plan of {spec.file} has tensors {found}, expected {expected}; build the engine again")


def _listed(tensors: Sequence[TensorSpec], mode: Any) -> dict[str, tuple[Any, ...]]:
    return {t.name: (mode, t.dtype, tuple(-1 if isinstance(n, str) else n for n in t.shape)) for t in tensors}
