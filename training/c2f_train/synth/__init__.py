"""Synthetic clips with true amodal masks, drawn on a CPU."""
