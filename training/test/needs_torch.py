"""Imported first by tests that need torch, onnx and onnxruntime: without them the importing test is skipped."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; `make test` installs it")
onnx = pytest.importorskip("onnx", reason="onnx is not installed; `make test` installs it")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; `make test` installs it")
