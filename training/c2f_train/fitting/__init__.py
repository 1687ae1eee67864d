"""Training itself: devices, stages, losses, optimizers, checkpoints."""
