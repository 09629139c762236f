"""Do the adapters of two tasks give the same inputs similar latents?

Debiased linear CKA between the latents of the same images through two adapters of one run, in one pass;
within each class (across classes any two models agree), averaged over classes and pairs of adapters. Null:
the images of one side permuted, positions kept, so that what position alone gives stays. Unit: the seed.
Source: notes L7091.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from mechlab.errors import MechlabError
from mechlab.recording import Recording
from mechlab.result import Evidence, Null, Result, Table, Verdict
from mechlab.specs import PlanEntry
from mechlab.stats.similarity import CKA
from mechlab.study.decision import describe, needed, span
from mechlab.study.plan import Arm, Recorded, Study
from mechlab.study.replicates import Pick, chosen_sites, image_rows, replicate_means, training

HYPOTHESIS = (
    "Two tasks' adapters give the same inputs moderately similar latents, beyond what position gives."
)
ID = "P9"
SOURCE = "notes L7091-L7094"
SITES = {"latent": "latent/latent", "blocks": "latent/flow.*"}
THRESHOLDS = {"least_cka": 0.3, "largest_cka": 0.7, "least_n": 6.0}
LEVEL = 0.975  # of each of the two intervals that the rule reads together (Bonferroni)
RULE = (
    "effect = mean over seeds of the debiased CKA between adapters; supported if its interval lies within "
    "{least_cka:g} and {largest_cka:g} and that of CKA minus its permutation null above 0, refuted if the "
    "first lies wholly outside or the second below 0, undecided otherwise or with fewer than "
    f"{{least_n:g}} seeds; both intervals at {LEVEL:.1%}"
)
_SHIFTS = 5  # permutations of the images
_CHUNK = 16  # images


class Side(NamedTuple):
    """Where the latents of a class through one adapter lie; row i is the same image on either side."""

    key: str
    rows: Int[np.ndarray, " n"]


def plan() -> Study:
    """Two tasks, each test image through both adapters, over seeds."""
    entries = (
        PlanEntry(site="latent", quantity="latent"),
        PlanEntry(site="flow.*.latent", quantity="latent"),
    )
    return Study(
        name="cross-task-cka",
        system="moleflow",
        arms=(Arm(name="reduced", preset="reduced"),),
        tasks="gear,weave",
        seeds=int(THRESHOLDS["least_n"]),
        record=(Recorded(plan=entries, split="test", adapters=(0, 1), normal_only=True),),
        decision_rule=RULE.format(**THRESHOLDS),
        thresholds=dict(THRESHOLDS),
        n=int(THRESHOLDS["least_n"]),
        replication="seed",
    )


def partners(images: int, *, shifts: int, seed: int) -> list[Int[np.ndarray, " n"]]:
    """Return `shifts` permutations in which no image meets itself; ValueError for too few images."""
    if images <= shifts:
        raise ValueError(f"{shifts} permutations without fixed points need more than {images} images")
    order = np.random.default_rng(seed).permutation(images)
    found = []
    for shift in range(1, shifts + 1):
        partner = np.empty(images, dtype=np.int64)
        partner[order] = np.roll(order, -shift)
        found.append(partner)
    return found


def similarity(recording: Recording, one: Side, other: Side) -> float:
    """Return debiased CKA over the patches of paired images, read in chunks.

    Raises ValueError when one side is constant.
    """
    stream = CKA()
    for start in range(0, len(one.rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        values = [recording[side.key][side.rows[part]] for side in (one, other)]
        stream.update(*(value.reshape(-1, value.shape[-1]) for value in values))  # patches as rows
    return stream.value()


def measure(recording: Recording, *, sites: Mapping[str, str] | None = None) -> Evidence:
    """Return one row, a training: CKA and its null; tables hold sites, classes and pairs of adapters."""
    keys = chosen_sites(SITES, sites, recording=recording, several=("blocks",))
    seed = int(training(recording, needs="the adapters of two tasks")["seed"])
    layers: list[dict[str, Any]] = []
    for key in dict.fromkeys([keys["latent"], *recording.keys(keys["blocks"])]):
        for names, one, other in _pairs(recording, key):
            try:
                cka = similarity(recording, one, other)
                null = [
                    similarity(recording, one, other._replace(rows=other.rows[partner]))
                    for partner in partners(len(one.rows), shifts=_SHIFTS, seed=0)
                ]
            except ValueError as fault:
                raise MechlabError(
                    f"'{key}' of '{recording.name}', class {names['class_name']}: {fault}."
                ) from fault
            known = {"seed": seed, "site": key} | names
            layers.append(known | {"images": len(one.rows), "cka": cka, "null": float(np.mean(null))})
    judged = [row for row in layers if row["site"] == keys["latent"]]
    row = {
        "seed": seed,
        "cka": float(np.mean([entry["cka"] for entry in judged])),
        "null": float(np.mean([entry["null"] for entry in judged])),
    }
    return Evidence(
        probe="cross_task_cka",
        replication="seed",
        columns={name: (value,) for name, value in row.items()},
        facts={"site": keys["latent"]},
        details={"layers": tuple(layers)},
        inputs=(recording.name,),
    )


def _pairs(recording: Recording, key: str) -> Iterator[tuple[dict[str, str], Side, Side]]:
    """Give class and adapters with the rows on both sides; MechlabError for one adapter or few images."""
    adapters = np.unique(recording[key].coordinates.get("adapter", np.array([], dtype=np.int64)))
    if len(adapters) < 2:
        raise MechlabError(
            f"'{key}' of '{recording.name}' went through {len(adapters)} adapter; record the same images "
            "through two or more (--adapter 0 --adapter 1)."
        )
    for first, second in combinations(adapters.tolist(), 2):
        picks = [Pick(key=key, adapter=adapter) for adapter in (first, second)]
        items, (one, other) = image_rows(recording, picks)
        classes = np.array([recording.items[item].class_name for item in items])
        for name in dict.fromkeys(classes.tolist()):
            own = classes == name
            if (count := int(own.sum())) <= _SHIFTS:
                raise MechlabError(
                    f"'{recording.name}' has {count} images of class '{name}'; give {_SHIFTS + 1} or more."
                )
            names = {"class_name": name, "adapters": f"{first}-{second}"}
            yield names, Side(key, one[own]), Side(key, other[own])


def judge(
    evidence: Evidence,
    *,
    least_cka: float = THRESHOLDS["least_cka"],
    largest_cka: float = THRESHOLDS["largest_cka"],
    least_n: float = THRESHOLDS["least_n"],
) -> Result:
    """Judge CKA against the range that the notes expect, and against its permutation null.

    `least_cka` 0.3 and `largest_cka` 0.7: the notes' "moderate", written before any measurement. `least_n` 6:
    fewer seeds leave Student t too wide.
    """
    seeds = [str(seed) for seed in evidence.columns["seed"]]
    cka, null = (replicate_means(seeds, evidence.columns[name]) for name in ("cka", "null"))
    ends = span(cka, level=LEVEL) if len(cka) > 1 else None
    verdict: Verdict = "undecided"
    if ends is not None and len(cka) >= least_n:
        excess = span(cka - null, level=LEVEL)
        if ends[0] > largest_cka or ends[1] < least_cka or excess[1] < 0:
            verdict = "refuted"
        elif ends[0] > least_cka and ends[1] < largest_cka and excess[0] > 0:
            verdict = "supported"
    thresholds = {"least_cka": least_cka, "largest_cka": largest_cka, "least_n": least_n}
    return Result(
        probe=evidence.probe,
        hypothesis=HYPOTHESIS,
        decision_rule=RULE.format(**thresholds),
        verdict=verdict,
        effect=float(cka.mean()) if len(cka) else None,
        interval=ends,
        unit="CKA",
        null=_null_of(null),
        n=len(cka),
        replication="seed",
        thresholds=thresholds,
        n_to_decide=_wanted(cka, null, thresholds) if verdict == "undecided" else None,
        reason=_reason(cka, null, thresholds),
        tables={"layers": _layer_table(evidence), "pairs": evidence.details["layers"]},
        inputs=evidence.inputs,
    )


def _null_of(null: np.ndarray) -> Null:
    ends = span(null) if len(null) > 1 else None
    return Null(kind="permutation of images, positions kept", value=float(null.mean()), interval=ends)


def _wanted(cka: np.ndarray, null: np.ndarray, thresholds: Mapping[str, float]) -> int | None:
    """Return the seeds that would decide if both means are as seen."""
    least_n = thresholds["least_n"]
    edges = [
        needed(cka, threshold=thresholds[name], least_n=least_n, level=LEVEL)
        for name in ("least_cka", "largest_cka")
    ]
    chance = needed(cka - null, threshold=0.0, least_n=least_n, level=LEVEL)
    if len(cka) < 2:
        return int(least_n)
    below, above = cka.mean() < thresholds["least_cka"], cka.mean() > thresholds["largest_cka"]
    if below or above:
        return edges[0] if below else edges[1]
    if (cka - null).mean() < 0:
        return chance
    known = [n for n in (*edges, chance) if n is not None]
    return max(known) if len(known) == 3 else None


def _reason(cka: np.ndarray, null: np.ndarray, thresholds: Mapping[str, float]) -> str:
    if len(cka) < thresholds["least_n"]:
        return f"{len(cka)} seeds; the rule asks for {thresholds['least_n']:g}"
    return f"position alone gives {null.mean():.3f}; the rest is {(cka - null).mean():.3f}"


def _layer_table(evidence: Evidence) -> Table:
    """One row a site: CKA and its null over seeds, classes and pairs averaged."""
    rows = []
    for site in dict.fromkeys(row["site"] for row in evidence.details["layers"]):
        of_site = [row for row in evidence.details["layers"] if row["site"] == site]
        seeds = [str(row["seed"]) for row in of_site]
        cka, null = (replicate_means(seeds, [row[name] for row in of_site]) for name in ("cka", "null"))
        rows.append({"site": site, "null": float(null.mean())} | describe(cka))
    return tuple(rows)
