"""Do rows pull a weight the same way? Cosines between the terms of rows in a layer's weight gradient.

The term of row i is b_i a_iᵀ, so that the cosine between two is cos(a_i, a_j) cos(b_i, b_j) and no term is
made; with groups, the inner product is the sum of those of the groups. Taken for evenly spaced rows of the
batch. Source: numerics notes, "Per-patch gradient norms", (iv).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from mechlab.instrument.convolution import CONVOLUTIONS, Convolution, patches
from mechlab.instrument.layer_watch import LayerWatch, refuse_unfit
from mechlab.instrument.sites import Layer, find_layers
from mechlab.instrument.tap import Target, key_of

ROWS = 64  # of a batch: 64 x 64 cosines a step and layer are 16 kB


class RowCosineTap:
    """Records the matrix of cosines of every layer that one plan entry selects, computed in float64."""

    def __init__(self, target: Target) -> None:
        """Hook the layers; a MechlabError where rows have no term of their own."""
        self.target = target
        self.layers = find_layers(target.model, target.entry.site)
        refuse_unfit(self.layers)
        self.keys = tuple(key_of("row_cosine", name) for name in self.layers)
        self.fired: set[str] = set()
        self.active = False
        self.cosines: dict[str, Tensor] = {}
        self.watch = LayerWatch(
            self.layers, target.sink, seen=self.take, met=self.meet, is_active=lambda: self.active
        )
        self._end = target.sink.timed(self.write)

    def take(self, layer: Layer, rows: Tensor) -> Tensor:
        """Return what the chosen rows of a layer read."""
        if not isinstance(layer, CONVOLUTIONS):
            return _chosen(rows.detach())
        return _chosen_patches(layer, rows.detach())

    def meet(self, name: str, layer: Layer, inputs: Tensor, gradient: Tensor) -> None:
        """Take the cosines."""
        if isinstance(layer, CONVOLUTIONS):
            outputs = torch.unflatten(_chosen(gradient.movedim(1, -1)), 1, (layer.groups, -1))
        else:
            inputs, outputs = inputs.unsqueeze(1), _chosen(gradient).unsqueeze(1)
        self.cosines[key_of("row_cosine", name)] = term_cosines(inputs, outputs)

    def write(self) -> None:
        """Write the cosines of this step; rows that a small batch lacks are NaN."""
        sink, entry = self.target.sink, self.target.entry
        for key, cosines in self.cosines.items():
            values = cosines.new_full((1, ROWS, ROWS), torch.nan)
            values[0, : len(cosines), : len(cosines)] = cosines
            axes = (sink.per_parameter_axis, "draw", "draw_other")
            sink.put(key, values, axes=axes, unit="1", dtype=entry.dtype)
            self.fired.add(key)

    def begin(self) -> None:
        """Switch on and forget the step before."""
        self.active = True
        self._forget()

    def end(self) -> None:
        """Write and switch off."""
        if self.active:
            self._end()
        self.active = False
        self._forget()

    def _forget(self) -> None:
        self.watch.forget()
        self.cosines.clear()

    def remove(self) -> None:
        """Take the hooks off."""
        self.watch.remove()


def term_cosines(
    inputs: Float[Tensor, "draw group fan_in"], outputs: Float[Tensor, "draw group fan_out"]
) -> Float[Tensor, "draw draw"]:
    """Return the cosines between the terms of rows, in float64; NaN beside a term that is 0."""
    a, b = inputs.double(), outputs.double()
    products = (torch.einsum("igc,jgc->ijg", a, a) * torch.einsum("igc,jgc->ijg", b, b)).sum(dim=2)
    lengths = products.diagonal().sqrt()
    cosines: Tensor = products / torch.outer(lengths, lengths)
    return cosines.clamp_(-1.0, 1.0)


def spaced(count: int, *, chosen: int = ROWS) -> list[int]:
    """Return `chosen` evenly spaced numbers below `count`, or all of them where there are fewer."""
    chosen = min(chosen, count)
    return [index * count // chosen for index in range(chosen)]


def _chosen(rows: Float[Tensor, "*place channel"]) -> Float[Tensor, "draw channel"]:
    """Return a copy of evenly spaced rows of a tensor whose last axis is the channels."""
    flat = rows.reshape(-1, rows.shape[-1]) if rows.is_contiguous() else rows.flatten(0, -2)
    return flat[torch.tensor(spaced(len(flat)), device=rows.device)]


def _chosen_patches(
    conv: Convolution, images: Float[Tensor, "item channel *size"]
) -> Float[Tensor, "draw group fan_in"]:
    """Return the patches under evenly spaced places of the output."""
    view, axes = patches(conv, images), len(conv.kernel_size)
    view = view.movedim(tuple(range(3, 3 + axes)), tuple(range(1, 1 + axes)))  # item, *place, group, ...
    shape = view.shape[: 1 + axes]
    flat = torch.tensor(spaced(shape.numel()), device=images.device)
    chosen: Tensor = view[torch.unravel_index(flat, shape)]
    return chosen.flatten(2)
