"""How values of parameters (gradients, weights, changes) are written: whole, as a norm, or reduced.

In fp16 they have a power-of-two scale: the update of a weight is often 1e-9, which fp16 alone makes 0.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from mechlab.instrument.norm import norm, norms
from mechlab.instrument.reduction import Reduced, reduced
from mechlab.instrument.tap import Target, parameter_key

PARAMETER_AXES = ("fan_out", "fan_in", "height", "width")
_PARTS = {"norm": ("norm",), "moments": ("mean", "variance"), "quantiles": ("quantiles",)}


def parameter_axes(values: Tensor) -> tuple[str, ...]:
    """Return the axes of a parameter: fan_out, fan_in, then a kernel's height and width; () for a scalar."""
    if values.ndim > len(PARAMETER_AXES):
        return (*PARAMETER_AXES[:2], *(f"width_{n}" for n in range(values.ndim - 2)))
    return PARAMETER_AXES[: values.ndim]


class ParameterWriter:
    """Writes values of parameters as one plan entry asks; each step, image or checkpoint is one row."""

    def __init__(self, target: Target) -> None:
        """Bind to the entry and its sink."""
        self.entry, self.sink = target.entry, target.sink

    def keys(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return what may be written of parameters."""
        parts = (None,) if self.entry.reduction is None else _PARTS[self.entry.reduction]
        key = partial(parameter_key, self.entry.quantity)
        return tuple(key(name, reduction=part) for name in names for part in parts)

    def parts(self, values: Tensor) -> list[Reduced]:
        """Return what is written of a parameter's values, computed now."""
        reduction = self.entry.reduction
        if reduction is None:
            return [Reduced("", values, parameter_axes(values))]
        if reduction == "norm":
            return [Reduced("norm", norm(values), ())]
        found = list(reduced(values, (), reduction))
        # All elements are one channel: its mean and variance are numbers.
        return [
            part if part.name == "quantiles" else part._replace(values=part.values.reshape(()), axes=())
            for part in found
        ]

    def parts_of_all(self, values: Mapping[str, Tensor]) -> dict[str, list[Reduced]]:
        """Return `parts` of several parameters."""
        if self.entry.reduction == "norm":
            found = norms(list(values.values()))
            return {name: [Reduced("norm", one, ())] for name, one in zip(values, found, strict=True)}
        return {name: self.parts(one) for name, one in values.items()}

    def put(self, name: str, parts: Iterable[Reduced], *, unit: str, of_loss: bool = False) -> set[str]:
        """Write the parts of one parameter as one row each, and return their keys."""
        written = set()
        for part in parts:
            key = parameter_key(self.entry.quantity, name, reduction=part.name or None)
            self.sink.put(
                key,
                part.values.unsqueeze(0),
                axes=(self.sink.per_parameter_axis, *part.axes),
                unit=raised(unit, part.power),
                dtype="float64" if part.name else self.entry.dtype,
                of_loss=of_loss,
                is_scaled=True,
                attributes=part.attributes,
            )
            written.add(key)
        return written

    def put_all(
        self, parts: Mapping[str, Sequence[Reduced]], *, unit: str, of_loss: bool = False
    ) -> set[str]:
        """Do what `put` does with several parameters; their norms leave the device together."""
        if self.entry.reduction != "norm" or not parts:
            return {key for name in parts for key in self.put(name, parts[name], unit=unit, of_loss=of_loss)}
        first, *others = (one.values for (one,) in parts.values())
        numbers = torch.stack([first, *(one.to(first.device) for one in others)]).cpu().numpy()
        axes = (self.sink.per_parameter_axis,)
        keys = [parameter_key(self.entry.quantity, name, reduction="norm") for name in parts]
        for key, number in zip(keys, numbers[:, None], strict=True):
            self.sink.append(key, number, axes=axes, unit=unit, of_loss=of_loss)
        return set(keys)


def raised(unit: str, power: int) -> str:
    """Return the unit of a power of a quantity."""
    return unit if power == 1 or unit == "1" else f"{unit}^{power}"
