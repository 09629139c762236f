"""Log-dets of flow blocks: the additive term of each patch, in nats.

Where a block lets patches see one another, a patch's term is conditional on its neighbours and only an
image's sum is the log-determinant of the block's Jacobian; reduction "sum" gives that sum, in float64.

A FrEIA graph returns only the total of its nodes; each node's own term is read from the module it holds and
has the node's name, or the module's path where the node was given none.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mechlab.errors import MechlabError
from mechlab.instrument.graph_nodes import node_names
from mechlab.instrument.sink import LEADING
from mechlab.instrument.sites import Site, element, find_sites
from mechlab.instrument.tap import Target, key_of, remove_all


class LogDetTap:
    """Records the log-det that blocks return as the second part of their output (or as a named site says)."""

    def __init__(self, target: Target) -> None:
        """Hook the sites that the entry selects; a pattern that selects none is a MechlabError."""
        self.target = target
        self.sites = _sites(target)
        self.keys = tuple(self.key(site) for site in self.sites)
        self.fired: set[str] = set()
        self.active = False
        self.removals = self._hooks(target.model, target.sink.timed(self.take))

    def _hooks(self, model: nn.Module, seen: Callable[[Site, Tensor], None]) -> list[Callable[[], None]]:
        modules, removals = dict(model.named_modules()), []
        for site in self.sites:
            if site.module is None:
                continue

            def hook(_module: nn.Module, _inputs: Any, output: Any, site: Site = site) -> None:  # noqa: ANN401
                if self.active:
                    seen(
                        site,
                        element(output, site.output) if site in self.target.sites else term(site, output),
                    )

            removals.append(modules[site.module].register_forward_hook(hook).remove)
        return removals

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


def _sites(target: Target) -> tuple[Site, ...]:
    """Return the sites of an entry; of the modules of a graph only its nodes, which alone give a log-det."""
    found = find_sites(target.model, target.entry.site, quantities=("log_det",), named=target.sites)
    nodes = node_names(target.model)
    inside = tuple(site for site in found if site.module in nodes)
    chosen = inside or found
    _refuse_what_is_no_determinant(target.model, chosen)
    return tuple(site if site in target.sites else replace(site, output=1) for site in chosen)


def _refuse_what_is_no_determinant(model: nn.Module, sites: tuple[Site, ...]) -> None:
    """Refuse blocks that say in `not_a_density` why what they return as a log-det is none."""
    modules = dict(model.named_modules())
    for site in sites:
        reason = getattr(modules.get(site.module or ""), "not_a_density", None)
        if isinstance(reason, str):
            raise MechlabError(
                f"'{site.name}' is not a density: {reason}; record its latent, or leave log_det out."
            )


def term(site: Site, output: Any) -> Tensor:  # noqa: ANN401 - a module may return anything
    """Return a block's log-det, one an image where it is the same for all; MechlabError if there is none."""
    if not isinstance(output, tuple | list) or len(output) < 2:
        raise MechlabError(
            f"'{site.name or 'the model'}' returns no log-det beside its output; choose blocks that do, or "
            "name the place with Site(quantity='log_det', output=...)."
        )
    log_det = output[1]
    if isinstance(log_det, int | float) or (isinstance(log_det, Tensor) and not log_det.ndim):
        first = next(_tensors(output[0]))
        return torch.as_tensor(log_det, dtype=first.dtype, device=first.device).expand(len(first))
    if not isinstance(log_det, Tensor):
        raise MechlabError(
            f"'{site.name or 'the model'}' returns a {type(log_det).__name__} in place of its log-det; call "
            "it with jac=True."
        )
    return log_det


def _tensors(value: Any) -> Iterator[Tensor]:  # noqa: ANN401 - a module may return anything
    """Give the tensors of an output of one or several parts."""
    parts = value if isinstance(value, tuple | list) else (value,)
    return iter([part for part in parts if isinstance(part, Tensor)])


def site_axes(values: Tensor) -> tuple[str, ...]:
    """Return the axes of one number a place: item, then row and column, and layer for stacked blocks."""
    if values.ndim > len(LEADING) + 1:
        raise ValueError(f"log-dets of shape {tuple(values.shape)} are not one number a patch")
    return (*LEADING, "layer")[: values.ndim]
