"""Log-dets of flow blocks: the additive term of each patch, in nats.

Where a block lets patches see one another, a patch's term is conditional on its neighbours and only an
image's sum is the log-determinant of the block's Jacobian; reduction "sum" gives that sum, in float64.
"""

from dataclasses import replace

from torch import Tensor

from mechlab.instrument.sink import LEADING
from mechlab.instrument.sites import Site, find_sites, hook_outputs
from mechlab.instrument.tap import Target, key_of, remove_all


class LogDetTap:
    """Records the log-det that blocks return as the second part of their output (or as a named site says)."""

    def __init__(self, target: Target) -> None:
        """Hook the sites that the entry selects; a pattern that selects none is a MechlabError."""
        self.target = target
        found = find_sites(target.model, target.entry.site, quantities=("log_det",), named=target.sites)
        self.sites = tuple(site if site in target.sites else replace(site, output=1) for site in found)
        self.keys = tuple(self.key(site) for site in self.sites)
        self.fired: set[str] = set()
        self.active = False
        self.removals = hook_outputs(target.model, self.sites, target.sink.timed(self.take))

    def key(self, site: Site) -> str:
        """Return the key under which a site is written."""
        return key_of("log_det", site.name, reduction=self.target.entry.reduction)

    def take(self, site: Site, log_det: Tensor) -> None:
        """Write one block's log-dets; one number an image, or one a patch."""
        if not self.active:
            return
        entry, sink = self.target.entry, self.target.sink
        values = sink.folded(log_det.detach())
        dtype = entry.dtype
        if entry.reduction == "sum":
            values, dtype = values.double().reshape(len(values), -1).sum(dim=1), "float64"
        sink.put(self.key(site), values, axes=site_axes(values), unit="nat", dtype=dtype)
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


def site_axes(values: Tensor) -> tuple[str, ...]:
    """Return the axes of one number a place: item, then row and column, and layer for stacked blocks."""
    if values.ndim > len(LEADING) + 1:
        raise ValueError(f"log-dets of shape {tuple(values.shape)} are not one number a patch")
    return (*LEADING, "layer")[: values.ndim]
