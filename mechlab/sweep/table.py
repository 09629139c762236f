"""The table of a sweep: each arm's metrics over seeds, and its paired difference to the arm it differs from.

Student t over seeds, which are the unit of replication (`mechlab.stats.intervals`); differences are paired by
seed, so what a seed does to both arms cancels. Metrics are means over classes, routed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from statistics import median
from typing import Any

import numpy as np

from mechlab import fingerprint, systems
from mechlab.runs.folder import RunFolder
from mechlab.stats.intervals import mean_interval
from mechlab.sweep.arms import Arm

METRICS = systems.OF_IMAGES
Done = Mapping[tuple[str, int], "Outcome"]  # by arm and seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one arm measured at one seed."""

    mean: Mapping[str, float | None]  # metrics, over classes
    metrics: Mapping[str, Mapping[str, Any]]  # by class; of windows also counts, intervals and the baseline
    forgetting: float | None
    seconds: float  # of the training with its features and evaluations
    parameters: tuple[int, ...]  # that train, by task
    trajectory: str
    is_evaluation: bool  # scored otherwise than its training was, so that an equal trajectory is right


def parameters(run: RunFolder) -> tuple[int, ...]:
    """Return how many numbers the optimiser held in each task of a run."""
    stages = fingerprint.load(run.path / "fingerprint.json")
    return tuple(
        sum(prod(item.shape) for item in stage.declared if item.learning_rate is not None) for stage in stages
    )


def metrics_of(arms: Sequence[Arm]) -> tuple[str, ...]:
    """Return the metrics of a table: those of each system that an arm trains, in order."""
    return tuple(dict.fromkeys(name for arm in arms for name in systems.metrics(arm.request.system)))


def table(arms: Sequence[Arm], done: Done) -> list[dict[str, Any]]:
    """Return one row an arm: metrics and differences as {mean, low, high, n}, None where nothing is done."""
    return [_row(arm, done, metrics_of(arms)) for arm in arms]


def _row(arm: Arm, done: Done, metrics: Sequence[str]) -> dict[str, Any]:
    own = {seed: found for (name, seed), found in sorted(done.items()) if name == arm.name}
    other = {seed: found for (name, seed), found in sorted(done.items()) if name == arm.against}
    found = list(own.values())
    row: dict[str, Any] = {"arm": arm.name, "against": arm.against, "differs": list(arm.differs),
                           "seeds": sorted(own)}  # fmt: skip
    for name in metrics:
        row[name] = estimate([one.mean.get(name) for one in found])
        pairs = [(own[seed].mean.get(name), other[seed].mean.get(name)) for seed in own.keys() & other.keys()]
        row[f"{name}_difference"] = estimate(
            [None if one is None or two is None else one - two for one, two in pairs]
        )
    row["forgetting"] = estimate([one.forgetting for one in found])
    row["seconds"] = median(one.seconds for one in found) if found else None
    row["trainable_first_task"] = found[0].parameters[0] if found else None
    row["trainable_last_task"] = found[0].parameters[-1] if found else None
    return row


def class_means(arms: Sequence[Arm], done: Done) -> dict[str, dict[str, dict[str, float]]]:
    """Return arm → class → metric: means over seeds of what is measured."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for arm in arms:
        runs = [one.metrics for (name, _), one in done.items() if name == arm.name]
        for name in {name for metrics in runs for name in metrics}:
            for key in metrics_of(arms):
                value = estimate([metrics[name].get(key) for metrics in runs if name in metrics])
                if value is not None:
                    found.setdefault(arm.name, {}).setdefault(name, {})[key] = value["mean"]
    return found


def estimate(values: Sequence[float | None]) -> dict[str, Any] | None:
    """Return mean and Student t interval over seeds; bounds are None below two values, None without any."""
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    if not known.size:
        return None
    bounds = (None, None) if known.size < 2 else mean_interval(known)
    return {"mean": float(known.mean()), "low": bounds[0], "high": bounds[1], "n": int(known.size)}


def no_ops(arms: Sequence[Arm], done: Done) -> list[dict[str, Any]]:
    """Return the arms that trained bit-identically to the arm they differ from: their keys did nothing."""
    found = []
    for arm in arms:
        seeds = [seed for name, seed in done if name == arm.name and (arm.against, seed) in done]
        pairs = [(done[arm.name, seed], done[arm.against or "", seed]) for seed in seeds]
        if pairs and all(
            one.trajectory == two.trajectory and not one.is_evaluation and not two.is_evaluation
            for one, two in pairs
        ):
            found.append({"arm": arm.name, "against": arm.against, "differs": list(arm.differs)})
    return found
