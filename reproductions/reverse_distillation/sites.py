"""The places of a reverse distillation that can be recorded, by name.

`teacher.<level>` are the teacher's maps, `student.<task>.<level>` those that a task's student rebuilds, and
`bottleneck.<task>` is the embedding between them. Convolutions need no name: `type:Conv2d` finds them.
"""

from mechlab.instrument.sites import Site
from reproductions.reverse_distillation.pyramid import level_paths
from reproductions.reverse_distillation.system import ReverseDistillation

_MAPS = ("item", "dim", "row", "column")


def sites(system: ReverseDistillation) -> tuple[Site, ...]:
    """Return the named places of a system with the tasks that it has; numbers in the unit of the features."""
    places = {f"teacher.{level}": f"teacher.{level}" for level in level_paths(system.blueprint.names)}
    for task in system.pupil:
        places[f"bottleneck.{task}"] = f"pupil.{task}.bottleneck"
        for level in level_paths(system.blueprint.names):
            places[f"student.{task}.{level}"] = f"pupil.{task}.student.{level}"
    return tuple(Site(name=name, module=module, quantity="activation", axes=_MAPS)
                 for name, module in places.items())  # fmt: skip
