"""Under the tail loss, do hard patches hold more of the gradient than the loss weights alone give them?

At one checkpoint and under one loss, every patch i gives a term of norm g_i to the parameter gradient
(`row_contribution`). The tail are the k = max(1, floor(N * ratio)) patches of highest NLL of an image. If all
patches were equally steep, the weights alone would give the tail the share lambda + (1 - lambda) k / N; the
effect is the log of the observed over that share. Null: 0. Unit: the image. Source: notes L6554 (H3), L6585.

That trainings with and without the tail loss differ is another hypothesis: `tail_training`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mechlab.errors import MechlabError
from mechlab.recording import Recording
from mechlab.result import Evidence, Null, Result, Table
from mechlab.specs import PlanEntry
from mechlab.stats.tail import (
    DISTANCES,
    TailLoss,
    amplification_values,
    distance_profile,
    random_tails,
    reweighted_share,
    tail_of,
    tail_share,
    weight_share,
)
from mechlab.study.decision import decide, describe
from mechlab.study.plan import Arm, Recorded, Study
from mechlab.study.replicates import Pick, chosen_sites, image_rows, replicate_means

HYPOTHESIS = "Under the tail loss hard patches hold more of the gradient than the loss weights alone give."
ID = "P1"
SOURCE = "notes L6554, L6585"
SITES = {
    "contribution": "row_contribution/total",
    "input_gradient": "input_gradient/adapted",
    "score": "score/patch",
}
LOSSES = ("mean", "tail:0.7:0.02", "tail:1:0.02")
THRESHOLDS = {"least_ratio": 1.2, "least_n": 12.0}
RULE = (
    "effect = mean over images of log(observed / analytic share of the tail) under the tail loss of largest "
    "weight below 1; supported if its 95 % interval lies above log {least_ratio:g}, refuted if below, "
    "undecided otherwise or with fewer than {least_n:g} images"
)
PUBLISHED = {(1, 0): 42.3, (0, None): 1.18, (1, None): 49.99}  # weights of two tail losses; notes L6561-L6576
_DRAWS = 200  # random tails an image
_CHUNK = 16  # images


def plan() -> Study:
    """One trained checkpoint; gradients at its training images under three losses."""
    entries = (
        PlanEntry(site="type:Linear", quantity="row_contribution", reduction="total"),
        PlanEntry(site="adapted", quantity="input_gradient"),
        PlanEntry(site="patch", quantity="score"),
    )
    return Study(
        name="gradient-concentration",
        system="moleflow",
        arms=(Arm(name="mini", preset="mini"),),
        tasks="all",
        seeds=3,  # so that no single training speaks for the images
        record=(Recorded(plan=entries, split="train", losses=LOSSES, normal_only=True, limit=20),),
        decision_rule=RULE.format(**THRESHOLDS),
        thresholds=dict(THRESHOLDS),
        n=int(THRESHOLDS["least_n"]),
        replication="image",
    )


def main_loss(losses: Mapping[str, TailLoss]) -> str:
    """Return the tail loss of largest weight below 1: the one that the verdict is about.

    At weight 1 the analytic share is already 1, so that nothing could exceed it. MechlabError without one.
    """
    fitting = {name: loss.weight for name, loss in losses.items() if 0 < loss.weight < 1}
    if not fitting or "mean" not in losses:
        raise MechlabError(
            f"gradients are there under {', '.join(losses) or 'no named loss'}; the probe needs 'mean' and a "
            "tail loss of weight between 0 and 1: record with --loss " + " --loss ".join(LOSSES) + "."
        )
    return max(fitting, key=lambda name: fitting[name])


def measure(recording: Recording, *, sites: Mapping[str, str] | None = None) -> Evidence:
    """Return one row an image: the tail's share under each loss, and what the weights alone predict."""
    keys = chosen_sites(SITES, sites, recording=recording)
    found = recording[keys["contribution"]].coordinates.get("loss", np.array([], dtype=np.str_))
    losses = {str(name): TailLoss.named(str(name)) for name in np.unique(found)}
    main = main_loss(losses)
    losses = {
        name: loss for name, loss in losses.items() if loss.weight == 0 or loss.ratio == losses[main].ratio
    }
    ends = dict(enumerate(["mean", *(name for name, loss in losses.items() if loss.weight == 1)][:2]))
    picks = {"score": Pick(key=keys["score"])}
    picks |= {name: Pick(key=keys["contribution"], loss=name) for name in losses}
    if keys["input_gradient"] in recording.keys("*") and len(ends) == 2:
        picks |= {f"input_{end}": Pick(key=keys["input_gradient"], loss=name) for end, name in ends.items()}
    items, rows = image_rows(recording, list(picks.values()))
    images: list[dict[str, Any]] = []
    profiles: list[dict[str, Any]] = []
    for start in range(0, len(items), _CHUNK):
        part = slice(start, start + _CHUNK)
        read = zip(picks.items(), rows, strict=True)
        values = {name: recording[pick.key].exact(index[part]) for (name, pick), index in read}
        for at, item in enumerate(items[part]):
            entry, maps = recording.items[int(item)], {name: value[at] for name, value in values.items()}
            known = {"item": entry.sha256, "class_name": entry.class_name}
            where, seed = f"'{entry.image}' in '{recording.name}'", int(entry.sha256[:8], 16)
            images.append(known | _image(maps, losses=losses, main=main, where=where, seed=seed))
            profiles += _profiles(maps, losses=losses, main=main, item=entry.sha256)
    return Evidence(
        probe="gradient_concentration",
        replication="image",
        columns={name: tuple(image[name] for image in images) for name in images[0]},
        facts={"loss": main, "losses": {name: loss.weight for name, loss in losses.items()}},
        details={"distance": tuple(profiles)},
        inputs=(recording.name,),
    )


