"""Activations and latents: the output of a module, copied when the module returns it.

The copy is taken inside the hook, so that an in-place operation afterwards cannot change what was recorded.
Reduction "norm": the Euclidean norm over the channel axis, one number a place; the others are those of
`mechlab.instrument.reduction`, of a whole batch in a training step and of each image elsewhere.

In fp16 what is computed has a power-of-two scale, since squares and norms soon leave the range of fp16. The
output itself has none: looking for its largest value takes longer than the copy. What became infinite is
counted where the recording is packed.
"""

import torch
from torch import Tensor

from mechlab.instrument.norm import norm_along
from mechlab.instrument.parameter_values import raised
from mechlab.instrument.reduction import CHANNELS, Reduced, reduced
from mechlab.instrument.sites import Site, find_sites, hook_outputs
from mechlab.instrument.tap import Target, key_of, output_axes, remove_all

_PARTS: dict[str, tuple[str | None, ...]] = {"moments": ("mean", "variance")}


class ActivationTap:
    """Records the outputs of the sites of one plan entry, in their own unit."""

    def __init__(self, target: Target) -> None:
        """Hook the sites that the entry selects; a pattern that selects none is a MechlabError."""
        self.target, entry = target, target.entry
        self.sites = find_sites(
            target.model, entry.site, quantities=(entry.quantity, "activation", "latent"), named=target.sites
        )
        kind = entry.reduction and entry.reduction.partition(":")[0]
        self.parts = _PARTS.get(kind or "", (kind,))
        self.keys = tuple(self.key(site, part) for site in self.sites for part in self.parts)
        self.axes: dict[tuple[str, int], tuple[str, ...]] = {}  # of a site's tensor, by its dimensions
        self.fired: set[str] = set()
        self.active = False
        self.waiting: list[tuple[Site, Reduced]] = []  # summaries of the step under way
        self.removals = hook_outputs(target.model, self.sites, target.sink.timed(self.take))
        self._end = target.sink.timed(self.write)

    def key(self, site: Site, part: str | None) -> str:
        """Return the key under which (a part of) a site is written."""
        return key_of(self.target.entry.quantity, site.name, reduction=part)

    def take(self, site: Site, output: Tensor) -> None:
        """Write one output."""
        if not self.active:
            return
        entry, sink = self.target.entry, self.target.sink
        values = output.detach()
        if not site.axes:
            values = sink.folded(values)
        seen = (site.name, values.ndim)
        if seen not in self.axes:
            self.axes[seen] = output_axes(site, values.shape, model=self.target.model)
        values, axes = items_first(values, self.axes[seen])
        if entry.reduction == "norm":
            values, axes = norm_over_channels(values, axes, work=sink.work)
            self._put_later(site, Reduced("norm", values, axes))
        elif entry.reduction is None:
            self._put(site, Reduced("", values, axes))
        elif entry.reduction.startswith("subsample"):
            self._put(site, next(reduced(values, axes, entry.reduction)))
        else:
            self._put_summary(site, values, axes)

    def _put_summary(self, site: Site, values: Tensor, axes: tuple[str, ...]) -> None:
        """Write one row for the batch in a training step; elsewhere one row an image; nothing of no image."""
        if not values.numel():  # a rank without a share of the batch
            return
        reduction = str(self.target.entry.reduction)
        if self.target.sink.per_parameter_axis == "step":
            for part in reduced(values, axes, reduction, work=self.target.sink.work):
                row = part._replace(values=part.values[None], axes=("step", *part.axes))
                self._put_later(site, row)
            return
        by_image = [list(reduced(values[at : at + 1], axes, reduction)) for at in range(len(values))]
        for parts in zip(*by_image, strict=True):
            stacked = torch.stack([part.values for part in parts])
            self._put(site, parts[0]._replace(values=stacked, axes=("item", *parts[0].axes)))

    def _put_later(self, site: Site, part: Reduced) -> None:
        """Write what no later operation can change, in a step at its end: between products calls are slow."""
        if self.target.sink.per_parameter_axis == "step":
            self.waiting.append((site, part))
        else:
            self._put(site, part)

    def _put(self, site: Site, part: Reduced) -> None:
        key = self.key(site, part.name or None)
        unit = raised("1", part.power)
        dtype = self.target.entry.dtype
        self.target.sink.put(
            key,
            part.values,
            axes=part.axes,
            unit=unit,
            dtype=dtype,
            is_scaled=part.name not in ("", "subsample"),
            attributes=part.attributes,
        )
        self.fired.add(key)

    def write(self) -> None:
        """Write the summaries of the step under way."""
        for site, row in self.waiting:
            self._put(site, row)
        self.waiting.clear()

    def begin(self) -> None:
        """Switch on."""
        self.active = True
        self.waiting.clear()

    def end(self) -> None:
        """Write and switch off."""
        if self.active and self.waiting:
            self._end()
        self.active = False

    def remove(self) -> None:
        """Take the hooks off."""
        remove_all(self.removals)


def items_first(values: Tensor, axes: tuple[str, ...]) -> tuple[Tensor, tuple[str, ...]]:
    """Return the tensor with its item axis first; ValueError if no axis is one."""
    if "item" not in axes:
        raise ValueError(f"axes {axes} have no 'item': one axis of a site must be the images")
    at = axes.index("item")
    if at == 0:
        return values, axes
    return values.movedim(at, 0), ("item", *axes[:at], *axes[at + 1 :])


def norm_over_channels(
    values: Tensor, axes: tuple[str, ...], *, work: Tensor | None = None
) -> tuple[Tensor, tuple[str, ...]]:
    """Return the Euclidean norm over the channel axis, in float32 at least; ValueError if there is none."""
    found = [axis for axis in CHANNELS if axis in axes]
    if not found:
        raise ValueError(f"axes {axes} have no channel axis to take a norm over")
    at = axes.index(found[0])
    return norm_along(values, at, work=work), axes[:at] + axes[at + 1 :]
