"""Weights: parameters as they are when a step or a training stage has ended, and their changes.

The reference of a change is what the caller hands over, or the parameters when recording began. Reduction
"norm" is the Euclidean norm over all elements, in float64.
"""

import torch
from torch import Tensor

from mechlab.errors import MechlabError
from mechlab.instrument.gradient import parameter_axes
from mechlab.instrument.sites import find_parameters
from mechlab.instrument.tap import Target, parameter_key


class WeightTap:
    """Records the parameters that one plan entry selects, or their change."""

    def __init__(self, target: Target) -> None:
        """Choose the parameters; a MechlabError if there are none, or the reference has other shapes."""
        self.target = target
        self.parameters = find_parameters(target.model, target.entry.site)
        self.keys = tuple(self.key(name) for name in self.parameters)
        self.fired: set[str] = set()
        self.active = False
        self.reference: dict[str, Tensor] = {}
        if target.entry.quantity == "weight_delta":
            self.reference = {name: self._reference(name) for name in self.parameters}
        self._end = target.sink.timed(self.write)

    def _reference(self, name: str) -> Tensor:
        parameter, given = self.parameters[name], self.target.reference
        if given is None:
            return parameter.detach().clone()
        if name not in given or given[name].shape != parameter.shape:
            found = f"shape {tuple(given[name].shape)}" if name in given else "nothing"
            raise MechlabError(
                f"the reference of '{name}' has {found}, the parameter has shape {tuple(parameter.shape)}; "
                "give a checkpoint of the same system, after the parameter came to be, or select fewer "
                "parameters."
            )
        return given[name].detach().to(device=parameter.device)

    def key(self, name: str) -> str:
        """Return the key under which a parameter is written."""
        return parameter_key(self.target.entry.quantity, name, reduction=self.target.entry.reduction)

    def write(self) -> None:
        """Write the parameters as they are now."""
        entry, sink = self.target.entry, self.target.sink
        for name, parameter in self.parameters.items():
            values, dtype = parameter.detach(), entry.dtype
            if self.reference:
                values = values - self.reference[name]
            if entry.reduction == "norm":
                values, dtype = torch.linalg.vector_norm(values, dtype=torch.float64), "float64"
            axes = (sink.per_parameter_axis, *parameter_axes(values))
            sink.put(self.key(name), values.unsqueeze(0), axes=axes, unit="1", dtype=dtype)
            self.fired.add(self.key(name))

    def begin(self) -> None:
        """Switch on."""
        self.active = True

    def end(self) -> None:
        """Write and switch off."""
        if self.active:
            self._end()
        self.active = False

    def remove(self) -> None:
        """There are no hooks."""
