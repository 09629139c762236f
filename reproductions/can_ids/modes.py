"""Which model is trained in which mode, and what distillation may stand beside.

| model | mode | distillation |
|---|---|---|
| vgae | autoencoder | latent and reconstruction |
| gat | normal, curriculum | soft labels |
| fusion | fusion | none: what it fuses has been distilled before |

Source: notes 003, phase 3. Distillation is a switch of a mode, no mode.
"""

from dataclasses import dataclass

from mechlab.errors import MechlabError, unknown

MODES: dict[str, tuple[str, ...]] = {
    "vgae": ("autoencoder",),
    "gat": ("curriculum", "normal"),  # the first is that of a teacher that is looked for by itself
    "fusion": ("fusion",),
}
FORMER = "knowledge_distillation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A mode and a teacher as they are meant."""

    mode: str
    distill: str | None  # a run, or "auto"
    warnings: tuple[str, ...] = ()


def asked(system: str, mode: str, *, distill: str | None, size: str) -> Asked:
    """Return what a mode and a switch mean for a model.

    Raises:
        MechlabError: a mode that the model is not trained in, or fusion with distillation.
    """
    warnings: list[str] = []
    if mode.replace("-", "_") == FORMER:
        mode, distill = MODES[system][0], distill or "auto"
        warnings.append(
            f"mode '{FORMER}' is deprecated, since distillation is a switch of every mode; taken as "
            f"--mode {mode} --distill {distill}."
        )
    known = {name for modes in MODES.values() for name in modes}
    if mode not in known:
        raise unknown("training mode", mode, known)
    if mode not in MODES[system]:
        trained = ", ".join(name for name, modes in MODES.items() if mode in modes)
        raise MechlabError(
            f"{system} was asked for in mode '{mode}', which trains {trained}; {system} has: "
            f"{', '.join(MODES[system])}."
        )
    if system == "fusion" and distill is not None:
        raise MechlabError(
            "fusion was given --distill, and has no teacher: it fuses a VGAE and a GAT that are distilled by "
            "themselves; leave --distill out, and give distilled runs with --set vgae=RUN --set gat=RUN."
        )
    if distill is not None and size != "student":
        warnings.append(
            f"a model of size '{size}' is distilled; a teacher usually teaches a student: give --preset "
            "student."
        )
    return Asked(mode=mode, distill=distill, warnings=tuple(warnings))
