"""Does greedy k-center cover the normals better than a random subset of equal size, and does that help?

Trainings of PatchCore that keep several shares of the patches, chosen by greedy k-center or at random, over
seeds. The covering radius of a class is the largest distance of one of its training patches to the bank, in
the unit of the features. The effect is the quotient of both radii at one share, mean over classes. Null: 1,
with the quotients of pairs of random subsets. Image and pixel AUROC stand beside the radii. Unit: the seed.
Source: notes 002 L86-L91, L139-L141; Roth et al., CVPR 2022.
"""

from collections.abc import Iterator, Mapping
from itertools import permutations
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from mechlab.errors import MechlabError
from mechlab.metrics.maps import smooth, upsample
from mechlab.metrics.pixel import pixel_auroc
from mechlab.metrics.ranking import auroc
from mechlab.recording import Recording
from mechlab.result import Evidence, Null, Result, Table
from mechlab.specs import PlanEntry
from mechlab.study.decision import decide, describe
from mechlab.study.plan import Arm, Recorded, Study
from mechlab.study.replicates import Pick, chosen_sites, image_rows, training

HYPOTHESIS = "Greedy k-center leaves no patch as far from the bank as a random subset of equal size does."
ID = "P23"
SOURCE = "notes 002 L86-L91, L139-L141"
SITES = {
    "distance": "activation/bank.*.distance",
    "image": "score/image",
    "patch": "score/patch",
    "mask": "score/mask",
}
RATIOS = (0.001, 0.01, 0.1)
METRICS = ("image_auroc", "pixel_auroc")
QUANTITIES = ("radius", "test_radius", *METRICS)
COLUMNS = ("seed", "ratio", "coreset", "class_name", "quantity", "value")
THRESHOLDS = {"ratio": 0.01, "largest_quotient": 0.8, "least_n": 6.0}
RULE = (
    "effect = mean over seeds of the class mean of the covering radius of a greedy bank over that of a "
    "random one, both of {ratio:g} of the patches; supported if its 95 % interval lies below "
    "{largest_quotient:g}, refuted if above, undecided otherwise or with fewer than {least_n:g} seeds"
)
_CHUNK, _SIGMA = 16, 4.0  # images; pixels, as PatchCore smooths its maps


def plan() -> Study:
    """Three shares, greedy and random, over seeds; every normal is offered to the bank."""
    distance = PlanEntry(site="bank.*.distance", quantity="activation")
    scores = tuple(PlanEntry(site=name, quantity="score") for name in ("image", "patch", "mask"))
    return Study(
        name="coreset-coverage",
        system="patchcore",
        arms=tuple(
            Arm(
                name=f"{coreset} {ratio:g}",
                preset="mini",
                settings={"ratio": ratio, "coreset": coreset, "holdout": 0.0},
            )
            for ratio in RATIOS
            for coreset in ("greedy", "random")
        ),
        tasks="all",
        seeds=int(THRESHOLDS["least_n"]),
        record=(
            Recorded(plan=(distance,), split="train"),
            Recorded(plan=(distance, *scores), split="test"),
        ),
        decision_rule=RULE.format(**THRESHOLDS),
        thresholds=dict(THRESHOLDS),
        n=int(THRESHOLDS["least_n"]),
        replication="seed",
    )


def covering_quotient(greedy: Mapping[str, float], random: Mapping[str, float]) -> float:
    """Return the mean over classes of one covering radius over another; scale does not matter.

    Raises ValueError for other classes on the two sides, and for a radius of 0, which has no quotient.
    """
    if greedy.keys() != random.keys() or not greedy:
        raise ValueError(f"radii of {', '.join(greedy) or 'nothing'} and of {', '.join(random) or 'nothing'}")
    if min(random.values()) <= 0:
        raise ValueError("a random subset that leaves no patch out has a covering radius of 0")
    return float(np.mean([greedy[name] / random[name] for name in greedy]))


