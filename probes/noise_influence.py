"""After training, is the noise of RD-Noising still stronger where the memory of normals asks for it?

Two rank correlations (Spearman) of training normals: of a place's distance to the bank with the mean std of
its noise, over an image; and of a channel's influence with its std, over a place. The effect is the smaller
of the two, mean over levels. Null: distance and influence of other places and channels. Beside it: the std in
tenths of distance and influence, over its mean (isotropic noise of equal std); std and weights by epoch; the
drift of the embedding's bank. Unit: the seed. Source: notes 000 ("far = higher noise").
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from mechlab.errors import MechlabError
from mechlab.recording import Recording
from mechlab.result import Evidence, Null, Result, Table
from mechlab.runs.parts import defaults
from mechlab.specs import PlanEntry
from mechlab.stats.rank_correlation import rank_correlation, tenths
from mechlab.stats.similarity import cka_debiased
from mechlab.study.decision import decide, describe
from mechlab.study.plan import Arm, Recorded, Study
from mechlab.study.replicates import Pick, chosen_sites, image_rows, replicate_means, training

HYPOTHESIS = "After training, noise is stronger far from the bank and in channels that make the distance."
ID = "P22"
SOURCE = "notes 000 L24-L30"
SITES = {
    "influence": "activation_subsample/noise.*.influence",
    "distance": "activation_subsample/noise.*.distance",
    "std": "activation_subsample/noise.*.std",
    "start": "activation_subsample/noise.*.start",
    "trace": "weight/noise.*.trace",
    "bank": "weight/noise.*.bank",
    "last": "weight/drift.*.last",
}
THRESHOLDS = {"least_correlation": 0.3, "least_n": 6.0}
RULE = (
    "effect = mean over seeds of the smaller of two rank correlations after training, of a place's distance "
    "with its mean std and of a channel's influence with its std; supported if its 95 % interval lies above "
    "{least_correlation:g}, refuted if below, undecided otherwise or with fewer than {least_n:g} seeds"
)
MAPS = ("influence", "distance", "std", "start")  # roles that have a value a place
BANKS = r"regex:(noise|drift)\.(.*\.)?(bank|last)"
READINGS = ("far", "own", "null_far", "null_own", "start", "last")  # of an image
PLACES = 64  # of an image and level, that the plan records
_CHUNK = 16  # images


def plan() -> Study:
    """One system, its training normals at the last checkpoint, over seeds."""
    maps = tuple(PlanEntry(site=f"noise.*.{role}", quantity="activation", reduction=f"subsample:{PLACES}")
                 for role in MAPS)  # fmt: skip
    stored = (
        PlanEntry(site="noise.*.trace", quantity="weight", dtype="float64"),
        PlanEntry(site=BANKS, quantity="weight"),  # of either generation
    )
    return Study(
        name="noise-influence",
        system="rd-noising",
        arms=(Arm(name="adaptive", preset="mini", settings={"image_size": 128, "epochs": 10}),),
        tasks="gear",
        seeds=int(THRESHOLDS["least_n"]),
        record=(Recorded(plan=(*maps, *stored), split="train", normal_only=True, limit=32),),
        decision_rule=RULE.format(**THRESHOLDS),
        thresholds=dict(THRESHOLDS),
        n=int(THRESHOLDS["least_n"]),
        replication="seed",
    )


def measure(recording: Recording, *, sites: Mapping[str, str] | None = None) -> Evidence:
    """Return one row, a training: both correlations, their null, std at the start and at the end."""
    keys = chosen_sites(SITES, sites, recording=recording, several=tuple(SITES))
    named, train = _levels(recording, keys), training(recording, needs="the range of its noise")
    parts, seed = {**defaults(train["system"]), **train["parts"]}, int(train["seed"])
    low, high = map(float, parts["noise_std_range"])
    levels = [_level(recording, name, roles, ends=(low, high)) for name, roles in named.items()]
    shapes = [row for level in levels for row in level.pop("tenths")]
    means = {name: float(np.mean([level[name] for level in levels])) for name in READINGS}
    row = {"seed": seed, "smaller": min(means["far"], means["own"]),
           "null": min(means.pop("null_far"), means.pop("null_own"))} | means  # fmt: skip
    return Evidence(
        probe="noise_influence",
        replication="seed",
        columns={name: (value,) for name, value in row.items()},
        facts={"kind": parts["noise_kind"], "source": parts["noise_source"]},
        details={
            "levels": tuple({"seed": seed} | level for level in levels),
            "tenths": tuple({"seed": seed} | shape for shape in shapes),
            "epochs": tuple({"seed": seed} | epoch for epoch in _epochs(recording, keys["trace"])),
            "drift": tuple({"seed": seed} | drift for drift in _drifts(recording, keys, seed=seed)),
        },
        inputs=(recording.name,),
    )


def _levels(recording: Recording, keys: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return level -> role -> key of the noise that a recording holds; MechlabError if one is missing."""
    found = {role: {_name(key): key for key in recording.keys(keys[role])} for role in MAPS}
    if not found["std"]:
        raise MechlabError(
            f"'{recording.name}' holds no std of a noise under '{keys['std']}'; record a run of rd-noising "
            "whose switches are on: --site 'noise.*.std' --quantity activation --reduction subsample:64, and "
            "so influence, distance and start."
        )
    for role in MAPS:
        for name in [name for name in found["std"] if name not in found[role]]:
            raise MechlabError(f"'{recording.name}' holds the std of '{name}' without its {role}; record it.")
    return {name: {role: found[role][name] for role in MAPS} for name in found["std"]}


