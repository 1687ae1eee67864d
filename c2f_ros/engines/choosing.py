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
    """An engine with what it computes in: of `settings.PRECISIONS`, but not auto."""

    kind: str
    precision: str

    def __str__(self) -> str:
        return f"{self.kind} {self.precision}"


@dataclass(frozen=True)
class Choice:
    """What to open, and why: a clause for people."""

    kind: str
    precision: str
    why: str

    @property
    def candidate(self) -> Candidate:
        return Candidate(self.kind, self.precision)


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


def choose_engine(kind: str, precision: str, probes: Probes, failed: Mapping[Candidate, str] | None = None) -> Choice:
    """The engine to open. failed: candidates that were chosen before and did not open, with the reason: where the user
    leaves the engine or its precision open, the next one is chosen.

    Raises ContractError if the kind is unknown, an engine that was named cannot run here, or none can. A named engine
    and a named precision are never replaced.
    """
    if kind not in KINDS:
        raise ContractError(f"engine is {kind!r}, expected one of {', '.join(KINDS)}; correct the parameter")
    failed = failed or {}
    if kind != "auto":
        return _named(kind, precision, probes, failed)
    missing: dict[str, str] = {}
    for gpu in GPU_KINDS:
        chosen = _first_on_gpu(gpu, precision, probes, failed, missing)
        if chosen:
            what = f"the first of {', '.join(GPU_KINDS)} that works here"
            return Choice(gpu, chosen.precision, _because(what, missing))
    return _best_on_cpu(precision, probes, failed, missing)


def gpu_candidates(kind: str, precision: str) -> tuple[Candidate, ...]:
    """What this engine may compute in on a GPU, fastest first. Empty if the engine cannot do what is asked for."""
    if kind == "onnxruntime_cuda":
        return (Candidate(kind, EXACT),) if precision in ("auto", EXACT) else ()
    return tuple(Candidate(kind, one) for one in (("fp16", EXACT) if precision == "auto" else (precision,)))


def cpu_candidates(kind: str, precision: str, has_bf16: bool) -> tuple[Candidate, ...]:
    """What this engine may compute in on a CPU, best first where the precision is auto: bf16 where the CPU has it.

    Empty if the engine cannot do what is asked for.
    """
    able = {"onnxruntime": ("fp32",), "openvino": ("bf16", "fp32") if has_bf16 else ("fp32",)}[kind]
    return tuple(Candidate(kind, one) for one in able if precision in ("auto", one))


def _named(kind: str, precision: str, probes: Probes, failed: Mapping[Candidate, str]) -> Choice:
    reason = probes.why_not(kind)
    if reason:
        raise ContractError(f"engine {kind} cannot run here: {reason}")
    able = gpu_candidates(kind, precision) if kind in GPU_KINDS else ()
    able = able or (cpu_candidates(kind, precision, probes.cpu_has_bf16()) if kind in CPU_KINDS else ())
    if not able:
        raise ContractError(_unable(kind, precision))
    broken = {one: failed[one] for one in able if one in failed}
    left = [one for one in able if one not in failed]
    if kind in CPU_KINDS and len(left) > 1:
        times, more = probes.measure(left)
        broken |= more
        best = fastest(times, left[::-1])
        why = f"named by the parameter engine; {_compared(times)}"
    else:
        best, why = next(iter(left), None), "named by the parameter engine"
    if best is None:
        raise ContractError("; ".join(dict.fromkeys(broken.values())))
    return Choice(kind, best.precision, _because(why, {str(one): reason for one, reason in broken.items()}))


def _first_on_gpu(
    kind: str, precision: str, probes: Probes, failed: Mapping[Candidate, str], missing: dict[str, str]
) -> Candidate | None:
    """The first of this engine's candidates that has not failed; to `missing` goes what speaks against the others."""
    able = gpu_candidates(kind, precision)
    reason = probes.why_not(kind) or ("" if able else _unable(kind, precision))
    if reason:
        missing[kind] = reason
        return None
    missing |= {str(one): failed[one] for one in able if one in failed}
    return next((one for one in able if one not in failed), None)


def _best_on_cpu(precision: str, probes: Probes, failed: Mapping[Candidate, str], missing: dict[str, str]) -> Choice:
    candidates: list[Candidate] = []
    for kind in CPU_KINDS:
        reason = probes.why_not(kind)
        able = () if reason else cpu_candidates(kind, precision, probes.cpu_has_bf16())
        if not able:
            missing[kind] = reason or _unable(kind, precision)
        missing |= {str(one): failed[one] for one in able if one in failed}
        candidates += [one for one in able[::-1] if one not in failed]  # the exact one first
    if len(candidates) == 1:
        return Choice(candidates[0].kind, candidates[0].precision, _because("what is left", missing))
    times, broken = probes.measure(candidates) if candidates else ({}, {})
    missing |= {str(candidate): reason for candidate, reason in broken.items()}
    best = fastest(times, candidates)
    if best is None:
        raise ContractError(f"no engine works here: {_listed(missing)}")
    return Choice(best.kind, best.precision, _because(_compared(times), missing))


def fastest(times: Mapping[Candidate, float], order: Sequence[Candidate]) -> Candidate | None:
    """The first in the order than which none is `LEAST_GAIN` times as fast; None if no candidate has a time."""
    if not times:
        return None
    best = min(times.values())
    return next(one for one in order if one in times and times[one] < best * LEAST_GAIN or times.get(one) == best)


def _compared(times: Mapping[Candidate, float]) -> str:
    if len(times) == 1:
        return f"{next(iter(times))} is the only one that works"
    return "CPU time per object " + ", ".join(f"{one} {1e3 * time:.2f} ms" for one, time in times.items())


def _because(what: str, missing: Mapping[str, str]) -> str:
    return what if not missing else f"{what}; {_listed(missing)}"


def _listed(reasons: Mapping[str, str]) -> str:
    """Every reason once, behind all that it holds for."""
    grouped: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        grouped.setdefault(reason, []).append(name)
    return "; ".join(f"not {', '.join(names)}: {reason}" for reason, names in grouped.items())


def _unable(kind: str, precision: str) -> str:
    return f"{kind} does not compute in {precision} here; set engine_precision to auto or fp32"