def measure(recording: Recording, *, sites: Mapping[str, str] | None = None) -> Evidence:
    """Return one row a class and quantity: radii, and of a test split with scores the metrics."""
    keys = chosen_sites(SITES, sites, recording=recording, several=("distance",))
    train = training(recording, needs="the share that its bank keeps")
    parts = train["parts"]
    if train["system"] != "patchcore" or parts.get("neighbours", 1) != 1:
        raise MechlabError(
            f"recording '{recording.name}' is of {train['system']} with {parts.get('neighbours', 'no')} "
            "neighbours; a covering radius is the distance to one nearest patch: give runs of patchcore with "
            "neighbours=1."
        )
    rows = [*_radii(recording, keys["distance"])]
    if keys["mask"] in recording.keys("*"):
        rows += _detections(recording, keys)
    known = {
        "seed": int(train["seed"]),
        "ratio": float(parts.get("ratio", 0.01)),
        "coreset": str(parts.get("coreset", "greedy")),
    }
    table = [known | dict(zip(("class_name", "quantity", "value"), row, strict=True)) for row in rows]
    return Evidence(
        probe="coreset_coverage",
        replication="seed",
        columns={name: tuple(row[name] for row in table) for name in COLUMNS},
        inputs=(recording.name,),
    )


def _radii(recording: Recording, pattern: str) -> Iterator[tuple[str, str, float]]:
    """Yield each class's largest distance to its own bank: of training images, or of normal test images."""
    names = recording.keys(pattern)
    if not names:
        raise MechlabError(
            f"'{recording.name}' has nothing under '{pattern}'; record bank.*.distance of a run of patchcore."
        )
    largest: dict[tuple[str, str], float] = {}
    for key in names:
        items, (rows,) = image_rows(recording, [Pick(key=key)], normal_only=True)
        for start in range(0, len(items), _CHUNK):
            values = recording[key].exact(rows[start : start + _CHUNK])
            for item, maps in zip(items[start : start + _CHUNK], values, strict=True):
                entry = recording.items[int(item)]
                place = (entry.class_name, "radius" if entry.split == "train" else "test_radius")
                largest[place] = max(largest.get(place, 0.0), float(maps.max()))
    for (name, kind), value in largest.items():
        yield name, kind, value


def _detections(recording: Recording, keys: Mapping[str, str]) -> Iterator[tuple[str, str, float]]:
    """Yield image and pixel AUROC of each class that has both labels."""
    picks = [Pick(key=keys[name]) for name in ("image", "patch", "mask")]
    items, rows = image_rows(recording, picks)
    entries = [recording.items[int(item)] for item in items]
    for name in dict.fromkeys(entry.class_name for entry in entries):
        own = np.array([entry.class_name == name for entry in entries])
        labels = np.array([entry.label == 1 for entry in entries])[own]
        scores, patches, masks = (
            recording[pick.key].exact(index[own]) for pick, index in zip(picks, rows, strict=True)
        )
        if labels.any() and not labels.all():
            yield name, "image_auroc", auroc(scores, labels)
        if masks.any() and not masks.all():
            maps = smooth(upsample(patches.astype(np.float64), masks.shape[1]), _SIGMA)
            yield name, "pixel_auroc", pixel_auroc(maps, masks.astype(bool))


def judge(
    evidence: Evidence,
    *,
    ratio: float = THRESHOLDS["ratio"],
    largest_quotient: float = THRESHOLDS["largest_quotient"],
    least_n: float = THRESHOLDS["least_n"],
) -> Result:
    """Judge the quotient of the covering radii of the banks of each seed.

    `ratio` 0.01: what PatchCore keeps of large sets. `largest_quotient` 0.8: a fifth off a distance is more
    than seeds move it. `least_n` 6: fewer seeds leave Student t a critical value above 2.8.
    """
    cells = _cells(evidence)
    pairs = quotients(cells, ratio)
    found = decide(
        np.array([value for _, value in pairs]), threshold=largest_quotient, claim="below", least_n=least_n
    )
    thresholds = {"ratio": ratio, "largest_quotient": largest_quotient, "least_n": least_n}
    return Result(
        probe=evidence.probe,
        hypothesis=HYPOTHESIS,
        decision_rule=RULE.format(**thresholds),
        verdict=found.verdict,
        effect=found.effect,
        interval=found.interval,
        unit="covering radius, greedy over random",
        null=_null(cells, ratio),
        n=found.n,
        replication="seed",
        thresholds=thresholds,
        n_to_decide=found.n_to_decide,
        reason=found.reason if pairs else f"no seed has a greedy and a random bank of {ratio:g}",
        tables={"pairs": _pair_table(cells), "sizes": _size_table(cells), "relation": _relation_table(cells)},
        inputs=evidence.inputs,
    )