def _name(key: str) -> str:
    return key.partition("/")[2].rpartition(".")[0]


def _level(
    recording: Recording, name: str, keys: Mapping[str, str], *, ends: tuple[float, float]
) -> dict[str, Any]:
    """Return the numbers of one level: means over images, and the std over distance and influence."""
    picks = [Pick(key=key) for key in keys.values()]
    items, rows = image_rows(recording, picks, normal_only=True)
    sums: dict[str, list[float]] = {reading: [] for reading in READINGS}
    shapes: dict[str, list[np.ndarray]] = {"distance": [], "influence": []}
    for begin in range(0, len(items), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        influence, distance, std, start = (
            recording[pick.key].exact(index[part]) for pick, index in zip(picks, rows, strict=True)
        )
        for image, item in enumerate(items[part]):
            found = _image(influence[image], distance[image, :, 0], std[image], seed=int(item))
            found |= {"start": float(start[image].mean()), "last": float(std[image].mean())}
            for reading, value in found.items():
                sums[reading].append(value)
            try:
                shapes["distance"].append(tenths(distance[image, :, 0], std[image].mean(axis=1)))
                shapes["influence"].append(tenths(influence[image].ravel(), std[image].ravel()))
            except ValueError as fault:
                raise MechlabError(
                    f"'{name}' of '{recording.name}': {fault}; record larger images."
                ) from fault
    low, high = ends
    row: dict[str, Any] = {reading: float(np.mean(values)) for reading, values in sums.items()}
    row |= {f"{end}_share": (row[end] - low) / (high - low) for end in ("start", "last")}
    row["tenths"] = [
        {"level": name, "over": over, "tenth": tenth, "ratio": float(value)}
        for over, images in shapes.items()
        for tenth, value in enumerate(np.mean(images, axis=0))
    ]
    return {"level": name} | row | {"images": len(items)}


def _image(
    influence: Float[np.ndarray, "draw dim"],
    distance: Float[np.ndarray, " draw"],
    std: Float[np.ndarray, "draw dim"],
    *,
    seed: int,
) -> dict[str, float]:
    """Return both correlations of one image, and those with distances and influences of others."""
    random, middle = np.random.default_rng(seed), std.mean(axis=1)
    others, channels = random.permutation(len(distance)), random.permutation(influence.shape[1])
    return {
        "far": float(rank_correlation(distance, middle)),
        "own": float(rank_correlation(influence, std).mean()),
        "null_far": float(rank_correlation(distance[others], middle)),
        "null_own": float(rank_correlation(influence[others][:, channels], std).mean()),
    }


def _last(recording: Recording, key: str) -> np.ndarray:
    stages = recording[key].coordinates[recording[key].axes[0]]
    return np.asarray(recording[key].exact([int(np.argmax(stages))])[0])


def _epochs(recording: Recording, pattern: str) -> list[dict[str, Any]]:
    """Return mean std and mean weights of each level by epoch; none where no trace was recorded."""
    rows = []
    for key in recording.keys(pattern):
        trace = _last(recording, key)  # epoch; steps, then sums over them
        for epoch in np.flatnonzero(trace[:, 0] > 0):
            std, influence, distance = (trace[epoch, 1:] / trace[epoch, 0]).tolist()
            known = {"level": _name(key), "epoch": int(epoch), "std": std}
            rows.append(known | {"influence_weight": influence, "distance_weight": distance})
    return rows


def _drifts(recording: Recording, keys: Mapping[str, str], *, seed: int) -> list[dict[str, Any]]:
    """Return CKA between a bank and what became of its images, beside that of permuted images."""
    rows: list[dict[str, Any]] = []
    for key in recording.keys(keys["last"]):
        task = key.split(".")[-2]
        banks = [one for one in recording.keys(keys["bank"]) if one.endswith(f".{task}.embedding.bank")]
        if not banks:
            raise MechlabError(
                f"'{recording.name}' holds '{key}' without the bank of task {task}; record both: --site "
                "'noise.*.bank' --quantity weight."
            )
        before, after = _last(recording, banks[0]), _last(recording, key)
        order = np.random.default_rng(seed).permutation(len(before))
        known = {"task": int(task), "images": len(before)}
        rows.append(known | {"cka": _cka(before, after), "null": _cka(before, after[order])})
    return rows


def _cka(before: np.ndarray, after: np.ndarray) -> float | None:
    try:
        return cka_debiased(before, after)
    except ValueError:  # too few rows, or rows without spread: it is undefined
        return None


def judge(
    evidence: Evidence,
    *,
    least_correlation: float = THRESHOLDS["least_correlation"],
    least_n: float = THRESHOLDS["least_n"],
) -> Result:
    """Judge the smaller correlation over seeds.

    `least_correlation` 0.3: what is usually called moderate, fixed before any run; at the weights that
    training starts from both are high by construction. `least_n` 6: fewer seeds leave Student t too wide.
    """
    _refuse_mixed(evidence)
    seeds = [str(seed) for seed in evidence.columns["seed"]]
    found = decide(replicate_means(seeds, evidence.columns["smaller"]), threshold=least_correlation,
                   claim="above", least_n=least_n)  # fmt: skip
    thresholds = {"least_correlation": least_correlation, "least_n": least_n}
    null = describe(replicate_means(seeds, evidence.columns["null"]))
    ends = None if null["low"] is None or null["high"] is None else (null["low"], null["high"])
    return Result(
        probe=evidence.probe,
        hypothesis=HYPOTHESIS,
        decision_rule=RULE.format(**thresholds),
        verdict=found.verdict,
        effect=found.effect,
        interval=found.interval,
        unit="rank correlation",
        null=Null(kind="permutation: distance and influence of others", value=float(null["mean"] or 0.0),
                  interval=ends),
        n=found.n,
        replication="seed",
        thresholds=thresholds,
        n_to_decide=found.n_to_decide,
        reason=f"{found.reason}; {_collapse(evidence)}",
        tables={
            "levels": _level_table(evidence),
            "tenths": _grouped(evidence.details["tenths"], ("level", "over", "tenth"), "ratio"),
            "epochs": _grouped(evidence.details["epochs"], ("level", "epoch"), "std"),
            "weights": evidence.details["epochs"],
            "drift": evidence.details["drift"],
        },
        inputs=evidence.inputs,
    )  # fmt: skip


def _refuse_mixed(evidence: Evidence) -> None:
    for name in ("kind", "source"):
        if isinstance(value := evidence.facts[name], list):
            told = ", ".join(dict.fromkeys(value))
            raise MechlabError(
                f"these recordings are of noise whose {name} differs ({told}); probe those of one at a time."
            )


def _collapse(evidence: Evidence) -> str:
    """Say where the mean std lies in its range, before and after."""
    levels = evidence.details["levels"]
    start, last = (float(np.mean([level[f"{name}_share"] for level in levels])) for name in ("start", "last"))
    return f"the mean std went from {start:.2f} to {last:.2f} of its range"


def _level_table(evidence: Evidence) -> Table:
    """One row a level: both correlations with intervals over seeds, and the std at the start and the end."""
    rows = []
    names = (*READINGS, "start_share", "last_share")
    for level in dict.fromkeys(row["level"] for row in evidence.details["levels"]):
        of_level = [row for row in evidence.details["levels"] if row["level"] == level]
        seeds = [str(row["seed"]) for row in of_level]
        row: dict[str, Any] = {"level": level}
        for name in names:
            values = describe(replicate_means(seeds, [one[name] for one in of_level]))
            row |= {name: values["mean"], f"{name}_low": values["low"], f"{name}_high": values["high"]}
        rows.append(row | {"n": len(set(seeds))})
    return tuple(rows)


def _grouped(details: Table, keys: tuple[str, ...], value: str) -> Table:
    """Return mean and interval over seeds of rows that agree in `keys`."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in details:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return tuple(
        dict(zip(keys, key, strict=True))
        | describe(replicate_means([str(row["seed"]) for row in rows], [row[value] for row in rows]))
        for key, rows in groups.items()
    )
