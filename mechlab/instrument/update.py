"""Updates: what the optimiser did to a parameter in a step, its value after less its value before.

Where the optimiser scales gradients (Adam) or decays weights, this is what moved the model, and the gradient
is not. Reduction "norm" is the Euclidean norm over all elements, in float64.
"""

import torch
from torch import Tensor

from mechlab.instrument.parameter_values import ParameterWriter
from mechlab.instrument.sites import trained_parameters
from mechlab.instrument.tap import Target


class UpdateTap:
    """Records the change of the trainable parameters that one plan entry selects, step by step."""

    def __init__(self, target: Target) -> None:
        """Choose the parameters; a MechlabError if none of them trains."""
        self.target = target
        self.parameters = trained_parameters(target.model, target.entry.site)
        self.writer = ParameterWriter(target)
        self.keys = self.writer.keys(self.parameters)
        self.fired: set[str] = set()
        self.active = False
        self.before: dict[str, Tensor] = {}
        self._begin, self._end = target.sink.timed(self.keep), target.sink.timed(self.write)

    def keep(self) -> None:
        """Copy the parameters as the step finds them."""
        for name, parameter in self.parameters.items():
            if name not in self.before:
                self.before[name] = torch.empty_like(parameter, requires_grad=False)
            self.before[name].copy_(parameter.detach())

    def write(self) -> None:
        """Write what has changed since."""
        for name, parameter in self.parameters.items():
            change = self.before[name].neg_().add_(parameter.detach())
            self.fired |= self.writer.put(name, self.writer.parts(change), unit="1")

    def begin(self) -> None:
        """Switch on: a step that is due begins."""
        self.active = True
        self._begin()

    def end(self) -> None:
        """Write and switch off."""
        if self.active:
            self._end()
        self.active = False

    def remove(self) -> None:
        """There are no hooks."""
