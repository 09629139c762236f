"""The invertible part: coupling blocks, their subnets, and the per-task flow after them."""
