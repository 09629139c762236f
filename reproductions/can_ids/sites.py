"""The places of a detector that have one row a window; its teacher's have `teacher.` before them.

A layer's own output has one row a node, which is no window: `level.<i>` is its mean over the nodes of a
window. The `latent` of a GAT is what its linear layers read, also named `pooled`, so that one plan fits both.
"""

from collections.abc import Iterator

from torch import nn

from mechlab.instrument.sites import Site
from reproductions.can_ids.system import Detector
from reproductions.can_ids.vgae import VGAE

_AXES = ("item", "dim")


def sites(system: Detector) -> tuple[Site, ...]:
    """Return the named places of a system, those of its teacher too."""
    found = list(_places(system.model, path="model", prefix=""))
    if system.is_distilled:
        found += _places(system.teacher.model, path="teacher.model", prefix="teacher.")
    return tuple(found)


def _places(model: nn.Module, *, path: str, prefix: str) -> Iterator[Site]:
    for number in range(len(model.levels)):
        yield Site(name=f"{prefix}level.{number}", module=f"{path}.levels.{number}", axes=_AXES)
    if isinstance(model, VGAE):
        yield Site(name=f"{prefix}latent", module=f"{path}.latent", quantity="latent", axes=_AXES)
        return
    yield Site(name=f"{prefix}pooled", module=f"{path}.pooled", axes=_AXES)
    yield Site(name=f"{prefix}latent", module=f"{path}.pooled", quantity="latent", axes=_AXES)
    yield Site(name=f"{prefix}logits", module=f"{path}.read", axes=_AXES)
