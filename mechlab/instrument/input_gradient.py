"""Input gradients: for each patch, the norm of d loss / d (what a site gives).

At the site "adapted" this is the number that the published gradient-concentration ratio was made of: a
gradient with respect to features, not to parameters. Source: moleflow facts 3, "Gradient concentration
ratio".
"""

from functools import partial

import torch
from torch import Tensor

from mechlab.instrument.activation import items_first, norm_over_channels
from mechlab.instrument.sites import Site, find_sites, hook_outputs
from mechlab.instrument.tap import Target, key_of, output_axes, remove_all


class InputGradientTap:
    """Records the norm, over the channels of a site's output, of the gradient that reaches it."""

    def __init__(self, target: Target) -> None:
        """Hook the sites that the entry selects; a pattern that selects none is a MechlabError."""
        self.target = target
        self.sites = find_sites(
            target.model,
            target.entry.site,
            quantities=("input_gradient", "activation", "latent"),
            named=target.sites,
        )
        self.keys = tuple(self.key(site) for site in self.sites)
        self.fired: set[str] = set()
        self.active = False
        self._take = target.sink.timed(self.take)
        self.removals = hook_outputs(target.model, self.sites, self.watch)

    def key(self, site: Site) -> str:
        """Return the key under which a site is written."""
        return key_of("input_gradient", site.name)

    def watch(self, site: Site, tensor: Tensor) -> None:
        """Wait for the gradient of a site's tensor."""
        if self.active and torch.is_grad_enabled() and tensor.requires_grad:
            tensor.register_hook(partial(self._take, site))  # type: ignore[no-untyped-call]

    def take(self, site: Site, gradient: Tensor) -> None:
        """Write the norm of one gradient."""
        sink = self.target.sink
        values = gradient if site.axes else sink.folded(gradient)
        axes = output_axes(site, values.shape, model=self.target.model)
        values, axes = norm_over_channels(*items_first(values, axes))
        values = sink.unscaled(values)
        sink.put(self.key(site), values, axes=axes, unit="loss", dtype=self.target.entry.dtype, of_loss=True)
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
