"""From one value a replicate to a verdict against a threshold: supported, refuted, or which n would decide.

Source: design notes, "Result", laws 3 and 5; two one-sided readings of one confidence interval.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from mechlab.result import Verdict
from mechlab.stats.intervals import interval
from mechlab.stats.power import n_to_decide


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A verdict with the numbers behind it, in the unit of the values."""

    verdict: Verdict
    effect: float | None
    interval: tuple[float, float] | None
    n: int
    n_to_decide: int | None  # replicates in all; None when decided, or when no n would decide
    reason: str


def decide(
    values: Float[np.ndarray, " n"],
    *,
    threshold: int | float,
    claim: Literal["above", "below"],
    least_n: int | float,
) -> Decision:
    """Compare the mean of independent replicates with a threshold.

    `claim` says on which side of the threshold the hypothesis puts the mean. Undecided when the interval
    contains the threshold or when there are fewer than `least_n` replicates.
    """
    n = len(values)
    if n < 2:
        return Decision(
            verdict="undecided",
            effect=float(values[0]) if n else None,
            interval=None,
            n=n,
            n_to_decide=int(least_n),
            reason=f"{n} replicates give no interval; the rule asks for {least_n:g}",
        )
    ends = span(values)
    if n < least_n:
        verdict: Verdict = "undecided"
        reason = f"{n} replicates; the rule asks for {least_n:g}"
    else:
        verdict = side(ends, threshold=threshold, claim=claim)
        where = {"undecided": "contains", "supported": f"lies {claim}", "refuted": f"does not lie {claim}"}
        reason = f"the interval {where[verdict]} {threshold:.4g}"
    return Decision(
        verdict=verdict,
        effect=float(np.mean(values)),
        interval=ends,
        n=n,
        n_to_decide=needed(values, threshold=threshold, least_n=least_n) if verdict == "undecided" else None,
        reason=reason,
    )


def side(ends: tuple[float, float], *, threshold: int | float, claim: Literal["above", "below"]) -> Verdict:
    """Return the verdict of an interval: entirely above, entirely below, or containing the threshold."""
    if ends[0] > threshold:
        return "supported" if claim == "above" else "refuted"
    if ends[1] < threshold:
        return "refuted" if claim == "above" else "supported"
    return "undecided"


def span(values: Float[np.ndarray, " n"], *, level: float = 0.95) -> tuple[float, float]:
    """Return the ends of the interval of the mean of replicates (Student t below 20, bootstrap from 20)."""
    found = interval(values, level=level)
    return float(found.low), float(found.high)


def describe(values: Float[np.ndarray, " n"]) -> dict[str, float | int | None]:
    """Return mean, interval and n of replicates as columns of a table; None where there are too few."""
    low, high = span(values) if len(values) > 1 else (None, None)
    return {
        "mean": float(np.mean(values)) if len(values) else None,
        "low": low,
        "high": high,
        "n": len(values),
    }


def needed(
    values: Float[np.ndarray, " n"], *, threshold: int | float, least_n: int | float, level: float = 0.95
) -> int | None:
    """Return the number of replicates that would decide if the effect is as seen; None when none would."""
    if len(values) < 2:
        return int(least_n)
    n = n_to_decide(values, threshold=threshold, level=level)
    return None if n is None else max(n, int(least_n))
