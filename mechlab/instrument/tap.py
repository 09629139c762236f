"""What every quantity's hooks have in common: they are switched on for a step, and switched off and removed.

A tap belongs to one entry of a plan. Its hooks stay on the model and do nothing while it is not `active`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from mechlab.instrument.sink import LEADING, Sink
from mechlab.instrument.sites import Site
from mechlab.specs import PlanEntry

Removal = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a tap is attached to: a model, one entry of the plan, and what the system says of itself."""

    model: nn.Module
    entry: PlanEntry
    sink: Sink
    sites: tuple[Site, ...] = ()
    reference: Mapping[str, Tensor] | None = None  # parameter name -> value that weight deltas are taken from


@runtime_checkable
class Tap(Protocol):
    """Hooks of one plan entry."""

    keys: tuple[str, ...]  # what it may write
    fired: set[str]  # what it wrote
    active: bool  # whether its hooks do anything now

    def begin(self) -> None:
        """Switch the hooks on: a step that is due begins."""
        ...

    def end(self) -> None:
        """Write what is only known when the step ends, and switch the hooks off."""
        ...

    def remove(self) -> None:
        """Take the hooks off the model."""
        ...


def key_of(quantity: str, site: str, *, reduction: str | None = None) -> str:
    """Return "<quantity>[_<reduction>]/<site>"; a site that ends with its quantity loses that ending."""
    place = site.removesuffix(f".{quantity}") or "model"
    return f"{quantity}_{reduction}/{place}" if reduction else f"{quantity}/{place}"


def parameter_key(quantity: str, name: str, *, reduction: str | None = None) -> str:
    """Return the key of a parameter: a parameter called weight has the name of its module."""
    return key_of(quantity, name.removesuffix(".weight"), reduction=reduction)


def output_axes(site: Site, shape: Sequence[int], *, model: nn.Module) -> tuple[str, ...]:
    """Return the axes of a site's tensor: as the site says, or guessed from its shape.

    The guess: items first, channels last; channels second where four axes have the size of a convolution's
    channels there. ValueError beyond four axes, or if the site's own axes do not fit.
    """
    if site.axes:
        if len(site.axes) != len(shape):
            raise ValueError(
                f"site '{site.name}' names axes {site.axes} for a tensor of shape {tuple(shape)}"
            )
        return site.axes
    if not 1 <= len(shape) <= 4:
        raise ValueError(f"site '{site.name}' gives {len(shape)} axes; name them with Site(axes=...)")
    if len(shape) == 4 and _is_channel_second(site, shape, model):
        return ("item", "channel", "height", "width")
    return (*LEADING[: max(1, len(shape) - 1)], "dim")[: len(shape)]


def _is_channel_second(site: Site, shape: Sequence[int], model: nn.Module) -> bool:
    module = model.get_submodule(site.module or "")
    if next(module.parameters(), None) is None:
        module = model  # an activation or a pooling tells nothing of itself
    parts = list(module.modules())
    convolved = {part.out_channels for part in parts if isinstance(part, nn.Conv2d | nn.ConvTranspose2d)}
    convolved |= {part.num_features for part in parts if isinstance(part, nn.BatchNorm2d)}
    mapped = {part.out_features for part in parts if isinstance(part, nn.Linear)}
    return shape[1] in convolved and shape[-1] not in mapped


def remove_all(removals: Iterable[Removal]) -> None:
    """Call every removal."""
    for remove in removals:
        remove()
