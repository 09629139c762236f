"""Who trains when: the scope of a parameter from its name and the task at hand.

Source: design notes, "Scope of a parameter".
"""

from collections.abc import Iterator
from itertools import pairwise

from torch import nn

from mechlab.train.stage import Scope

# Containers whose children are named for tasks
PER_TASK = (
    *("adapter", "own", "down", "up", "linear", "dia", "router"),
    *("task_level", "task_scale", "task_shift"),  # of mixers
)


def scope_of(name: str, *, task: int, base: str) -> Scope:
    """Return the scope of a parameter while `task` trains; `base` is that of what tasks share."""
    for parent, child in pairwise(name.split(".")):
        if parent in PER_TASK:
            return "per-task" if child == str(task) else "frozen"
    if base == "shared":
        return "shared"
    return "first-task" if task == 0 else "frozen"


def still_parameters(system: nn.Module) -> Iterator[str]:
    """Give the parameters that a part names in `still`: it holds them, and nothing ever trains them."""
    for path, module in system.named_modules():
        for name in getattr(module, "still", ()):
            yield f"{path}.{name}"
