"""Swap: two tasks of a system exchange the parts that are their own, so that each is scored by the other's.

A task's parts stand in containers whose keys are task numbers: adapters, low-rank branches, flows of its own.
The router is left as it is unless it is named, so that images are still sent by what they look like.
Source: design notes, "EvalSpec".
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from mechlab.errors import MechlabError, unknown
from mechlab.instrument.replacement import Effect, same_bits
from mechlab.intervention import Swap

ROUTER = "router"
Container = nn.ModuleDict | nn.ParameterDict


@contextmanager
def swap(
    system: nn.Module, first: int, second: int, *, parts: Sequence[str] | None = None
) -> Iterator[Effect]:
    """Exchange the parts of two tasks until the block ends.

    `parts` names the containers by path (all that have tasks for keys, without the router). A part that only
    one of the tasks has moves to the other.

    Raises:
        MechlabError: equal tasks, a task without parts, an unknown container, parts that are bit-identical,
            or parts that never ran in the block.
    """
    names = (str(first), str(second))
    if first == second:
        raise MechlabError(f"task {first} cannot be swapped with itself; give two tasks.")
    containers = task_containers(system, names, parts=parts)
    if all(_is_alike(container, names) for container in containers.values()):
        raise MechlabError(
            f"the parts of tasks {first} and {second} are bit-identical, so swapping them changes nothing; "
            "train them first, or choose other tasks."
        )
    effect = Effect(name=Swap(first=first, second=second).text, places=tuple(containers))
    with ExitStack() as stack:
        for path, container in containers.items():
            stack.enter_context(_exchanged(container, names))
            stack.enter_context(_counted(path, container, names, effect))
        yield effect
    effect.check()


def task_containers(
    system: nn.Module, tasks: tuple[str, str], *, parts: Sequence[str] | None = None
) -> dict[str, Container]:
    """Return path -> container of the parts of two tasks.

    Raises:
        MechlabError: a path that is no such container, or a task that none of them holds.
    """
    known: dict[str, Container] = {
        path: module
        for path, module in system.named_modules()
        if isinstance(module, Container) and len(module) and all(str(key).isdecimal() for key in module)
    }
    wrong = [path for path in parts or () if path not in known]
    if wrong:
        raise unknown("container of tasks", wrong[0], known)
    chosen = {path: module for path, module in known.items()
              if (path in parts if parts is not None else path.rpartition(".")[2] != ROUTER)}  # fmt: skip
    for task in tasks:
        if not any(task in container for container in chosen.values()):
            there = sorted({int(key) for container in chosen.values() for key in container})
            raise MechlabError(
                f"task {task} has no parts of its own to swap; tasks with parts: "
                f"{', '.join(map(str, there)) or 'none'}."
            )
    return {path: module for path, module in chosen.items() if any(task in module for task in tasks)}


@contextmanager
def _exchanged(container: Container, tasks: tuple[str, str]) -> Iterator[None]:
    before = list(container.items())
    other = {tasks[0]: tasks[1], tasks[1]: tasks[0]}
    _arrange(container, [(other.get(key, key), part) for key, part in before])
    try:
        yield
    finally:
        _arrange(container, before)


def _arrange(container: Container, items: list[tuple[str, Any]]) -> None:
    container.clear()
    for key, part in items:
        container[key] = part


@contextmanager
def _counted(path: str, container: Container, tasks: tuple[str, str], effect: Effect) -> Iterator[None]:
    """Note each call of an exchanged module; bare parameters do not show when they are used."""
    if isinstance(container, nn.ParameterDict):
        effect.count(path, is_changed=True)
        yield
        return
    handles = [
        module.register_forward_pre_hook(lambda *_: effect.count(path, is_changed=True))
        for task in tasks if task in container
        for module in container[task].modules()
    ]  # fmt: skip
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_alike(container: Container, tasks: tuple[str, str]) -> bool:
    if not all(task in container for task in tasks):
        return False
    one, other = (_state(container[task]) for task in tasks)
    return one.keys() == other.keys() and all(same_bits(one[name], other[name]) for name in one)


def _state(part: nn.Module | Tensor) -> dict[str, Tensor]:
    return dict(part.state_dict()) if isinstance(part, nn.Module) else {"": part}
