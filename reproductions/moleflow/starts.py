"""What a task's draws come from: its place in the stream, or the classes that it has.

From its classes, and with nothing shared that an earlier task trains (base=given or per-task), what a task
becomes does not depend on its place: the order of tasks is irrelevant to the bit. No task is then the first
one, and each starts as later ones do. Source: notes 004 L1676 (M43).
"""

from collections.abc import Sequence

from torch import nn

from mechlab.files import sha256_bytes
from reproductions.moleflow.config import MoLEFlowConfig

PLACES = 1 << 20  # numbers below are of places


def numbers(config: MoLEFlowConfig, classes: Sequence[Sequence[str]]) -> dict[int, int]:
    """Return the number that each task's draws depend on beside the seed; none where that is its place."""
    if config.starts == "place":
        return {}
    if not classes:
        raise ValueError("starts=classes needs the classes of each task")
    return {task: PLACES + int(sha256_bytes("+".join(names).encode())[:8], 16)
            for task, names in enumerate(classes)}  # fmt: skip


def stand_at(module: nn.Module, task: int, *, drawn_as: int) -> None:
    """Let what was created under the number of its draws stand under that of its task."""
    for container in module.modules():
        if isinstance(container, nn.ModuleDict) and drawn_as != task and str(drawn_as) in container:
            container[str(task)] = container.pop(str(drawn_as))
