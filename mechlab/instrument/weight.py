"""Weights: parameters as they are when a step or a training stage has ended, and their changes.

A pattern that selects no parameter may name buffers of the checkpoint, such as running means. The reference
of a change is what the caller hands over, or the parameters when recording began. Reduction "norm" is the
Euclidean norm over all elements, in float64.
"""

from torch import Tensor

from mechlab.errors import MechlabError
from mechlab.instrument.parameter_values import ParameterWriter
from mechlab.instrument.sites import find_stored
from mechlab.instrument.tap import Target


class WeightTap:
    """Records the parameters that one plan entry selects, or their change."""

    def __init__(self, target: Target) -> None:
        """Choose the parameters; a MechlabError if there are none, or the reference has other shapes."""
        self.target = target
        self.parameters = find_stored(target.model, target.entry.site)
        self.writer = ParameterWriter(target)
        self.keys = self.writer.keys(self.parameters)
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

    def write(self) -> None:
        """Write the parameters as they are now."""
        for name, parameter in self.parameters.items():
            values = parameter.detach()
            if self.reference:
                values = values - self.reference[name]
            self.fired |= self.writer.put(name, self.writer.parts(values), unit="1")

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
