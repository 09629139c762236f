"""The places of a PatchCore that can be recorded, by name: the patches, and each bank's distances.

`bank.<task>.patches` is the bank itself: quantity `weight`.
"""

from mechlab.instrument.sites import Site
from reproductions.patchcore.system import PatchCore

_VECTORS = ("item", "row", "column", "dim")
_NUMBERS = ("item", "row", "column")


def sites(system: PatchCore) -> tuple[Site, ...]:
    """Return the named places of a system with the tasks that it has; distances in the features' unit."""
    found = [Site(name="features", module="features", quantity="activation", axes=_VECTORS)]
    for task in system.bank:
        path = f"bank.{task}"
        found.append(Site(name=f"{path}.distance", module=path, quantity="activation", axes=_NUMBERS))
    return tuple(found)
