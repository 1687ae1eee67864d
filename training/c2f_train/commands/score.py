"""`c2f-train score`: results of any system, in the same table as our models and the baselines."""

from __future__ import annotations

import argparse
from pathlib import Path

from c2f_ros.metrics import Selection
from c2f_train.data.sequences import open_sequences
from c2f_train.scores.evaluation_report import terminal_text, write_report
from c2f_train.scores.evaluation_result import read_object_list, write_object_list
from c2f_train.scores.results_file import read_classes, read_results_file
from c2f_train.scores.score import score_results

NAME = "score"
HELP = "Score masks of any system (COCO results format) in the table of our models."
OBJECTS = "objects.txt"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        "Scores a JSON list of {image_id, segmentation (whole mask, polygons or run lengths), score, optional "
        "visible_segmentation, object_id, category_id}. image_id is the data set's, or SEQUENCE/FRAME NUMBER. Entries "
        "without object_id are matched to the true objects by IoU, most alike pair first."
    )
    parser.add_argument("results", type=Path, help="COCO results: a JSON list of predicted whole masks")
    parser.add_argument("--data", type=Path, required=True, help="the data set, in any layout c2f-train reads")
    parser.add_argument("--split", default="", help="train, val or test, where the data set has splits")
    parser.add_argument("--kind", default="auto", help="the data set's layout, if it should not be recognised")
    parser.add_argument("--name", default="", help="the system's name in the table (default: the results file's)")
    parser.add_argument("--out", type=Path, help="folder for report.md, results.json, pictures and objects.txt")
    parser.add_argument(
        "--visible",
        type=Path,
        metavar="RESULTS",
        help="predicted visible masks, as COCO results; in the place of true ones; objects not found are left out",
    )
    parser.add_argument("--classes", type=Path, metavar="JSON", help="AP per category; a file with `categories`")
    parser.add_argument("--no-ap", action="store_true", help="leave out AP and AR")
    parser.add_argument(
        "--hidden", type=float, nargs=2, metavar=("LEAST", "MOST"), default=(0.0, 1.0),
        help="count only object-frames whose hidden share is in this range, for example 0.1 0.7",
    )  # fmt: skip
    parser.add_argument("--objects", type=Path, metavar="FILE", help="count only these objects; one key a line")


def run(options: argparse.Namespace) -> None:
    """Print the table; with --out write the report. Raises InputError or ContractError if an input cannot be used."""
    objects = read_object_list(options.objects) if options.objects else None
    classes = read_classes(options.classes) if options.classes else None
    results = read_results_file(options.results, classes)
    data = open_sequences(options.data, options.split, options.kind, options.visible)
    scored = score_results(
        data, results, options.name or options.results.stem, name=options.data.name,
        selection=Selection(*options.hidden, objects), with_precision=not options.no_ap,
        by_class=classes is not None,
    )  # fmt: skip
    print(terminal_text(scored.result))
    if options.out:
        print(f"wrote {write_report(scored.result, options.out)}")
        write_object_list(options.out / OBJECTS, sorted(scored.found))
