"""Hooks that replace what modules return while a block lasts, and the account of what they did.

A replacing hook stands in front of all others, so a recorder on the same module sees what the rest of the
model sees. Source: design notes, issue "The recorder", test-time interventions.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mechlab.errors import MechlabError
from mechlab.instrument.deaf import refuse_deaf
from mechlab.instrument.output_parts import changed, tensors
from mechlab.instrument.sites import Site, find_sites


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One module and the parts of its output that are replaced; no parts means all of them."""

    module: str
    sites: tuple[Site, ...]

    @property
    def name(self) -> str:
        """The names of its sites."""
        return " and ".join(site.name or "the model" for site in self.sites)

    @property
    def outputs(self) -> tuple[int | str, ...]:
        """The parts, or none for the whole output."""
        return tuple(site.output for site in self.sites if site.output is not None)

    def axis(self, part: int) -> int:
        """Return the axis of the items in a part: as its site says, else the first."""
        axes = self.sites[min(part, len(self.sites) - 1)].axes
        return axes.index("item") if "item" in axes else 0

    def meets(self, other: "Place") -> bool:
        """Whether two places of one module have a part in common."""
        return not self.outputs or not other.outputs or bool(set(self.outputs) & set(other.outputs))


@dataclass(slots=True, kw_only=True)
class Effect:
    """What an intervention has done so far."""

    name: str  # its canonical text
    places: tuple[str, ...]  # where it may act
    calls: dict[str, int] = field(default_factory=dict)  # place -> how often it acted
    changed: set[str] = field(default_factory=set)  # places where it changed at least one bit

    @property
    def silent(self) -> tuple[str, ...]:
        """Places that did not run."""
        return tuple(place for place in self.places if place not in self.calls)

    @property
    def unchanged(self) -> tuple[str, ...]:
        """Places that ran and where no bit changed, such as zeroing what is zero already."""
        return tuple(place for place in self.calls if place not in self.changed)

    def count(self, place: str, *, is_changed: bool) -> None:
        """Note one call."""
        self.calls[place] = self.calls.get(place, 0) + 1
        if is_changed:
            self.changed.add(place)

    def check(self) -> None:
        """Raise if nothing ran: an intervention that did nothing must not pass for one."""
        if not self.calls:
            raise MechlabError(
                f"'{self.name}' never acted: {', '.join(self.places[:3])} did not run in its block; run the "
                "model inside it, or choose a site that runs."
            )

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        calls = sum(self.calls.values())
        return {"intervention": self.name, "calls": calls, "changed": bool(self.changed),
                "unchanged": list(self.unchanged)}  # fmt: skip


Change = Callable[[Place, list[Tensor]], list[Tensor]]


def find_places(model: nn.Module, pattern: str, *, sites: Iterable[Site] = ()) -> tuple[Place, ...]:
    """Return the modules that a pattern selects, with the named parts of their outputs.

    Raises:
        MechlabError: a pattern that selects nothing, a site that is no module's output, or a model that is
            scripted or compiled, so that its hooks do not run.
    """
    refuse_deaf(model)
    named = tuple(sites)
    quantities = tuple(dict.fromkeys(["activation", *[site.quantity for site in named]]))
    found: dict[str, list[Site]] = {}
    for site in find_sites(model, pattern, quantities=quantities, named=named):
        if site.module is None:
            raise MechlabError(
                f"site '{site.name}' is handed over by the loop and no module returns it; choose the site of "
                "a module."
            )
        found.setdefault(site.module, []).append(site)
    return tuple(Place(module=module, sites=tuple(chosen)) for module, chosen in found.items())


@dataclass(frozen=True, slots=True)
class Replacer:
    """A forward hook that replaces the output of its module, and nothing else."""

    place: Place
    change: Change
    effect: Effect

    def __call__(self, _module: nn.Module, _inputs: Any, output: Any) -> Any:  # noqa: ANN401 - torch's own
        """Return the output with the parts of the place replaced."""

        def counted(before: list[Tensor]) -> list[Tensor]:
            if not before:
                raise MechlabError(
                    f"site '{self.place.name}' gives a {type(output).__name__} without floating-point "
                    "tensors; choose another site."
                )
            after = self.change(self.place, before)
            known = self.place.name in self.effect.changed  # comparing once is enough
            moved = known or not all(map(same_bits, before, after))
            self.effect.count(self.place.name, is_changed=moved)
            return after

        return changed(output, counted, self.place.outputs)


@contextmanager
def replacing(
    model: nn.Module, places: Iterable[Place], *, change: Change, effect: Effect
) -> Iterator[Effect]:
    """Replace what the places return until the block ends, also by an exception.

    Raises:
        MechlabError: a part that an enclosing block replaces already: one of the two would do nothing.
    """
    modules = dict(model.named_modules())
    handles = []
    try:
        for place in places:
            module = modules[place.module]
            _refuse_meeting(module, place)
            hook = Replacer(place, change, effect)
            handles.append(module.register_forward_hook(hook, prepend=True))
        yield effect
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def seeing(
    model: nn.Module, places: Iterable[Place], *, see: Callable[[Place, list[Tensor]], None]
) -> Iterator[None]:
    """Show what the places return until the block ends; nothing is replaced."""
    modules: Mapping[str, nn.Module] = dict(model.named_modules())
    handles = []
    try:
        for place in places:

            def hook(_module: nn.Module, _inputs: Any, output: Any, place: Place = place) -> None:  # noqa: ANN401
                see(place, tensors(output, place.outputs))

            handles.append(modules[place.module].register_forward_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors agree in shape, type and every bit."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    first, second = (tensor.detach().reshape(-1).view(torch.uint8) for tensor in (one, other))
    return bool(torch.equal(first, second))


def _refuse_meeting(module: nn.Module, place: Place) -> None:
    for hook in module._forward_hooks.values():
        if isinstance(hook, Replacer) and hook.place.meets(place):
            raise MechlabError(
                f"site '{place.name}' is replaced by '{hook.effect.name}' already; one of the two would do "
                "nothing, so leave one out."
            )
