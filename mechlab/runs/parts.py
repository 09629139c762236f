"""Which parts of a training its hash covers, so that a key that is added later renames no run.

A key cannot have moved a run that was made before it existed. So a part that stands at its default is left
out of the TrainSpec, unless it is one of the system's founding keys (`FOUNDING` of its catalog), which the
names of its first runs hold. Whoever changes the default of a key changes what older specs mean; a run keeps
its complete parts beside its spec, and one that was trained with another default is never taken for the same.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.specs import TrainSpec

Parts = Mapping[str, Any]
IN_SPEC = ("epochs", "batch_size")  # fields of the TrainSpec itself


@cache
def defaults(system: str) -> dict[str, Any]:
    """Return the value of each of a system's keys that is not given; empty for a system that is not here."""
    if system not in systems.catalogs():
        return {}
    kind = systems.load(systems.catalog(system).CONFIG)
    return dict(kind().model_dump(mode="json"))


def hashed(system: str, parts: Parts) -> dict[str, Any]:
    """Return the parts that the TrainSpec of a system holds: none that came later and is at its default."""
    usual = defaults(system)
    founding: frozenset[str] = getattr(systems.catalogs().get(system), "FOUNDING", frozenset())
    return {
        key: value
        for key, value in parts.items()
        if key not in IN_SPEC and (key in founding or key not in usual or value != usual[key])
    }


def canonical(spec: TrainSpec) -> TrainSpec:
    """Return a spec as it is written today; one that is stored may hold all keys of its time."""
    return spec.model_copy(update={"parts": hashed(spec.system, spec.parts)})


def complete(spec: TrainSpec) -> dict[str, Any]:
    """Return all parts of a stored spec: what it does not name has its default."""
    return {**defaults(spec.system), **spec.parts, "epochs": spec.epochs, "batch_size": spec.batch_size}


def refuse_other_defaults(name: str, *, stored: Parts, parts: Parts) -> None:
    """Refuse to take a run for a request that means other parts by the same words.

    Raises:
        MechlabError: a key whose default was another one when the run was trained.
    """
    changed = [key for key in stored if key in parts and stored[key] != parts[key]]
    if changed:
        key = changed[0]
        raise MechlabError(
            f"run '{name}' was trained when the default of '{key}' was {stored[key]!r}, and it is "
            f"{parts[key]!r} now; train into another --out, or give --set {key}={stored[key]} to an older "
            "mechlab."
        )
