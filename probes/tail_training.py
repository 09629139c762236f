"""Does training with the tail loss leave hard patches with more gradient than training without it?

Two trainings a seed, with lambda = 0 and lambda > 0; each is measured under its own loss at its own last
checkpoint. The statistic of an image is the log odds of the tail's share of the row contributions, less the
log odds that the loss weights alone give: how much steeper a tail patch is than another, weights taken out.
(The log share of `gradient_concentration` cannot be compared across lambda: its ceiling falls with lambda.)
The effect is the difference between the two trainings of a seed. Null: 0. Unit: the seed.
Source: notes L6568.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from mechlab.errors import MechlabError
from mechlab.recording import Recording
from mechlab.result import Evidence, Null, Result, Table
from mechlab.specs import PlanEntry
from mechlab.stats.tail import TailLoss, tail_of, tail_share, weight_share
from mechlab.study.decision import decide, describe
from mechlab.study.plan import Arm, Recorded, Study
from mechlab.study.replicates import Pick, chosen_sites, image_rows, replicate_means, training

HYPOTHESIS = "Training with the tail loss leaves hard patches steeper than training with the mean loss does."
ID = "P1"
SOURCE = "notes L6554, L6568-L6576"
SITES = {"contribution": "row_contribution/total", "score": "score/patch"}
WEIGHT, RATIO = 0.7, 0.02
LOSSES = ("mean", f"tail:{WEIGHT:g}:{RATIO:g}")
THRESHOLDS = {"least_ratio": 1.2, "least_n": 6.0}
RULE = (
    "effect = mean over seeds of the difference, training with minus training without the tail loss, of the "
    "log odds of the tail's gradient share over those of the loss weights; supported if its 95 % interval "
    "lies above log {least_ratio:g}, refuted if below, undecided otherwise or with fewer than {least_n:g} "
    "pairs of trainings"
)
_CHUNK = 16  # images


def plan() -> Study:
    """Two arms that differ in the tail's weight alone, over seeds."""
    entries = (
        PlanEntry(site="type:Linear", quantity="row_contribution", reduction="total"),
        PlanEntry(site="patch", quantity="score"),
    )
    return Study(
        name="tail-training",
        system="moleflow",
        arms=(
            Arm(name="mean", preset="reduced", settings={"tail_weight": 0.0}),
            Arm(name="tail", preset="reduced", settings={"tail_weight": WEIGHT}),
        ),
        tasks="gear,weave",
        seeds=int(THRESHOLDS["least_n"]),
        record=(Recorded(plan=entries, split="train", losses=LOSSES, normal_only=True, limit=20),),
        decision_rule=RULE.format(**THRESHOLDS),
        thresholds=dict(THRESHOLDS),
        n=int(THRESHOLDS["least_n"]),
        replication="seed",
    )


def log_steepness(
    contributions: Float[np.ndarray, "row column"], tail: Bool[np.ndarray, "row column"], *, weight: float
) -> float:
    """Return log of (tail / other contribution of a patch), over the ratio of their loss weights.

    It does not depend on `weight` where no patch acts on another. Raises ValueError when all or none of the
    gradient is in the tail, and for a weight of 1, which leaves other patches nothing of their own.
    """
    if not 0 <= weight < 1:
        raise ValueError(f"the weight of the tail must lie from 0 up to, not at, 1; it is {weight}")
    share = tail_share(contributions, tail)
    alone = weight_share(weight, patches=tail.size, tail=int(tail.sum()))
    if not (0 < share < 1 and alone < 1):
        raise ValueError(f"the tail holds {share:g} of the gradient, so that its odds are undefined")
    return float(np.log(share / (1 - share)) - np.log(alone / (1 - alone)))


def measure(recording: Recording, *, sites: Mapping[str, str] | None = None) -> Evidence:
    """Return one row, a training: its steepness under its own loss and under the mean loss."""
    keys = chosen_sites(SITES, sites, recording=recording)
    own, ratio = own_loss(recording, keys["contribution"])
    names = list(dict.fromkeys([own, "mean"]))
    picks = [Pick(key=keys["score"]), *(Pick(key=keys["contribution"], loss=name) for name in names)]
    items, rows = image_rows(recording, picks)
    found: dict[str, list[float]] = {name: [] for name in names}
    for start in range(0, len(items), _CHUNK):
        part = slice(start, start + _CHUNK)
        scores, *values = (
            recording[pick.key].exact(index[part]) for pick, index in zip(picks, rows, strict=True)
        )
        for at, item in enumerate(items[part]):
            tail = tail_of(scores[at], ratio=ratio)
            for name, maps in zip(names, values, strict=True):
                try:
                    found[name].append(log_steepness(maps[at], tail, weight=TailLoss.named(name).weight))
                except ValueError as fault:
                    image = recording.items[int(item)].image
                    raise MechlabError(f"'{image}' in '{recording.name}' under '{name}': {fault}.") from fault
    train = training(recording)
    row = {
        "seed": int(train["seed"]),
        "weight": TailLoss.named(own).weight,
        "own_loss": float(np.mean(found[own])),
        "mean_loss": float(np.mean(found["mean"])),
        "images": len(items),
    }
    return Evidence(
        probe="tail_training",
        replication="seed",
        columns={name: (value,) for name, value in row.items()},
        facts={"ratio": ratio},
        inputs=(recording.name,),
    )


