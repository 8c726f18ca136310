"""Training: the steps as programs, the loop, callbacks, progress, checkpoints."""
