"""Parameter gradients, as backward leaves them: accumulated, before clipping and before the optimiser.

They are read by post-accumulate hooks, so that an optimiser which steps or clears inside backward cannot
come first. Reduction "norm" is the Euclidean norm over all elements, in float64: in float32 torch's norm of
a large tensor is off by 1e-3 on CPU. Source: numerics notes, "CKA and SVD", pitfall b.
"""

from functools import partial

import torch
from torch import Tensor, nn

from mechlab.instrument.half import Halved, halved
from mechlab.instrument.sink import Room
from mechlab.instrument.sites import trained_parameters
from mechlab.instrument.tap import Target, parameter_key, remove_all

PARAMETER_AXES = ("fan_out", "fan_in", "height", "width")


class GradientTap:
    """Records the gradients, or their norms, of the trainable parameters that one plan entry selects."""

    def __init__(self, target: Target) -> None:
        """Hook the parameters; a pattern that selects none that trains is a MechlabError."""
        self.target = target
        self.parameters = trained_parameters(target.model, target.entry.site)
        self.names = {name: self.key(name) for name in self.parameters}  # parameter -> key
        self.keys = tuple(self.names.values())
        self.fired: set[str] = set()
        self.active = False
        self.held: dict[str, Room] = {}
        self.powers: dict[str, int] = {}  # of the scale a step before: most often right again
        self.halves: dict[str, Halved] = {}  # scale and counts of what is held in fp16
        take = target.sink.timed(self.take)
        self.removals = [
            parameter.register_post_accumulate_grad_hook(partial(take, name)).remove  # type: ignore[no-untyped-call]
            for name, parameter in self.parameters.items()
        ]
        self._end = target.sink.timed(self.write)

    def key(self, name: str) -> str:
        """Return the key under which a parameter is written."""
        return parameter_key("gradient", name, reduction=self.target.entry.reduction)

    def take(self, name: str, parameter: nn.Parameter) -> None:
        """Copy a gradient; a later backward of the same step replaces it by the accumulated one."""
        if not self.active or parameter.grad is None:
            return
        sink, entry = self.target.sink, self.target.entry
        gradient = sink.unscaled(parameter.grad.detach()).unsqueeze(0)
        if entry.reduction == "norm":
            norm = torch.linalg.vector_norm(gradient, dtype=torch.float64)
            self.held[name] = Room(norm.cpu().unsqueeze(0), None)
            return
        if name not in self.held:  # a second backward of the step fills the same room
            self.held[name] = sink.room(gradient.shape, entry.dtype)
        if entry.dtype == "float16":
            half = halved(
                gradient.cpu(), into=self.held[name].tensor, work=sink.work, guess=self.powers.get(name)
            )
            self.halves[name], self.powers[name] = half, half.power
        else:
            self.held[name].tensor.copy_(gradient)

    def write(self) -> None:
        """Write what this step gave."""
        sink = self.target.sink
        growing = sink.per_parameter_axis
        for name in [name for name in self.parameters if name in self.held]:
            room = self.held.pop(name)
            axes = (growing, *parameter_axes(room.tensor[0]))
            half = self.halves.pop(name, None)
            sink.give(self.names[name], room, axes=axes, unit="loss", of_loss=True, half=half)
            self.fired.add(self.names[name])

    def begin(self) -> None:
        """Switch on."""
        self.active = True
        self.held.clear()
        self.halves.clear()

    def end(self) -> None:
        """Write and switch off."""
        if self.active:
            self._end()
        self.active = False

    def remove(self) -> None:
        """Take the hooks off."""
        remove_all(self.removals)


def parameter_axes(values: Tensor) -> tuple[str, ...]:
    """Return the axes of a parameter: fan_out, fan_in, then a kernel's height and width; () for a scalar."""
    if values.ndim > len(PARAMETER_AXES):
        return (*PARAMETER_AXES[:2], *(f"width_{n}" for n in range(values.ndim - 2)))
    return PARAMETER_AXES[: values.ndim]
