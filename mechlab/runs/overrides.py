"""What a task has of its own: keys of the system that hold for one task alone, given by the name of a class.

A key must be one of the system's `OVERRIDABLE`; `sigma` is the width of the evaluated map of that class, and
`image_size` the size at which the task sees its images. A task without any is trained as if no task had one.
Source: notes on MoLE-Flow, L2670, L3603 (M42).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from mechlab import systems
from mechlab.errors import MechlabError, unknown
from mechlab.runs.request import setting
from mechlab.runs.router import Router
from mechlab.runs.settings import EvaluationSettings, InputSettings, refuse_unused
from mechlab.specs import validated

Overrides = Mapping[str, Mapping[str, JsonValue]]
Tasks = Sequence[Sequence[str]]
SIGMA = "sigma"
IMAGE_SIZE = "image_size"


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
    given: Overrides, *, system: str, tasks: Tasks, parts: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return {number of a task: {key: value}} of the parts, each value in its canonical form.

    Raises:
        MechlabError: a class of no task, a key that no task can have of its own or that nothing reads, a
            value that the whole run has anyway, or two values for one task.
    """
    catalog = systems.catalog(system)
    overridable = getattr(catalog, "OVERRIDABLE", ())
    found: dict[str, dict[str, Any]] = {}
    kind = systems.load(catalog.CONFIG)
    for name, words in given.items():
        task = _task(name, tasks)
        own = {key: value for key, value in words.items() if key not in (SIGMA, IMAGE_SIZE)}
        for key in own:
            if key not in overridable:
                raise unknown("key that a task can have of its own", key, (*overridable, IMAGE_SIZE, SIGMA))
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


def own_sizes(given: Overrides, *, system: str, tasks: Tasks, image_size: int) -> dict[int, int]:
    """Return {number of a task: pixels} of the tasks that see their images at a size of their own.

    Raises:
        MechlabError: a class of no task, a size that cannot be or that the whole run has anyway, two sizes
            for one task, or a system whose tasks see images at one size.
    """
    found: dict[int, int] = {}
    for name, words in given.items():
        if IMAGE_SIZE not in words:
            continue
        task, asked = _task(name, tasks), {IMAGE_SIZE: words[IMAGE_SIZE]}
        size = validated(InputSettings, asked, what=f"input (task of '{name}')").image_size
        if not getattr(systems.catalog(system), "SIZES_BY_TASK", False):
            raise MechlabError(
                f"--task {name}:{IMAGE_SIZE}={size} gives a task its own size, and the tasks of {system} see "
                "their images at one; set --image-size for the whole run."
            )
        if size == image_size:
            raise MechlabError(f"--task {name}:{IMAGE_SIZE}={size} is what the whole run has; leave it out.")
        if found.setdefault(task, size) != size:
            raise MechlabError(
                f"the task of '{name}' is given '{IMAGE_SIZE}' twice, by two of its classes; give it once."
            )
    return found


def refuse_one_size(scored: EvaluationSettings, sizes: Mapping[int, int]) -> None:
    """Refuse an evaluation that knows one size where tasks see others.

    Raises:
        MechlabError: a router that asks every expert, or image scores of pixel maps, beside `sizes`, pixels
            by task.
    """
    if not sizes:
        return
    task, size = min(sizes.items())
    if Router.read(scored.router).asks_experts:
        raise MechlabError(
            f"router {scored.router} sends an image through every task's expert, and that of task {task} "
            f"sees {size} pixels while tasks are compared at the size of the run; give a router that reads "
            "features, e.g. --router mahalanobis."
        )
    if scored.image_from == "map":
        raise MechlabError(
            f"image_from=map makes image scores of maps at the size of the run, and task {task} sees {size} "
            "pixels; set image_from=patches."
        )


def _task(name: str, tasks: Tasks) -> int:
    for number, names in enumerate(tasks):
        if name in names:
            return number
    raise unknown("class of these tasks", name, [one for names in tasks for one in names])


def sigma_words(sigma: float | str, given: Overrides) -> float | str:
    """Return the words of a smoothing with the classes' own widths (`mechlab.metrics.smoothing`)."""
    own = [f"{name}={words[SIGMA]}" for name, words in given.items() if SIGMA in words]
    return ",".join([f"{sigma}", *own]) if own else sigma