Cells = dict[tuple[float, str, int], dict[str, dict[str, float]]]  # (ratio, coreset, seed) -> kind -> class


def _cells(evidence: Evidence) -> Cells:
    """Return what was measured by share, choice and seed; the last of equal measurements stands."""
    found: Cells = {}
    rows = zip(*(evidence.columns[name] for name in COLUMNS), strict=True)
    for seed, ratio, coreset, name, kind, value in rows:
        found.setdefault((ratio, coreset, seed), {}).setdefault(kind, {})[name] = value
    return dict(sorted(found.items()))


def quotients(cells: Cells, ratio: float) -> list[tuple[int, float]]:
    """Return the seeds that have a greedy and a random bank of a share, each with its quotient of radii."""
    radii = {(kind, seed): values["radius"] for (share, kind, seed), values in cells.items()
             if share == ratio and "radius" in values}  # fmt: skip
    seeds = sorted(seed for kind, seed in radii if kind == "greedy" and ("random", seed) in radii)
    return [(seed, covering_quotient(radii["greedy", seed], radii["random", seed])) for seed in seeds]


def _null(cells: Cells, ratio: float) -> Null:
    """Return 1, and between which quotients 95 % of the pairs of random subsets of two seeds lie."""
    radii = [values["radius"] for (share, kind, _), values in cells.items()
             if share == ratio and kind == "random" and "radius" in values]  # fmt: skip
    pairs = [covering_quotient(one, other) for one, other in permutations(radii, 2)]
    low, high = np.quantile(pairs or [1.0], (0.025, 0.975))
    ends = (float(low), float(high)) if pairs else None
    return Null(kind="random subset of equal size: over another", value=1.0, interval=ends)


def _pair_table(cells: Cells) -> Table:
    """One row a share and seed."""
    shares = dict.fromkeys(ratio for ratio, _, _ in cells)
    return tuple({"ratio": ratio, "seed": seed, "quotient": value}
                 for ratio in shares for seed, value in quotients(cells, ratio))  # fmt: skip


def _size_table(cells: Cells) -> Table:
    """One row a share, choice and quantity: class means, over seeds; nothing is decided on them."""
    rows: list[dict[str, Any]] = []
    for ratio, coreset in dict.fromkeys((ratio, coreset) for ratio, coreset, _ in cells):
        for kind in QUANTITIES:
            values = [_mean(found[kind]) for (share, choice, _), found in cells.items()
                      if (share, choice) == (ratio, coreset) and kind in found]  # fmt: skip
            if values:
                known = {"ratio": ratio, "coreset": coreset, "quantity": kind}
                rows.append(known | describe(np.array(values)))
    return tuple(rows)


def _relation_table(cells: Cells) -> Table:
    """One row a metric: over the banks of a seed, Spearman's correlation of the radius with the metric."""
    rows = []
    for metric in METRICS:
        values = [value for seed in dict.fromkeys(seed for _, _, seed in cells)
                  if (value := _correlation(cells, seed, metric)) is not None]  # fmt: skip
        rows.append({"metric": metric} | describe(np.array(values)))
    return tuple(rows)


def _correlation(cells: Cells, seed: int, metric: str) -> float | None:
    """Return a seed's rank correlation; None with fewer than three banks, or where one side never moves."""
    both = np.array([(_mean(found["radius"]), _mean(found[metric])) for (_, _, own), found in cells.items()
                     if own == seed and {"radius", metric} <= found.keys()])  # fmt: skip
    if len(both) < 3 or (np.ptp(both, axis=0) == 0).any():
        return None
    return float(spearmanr(both[:, 0], both[:, 1]).statistic)


def _mean(values: Mapping[str, float]) -> float:
    return float(np.mean(list(values.values())))
