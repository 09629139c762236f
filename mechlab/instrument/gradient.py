"""Parameter gradients, as backward leaves them: accumulated, before clipping and before the optimiser.

They are read by post-accumulate hooks, so that an optimiser which steps or clears inside backward cannot
come first. Reduction "norm" is the Euclidean norm over all elements, in float64: in float32 torch's norm of
a large tensor is off by 1e-3 on CPU. Source: numerics notes, "CKA and SVD", pitfall b.
"""

from functools import partial

import torch
from torch import Tensor, nn

from mechlab.instrument.half import Halved, halved
from mechlab.instrument.parameter_values import ParameterWriter, parameter_axes
from mechlab.instrument.reduction import Reduced
from mechlab.instrument.sink import Room
from mechlab.instrument.sites import trained_parameters
from mechlab.instrument.tap import Target, parameter_key, remove_all

_SMALL = 2**18  # elements: up to here a copy in the hook and the rest later is quicker than all of it there


class GradientTap:
    """Records the gradients, or reductions of them, of the trainable parameters that one entry selects."""

    def __init__(self, target: Target) -> None:
        """Hook the parameters; a pattern that selects none that trains is a MechlabError."""
        self.target = target
        self.parameters = trained_parameters(target.model, target.entry.site)
        self.writer = ParameterWriter(target)
        self.keys = self.writer.keys(self.parameters)
        self.fired: set[str] = set()
        self.active = False
        self.rooms: dict[str, Room] = {}  # whole gradients of the step under way
        self.halves: dict[str, Halved] = {}  # scale and counts of those held in fp16
        self.powers: dict[str, int] = {}  # of the scale a step before: most often right again
        self.copies: dict[str, Tensor] = {}  # of small gradients, for when the step has ended
        self.copied: set[str] = set()  # those of the step under way
        self.parts: dict[str, list[Reduced]] = {}  # reductions of the step under way
        take = target.sink.timed(self.take)
        self.removals = [
            parameter.register_post_accumulate_grad_hook(partial(take, name)).remove  # type: ignore[no-untyped-call]
            for name, parameter in self.parameters.items()
        ]
        self._end = target.sink.timed(self.write)

    def take(self, name: str, parameter: nn.Parameter) -> None:
        """Keep a gradient; a later backward of the same step replaces it by the accumulated one."""
        gradient = parameter.grad
        if not self.active or gradient is None:
            return
        gradient = self.target.sink.unscaled(gradient.detach())
        if gradient.numel() <= _SMALL:
            self._copy(name, gradient)
        elif self.target.entry.reduction is not None:
            self.parts[name] = self.writer.parts(gradient)
        else:
            self._fill(name, gradient)

    def take_again(self) -> None:
        """Keep the gradients as they are now: backward has ended, and something changed them since."""
        for name in (*self.rooms, *self.parts, *self.copied):
            self.take(name, self.parameters[name])

    def write(self) -> None:
        """Write what this step gave."""
        if self.target.entry.reduction is not None:
            self._write_parts()
        else:
            self._write_whole()
        self._forget()

    def _write_parts(self) -> None:
        copied = {name: self.copies[name] for name in self.parameters if name in self.copied}
        known = self.parts | self.writer.parts_of_all(copied)
        parts = {name: known[name] for name in self.parameters if name in known}
        self.fired |= self.writer.put_all(parts, unit="loss", of_loss=True)

    def _write_whole(self) -> None:
        sink = self.target.sink
        growing = sink.per_parameter_axis
        for name in self.parameters:
            if name in self.copied:
                self._fill(name, self.copies[name])
            if name in self.rooms:
                room, key = self.rooms[name], parameter_key("gradient", name)
                axes = (growing, *parameter_axes(room.tensor[0]))
                half = self.halves.get(name)
                sink.give(key, room, axes=axes, unit="loss", of_loss=True, half=half)
                self.fired.add(key)

    def _copy(self, name: str, gradient: Tensor) -> None:
        """Keep a small gradient as it is: between the products of backward every call is a slow one."""
        known = self.copies.get(name)
        if known is None or known.dtype != gradient.dtype:  # with a loss scale, bfloat16 becomes float32
            self.copies[name] = torch.empty_like(gradient)
        self.copies[name].copy_(gradient)
        self.copied.add(name)

    def _fill(self, name: str, gradient: Tensor) -> None:
        """Put a gradient into its room; a second backward of the step fills the same one."""
        sink, dtype = self.target.sink, self.target.entry.dtype
        if name not in self.rooms:
            self.rooms[name] = sink.room((1, *gradient.shape), dtype)
        into = self.rooms[name].tensor[0]
        if dtype == "float16":
            half = halved(gradient.cpu(), into=into, work=sink.work, guess=self.powers.get(name))
            self.halves[name], self.powers[name] = half, half.power
        else:
            into.copy_(gradient)

    def begin(self) -> None:
        """Switch on."""
        self.active = True
        self._forget()

    def end(self) -> None:
        """Write and switch off."""
        if self.active:
            self._end()
        self.active = False

    def _forget(self) -> None:
        self.rooms.clear()
        self.halves.clear()
        self.copied.clear()
        self.parts.clear()

    def remove(self) -> None:
        """Take the hooks off."""
        remove_all(self.removals)
