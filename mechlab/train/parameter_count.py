"""How many numbers a preset holds and trains, by part: without data, at one grid of patches.

Every task after the first adds as many numbers as the second does, so two tasks tell of any number of them.
Source: notes 004 L3766 on (factors 2.5, 15 and 0.07 of other designs; counted alike 2.47, 2.94, 0.14).
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.runs.settings import InputSettings
from mechlab.specs import validated
from mechlab.train.stage import Trainable, modules_of

GRID = (28, 28)  # patches of a stride-8 backbone at 224 pixels
OWN = "per-task"


def preset_counts(system: str, *, tasks: int = 15, against: str | None = None) -> list[dict[str, Any]]:
    """Return for each preset of a system its numbers after some tasks; `against` names the preset of `ratio`.

    Raises:
        MechlabError: an unknown system or preset, or a system whose size is that of its teacher.
    """
    if systems.layout(system) == "pyramid":
        raise MechlabError(
            f"how many numbers {system} holds depends on its teacher; train it and see the fingerprint of "
            "the run, or name another system."
        )
    rows = []
    for preset in systems.catalog(system).PRESETS:
        dim = validated(InputSettings, dict(preset.inputs), what="input").dim
        row = {"name": preset.name, "system": system, "dim": dim}
        rows.append(row | counts(system, preset.parts, dim=dim, tasks=tasks))
    if against is not None:
        whole = next(row["total"] for row in rows if row["name"] == systems.preset(system, against).name)
        rows = [row | {"ratio": row["total"] / whole} for row in rows]
    return rows


def counts(
    system: str, parts: Mapping[str, Any], *, dim: int, tasks: int, grid: tuple[int, int] = GRID
) -> dict[str, Any]:
    """Return the numbers of a system after some tasks: in total, trained by task, and by part.

    A part is the first word of a parameter's name; `own` are the numbers that belong to one task alone, of a
    task after the first.
    """
    built: Trainable = systems.load(systems.catalog(system).SYSTEM.target).create(
        dict(parts), dim=dim, grid=grid, seed=0
    )
    held, trained, own = [], [], []
    for task in range(2):
        built.add_task(task)
        scopes = built.stage(task).scopes
        sizes = {name: value.numel() for name, value in modules_of(built).named_parameters()}
        held.append(_by_part(sizes))
        trained.append(sum(size for name, size in sizes.items() if scopes[name] != "frozen"))
        own.append(_by_part({name: size for name, size in sizes.items() if scopes[name] == OWN}))
    grown = {name: held[1][name] - held[0][name] for name in held[1]}
    by_part = {name: held[0][name] + (tasks - 1) * grown[name] for name in held[1]}
    return {
        "tasks": tasks,
        "total": sum(by_part.values()),
        "trained_first": trained[0],
        "trained_later": trained[1],
        "parts": {name: {"total": size, "own": own[1][name]} for name, size in sorted(by_part.items())},
    }


def _by_part(sizes: Mapping[str, int]) -> Counter[str]:
    found: Counter[str] = Counter()
    for name, size in sizes.items():
        found[name.split(".", 1)[0]] += size
    return found
