"""Which engine runs a model, and why: pure logic over what is installed, what the machine has, what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from c2f_ros.contract import ContractError

GPU_KINDS = ("tensorrt", "tensorrt_rtx", "onnxruntime_cuda")
"""Engines on a GPU, in the order in which `auto` tries them."""
CPU_KINDS = ("onnxruntime", "openvino")
"""Engines on the CPU. The first is always installed, and wins where the second is hardly faster."""
KINDS = ("auto", *GPU_KINDS, *CPU_KINDS)
EXACT = "fp32"
LEAST_GAIN = 1.1
"""A candidate further down the list must be so many times as fast: it costs exactness, and times have noise."""


@dataclass(frozen=True)
class Candidate:
    """A CPU engine with what it computes in: of `settings.PRECISIONS`, but not auto."""

    kind: str
    precision: str

    def __str__(self) -> str:
        return f"{self.kind} {self.precision}"


@dataclass(frozen=True)
class Choice:
    """What to open. precision: as in `Candidate`, or as the user asked for on a GPU. why: one sentence without end."""

    kind: str
    precision: str
    why: str


@dataclass(frozen=True)
class Probes:
    """What is known of this machine, asked only when needed.

    why_not: "" if the engine of a kind can run here at all, else what is missing. cpu_has_bf16: computes products of
    bfloat16 numbers by instructions of its own. measure: seconds of CPU time per object of each candidate that works
    here, and why the others do not.
    """

    why_not: Callable[[str], str]
    cpu_has_bf16: Callable[[], bool]
    measure: Callable[[Sequence[Candidate]], tuple[Mapping[Candidate, float], Mapping[Candidate, str]]]


def choose_engine(kind: str, precision: str, probes: Probes, failed: Mapping[str, str] | None = None) -> Choice:
    """The engine to open. failed: kinds that were chosen before and did not open, with the reason; `auto` goes on.

    Raises ContractError if the kind is unknown, an engine that was named cannot run here, or none can. A named engine
    and a named precision are never replaced.
    """
    if kind not in KINDS:
        raise ContractError(f"engine is {kind!r}, expected one of {', '.join(KINDS)}; correct the parameter")
    if kind != "auto":
        return _named(kind, precision, probes)
    missing = dict(failed or {})
    for gpu in GPU_KINDS:
        reason = missing.get(gpu) or probes.why_not(gpu)
        if not reason:
            return Choice(gpu, precision, _because(f"the first of {', '.join(GPU_KINDS)} that works here", missing))
        missing[gpu] = reason
    return _best_on_cpu(precision, probes, missing)


def cpu_candidates(kind: str, precision: str, has_bf16: bool) -> tuple[Candidate, ...]:
    """What this engine may compute in on a CPU, best first where the precision is auto: bf16 where the CPU has it.

    Empty if the engine cannot do what is asked for.
    """
    able = {"onnxruntime": ("fp32",), "openvino": ("bf16", "fp32") if has_bf16 else ("fp32",)}[kind]
    return tuple(Candidate(kind, one) for one in able if precision in ("auto", one))


def _named(kind: str, precision: str, probes: Probes) -> Choice:
    reason = probes.why_not(kind)
    if reason:
        raise ContractError(f"engine {kind} cannot run here: {reason}")
    if kind in GPU_KINDS:
        return Choice(kind, precision, "named by the parameter engine")
    candidates = cpu_candidates(kind, precision, probes.cpu_has_bf16())
    if not candidates:
        raise ContractError(_unable(kind, precision))
    if len(candidates) == 1:
        return Choice(kind, candidates[0].precision, "named by the parameter engine")
    times, broken = probes.measure(candidates)
    best = fastest(times, candidates[::-1])
    if best is None:
        raise ContractError("; ".join(broken.values()))
    return Choice(kind, best.precision, f"named by the parameter engine; {_compared(times, broken)}")


def _best_on_cpu(precision: str, probes: Probes, missing: dict[str, str]) -> Choice:
    candidates: list[Candidate] = []
    for kind in CPU_KINDS:
        reason = missing.get(kind) or probes.why_not(kind)
        able = () if reason else cpu_candidates(kind, precision, probes.cpu_has_bf16())
        if not able:
            missing[kind] = reason or _unable(kind, precision)
        candidates += able[::-1]  # the exact one first
    if len(candidates) == 1:
        return Choice(candidates[0].kind, candidates[0].precision, _because("what is left", missing))
    times, broken = probes.measure(candidates) if candidates else ({}, {})
    best = fastest(times, candidates)
    if best is None:
        missing |= {str(candidate): reason for candidate, reason in broken.items()}
        raise ContractError(f"no engine works here: {_listed(missing)}")
    return Choice(best.kind, best.precision, _because(_compared(times, broken), missing))


def fastest(times: Mapping[Candidate, float], order: Sequence[Candidate]) -> Candidate | None:
    """The first in the order than which none is `LEAST_GAIN` times as fast; None if no candidate has a time."""
    if not times:
        return None
    best = min(times.values())
    return next(one for one in order if one in times and times[one] < best * LEAST_GAIN or times.get(one) == best)


def _compared(times: Mapping[Candidate, float], broken: Mapping[Candidate, str]) -> str:
    if len(times) == 1:
        shown = f"{next(iter(times))} is the only one that works"
    else:
        shown = "CPU time per object " + ", ".join(f"{one} {1e3 * time:.2f} ms" for one, time in times.items())
    return shown if not broken else f"{shown} ({_listed({str(one): reason for one, reason in broken.items()})})"


def _because(what: str, missing: Mapping[str, str]) -> str:
    return what if not missing else f"{what}; {_listed(missing)}"


def _listed(reasons: Mapping[str, str]) -> str:
    """Every reason once, behind all that it holds for."""
    grouped: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        grouped.setdefault(reason, []).append(name)
    return "; ".join(f"not {', '.join(names)}: {reason}" for reason, names in grouped.items())


def _unable(kind: str, precision: str) -> str:
    return f"{kind} does not compute in {precision} on this CPU; set engine_precision to auto or fp32"
