"""Who trains when: the scope of a parameter from its name and the task at hand.

Source: design notes, "Scope of a parameter"; notes 004 L1492 (mixer), L1876 (context), L6318 (slow stage).
"""

from collections.abc import Iterator
from itertools import pairwise

from torch import nn

from mechlab.train.stage import Scope
from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.task_names import task_of

CONTEXT = (("subnet", "context"), ("subnet", "level"), ("subnet", "gate"))  # of a coupling's subnet


def scope_of(name: str, *, task: int, config: MoLEFlowConfig) -> Scope:
    """Return the scope of a parameter while `task` trains."""
    if (own := task_of(name)) is not None:
        return "per-task" if own == str(task) else "frozen"
    if config.base == "shared" or _trains_on(name, config) or is_slow(name, config):
        return "shared"
    return "first-task" if task == 0 and config.base != "given" else "frozen"


def _trains_on(name: str, config: MoLEFlowConfig) -> bool:
    """Whether a parameter trains in every task although the flow's base does not."""
    if name.startswith("mixer."):
        return config.mixer_trains == "every-task"
    if config.context_trains == "every-task":
        return any(pair in CONTEXT for pair in pairwise(name.split(".")))
    return False


def is_slow(name: str, config: MoLEFlowConfig) -> bool:
    """Whether a parameter belongs to the blocks that the slow stage of later tasks trains."""
    room, block, *_ = [*name.split("."), ""]
    return (
        room == "flow" and int(block) >= config.blocks - config.slow_blocks and not _trains_on(name, config)
    )


def shared_names(system: nn.Module, config: MoLEFlowConfig) -> tuple[str, ...]:
    """Return the parameters that every later task trains and that earlier tasks are scored with."""
    still = set(still_parameters(system))
    return tuple(
        name
        for name, _ in system.named_parameters()
        if name not in still and scope_of(name, task=1, config=config) == "shared"
    )


def still_parameters(system: nn.Module) -> Iterator[str]:
    """Give the parameters that a part names in `still`: it holds them, and nothing ever trains them."""
    for path, module in system.named_modules():
        for name in getattr(module, "still", ()):
            yield f"{path}.{name}"
