"""MoLE-Flow: a coupling flow over frozen patch features, adapted to each task by LoRA and a small flow."""
