"""Do the latents of held-out normal images follow the prior N(0, I)?

W2² of the pooled patches of a task to N(0, 1), averaged over the D coordinates (marginal) and over random
unit directions (sliced). The worse of the two is judged: coordinates hide correlation, random directions hide
odd coordinates. Patches of an image agree, so that n images are off the prior by chance: W2² is jackknifed
over images, which takes that bias out, and each image contributes one jackknife value. Null: 0, with the
spread of exactly normal marginals of the same size and within-image correlation. Unit: the image.
Source: notes L6554 (H7), L6439.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

from mechlab.errors import MechlabError
from mechlab.recording import Recording
from mechlab.result import Evidence, Null, Result, Table
from mechlab.specs import PlanEntry
from mechlab.stats import normality
from mechlab.stats.clustered_normality import ImageDistances, simulated_null
from mechlab.stats.permutation import holm
from mechlab.study.decision import needed, side, span
from mechlab.study.places import by_place, channel_axis
from mechlab.study.plan import Arm, Recorded, Study
from mechlab.study.replicates import Pick, chosen_sites, image_rows, replicate_means, task_names

HYPOTHESIS = "Latents of held-out normal images follow the prior N(0, I) up to a harmless distance."
ID = "P7"
SOURCE = "notes L6439, L6554"
SITES = {"latent": "latent/latent"}
THRESHOLDS = {"largest_distance": 0.1, "least_n": 12.0}
RULE = (
    "effect = the larger of the marginal and the sliced W2 of normal images to N(0, 1), root of the mean "
    "square over directions, jackknifed over images; supported if its 95 % interval (Bonferroni at the lower "
    "end) lies below {largest_distance:g}, refuted if above, undecided otherwise or with fewer than "
    "{least_n:g} images"
)
DIRECTIONS = 64
_PROBABILITIES = (0.001, 0.005, 0.01, *np.linspace(0.025, 0.975, 39).tolist(), 0.99, 0.995, 0.999)
_CHUNK = 16  # images
_ROWS = 20_000  # patches of a task at most, for the tables of a task and its dimensions


def plan() -> Study:
    """The latents of the normal test images of a run, each through its own task's adapter."""
    latents = PlanEntry(site="latent", quantity="latent")
    return Study(
        name="gaussianity",
        system="moleflow",
        arms=(Arm(name="mini", preset="mini"),),
        tasks="all",
        seeds=3,  # so that no single training speaks for the images
        record=(Recorded(plan=(latents,), split="test", normal_only=True),),
        decision_rule=RULE.format(**THRESHOLDS),
        thresholds=dict(THRESHOLDS),
        n=int(THRESHOLDS["least_n"]),
        replication="image",
    )


def unit_directions(dim: int, *, count: int, seed: int) -> Float[np.ndarray, "dim direction"]:
    """Return random unit vectors, uniform on the sphere, as columns."""
    directions = np.random.default_rng(seed).standard_normal((dim, count))
    return np.asarray(directions / np.linalg.norm(directions, axis=0))


def measure(recording: Recording, *, sites: Mapping[str, str] | None = None) -> Evidence:
    """Return one row an image, its jackknife values of the marginal and the sliced W2²; and tables a task."""
    key = chosen_sites(SITES, sites, recording=recording)["latent"]
    items, (rows,) = image_rows(recording, [Pick(key=key)], normal_only=True)
    tasks = task_names(recording)
    task_of = np.array([tasks[recording.items[item].class_name] for item in items])
    columns: dict[str, list[Any]] = {"item": [], "task": [], "marginal": [], "sliced": []}
    details: dict[str, list[dict[str, Any]]] = {"tasks": [], "dims": [], "quantiles": []}
    for task in dict.fromkeys(task_of.tolist()):
        own = task_of == task
        distances, sample = _read(recording, key, rows[own], task=task)
        values, dim = distances.jackknife(), sample.shape[1]  # values: item, direction; coordinates first
        columns["item"] += [recording.items[item].sha256 for item in items[own]]
        columns["task"] += [task] * len(values)
        columns["marginal"] += values[:, :dim].mean(axis=1).tolist()
        columns["sliced"] += values[:, dim:].mean(axis=1).tolist()
        known = {"recording": recording.name, "task": task}
        found = {"marginal": _root(values[:, :dim].mean()), "sliced": _root(values[:, dim:].mean())}
        null = _null(distances, dim, images=len(values))
        details["tasks"].append(known | found | _joint(sample) | null)
        details["dims"] += [known | row for row in _dims(sample, values[:, :dim])]
        details["quantiles"] += [known | row for row in _quantiles(sample)]
    return Evidence(
        probe="gaussianity",
        replication="image",
        columns={name: tuple(column) for name, column in columns.items()},
        facts={"dim": dim, "directions": DIRECTIONS},
        details={name: tuple(table) for name, table in details.items()},
        inputs=(recording.name,),
    )


