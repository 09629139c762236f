"""When a step is recorded: every k steps, or at steps 0, 1, 2, 4, 8, ... so that the cost vanishes.

Source: numerics notes, "Recording overhead", point 6.
"""

from mechlab.errors import MechlabError

POWERS_OF_TWO = "powers-of-two"


def is_due(step: int, *, every: int | str) -> bool:
    """Say whether a step (counted from 0) is recorded.

    `every` is a count of steps, at least 1, or "powers-of-two"; anything else is a MechlabError.
    """
    if step < 0:
        raise ValueError(f"steps are counted from 0, got {step}")
    check_every(every)
    if isinstance(every, str):
        return step & (step - 1) == 0
    return step % every == 0


def check_every(every: int | str) -> None:
    """Refuse a schedule that is none."""
    if every == POWERS_OF_TWO or (isinstance(every, int) and every >= 1):
        return
    raise MechlabError(
        f"a plan entry has every = {every!r}; give a number of steps from 1 on, or '{POWERS_OF_TWO}'."
    )
