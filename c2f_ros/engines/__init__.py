"""Inference engines: one file each, opened by name in `steps/step6_engine.py`."""
