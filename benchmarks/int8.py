"""A bundle's graph in int8, made by ONNX Runtime's quantizer: to measure whether it pays, not to be shipped."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.clip import golden_rows
from c2f_ros.bundle import Arrays, Bundle

BATCHES, ROWS = 12, 4
"""Calibrated on so many batches of golden objects, each with other noise."""


def int8_bundle(bundle: Bundle, folder: Path) -> Bundle:
    """The bundle with its convolutions in int8, weights per channel, activations calibrated; all else as it was.

    The golden outputs stay those of float32. Raises ImportError if the package onnx is not installed.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Batches(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = _batches(bundle)

        def get_next(self) -> Arrays | None:
            return next(self._left, None)

    folder.mkdir(parents=True)
    graph, prepared = bundle.manifest.graph, folder / "prepared.onnx"
    before = logging.root.level
    logging.root.setLevel(logging.ERROR)  # it advises preprocessing, which is what is being done
    try:
        quant_pre_process(str(bundle.graph_path), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared), str(folder / graph.file), Batches(), quant_format=QuantFormat.QDQ, per_channel=True,
            op_types_to_quantize=["Conv"], activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
    finally:
        logging.root.setLevel(before)
    shutil.copy(bundle.folder / bundle.manifest.golden.file, folder)
    return dataclasses.replace(bundle, folder=folder)


def _batches(bundle: Bundle) -> Iterator[Arrays]:
    rng = np.random.default_rng(0)
    return (golden_rows(bundle, ROWS, rng) for _ in range(BATCHES))
