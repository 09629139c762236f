"""The places of a MoLE-Flow that can be recorded, by name: latents and log-dets of every block, in order.

`flow.<l>` (`own.<task>.<l>` where each task has a whole flow) and `dia.<task>.<n>` are the blocks' own module
paths; each returns (latent, log_det). Linear layers need no name: `type:Linear` finds
`flow.<l>.subnet.<layer>.{base,down.<task>,up.<task>}` and the DIA's.
"""

from mechlab.instrument.sites import Site
from reproductions.moleflow.system import MoLEFlow

_VECTORS = ("item", "row", "column", "dim")
_NUMBERS = ("item", "row", "column")


def sites(system: MoLEFlow) -> tuple[Site, ...]:
    """Return the named places of a system with the tasks that it has.

    `adapted` is the flow's input, `latent` what is scored; log-dets are in nats a patch, and with context
    convolutions only their sum over an image is a determinant.
    """
    blocks = [f"flow.{number}" for number in range(len(system.flow))]
    blocks += [f"own.{task}.{number}" for task, own in system.own.items() for number in range(len(own))]
    blocks += [f"dia.{task}.{number}" for task, dia in system.dia.items() for number in range(len(dia))]
    found = [Site(name="adapted", module="adapted", quantity="activation", axes=_VECTORS)]
    for path in blocks:
        found.append(Site(name=f"{path}.latent", module=path, quantity="latent", output=0, axes=_VECTORS))
        found.append(Site(name=f"{path}.log_det", module=path, quantity="log_det", output=1, axes=_NUMBERS))
    return (*found, Site(name="latent", module="latent", quantity="latent", axes=_VECTORS))
