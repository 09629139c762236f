"""What the log of epochs tells of a system: gates, weights of contexts, strengths, what is remembered.

A gate is a number that opens a part (`level`, by its sigmoid); means are over the parts of that kind. Gates
of patches are those of one batch. Source: notes 004 L740 to L790, L3070.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reproductions.moleflow.adapter import WhiteningAdapter
from reproductions.moleflow.film import FiLMAdapter
from reproductions.moleflow.flow.gate import PatchGate
from reproductions.moleflow.flow.subnet import ContextSubnet
from reproductions.moleflow.gradients import resting
from reproductions.moleflow.task_names import task_of


def part_readings(system: nn.Module, *, task: int) -> dict[str, float]:
    """Return what parameters alone tell, of the parts that a task's features go through.

    `context_alpha`, `<room>_gate` of mixer and position, `adapter_gamma` and `adapter_beta` (means over
    channels), `position_strength`.
    """
    found: dict[str, list[Tensor]] = defaultdict(list)
    for path, module in system.named_modules():
        if task_of(path) not in (None, str(task)):
            continue
        for name, value in _of_module(path.split(".")[0], module, task):
            found[name].append(value.detach().double().mean())
    return {name: float(torch.stack(values).mean()) for name, values in found.items()}


def _of_module(room: str, module: nn.Module, task: int) -> Iterator[tuple[str, Tensor]]:
    if isinstance(module, ContextSubnet) and module.gate is None:
        yield "context_alpha", module.strength
    elif isinstance(module, WhiteningAdapter):
        yield from (("adapter_gamma", module.gamma), ("adapter_beta", module.beta))
    elif isinstance(module, FiLMAdapter):
        yield "adapter_gate", module.gate
    elif isinstance(level := getattr(module, "level", None), nn.Parameter):
        yield f"{room}_gate", torch.sigmoid(level)
    for name, reading in (("task_level", f"{room}_gate"), ("place_level", "position_strength")):
        levels = getattr(module, name, None)
        if isinstance(levels, nn.ParameterDict) and str(task) in levels:
            yield reading, torch.sigmoid(levels[str(task)])


def gate_readings(
    system: nn.Module, batch: Float[Tensor, "batch row column dim"], *, task: int
) -> dict[str, float]:
    """Return mean, deviation, least and largest gate of the patches of a batch, if there are gates."""
    seen: list[Tensor] = []
    gates = [module for module in system.modules() if isinstance(module, PatchGate)]
    if not gates:
        return {}
    keep: Callable[[nn.Module, tuple[Tensor, ...], Tensor], None] = lambda _, __, gate: seen.append(gate)  # noqa: E731
    hooks = [gate.register_forward_hook(keep) for gate in gates]
    try:
        with resting(system), torch.no_grad():
            system(batch, task=task)
    finally:
        for hook in hooks:
            hook.remove()
    values = torch.cat([gate.double().flatten() for gate in seen])
    deviation = torch.stack([gate.double().std(correction=0) for gate in seen]).mean()
    return {"gate_mean": float(values.mean()), "gate_std": float(deviation),
            "gate_min": float(values.min()), "gate_max": float(values.max())}  # fmt: skip