def _image(
    maps: Mapping[str, np.ndarray], *, losses: Mapping[str, TailLoss], main: str, where: str, seed: int
) -> dict[str, Any]:
    """Return the numbers of one image; means of input gradients where those were recorded."""
    weight, tail = losses[main].weight, tail_of(maps["score"], ratio=losses[main].ratio)
    patches, count = tail.size, int(tail.sum())
    if count == patches:
        raise MechlabError(f"the tail of loss '{main}' holds every patch of {where}; choose a smaller ratio.")
    try:
        shares = {name: tail_share(maps[name], tail) for name in losses}
    except ValueError as fault:
        raise MechlabError(f"the row contributions of {where} cannot be shared out: {fault}.") from fault
    if not all(shares.values()):
        raise MechlabError(f"the tail of {where} has no gradient at all; was the recorded layer frozen?")
    null = random_tails(maps["mean"], weight=weight, tail=count, draws=_DRAWS, seed=seed)
    analytic = weight_share(weight, patches=patches, tail=count)
    own = reweighted_share(shares["mean"], weight, patches=patches, tail=count)
    row: dict[str, Any] = {
        "patches": patches,
        "tail": count,
        "log_ratio": float(np.log(shares[main] / analytic)),
        "log_own": float(np.log(own / analytic)),
        "random_mean": float(null.mean()),
        "random_variance": float(null.var()),
    }
    row |= {f"share {name}": share for name, share in shares.items()}
    first = np.flatnonzero(~tail)[:count]  # the published choice: raster order, the image's top row
    parts = {"tail": tail.ravel(), "other": ~tail.ravel(), "first": first}
    for end in (0, 1):
        if f"input_{end}" in maps:
            values = maps[f"input_{end}"].ravel()
            row |= {f"{part}_{end}": float(values[chosen].mean()) for part, chosen in parts.items()}
    return row


def _profiles(
    maps: Mapping[str, np.ndarray], *, losses: Mapping[str, TailLoss], main: str, item: str
) -> list[dict[str, Any]]:
    """Return one row a loss: contributions over the image's mean, by distance to the tail."""
    tail = tail_of(maps["score"], ratio=losses[main].ratio)
    rows = []
    for name in losses:
        profile = [None if np.isnan(value) else float(value) for value in distance_profile(maps[name], tail)]
        rows.append({"item": item, "loss": name} | dict(zip(DISTANCES, profile, strict=True)))
    return rows


def judge(
    evidence: Evidence,
    *,
    least_ratio: float = THRESHOLDS["least_ratio"],
    least_n: float = THRESHOLDS["least_n"],
) -> Result:
    """Judge the mean log ratio over images.

    `least_ratio` 1.2: a fifth more than the weights impose is the least that would be worth a sentence; fixed
    before any run. `least_n` 12: ratios of images are skewed, and Student t needs some of them for that.
    """
    if not isinstance(evidence.facts["loss"], str):
        raise MechlabError(
            f"these recordings were made under several tail losses ({', '.join(evidence.facts['loss'])}); "
            "probe those of one loss at a time."
        )
    values = replicate_means(evidence.columns["item"], evidence.columns["log_ratio"])
    found = decide(values, threshold=float(np.log(least_ratio)), claim="above", least_n=least_n)
    thresholds = {"least_ratio": least_ratio, "least_n": least_n}
    return Result(
        probe=evidence.probe,
        hypothesis=HYPOTHESIS,
        decision_rule=RULE.format(**thresholds),
        verdict=found.verdict,
        effect=found.effect,
        interval=found.interval,
        unit="log(observed / analytic share)",
        null=Null(kind="analytic: the loss weights alone", value=0.0),
        n=found.n,
        replication="image",
        thresholds=thresholds,
        n_to_decide=found.n_to_decide,
        reason=f"{found.reason}; {_explained(evidence)}",
        tables={
            "losses": _loss_table(evidence),
            "distance": _distance_table(evidence),
            "weights": _weight_table(evidence),
            "published": _input_table(evidence, {"weight 1 over weight 0": (1, 0)}),
            "input_ratios": _input_table(evidence, {"weight 0": (0, None), "weight 1": (1, None)}),
        },
        inputs=evidence.inputs,
    )


