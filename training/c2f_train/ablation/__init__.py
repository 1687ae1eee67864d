"""Variants of a configuration, trained and scored alike."""
