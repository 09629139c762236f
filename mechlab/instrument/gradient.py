"""Parameter gradients, as backward leaves them: accumulated, before clipping and before the optimiser.

They are read by post-accumulate hooks, so that an optimiser which steps or clears inside backward cannot
come first. Reduction "norm" is the Euclidean norm over all elements, in float64: in float32 torch's norm of
a large tensor is off by 1e-3 on CPU. Source: numerics notes, "CKA and SVD", pitfall b.
"""

from functools import partial

import torch
from torch import Tensor, nn

from mechlab.errors import MechlabError
from mechlab.instrument.sink import DTYPES
from mechlab.instrument.sites import find_parameters
from mechlab.instrument.tap import Target, parameter_key, remove_all

PARAMETER_AXES = ("fan_out", "fan_in", "height", "width")


class GradientTap:
    """Records the gradients, or their norms, of the trainable parameters that one plan entry selects."""

    def __init__(self, target: Target) -> None:
        """Hook the parameters; a pattern that selects none that trains is a MechlabError."""
        self.target = target
        found = find_parameters(target.model, target.entry.site)
        self.parameters = {name: parameter for name, parameter in found.items() if parameter.requires_grad}
        if not self.parameters:
            raise MechlabError(
                f"none of the {len(found)} parameters at '{target.entry.site}' is trained, so none has a "
                "gradient; choose others or record 'weight'."
            )
        self.keys = tuple(self.key(name) for name in self.parameters)
        self.fired: set[str] = set()
        self.active = False
        self.held: dict[str, Tensor] = {}
        self.fresh: set[str] = set()  # parameters that backward reached in this step
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
        gradient = parameter.grad.detach()
        if self.target.entry.reduction == "norm":
            self.held[name] = torch.linalg.vector_norm(gradient, dtype=torch.float64)
        else:
            # fp16 is scaled when it is written, so that its own range is not lost here
            dtype = DTYPES[self.target.entry.dtype]
            dtype = torch.float32 if dtype == torch.float16 else dtype
            if name not in self.held:
                self.held[name] = torch.empty_like(gradient, dtype=dtype)
            self.held[name].copy_(gradient)
        self.fresh.add(name)

    def write(self) -> None:
        """Write what this step gave."""
        entry, sink = self.target.entry, self.target.sink
        growing = sink.per_parameter_axis
        for name in self.parameters:
            if name not in self.fresh:
                continue
            values = sink.unscaled(self.held[name]).unsqueeze(0)
            axes = (growing, *parameter_axes(values[0]))
            dtype = "float64" if entry.reduction == "norm" else entry.dtype
            sink.put(self.key(name), values, axes=axes, unit="loss", dtype=dtype, of_loss=True)
            self.fired.add(self.key(name))

    def begin(self) -> None:
        """Switch on."""
        self.active = True
        self.fresh.clear()

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