def _loss_table(evidence: Evidence) -> Table:
    """One row a loss: observed and analytic share of the tail, and the log of their ratio."""
    rows = []
    sizes = list(
        zip(evidence.column("patches").astype(int), evidence.column("tail").astype(int), strict=True)
    )
    for name, weight in evidence.facts["losses"].items():
        share = evidence.column(f"share {name}")
        analytic = np.array([weight_share(weight, patches=int(n), tail=int(k)) for n, k in sizes])
        ratio = replicate_means(evidence.columns["item"], list(np.log(share / analytic)))
        shares = {"observed": float(share.mean()), "analytic": float(analytic.mean())}
        rows.append({"loss": name, "weight": weight} | shares | describe(ratio))
    return tuple(sorted(rows, key=lambda row: row["weight"]))


def _distance_table(evidence: Evidence) -> Table:
    """One row a loss and distance: a patch's contribution over the image's mean, beside its weight alone."""
    rows: list[dict[str, Any]] = []
    over = float(np.mean(evidence.column("patches") / evidence.column("tail")))
    for name, weight in evidence.facts["losses"].items():
        of_loss = [row for row in evidence.details["distance"] if row["loss"] == name]
        items = [row["item"] for row in of_loss]
        for distance in DISTANCES:
            alone = weight * over + 1 - weight if distance == "0" else 1 - weight
            means = replicate_means(items, [row[distance] for row in of_loss])
            known = {"loss": name, "weight": weight, "distance": distance, "weights_alone": alone}
            rows.append(known | describe(means))
    return tuple(rows)


def _explained(evidence: Evidence) -> str:
    own = float(replicate_means(evidence.columns["item"], evidence.columns["log_own"]).mean())
    return f"patches as steep as under the mean loss, reweighted, give {own:.3f}"


def _weight_table(evidence: Evidence) -> Table:
    """What the weights explain: random tails, the patches' own steepness reweighted, and what is left."""
    column, items = evidence.columns, evidence.columns["item"]
    left = [seen - own for seen, own in zip(column["log_ratio"], column["log_own"], strict=True)]
    parts = {
        "observed over analytic share": column["log_ratio"],
        "own steepness of the patches, reweighted": column["log_own"],
        "beyond own steepness: patches that act on others": left,
    }
    middle = float(np.mean(column["random_mean"]))
    half = 1.96 * float(np.sqrt(np.sum(column["random_variance"]))) / len(evidence)
    null = {"mean": middle, "low": middle - half, "high": middle + half, "n": len(set(items))}
    rows = [{"quantity": name} | describe(replicate_means(items, values)) for name, values in parts.items()]
    return (*rows, {"quantity": "random tail (null)"} | null)


def _input_table(evidence: Evidence, named: Mapping[str, tuple[int, int | None]]) -> Table:
    """Tail over other input gradients: at one weight, or weight 1 over weight 0 (whose null is N/k)."""
    if "tail_1" not in evidence.columns:
        return ()
    rows: list[dict[str, Any]] = []
    over = float(np.mean(evidence.column("patches") / evidence.column("tail")))
    for name, (top, bottom) in named.items():
        for part, text in (
            ("other", "all other patches"),
            ("first", "the first k other patches in raster order"),
        ):
            columns = {"tail_1": f"tail_{top}", "other_1": f"{part}_{top}"}
            columns |= {"tail_0": f"tail_{bottom}", "other_0": f"{part}_{bottom}"}
            ones = (1.0,) * len(evidence)  # no second ratio
            means = {
                kind: replicate_means(evidence.columns["item"], evidence.columns.get(column, ones))
                for kind, column in columns.items()
            }
            values = amplification_values(means)
            found = describe(np.empty(0) if values is None else values)
            row: dict[str, Any] = {"quantity": f"input gradient, tail over {text}, {name}"}
            row |= {
                "null": {(1, 0): over, (0, None): 1.0}.get((top, bottom)),
                "published": PUBLISHED[top, bottom],
            }
            for end in ("mean", "low", "high"):
                row[end] = None if (value := found[end]) is None else float(np.exp(value))
            rows.append(row | {"n": found["n"]})
    return tuple(rows)
