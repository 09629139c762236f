"""Ablation: what a site says is replaced by zeros, by a mean, or by what it says of another item.

A site's whole output is replaced, all its tensors together: of a flow block that returns (latent, log-det)
both. That is no bypass: a bypass would hand on the block's input. The mean is taken over items and keeps
places and channels. Source: design notes, "EvalSpec"; Li & Janson 2024 on zero, mean and resample ablation.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mechlab.errors import MechlabError, unknown
from mechlab.instrument.replacement import Change, Effect, Place, find_places, replacing, seeing
from mechlab.instrument.sites import Site
from mechlab.intervention import VALUES, parse


@dataclass(frozen=True, slots=True)
class Reference:
    """What places return for reference inputs: one list of tensors a place, items along their own axis."""

    rows: dict[str, list[Tensor]] = field(default_factory=dict)  # place -> one tensor a part

    def add(self, place: Place, parts: list[Tensor]) -> None:
        """Append one call's tensors."""
        kept = [part.detach().clone() for part in parts]
        if (before := self.rows.get(place.name)) is not None:
            axes = [place.axis(number) for number in range(len(kept))]
            kept = [torch.cat([_fitting(rows, part, place, axis=axis), part], dim=axis)
                    for rows, part, axis in zip(before, kept, axes, strict=True)]  # fmt: skip
        self.rows[place.name] = kept

    def of(self, place: Place, part: int) -> Float[Tensor, "*shape"]:
        """Return the rows of one part; a place that no reference input ran through is a MechlabError."""
        if place.name not in self.rows:
            raise MechlabError(
                f"no reference was collected at site '{place.name}'; run reference inputs through it first."
            )
        return self.rows[place.name][part]

    def averaged(self, places: Iterable[Place]) -> "Reference":
        """Return the mean alone, in float64, where places were collected: all that `mean` reads."""
        means = {
            place.name: [_mean(part, axis=place.axis(number))
                         for number, part in enumerate(self.rows[place.name])]
            for place in places if place.name in self.rows
        }  # fmt: skip
        return Reference(means)


@contextmanager
def collect(model: nn.Module, pattern: str, *, sites: Iterable[Site] = ()) -> Iterator[Reference]:
    """Collect what the sites of a pattern return inside the block, as reference of an ablation."""
    reference = Reference()
    with torch.no_grad(), seeing(model, find_places(model, pattern, sites=sites), see=reference.add):
        yield reference


@contextmanager
def ablate(
    model: nn.Module,
    pattern: str,
    *,
    value: str,
    reference: Reference | None = None,
    generator: torch.Generator | None = None,
    sites: Iterable[Site] = (),
) -> Iterator[Effect]:
    """Replace what the sites of a pattern return, until the block ends.

    `mean` takes the mean over the items of `reference`, or of the batch without one; `resample` takes items
    that `generator` draws from `reference`, or permutes the batch so that no item keeps its own.

    Raises:
        MechlabError: a pattern that selects nothing, a latent without its log-det, a value that needs or does
            not use a reference or a generator, a batch of one without reference, or a site that never ran.
    """
    chosen = tuple(sites)
    places = ablated_places(model, pattern, sites=chosen)
    change = replacement(value, reference=reference, generator=generator)
    drawn = "" if generator is None else f":{generator.initial_seed()}"
    name = parse(f"ablate:{pattern}:{value}{drawn}").text
    effect = Effect(name=name, places=tuple(place.name for place in places))
    with replacing(model, places, change=change, effect=effect):
        yield effect
    effect.check()


def ablated_places(model: nn.Module, pattern: str, *, sites: tuple[Site, ...]) -> tuple[Place, ...]:
    """Return the places of an ablation; a latent is not replaced without the log-det of its block.

    The log-det belongs to the map that made the latent: once the latent is another, keeping it would count
    a map that no longer acts.
    """
    places = find_places(model, pattern, sites=sites)
    for place in places:
        terms = [site for site in sites if site.module == place.module and site.quantity == "log_det"]
        if place.outputs and terms and not set(terms) & set(place.sites):
            raise MechlabError(
                f"site '{place.name}' is a latent whose log-det would stay that of the map it replaces; "
                f"ablate '{place.module}' (both) or '{terms[0].name}' (the log-det alone)."
            )
    return places


