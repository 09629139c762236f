"""When a step is recorded: every k steps, the first k, named ones, or ever more rarely.

Overhead divides by the distance between recorded steps. Source: numerics notes, "Recording overhead",
point 6.
"""

from collections.abc import Iterable

from mechlab.errors import MechlabError
from mechlab.specs import PlanEntry


def is_due(step: int, entry: PlanEntry) -> bool:
    """Say whether an entry records a step (counted from 0); steps before 0 are a ValueError.

    `log_spaced` = k gives step 0 and k steps a doubling: of 1, 2, 4, 8, ... for 1.
    """
    if step < 0:
        raise ValueError(f"steps are counted from 0, got {step}")
    if entry.first is not None and step >= entry.first:
        return False
    if entry.at is not None:
        return step in entry.at
    if entry.log_spaced is not None:
        return step == 0 or _is_log_spaced(step, entry.log_spaced)
    return step % entry.every == 0


def _is_log_spaced(step: int, number: int) -> bool:
    near = (step.bit_length() - 1) * number
    return any(round(2 ** (power / number)) == step for power in range(near, near + number + 1))


def check_schedule(entry: PlanEntry) -> None:
    """Refuse a schedule that can never fire, and two that contradict one another."""
    given = [name for name in ("at", "log_spaced") if getattr(entry, name) is not None]
    given += ["every"] if entry.every != 1 else []
    if len(given) > 1:
        raise MechlabError(
            f"the entry for '{entry.site}' has both {given[0]} and {given[1]}; give one of every, at and "
            "log_spaced ('first' goes with each)."
        )
    if entry.at == ():
        raise MechlabError(f"the entry for '{entry.site}' has at = [], so no step at all; name steps from 0.")
    if entry.at is not None and not any(entry.first is None or 0 <= step < entry.first for step in entry.at):
        raise MechlabError(
            f"the entry for '{entry.site}' never fires: no step of at = {list(entry.at)} is below first = "
            f"{entry.first}; name steps from 0 on."
        )


def schedule_of(entry: PlanEntry) -> tuple[object, ...]:
    """Return what decides when an entry is due: entries with equal ones share a pass."""
    return (entry.every, entry.first, entry.at, entry.log_spaced)


def check_fires(entries: Iterable[PlanEntry], *, steps: int, what: str = "steps") -> None:
    """Refuse entries that record none of `steps` steps."""
    for entry in entries:
        named = (0,) if entry.at is None else entry.at  # every other schedule fires at step 0
        if steps and not any(step < steps and is_due(step, entry) for step in named):
            raise MechlabError(
                f"the entry for '{entry.site}' never fires: at = {list(entry.at or ())}, and there are "
                f"{steps} {what}, counted from 0; name earlier ones."
            )
