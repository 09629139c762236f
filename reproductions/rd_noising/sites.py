"""The places of an RD-Noising that can be recorded: those of reverse distillation, and of its noise.

`noise.<task>.<level>.influence` and `.std` have a value a channel and place, `.distance` one a place, and
`.start` is the std under the weights of the first step, from a checkpoint alone: a training does not compute
it. Banks are buffers: quantity `weight`, e.g. site `noise.0.layer1.bank`.
"""

from mechlab.instrument.sites import Site
from reproductions.rd_noising.noise import PLACES
from reproductions.rd_noising.system import RDNoising
from reproductions.reverse_distillation import sites as of_rd

_MAPS = ("item", "dim", "row", "column")


def sites(system: RDNoising) -> tuple[Site, ...]:
    """Return the named places of a system with the tasks that it has; numbers in the unit of the features."""
    found = list(of_rd.sites(system))
    for task, levels in system.noise.items():
        for level in levels:
            paths = [f"noise.{task}.{level}.{place}" for place in PLACES]
            found += [Site(name=path, module=path, quantity="activation", axes=_MAPS) for path in paths]
    return tuple(found)
