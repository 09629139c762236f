"""Which parameters belong to one task, by their names; torch-free."""

from itertools import pairwise

# Containers whose children are named for tasks
PER_TASK = (
    *("adapter", "own", "down", "up", "linear", "dia", "router"),
    *("task_level", "task_scale", "task_shift"),  # of mixers
    *("place_level", "aligner", "scorer"),  # of what stands before and behind the flow
)
SHARED_ROOMS = ("flow", "mixer", "position")  # what a run may take from another one


def task_of(name: str) -> str | None:
    """Return the task that a parameter is named for; None for one that tasks share."""
    return next((child for parent, child in pairwise(name.split(".")) if parent in PER_TASK), None)


def is_given(name: str) -> bool:
    """Whether a tensor is of what base=given takes from another run: what its first task alone trained."""
    return name.split(".", 1)[0] in SHARED_ROOMS and task_of(name) is None
