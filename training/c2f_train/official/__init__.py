"""The published checkpoints: reading them, and parity with recorded results."""