def replacement(value: str, *, reference: Reference | None, generator: torch.Generator | None) -> Change:
    """Return what makes the new tensors of a place from the old ones."""
    if value not in VALUES:
        raise unknown("value of an ablation", value, VALUES)
    if value == "zero" and reference is not None:
        raise MechlabError("an ablation by zero reads no reference; leave it out, or take mean or resample.")
    if (value == "resample") != (generator is not None):
        need = "draws items, so it needs a" if value == "resample" else "draws nothing, so it takes no"
        raise MechlabError(f"an ablation by {value} {need} generator; give one to resample and only there.")
    if value == "zero":
        return lambda _, parts: [torch.zeros_like(part) for part in parts]
    if value == "mean":
        return lambda place, parts: _means(place, parts, reference)
    assert generator is not None
    return lambda place, parts: _others(place, parts, reference, generator)


def _means(place: Place, parts: list[Tensor], reference: Reference | None) -> list[Tensor]:
    found = []
    for number, part in enumerate(parts):
        axis = _item_axis(place, number, part, alone=reference is not None)
        rows = part if reference is None else _fitting(reference.of(place, number), part, place, axis=axis)
        mean = _mean(rows, axis=axis).to(part.dtype)
        found.append(mean.expand_as(part).clone())  # in-place operations downstream need rows of their own
    return found


def _mean(rows: Tensor, *, axis: int) -> Tensor:
    return (rows if rows.is_complex() else rows.double()).mean(dim=axis, keepdim=True)


def _others(
    place: Place, parts: list[Tensor], reference: Reference | None, generator: torch.Generator
) -> list[Tensor]:
    axes = [_item_axis(place, number, part, alone=reference is not None) for number, part in enumerate(parts)]
    sources = parts
    if reference is not None:
        sources = [_fitting(reference.of(place, number), part, place, axis=axes[number])
                   for number, part in enumerate(parts)]  # fmt: skip
    wanted = {part.shape[axis] for part, axis in zip(parts, axes, strict=True)}
    there = {part.shape[axis] for part, axis in zip(sources, axes, strict=True)}
    if len(wanted) > 1 or len(there) > 1:
        raise MechlabError(
            f"the parts of site '{place.name}' do not count the same items; name one part of it as a site."
        )
    count, pool = wanted.pop(), there.pop()
    if reference is None:
        order = torch.randperm(count, generator=generator, device=generator.device)
        chosen = torch.empty_like(order)
        chosen[order] = order.roll(1)  # one cycle: no item keeps its own
    else:
        chosen = torch.randint(pool, (count,), generator=generator, device=generator.device)
    return [source.index_select(axis, chosen.to(source.device)).to(part.dtype)
            for source, part, axis in zip(sources, parts, axes, strict=True)]  # fmt: skip


def _item_axis(place: Place, number: int, part: Tensor, *, alone: bool) -> int:
    """Return the axis of the items; a batch that cannot be averaged or permuted is refused."""
    axis = place.axis(number)
    if part.ndim <= axis:
        raise MechlabError(
            f"site '{place.name}' gives a single number, which has no items; ablate it by zero."
        )
    if not alone and part.shape[axis] < 2:
        raise MechlabError(
            f"site '{place.name}' got one item, whose mean and only choice is itself; give larger batches, "
            "or a reference."
        )
    return axis


def _fitting(rows: Tensor, part: Tensor, place: Place, *, axis: int) -> Tensor:
    """Return reference rows in the place of a part; other sizes are refused."""
    sizes = [tuple(size for at, size in enumerate(tensor.shape) if at != axis) for tensor in (rows, part)]
    if sizes[0] != sizes[1]:
        raise MechlabError(
            f"the reference at site '{place.name}' has {sizes[0]} an item and the batch {sizes[1]}; collect "
            "it from inputs of the same size."
        )
    return rows.to(part.device)
