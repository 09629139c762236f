"""What a task has of its own: keys of the system that hold for one task alone, given by the name of a class.

A key must be one of the system's `OVERRIDABLE`; `sigma` is the width of the evaluated map of that class. A
task without any is trained as if no task had one. Source: notes on MoLE-Flow, L2670, L3603 (M42).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from mechlab import systems
from mechlab.errors import MechlabError, unknown
from mechlab.runs.request import setting
from mechlab.runs.settings import refuse_unused
from mechlab.specs import validated

Overrides = Mapping[str, Mapping[str, JsonValue]]
SIGMA = "sigma"


def overrides_of(words: Sequence[str]) -> dict[str, dict[str, JsonValue]]:
    """Return {class: {key: value}} of words like `screw:dia_blocks=4`."""
    found: dict[str, dict[str, JsonValue]] = {}
    for word in words:
        name, colon, rest = word.partition(":")
        if not colon or not name:
            raise MechlabError(
                f"'{word}' is no setting of a task; write --task CLASS:key=value, e.g. "
                "--task screw:dia_blocks=4."
            )
        key, value = setting(rest)
        if key in found.setdefault(name, {}):
            raise MechlabError(f"'{key}' of '{name}' is given twice; give it once.")
        found[name][key] = value
    return found


def by_task(
    given: Overrides, *, system: str, tasks: Sequence[Sequence[str]], parts: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return {number of a task: {key: value}}, each value in its canonical form; sigma is left out.

    Raises:
        MechlabError: a class of no task, a key that no task can have of its own or that nothing reads, a
            value that the whole run has anyway, or two values for one task.
    """
    catalog = systems.catalog(system)
    found: dict[str, dict[str, Any]] = {}
    kind = systems.load(catalog.CONFIG)
    for name, words in given.items():
        task = _task(name, tasks)
        own = {key: value for key, value in words.items() if key != SIGMA}
        for key in own:
            if key not in catalog.OVERRIDABLE:
                raise unknown("key that a task can have of its own", key, (*catalog.OVERRIDABLE, SIGMA))
        config = validated(kind, {**parts, **own}, what=f"{system} (task of '{name}')").model_dump(
            mode="json"
        )
        refuse_unused(own, parts=config, needs=catalog.NEEDS)
        for key in own:
            if config[key] == parts[key]:
                raise MechlabError(
                    f"--task {name}:{key}={config[key]} is what the whole run has; leave it out."
                )
            if found.setdefault(str(task), {}).setdefault(key, config[key]) != config[key]:
                raise MechlabError(
                    f"the task of '{name}' is given '{key}' twice, by two of its classes; give it once."
                )
    return found


def _task(name: str, tasks: Sequence[Sequence[str]]) -> int:
    for number, names in enumerate(tasks):
        if name in names:
            return number
    raise unknown("class of these tasks", name, [one for names in tasks for one in names])


def sigma_words(sigma: float | str, given: Overrides) -> float | str:
    """Return the words of a smoothing with the classes' own widths (`mechlab.metrics.smoothing`)."""
    own = [f"{name}={words[SIGMA]}" for name, words in given.items() if SIGMA in words]
    return ",".join([f"{sigma}", *own]) if own else sigma
