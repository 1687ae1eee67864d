"""Graphs in int8, by the quantizer of ONNX Runtime: products are computed in whole numbers, all else as before."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from c2f_ros.bundle import Arrays
from c2f_ros.contract import ContractError
from c2f_ros.low_precision import PRODUCTS, delicate_nodes


def quantized(graph: Path, samples: Sequence[Arrays]) -> onnx.ModelProto:
    """The graph with an int8 rounding (QuantizeLinear, DequantizeLinear) before every product that bears it.

    samples: inputs of the graph as it meets them in use; the largest value of a tensor in them is its 127. Rounding is
    symmetric, of weights channel by channel. Products before a choice keep their type, as in `low_precision`.
    Raises ContractError without samples, or if the package that quantizes is missing.
    """
    if not samples:
        raise ContractError(f"int8 of {graph.name} needs samples of its inputs, none were recorded; give another bag")
    try:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    except ImportError as error:
        raise ContractError(f"the quantizer of onnxruntime does not load ({error}); use another precision") from error

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(samples)

        def get_next(self) -> dict[str, Any] | None:
            sample = next(self._left, None)
            return None if sample is None else dict(sample)

    model = onnx.load(str(graph))
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{index}"
    products = sorted(PRODUCTS)
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # it recommends to preprocess the model, whatever the model is
    try:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "int8.onnx"
            quantize_static(
                model,
                str(made),
                Reader(),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=products,
                nodes_to_exclude=[model.graph.node[index].name for index in delicate_nodes(model.graph)],
                extra_options={
                    "ActivationSymmetric": True,
                    "WeightSymmetric": True,
                    "QuantizeBias": False,
                    "MatMulConstBOnly": True,
                    "OpTypesToExcludeOutputQuantization": products,
                },
            )
            return onnx.load(str(made))
    finally:
        logger.setLevel(level)
