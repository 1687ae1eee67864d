"""Recorded or generated sequences on disk, each read into `SourceFrame`s: one file per layout, `opening.py` picks."""
