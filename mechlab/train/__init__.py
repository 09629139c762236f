"""The training loop: stages, observers, checkpoints, devices; what may know torch."""
