"""Activations and latents: the output of a module, copied when the module returns it.

The copy is taken inside the hook, so that an in-place operation afterwards cannot change what was recorded.
Reduction "norm": the Euclidean norm over the channel axis, one number a place.
"""

import torch
from torch import Tensor

from mechlab.instrument.sites import Site, find_sites, hook_outputs
from mechlab.instrument.tap import Target, key_of, output_axes, remove_all

_CHANNELS = ("dim", "channel")


class ActivationTap:
    """Records the outputs of the sites of one plan entry, in their own unit."""

    def __init__(self, target: Target) -> None:
        """Hook the sites that the entry selects; a pattern that selects none is a MechlabError."""
        self.target, entry = target, target.entry
        self.sites = find_sites(
            target.model, entry.site, quantities=(entry.quantity, "activation", "latent"), named=target.sites
        )
        self.keys = tuple(self.key(site) for site in self.sites)
        self.fired: set[str] = set()
        self.active = False
        self.removals = hook_outputs(target.model, self.sites, target.sink.timed(self.take))

    def key(self, site: Site) -> str:
        """Return the key under which a site is written."""
        return key_of(self.target.entry.quantity, site.name, reduction=self.target.entry.reduction)

    def take(self, site: Site, output: Tensor) -> None:
        """Write one output."""
        if not self.active:
            return
        entry, sink = self.target.entry, self.target.sink
        values = output.detach()
        if not site.axes:
            values = sink.folded(values)
        axes = output_axes(site, values.shape, model=self.target.model)
        values, axes = items_first(values, axes)
        if entry.reduction == "norm":
            values, axes = norm_over_channels(values, axes)
        sink.put(self.key(site), values, axes=axes, unit="1", dtype=entry.dtype)
        self.fired.add(self.key(site))

    def begin(self) -> None:
        """Switch on."""
        self.active = True

    def end(self) -> None:
        """Switch off."""
        self.active = False

    def remove(self) -> None:
        """Take the hooks off."""
        remove_all(self.removals)


def items_first(values: Tensor, axes: tuple[str, ...]) -> tuple[Tensor, tuple[str, ...]]:
    """Return the tensor with its item axis first; ValueError if no axis is one."""
    if "item" not in axes:
        raise ValueError(f"axes {axes} have no 'item': one axis of a site must be the images")
    at = axes.index("item")
    return values.movedim(at, 0), ("item", *axes[:at], *axes[at + 1 :])


def norm_over_channels(values: Tensor, axes: tuple[str, ...]) -> tuple[Tensor, tuple[str, ...]]:
    """Return the Euclidean norm over the channel axis, in float32 at least; ValueError if there is none."""
    found = [axis for axis in _CHANNELS if axis in axes]
    if not found:
        raise ValueError(f"axes {axes} have no channel axis to take a norm over")
    at = axes.index(found[0])
    norm = torch.linalg.vector_norm(values if values.dtype == torch.float64 else values.float(), dim=at)
    return norm, axes[:at] + axes[at + 1 :]
