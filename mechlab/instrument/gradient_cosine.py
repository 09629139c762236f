"""Does a parameter's gradient keep its direction? Its cosine with the gradient of the step recorded before.

Gradients are read as `gradient` reads them; inner products and norms are taken in float64. The first
recorded step has none before it and is NaN, and so is a gradient of 0. Source: numerics notes, "CKA and SVD",
pitfall b.
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mechlab.errors import MechlabError
from mechlab.instrument.sites import trained_parameters
from mechlab.instrument.tap import Target, parameter_key, remove_all


class GradientCosineTap:
    """Records one cosine a step and trainable parameter; holds one gradient of each."""

    def __init__(self, target: Target) -> None:
        """Hook the parameters; a pattern that selects none that trains is a MechlabError."""
        self.target = target
        self.parameters = trained_parameters(target.model, target.entry.site)
        self.keys = tuple(parameter_key("gradient_cosine", name) for name in self.parameters)
        self.fired: set[str] = set()
        self.active = False
        self.before: dict[str, Tensor] = {}
        self.now: dict[str, Tensor] = {}
        take = target.sink.timed(self.take)
        self.removals = [
            parameter.register_post_accumulate_grad_hook(partial(take, name)).remove  # type: ignore[no-untyped-call]
            for name, parameter in self.parameters.items()
        ]
        self._end = target.sink.timed(self.write)

    def take(self, name: str, parameter: nn.Parameter) -> None:
        """Copy a gradient; a later backward of the same step replaces it by the accumulated one."""
        if self.active and parameter.grad is not None:
            self.now[name] = parameter.grad.detach().clone()

    def write(self) -> None:
        """Write the cosines of this step; its gradients are those before the next."""
        sink, entry = self.target.sink, self.target.entry
        if self.now and sink.per_parameter_axis != "step":
            raise MechlabError(
                "gradient_cosine compares the steps of a training, and this pass has no step; record "
                "'gradient' of single images instead."
            )
        for name, gradient in self.now.items():
            before = self.before.get(name)
            value = torch.full((), torch.nan) if before is None else cosine(gradient, before)
            key = parameter_key("gradient_cosine", name)
            sink.put(key, value.reshape(1), axes=("step",), unit="1", dtype=entry.dtype)
            self.fired.add(key)
        self.before |= self.now

    def begin(self) -> None:
        """Switch on."""
        self.active = True
        self.now = {}

    def end(self) -> None:
        """Write and switch off."""
        if self.active:
            self._end()
        self.active = False

    def remove(self) -> None:
        """Take the hooks off."""
        remove_all(self.removals)


def cosine(one: Float[Tensor, "*shape"], other: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Return the cosine between two tensors, in float64; NaN if one of them is 0."""
    units = [
        value.flatten().double() / torch.linalg.vector_norm(value, dtype=torch.float64)
        for value in (one, other)
    ]
    return torch.dot(*units).clamp(-1.0, 1.0)
