"""Is the weight change of full fine-tuning low-rank?

For each layer, the number of directions that hold 95 % of the energy of its weight after the last task minus
that before it, over the same number for a random change: independent normal entries in the same shape (the
norm cancels). The effect is the mean of this ratio over layers. Null: 1. Unit: the seed; layers of one run
are no replicates. Source: notes L7364, L7394.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

from mechlab.errors import MechlabError
from mechlab.recording import Recording
from mechlab.result import Evidence, Null, Result, Table
from mechlab.specs import PlanEntry
from mechlab.stats.permutation import holm
from mechlab.stats.spectrum import energy_at, energy_rank, random_energy_rank, singular_values
from mechlab.study.decision import decide, describe
from mechlab.study.plan import Arm, Recorded, Study
from mechlab.study.replicates import chosen_sites, replicate_means, trained_once

HYPOTHESIS = "Fine-tuning moves each layer in far fewer directions than a random change would."
ID = "P8"
SOURCE = "notes L7364, L7394"
SITES = {"delta": "weight_delta/*.base*", "weight": "weight/*.base*"}  # biases are no matrices
ENERGY = 0.95
THRESHOLDS = {"largest_share": 0.5, "least_n": 6.0}
RULE = (
    f"effect = mean over seeds of the layer mean of the rank for {ENERGY:.0%} of the energy over that of a "
    "random matrix of the same shape; supported if its 95 % interval lies below {largest_share:g}, refuted "
    "if above, undecided otherwise or with fewer than {least_n:g} seeds"
)
_DRAWS = 20  # random matrices a shape
_RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # of the energy table
_POINTS = 64  # singular values kept a layer


def plan() -> Study:
    """Two tasks one after another with every weight of the flow trainable, over seeds."""
    entries = (
        PlanEntry(site="flow.*.base.weight", quantity="weight_delta"),
        PlanEntry(site="flow.*.base.weight", quantity="weight"),
    )
    return Study(
        name="energy-rank",
        system="moleflow",
        arms=(Arm(name="reduced-finetune", preset="reduced-finetune"),),
        tasks="gear,weave",
        seeds=int(THRESHOLDS["least_n"]),
        record=(Recorded(plan=entries),),
        decision_rule=RULE.format(**THRESHOLDS),
        thresholds=dict(THRESHOLDS),
        n=int(THRESHOLDS["least_n"]),
        replication="seed",
    )


@cache
def random_ranks(shape: tuple[int, int], energy: float) -> tuple[int, ...]:
    """Return the energy ranks of random changes of a shape, the same draws whenever asked."""
    return tuple(int(rank) for rank in random_energy_rank(shape, energy=energy, draws=_DRAWS, seed=0))


def rank_ratio(delta: Float[np.ndarray, "fan_out fan_in"], *, energy: float) -> float:
    """Return the energy rank of a change over that of random changes of its shape; ValueError for zeros."""
    return energy_rank(delta, energy=energy) / float(np.mean(random_ranks(delta.shape, energy)))


def measure(recording: Recording, *, sites: Mapping[str, str] | None = None) -> Evidence:
    """Return one row, a training: the mean ratio over its layers; tables hold the layers."""
    keys = chosen_sites(SITES, sites, recording=recording, several=("delta", "weight"))
    seed = trained_once(recording)
    layers: list[dict[str, Any]] = []
    spectra: list[dict[str, Any]] = []
    draws: list[np.ndarray] = []
    for key in _matrices(recording, keys["delta"]):
        delta, stage = _last(recording, key)
        if stage == 0 and recording[key].axes[0] == "stage":
            raise MechlabError(
                f"'{recording.name}' was recorded after the first task, before any fine-tuning; "
                "record the checkpoint after the second task or a later one."
            )
        if not delta.any():
            continue
        name = key.partition("/")[2].removesuffix(".weight")
        values = singular_values(delta)
        null = np.array(random_ranks(delta.shape, ENERGY)) / np.mean(random_ranks(delta.shape, ENERGY))
        draws.append(null)
        known = {"seed": seed, "layer": name}
        layers.append(
            known | _layer(delta, values) | {"relative_change": _relative(recording, keys, name, delta)}
        )
        spectra += [known | row for row in _spectrum(values)]
    if not layers:
        raise MechlabError(
            f"no weight under '{keys['delta']}' moved in '{recording.name}'; record a run whose base is "
            "trained after the first task, e.g. of preset reduced-finetune."
        )
    random = np.mean(draws, axis=0)  # one a draw: the mean over layers of chance alone
    row = {
        "seed": seed,
        "ratio": float(np.mean([layer["ratio"] for layer in layers])),
        "null_low": float(np.quantile(random, 0.025)),
        "null_high": float(np.quantile(random, 0.975)),
    }
    return Evidence(
        probe="energy_rank",
        replication="seed",
        columns={name: (value,) for name, value in row.items()},
        facts={"layers": len(layers)},
        details={"layers": tuple(layers), "spectrum": tuple(spectra)},
        inputs=(recording.name,),
    )


def _matrices(recording: Recording, pattern: str) -> list[str]:
    """Return the keys of matrices that a pattern selects; MechlabError for none."""
    forms = {(growing, "fan_out", "fan_in") for growing in ("stage", "step")}
    keys = [key for key in recording.keys(pattern) if recording[key].axes in forms]
    if not keys:
        raise MechlabError(
            f"'{recording.name}' has no matrices under '{pattern}'; record weight_delta of the layers."
        )
    return keys


def _last(recording: Recording, key: str) -> tuple[np.ndarray, int]:
    """Return a matrix after the last recorded task, or step of a foreign training, and its number."""
    stages = recording[key].coordinates[recording[key].axes[0]]
    row = int(np.argmax(stages))
    return recording[key].exact([row])[0], int(stages[row])


def _layer(delta: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    """Return the numbers of one layer; energy at a rank beyond its size is left out."""
    null = random_ranks(delta.shape, ENERGY)
    ranks = {f"energy_at_{k}": energy_at(values, k) if k <= len(values) else None for k in _RANKS}
    return {
        "fan_out": delta.shape[0],
        "fan_in": delta.shape[1],
        "rank": energy_rank(values, energy=ENERGY),
        "rank_99": energy_rank(values, energy=0.99),
        "null_rank": float(np.mean(null)),
        "null_low": int(min(null)),
        "null_high": int(max(null)),
        "ratio": rank_ratio(delta, energy=ENERGY),
    } | ranks


def _relative(recording: Recording, keys: Mapping[str, str], name: str, delta: np.ndarray) -> float | None:
    """Return ‖ΔW‖ / ‖W before‖, or None when the weight was not recorded or was zero."""
    key = f"weight/{name}"
    if key not in recording.keys(keys["weight"]):
        return None
    before = float(np.linalg.norm(_last(recording, key)[0] - delta))
    return float(np.linalg.norm(delta)) / before if before else None


def _spectrum(values: np.ndarray) -> list[dict[str, Any]]:
    """Return singular values over the norm, at most `_POINTS` of them, evenly spaced in the logarithm."""
    chosen = np.unique(np.geomspace(1, len(values), min(_POINTS, len(values))).round().astype(int))
    norm = np.linalg.norm(values)
    return [{"direction": int(k), "value": float(values[k - 1] / norm)} for k in chosen]


def judge(
    evidence: Evidence,
    *,
    largest_share: float = THRESHOLDS["largest_share"],
    least_n: float = THRESHOLDS["least_n"],
) -> Result:
    """Judge the mean ratio over seeds.

    `largest_share` 0.5: the notes call a rank far below 64, read as 32 or less, strong evidence; half of what
    is there holds for any width. `least_n` 6: fewer seeds leave Student t too wide.
    """
    seeds = [str(seed) for seed in evidence.columns["seed"]]
    found = decide(
        replicate_means(seeds, evidence.columns["ratio"]),
        threshold=largest_share,
        claim="below",
        least_n=least_n,
    )
    thresholds = {"largest_share": largest_share, "least_n": least_n}
    ends = (float(np.mean(evidence.columns["null_low"])), float(np.mean(evidence.columns["null_high"])))
    return Result(
        probe=evidence.probe,
        hypothesis=HYPOTHESIS,
        decision_rule=RULE.format(**thresholds),
        verdict=found.verdict,
        effect=found.effect,
        interval=found.interval,
        unit="rank / rank of a random change",
        null=Null(kind="random matrix: normal entries, same shape", value=1.0, interval=ends),
        n=found.n,
        replication="seed",
        thresholds=thresholds,
        n_to_decide=found.n_to_decide,
        reason=found.reason,
        tables={
            "layers": _layer_table(evidence, largest_share),
            "spectrum": evidence.details["spectrum"],
        },
        inputs=evidence.inputs,
    )


def _layer_table(evidence: Evidence, largest_share: float) -> Table:
    """One row a layer, over seeds, with Holm's p-value of the ratio being below the threshold."""
    rows: list[dict[str, Any]] = []
    chances: list[float] = []
    for name in dict.fromkeys(row["layer"] for row in evidence.details["layers"]):
        of_layer = [row for row in evidence.details["layers"] if row["layer"] == name]
        seeds = [str(row["seed"]) for row in of_layer]
        ratio = replicate_means(seeds, [row["ratio"] for row in of_layer])
        fixed = {key: of_layer[0][key] for key in ("fan_out", "fan_in", "null_rank", "null_low", "null_high")}
        averaged = ("rank", "rank_99", "relative_change", *(f"energy_at_{k}" for k in _RANKS))
        means = {key: replicate_means(seeds, [row[key] for row in of_layer]) for key in averaged}
        rows.append(
            {"layer": name}
            | fixed
            | {key: float(values.mean()) if len(values) else None for key, values in means.items()}
            | {f"ratio_{key}": value for key, value in describe(ratio).items()}
        )
        chances.append(_chance(largest_share - ratio))
    return tuple(row | {"p_holm": float(p)} for row, p in zip(rows, holm(np.array(chances)), strict=True))


def _chance(gaps: np.ndarray) -> float:
    """Return the one-sided p-value of Student's t that the mean gap is not above 0; 1 for a single seed."""
    if len(gaps) < 2:
        return 1.0
    error, mean = float(gaps.std(ddof=1) / np.sqrt(len(gaps))), float(gaps.mean())
    if not error:
        return 0.0 if mean > 0 else 1.0
    return float(student.sf(mean / error, df=len(gaps) - 1))
