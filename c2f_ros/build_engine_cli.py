"""`c2f-build-engine MODEL`: builds the TensorRT plans that run a model on this machine's GPU, for the node to find.

MODEL is the name or folder of a bundle. Plans go into the user's cache folder, where the node looks (its parameter
`engine_cache` names another; --out too), one per graph; what is there already is not built again. TensorRT
builds for the GPU at hand. TensorRT for RTX also builds without one, then for every RTX card from Ampere on.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from c2f_ros.bundle import Bundle, find_model, load_bundle
from c2f_ros.contract import ContractError, InputError
from c2f_ros.engine_plans import ANY_CARD, DEFAULT_ROWS, BuildRequest, Plan, Samples, find_plans, forget_plans
from c2f_ros.engines.tensorrt_library import BACKENDS, is_installed, is_portable, open_library
from c2f_ros.plan_building import PRECISIONS
from c2f_ros.plan_store import PlanStore

MIB = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line; `c2f-train engine` has the same."""
    parser.add_argument("model", metavar="MODEL", help="name or folder of a bundle")
    parser.add_argument("--backend", choices=BACKENDS, help="default: tensorrt, or tensorrt_rtx where it is missing")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp16", help="(%(default)s)")
    parser.add_argument(
        "--most-rows", type=int, default=DEFAULT_ROWS, metavar="N", help="objects in one call at most (%(default)s)"
    )
    parser.add_argument(
        "--calibrate", type=Path, metavar="BAG", help="with --precision int8: a bag with what the model will see"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the plans; default: the user's cache")
    parser.add_argument(
        "--again", action="store_true", help="build also what is there, such as after a change of the driver"
    )
    parser.add_argument(
        "--any-card", action="store_true", help="tensorrt_rtx alone: for every RTX card, even where one is at hand"
    )


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="c2f-build-engine", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Build and say what was built. Exit 1, after one sentence, if it cannot be."""
    try:
        lines = build_engine(make_parser().parse_args(arguments))
    except (ContractError, InputError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


def build_engine(options: argparse.Namespace) -> list[str]:
    """What was built or found, a line per graph. Raises ContractError if the model, the library or the build
    fails, InputError if the bag does."""
    backend = options.backend or default_backend()
    request = BuildRequest(backend, options.precision, options.most_rows)
    bundle, store = load_bundle(find_model(options.model)), PlanStore(options.out)
    samples = _samples(bundle, options)
    gpu = ANY_CARD if options.any_card else this_card(backend)
    if options.again:
        forget_plans(bundle, request, store, gpu)
    target = "every RTX card" if gpu == ANY_CARD else gpu
    with tqdm(total=100, desc=bundle.manifest.model_id, unit="%", leave=False, disable=None) as bar:

        def progress(share: float, phase: str) -> None:
            bar.set_postfix_str(phase, refresh=False)
            bar.update(max(0, round(100 * share) - bar.n))
            if share >= 1.0:
                bar.reset()

        plans = find_plans(bundle, request, store, gpu, may_build=True, progress=progress, samples=samples)
    head = f"{bundle.manifest.model_id} for {target}, {backend}, {request.precision}:"
    return [head, *(describe(plan) for plan in plans)]


def _samples(bundle: Bundle, options: argparse.Namespace) -> Samples | None:
    """What an int8 plan is fitted to. Raises ContractError if it is not given, or not needed."""
    if (options.precision == "int8") != (options.calibrate is not None):
        raise ContractError("--precision int8 and --calibrate BAG go together; give both, or neither")
    if options.calibrate is None:
        return None
    from c2f_ros.calibration import recorded_samples

    return recorded_samples(bundle, options.calibrate)


def default_backend() -> str:
    """TensorRT where it is installed, else TensorRT for RTX. Raises ContractError where neither is."""
    for backend in BACKENDS:
        if is_installed(backend):
            return backend
    raise ContractError(
        "no TensorRT is installed; install it with JetPack or apt, or `pip install c2f_ros[tensorrt]` for RTX cards"
    )


def this_card(backend: str) -> str:
    """The name of the GPU to build for; `ANY_CARD` where there is none and the backend needs none.

    Raises ContractError where the backend needs one.
    """
    from c2f_ros.engines.cuda_device import open_device, why_no_gpu

    reason = why_no_gpu()
    if not reason:
        return open_device().name
    if is_portable(open_library(backend)):
        return ANY_CARD
    raise ContractError(
        f"{backend} builds on the machine that runs the plan: {reason}; build there, or use --backend tensorrt_rtx"
    )


def describe(plan: Plan) -> str:
    """One line: the graph, its objects, size, and how it was made."""
    size = f"{len(plan.data) / MIB:.1f} MiB"
    if plan.built is None:
        return f"  {plan.spec.file}: {size}, was built before; {plan.path}"
    layers = sum(plan.built.layers.values())
    return f"  {plan.spec.file}: {size}, {layers} layers, built in {plan.seconds:.0f} s; {plan.path}"


if __name__ == "__main__":
    sys.exit(main())
