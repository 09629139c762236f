"""Arms side by side: means over seeds, and differences to the first arm or of all pairs, paired by seed.

The seed is the unit of replication; intervals are Student t at 95 %, p values of one comparison are Holm's.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import ttest_1samp

from mechlab.errors import MechlabError
from mechlab.runs.arms import Arm, arms_of, scored
from mechlab.stats.intervals import mean_interval
from mechlab.stats.permutation import holm

METRICS = ("image_auroc", "trivial_image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro",
           "routing_accuracy", "forgetting")  # fmt: skip
OF_MESSAGES = ("accuracy", "f1", "f1_macro", "precision", "recall", "auroc", "ap")  # where a run has them
OF_TESTS = ("f1", "f1_macro", "auroc")  # of each group of tests and each attack in it
ORDINARY = "trivial_image_auroc"  # of the images alone: shown, never compared
LESS_IS_BETTER = ("forgetting",)


def compared(
    names: Sequence[str], out: Path, *, one_factor: bool = False, all_pairs: bool = False
) -> dict[str, Any]:
    """Return what `mechlab compare --json` prints of runs; `all_pairs` holds each arm against all before it.

    Raises:
        MechlabError: fewer than two runs, a no-op ablation, or with `one_factor` an arm of several keys.
    """
    if len(names) < 2:
        raise MechlabError(f"one run, '{names[0]}', is no comparison; give two or more.")
    arms = arms_of([scored(name, out) for name in names])
    confounded = [arm for arm in arms if len(arm.differs) > 1]
    if one_factor and confounded:
        raise MechlabError(
            f"arm '{confounded[0].label}' differs from '{arms[0].label}' in several keys "
            f"({', '.join(confounded[0].differs)}), so none of them alone explains a difference; "
            "change one key an arm, or leave --one-factor out."
        )
    metrics = measured(arms)
    parents = arms[:-1] if all_pairs else arms[:1]
    pairs = [(arm, parent) for at, parent in enumerate(parents) for arm in arms[at + 1 :]]
    return {
        "against": arms[0].label,
        "arms": [_row(arm, metrics) for arm in arms],
        "differences": _corrected([row for pair in pairs for row in _differences(*pair, metrics)]),
        "tests": tests(arms, pairs),
    }


def measured(arms: Sequence[Arm]) -> tuple[str, ...]:
    """Return the metrics of a comparison: those of images, and of messages those that some run has."""
    known = {name for arm in arms for one in arm.runs for name in one.metrics}
    of_messages = tuple(name for name in OF_MESSAGES if name in known)
    return METRICS + of_messages if known & set(METRICS[:-1]) or not of_messages else of_messages


def tests(arms: Sequence[Arm], pairs: Sequence[tuple[Arm, Arm]]) -> list[dict[str, Any]]:
    """Return, of runs on windows of messages, each metric of each group of tests and of each attack in it.

    A row has an arm's mean and deviation over seeds and, of a pair, the difference paired by seed; p values
    are corrected for the number of these rows. Empty for runs on images, and for rows that an arm lacks.
    """
    names = {
        name: None for arm in arms for one in arm.runs for name, row in one.classes.items() if "blocks" in row
    }
    found = []
    for name in names:
        for metric in OF_TESTS:
            values = {arm.label: _by_seed(arm, name, metric) for arm in arms}
            for arm, against in ((arms[0], None), *pairs):
                spread = _spread(list(values[arm.label].values()))
                if spread is None:
                    continue
                other = None if against is None else values[against.label]
                told = {"tests": name, "metric": metric, "arm": arm.label, **spread}
                told["against"] = None if against is None else against.label
                found.append(told | _difference(values[arm.label], other))
    return _corrected(found)


def _by_seed(arm: Arm, name: str, metric: str) -> dict[int, float]:
    known = {one.seed: one.classes.get(name, {}).get(metric) for one in arm.runs}
    return {seed: value for seed, value in known.items() if value is not None}


def _difference(own: dict[int, float], other: dict[int, float] | None) -> dict[str, Any]:
    both = sorted(own.keys() & other.keys()) if other is not None else []
    if not both or other is None:
        return {"difference": None, "interval": None, "p": None, "pairs": 0}
    found = _paired(np.array([own[seed] - other[seed] for seed in both]))
    return {**found, "pairs": found.pop("n")}


def _row(arm: Arm, metrics: Sequence[str]) -> dict[str, Any]:
    return {
        "arm": arm.label,
        "runs": [one.run.name for one in arm.runs],
        "seeds": [one.seed for one in arm.runs],
        "differs": list(arm.differs),
        "is_confounded": len(arm.differs) > 1,
        "allowed": list(arm.allowed),
        "metrics": {name: _spread([one.metrics.get(name) for one in arm.runs]) for name in metrics},
    }


def _spread(values: Sequence[float | None]) -> dict[str, Any] | None:
    """Return mean and standard deviation over seeds; the deviation of one seed is None."""
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    if not known.size:
        return None
    spread = float(known.std(ddof=1)) if known.size > 1 else None
    return {"mean": float(known.mean()), "std": spread, "n": int(known.size)}


def _differences(arm: Arm, parent: Arm, metrics: Sequence[str]) -> list[dict[str, Any]]:
    theirs = {one.seed: one.metrics for one in parent.runs}
    pairs = [(one.metrics, theirs[one.seed]) for one in arm.runs if one.seed in theirs]
    rows = []
    for name in metrics:
        both = [(own.get(name), other.get(name)) for own, other in pairs]
        values = np.array([one - two for one, two in both if one is not None and two is not None])
        if name != ORDINARY and values.size:
            rows.append({"arm": arm.label, "against": parent.label, "metric": name, **_paired(values)})
    return rows


def _paired(values: np.ndarray) -> dict[str, Any]:
    """Return a mean difference, its interval and p value; both are None below two seeds."""
    found: dict[str, Any] = {
        "difference": float(values.mean()),
        "interval": None,
        "p": None,
        "n": values.size,
    }
    if values.size > 1:
        found["interval"] = list(mean_interval(values))
        found["p"] = (
            1.0 if not values.any() else 0.0 if not np.ptp(values) else float(ttest_1samp(values, 0).pvalue)
        )
    return found


def _corrected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the differences with p values that allow for their number (Holm 1979)."""
    tested = [row for row in rows if row["p"] is not None]
    if not tested:
        return [{"p_holm": None, **row} for row in rows]
    for row, p in zip(tested, holm(np.array([row["p"] for row in tested])), strict=True):
        row["p_holm"] = float(p)
    return [{"p_holm": None, **row} for row in rows]