def own_loss(recording: Recording, key: str) -> tuple[str, float]:
    """Return the name of the loss that the run was trained with, and the ratio of the tail asked about.

    A training with the mean loss is asked about the tail of the other recorded loss. MechlabError when the
    training's loss was not recorded.
    """
    parts = training(recording, needs="the loss it was trained with")["parts"]
    weight = float(parts.get("tail_weight", 0.0))
    found = recording[key].coordinates.get("loss", np.array([], dtype=np.str_))
    losses = {str(name): TailLoss.named(str(name)) for name in np.unique(found)}
    tails = {name: loss for name, loss in losses.items() if 0 < loss.weight < 1}
    if weight == 0 and "mean" in losses and tails:
        return "mean", next(iter(tails.values())).ratio
    for name, loss in tails.items():
        if "mean" in losses and loss.weight == weight and loss.ratio == float(parts["tail_ratio"]):
            return name, loss.ratio
    raise MechlabError(
        f"recording '{recording.name}' has gradients under {', '.join(losses) or 'no named loss'}, but its "
        f"run was trained with a tail of weight {weight:g}; record 'mean' and the training's own loss, or "
        "for a training with the mean loss the tail that it is compared with."
    )


def judge(
    evidence: Evidence,
    *,
    least_ratio: float = THRESHOLDS["least_ratio"],
    least_n: float = THRESHOLDS["least_n"],
) -> Result:
    """Judge the difference between the two trainings of each seed.

    `least_ratio` 1.2: as in `gradient_concentration`, fixed before any run. `least_n` 6: fewer seeds leave
    Student t a critical value above 2.8.
    """
    seeds, own = pairs(evidence, "own_loss")
    _, under_mean = pairs(evidence, "mean_loss")
    found = decide(
        own[:, 1] - own[:, 0], threshold=float(np.log(least_ratio)), claim="above", least_n=least_n
    )
    thresholds = {"least_ratio": least_ratio, "least_n": least_n}
    return Result(
        probe=evidence.probe,
        hypothesis=HYPOTHESIS,
        decision_rule=RULE.format(**thresholds),
        verdict=found.verdict,
        effect=found.effect,
        interval=found.interval,
        unit="difference of log odds",
        null=Null(kind="analytic: both trainings alike", value=0.0),
        n=found.n,
        replication="seed",
        thresholds=thresholds,
        n_to_decide=found.n_to_decide,
        reason=found.reason if seeds else "no seed has a training with and one without the tail loss",
        tables={"pairs": _pair_table(seeds, own), "measures": _measure_table(own, under_mean)},
        inputs=evidence.inputs,
    )


def pairs(evidence: Evidence, column: str) -> tuple[list[int], Float[np.ndarray, "n 2"]]:
    """Return the seeds that have both trainings, and their values without and with the tail loss.

    Raises MechlabError when trainings with several tail weights are mixed.
    """
    weights = sorted(set(evidence.columns["weight"]) - {0.0})
    if len(weights) > 1:
        named = ", ".join(f"{weight:g}" for weight in weights)
        raise MechlabError(f"these trainings have tail weights {named}; compare one of them with weight 0.")
    values: list[dict[int, float]] = []
    for with_tail in (False, True):
        rows = [index for index, weight in enumerate(evidence.columns["weight"]) if (weight > 0) == with_tail]
        seeds = [evidence.columns["seed"][row] for row in rows]
        means = replicate_means(
            [str(seed) for seed in seeds], [evidence.columns[column][row] for row in rows]
        )
        values.append({seed: float(mean) for seed, mean in zip(dict.fromkeys(seeds), means, strict=True)})
    both = sorted(set(values[0]) & set(values[1]))
    return both, np.array([[values[0][seed], values[1][seed]] for seed in both]).reshape(-1, 2)


def _pair_table(seeds: list[int], own: np.ndarray) -> Table:
    return tuple(
        {"seed": seed, "without": float(a), "with": float(b), "difference": float(b - a)}
        for seed, (a, b) in zip(seeds, own, strict=True)
    )


def _measure_table(own: np.ndarray, under_mean: np.ndarray) -> Table:
    """Levels and differences, under each training's own loss and under the mean loss for both."""
    rows: list[dict[str, Any]] = []
    for name, values in (("own loss", own), ("mean loss", under_mean)):
        rows.append({"measured_under": name, "quantity": "without"} | describe(values[:, 0]))
        rows.append({"measured_under": name, "quantity": "with"} | describe(values[:, 1]))
        rows.append(
            {"measured_under": name, "quantity": "difference"} | describe(values[:, 1] - values[:, 0])
        )
    return tuple(rows)