def _read(
    recording: Recording, key: str, rows: np.ndarray, *, task: str
) -> tuple[ImageDistances, np.ndarray]:
    """Return the sums of a task's images along coordinates and directions, and a sample of patches."""
    channel = channel_axis(recording[key].axes)
    if channel is None:
        raise MechlabError(
            f"'{key}' of '{recording.name}' has axes {', '.join(recording[key].axes)}; choose a latent with "
            "items first and one axis of channels, 'dim' or 'channel'."
        )
    dim = recording[key].shape[channel]
    if len(rows) < 3:
        raise MechlabError(
            f"task '{task}' has {len(rows)} normal images in '{recording.name}'; record 3 or more."
        )
    directions = unit_directions(dim, count=DIRECTIONS, seed=0)
    distances = ImageDistances(images=len(rows), directions=dim + DIRECTIONS)
    every = max(1, len(rows) * int(np.prod(recording[key].shape[1:])) // dim // _ROWS)
    sample = []
    for start in range(0, len(rows), _CHUNK):
        patches = by_place(recording[key][rows[start : start + _CHUNK]], channel=channel)
        if not np.isfinite(patches).all():
            raise MechlabError(
                f"'{key}' of '{recording.name}' is not finite everywhere; record it as float32."
            )
        distances.update(start, np.concatenate([patches, patches @ directions], axis=2))
        sample.append(patches.reshape(-1, dim)[::every])
    return distances, np.concatenate(sample)


def _null(distances: ImageDistances, dim: int, *, images: int) -> dict[str, Any]:
    share = float(distances.correlation()[:dim].mean())
    mean, std = simulated_null(images=images, patches=distances.patches, correlation=share)
    sizes = {"images": images, "patches": distances.patches, "within_image_correlation": share}
    return sizes | {"null_mean": mean, "null_std": std}


def _joint(sample: np.ndarray) -> dict[str, Any]:
    """Return what no single direction shows; None where it is undefined."""
    values = sample.flatten()  # a copy
    try:
        kurtosis = normality.mardia_kurtosis(sample)
    except ValueError:  # fewer patches than dimensions, or a constant one
        kurtosis = None
    spread = values.std() > 0
    return {
        "pooled_mean": float(values.mean()),
        "pooled_std": float(values.std()),
        "pooled_qq_correlation": float(normality.qq_correlation(values[:, None])[0]) if spread else None,
        "norm_square_per_dim": float(np.square(sample).sum(axis=1).mean() / sample.shape[1]),
        "norm_distance": normality.norm_distance(sample),
        "covariance_error": normality.covariance_error(sample),
        "mardia_kurtosis": kurtosis,
    }


def _dims(sample: np.ndarray, values: np.ndarray) -> list[dict[str, Any]]:
    """Return one row a dimension: moments, QQ correlation, W2² with its standard error."""
    moving = np.flatnonzero(np.ptp(sample, axis=0) > 0)
    moments, straight = normality.moments(sample[:, moving]), normality.qq_correlation(sample[:, moving])
    found = {
        int(dim): {
            "std": float(moments.std[at]),
            "skew": float(moments.skew[at]),
            "excess_kurtosis": float(moments.excess_kurtosis[at]),
            "qq_correlation": float(straight[at]),
        }
        for at, dim in enumerate(moving)
    }
    empty = {"std": 0.0, "skew": None, "excess_kurtosis": None, "qq_correlation": None}
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return [
        {"dim": dim, "mean": float(sample[:, dim].mean())}
        | found.get(dim, empty)
        | {
            "squared_distance": float(values[:, dim].mean()),
            "error": float(error[dim]),
            "images": len(values),
        }
        for dim in range(sample.shape[1])
    ]


def _quantiles(sample: np.ndarray) -> list[dict[str, float]]:
    observed = np.quantile(sample, _PROBABILITIES)
    normal = student.ppf(_PROBABILITIES, df=np.inf)
    return [{"normal": float(a), "observed": float(b)} for a, b in zip(normal, observed, strict=True)]


def judge(
    evidence: Evidence,
    *,
    largest_distance: float = THRESHOLDS["largest_distance"],
    least_n: float = THRESHOLDS["least_n"],
) -> Result:
    """Judge the worse of the two distances.

    `largest_distance` 0.1: what a standard deviation of 0.9 or 1.1, or a shift of 0.1, gives; heavy tails
    that matter (t with 5 degrees of freedom) give 0.18 and harmless ones (50 degrees) 0.013. `least_n` 12:
    jackknife values are skewed. Both distances are judged at once: the larger is above the threshold if
    either is, which takes Bonferroni, and below it only if both are, which takes none.
    """
    items = evidence.columns["item"]
    kinds = {name: replicate_means(items, evidence.columns[name]) for name in ("marginal", "sliced")}
    n, square = len(kinds["marginal"]), largest_distance**2
    worse = max(kinds, key=lambda name: float(kinds[name].mean()))
    ends = (
        max(span(values, level=1 - 0.05 / len(kinds))[0] for values in kinds.values()),
        max(span(values)[1] for values in kinds.values()),
    )
    verdict = side(ends, threshold=square, claim="below") if n >= least_n else "undecided"
    thresholds = {"largest_distance": largest_distance, "least_n": least_n}
    return Result(
        probe=evidence.probe,
        hypothesis=HYPOTHESIS,
        decision_rule=RULE.format(**thresholds),
        verdict=verdict,
        effect=_root(float(kinds[worse].mean())),
        interval=(_root(ends[0]), _root(ends[1])),
        unit="W2 to N(0, 1), in prior standard deviations",
        null=_null_of(evidence),
        n=n,
        replication="image",
        thresholds=thresholds,
        n_to_decide=_wanted(kinds, square, least_n) if verdict == "undecided" else None,
        reason=f"the {worse} distance is the larger one; {n} images",
        tables={
            "distances": _distance_table(kinds),
            "tasks": evidence.details["tasks"],
            "dims": _dim_table(evidence, threshold=square),
            "quantiles": evidence.details["quantiles"],
        },
        inputs=evidence.inputs,
    )


def _wanted(kinds: Mapping[str, np.ndarray], square: float, least_n: float) -> int | None:
    """Return the images that would decide: for one distance too large, or for both small enough."""
    above = [values for values in kinds.values() if values.mean() > square]
    if above:
        found = [needed(v, threshold=square, least_n=least_n, level=1 - 0.05 / len(kinds)) for v in above]
        return min((n for n in found if n is not None), default=None)
    found = [needed(values, threshold=square, least_n=least_n) for values in kinds.values()]
    known = [n for n in found if n is not None]
    return max(known) if len(known) == len(found) else None


def _root(square: float) -> float:
    """Return W2 of a debiased W2², which may be a little negative."""
    return float(np.sqrt(max(0.0, square)))


def _null_of(evidence: Evidence) -> Null:
    """Return the simulated null of the mean over images; tasks are added as if they moved together."""
    tasks = evidence.details["tasks"]
    share = np.array([row["images"] for row in tasks], dtype=np.float64)
    mean = float(np.average([row["null_mean"] for row in tasks], weights=share))
    half = 1.96 * float(np.average([row["null_std"] for row in tasks], weights=share))
    return Null(
        kind="simulation: normal marginals, within-image correlation as seen",
        value=_root(mean),
        interval=(_root(mean - half), _root(mean + half)),
    )


def _distance_table(kinds: Mapping[str, np.ndarray]) -> Table:
    rows = []
    for name, values in kinds.items():
        low, high = span(values)
        ends = {"mean": _root(float(values.mean())), "low": _root(low), "high": _root(high)}
        rows.append({"directions": name} | ends | {"n": len(values)})
    return tuple(rows)


def _dim_table(evidence: Evidence, *, threshold: float) -> Table:
    """One row a dimension, with Holm's p-value of being beyond the threshold, over all rows."""
    rows = evidence.details["dims"]
    excess = np.array([row["squared_distance"] - threshold for row in rows])
    error = np.array([row["error"] for row in rows])
    score = np.divide(excess, error, out=np.sign(excess) * np.inf, where=error > 0)
    chance = student.sf(score, df=np.array([row["images"] - 1 for row in rows]))
    return tuple(
        row | {"distance": _root(row["squared_distance"]), "p_holm": float(p)}
        for row, p in zip(rows, holm(chance), strict=True)
    )
