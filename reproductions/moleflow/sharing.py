"""By which keys later tasks train what earlier tasks are scored with. Torch-free.

Source: notes 004 L1492 (a mixer that all tasks train), L1876 (context convolutions), L6318 (slow stage).
"""

from reproductions.moleflow.config import MoLEFlowConfig

KEYS = "base=shared, mixer_trains=every-task, context_trains=every-task or slow_blocks"
CONTEXTS = ("context", "gated", "gated-published")


def shared_parts(config: MoLEFlowConfig) -> tuple[str, ...]:
    """Return the settings by which tasks share what trains on; none where earlier scores cannot change."""
    has_flow = config.blocks > 0 and config.base != "per-task"
    found = []
    if config.base == "shared":
        found.append("base")
    if config.mixer_trains == "every-task" and config.mixer != "none":
        found.append("mixer_trains")
    if config.context_trains == "every-task" and config.subnet in CONTEXTS and has_flow:
        found.append("context_trains")
    if config.slow_blocks and has_flow:
        found.append("slow_blocks")
    return tuple(found)
