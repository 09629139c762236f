"""Which of a teacher's signals helps a student that is judged on CAN windows?

VGAE students without a teacher, told its latent, its reconstruction, or both, over seeds. The effect is the
gain of both over none in the log odds that an attack's window scores above a normal one (AUROC), on vehicles
that training knows. Null: 0, with the differences of two students without a teacher. Beside it each signal
alone, a GAT with and without soft labels, debiased CKA of teacher and student by layer within logs (null:
permuted windows), agreement with the teacher (null: chance) and calibration (null: labels drawn by
the probabilities). Unit: the seed. Source: notes 003.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import permutations
from math import log
from typing import Any

import numpy as np
from jaxtyping import Int
from scipy.special import expit

from mechlab.metrics.agreement import agreement
from mechlab.metrics.calibration_error import calibration_error, chance_error
from mechlab.metrics.ranking import auroc, average_precision
from mechlab.recording import Recording
from mechlab.result import Evidence, Null, Result, Table
from mechlab.specs import PlanEntry
from mechlab.stats.blocks import block_interval, blocks_of_time
from mechlab.stats.rank_correlation import rank_correlation
from mechlab.stats.similarity import CKA
from mechlab.study.decision import decide, describe
from mechlab.study.plan import Arm, Recorded, Study
from mechlab.study.replicates import chosen_sites
from mechlab.study.teaching import WITHOUT, Seen, lessons, refuse_other_windows, seen_by, taught

HYPOTHESIS = "A student that is told the teacher's latent and reconstruction ranks attacks better than alone."
ID = "P24"
SOURCE = "notes 003 L6-L14, L351-L361"
SITES = {"levels": "activation/level.*", "latent": "latent/latent", "score": "score/window"}
THRESHOLDS = {"least_ratio": 1.25, "least_n": 6.0}
RULE = (
    "effect = mean over seeds of the difference, VGAE student with both signals minus without a teacher, of "
    "the log odds that an attack's window scores above a normal one (AUROC), mean over groups of vehicles "
    "that training knows; supported if its 95 % interval lies above log({least_ratio:g}), refuted if below, "
    "undecided otherwise or with fewer than {least_n:g} seeds"
)
Cells = dict[tuple[str, str, str, str], dict[int, float]]  # (system, arm, quantity, place) -> seed -> value
COLUMNS = ("seed", "system", "arm", "quantity", "place", "value")
KNOWN = "known vehicles"
VGAE: dict[str, Any] = {"split": "time", "epochs": 5}
GAT: dict[str, Any] = {"split": "time", "epochs": 2}
GAINS = {"vgae": (("both", WITHOUT), ("latent", WITHOUT), ("reconstruction", WITHOUT), ("both", "latent"),
                  ("both", "reconstruction")), "gat": (("soft labels", WITHOUT),)}  # fmt: skip
_SHIFTS, _CHUNK, _LEAST, _BLOCK = 5, 4096, 4, 5.0  # permutations; windows (two); seconds, as `judging` has it


def plan() -> Study:
    """A teacher a seed and model, and beside it students that differ in what they are told."""
    told = {"latent": {"reconstruction_weight": 0.0}, "reconstruction": {"latent_weight": 0.0}, "both": {}}
    by, hard = {"distill": "vgae teacher"}, {"difficulty": "vgae teacher"}
    arms = (
        Arm(name="vgae teacher", preset="teacher", settings=VGAE),
        Arm(name="vgae without", preset="student", settings=VGAE),
        *(Arm(name=f"vgae {name}", preset="student", settings=VGAE | words, runs=by)
          for name, words in told.items()),
        Arm(name="gat teacher", system="gat", preset="teacher", settings=GAT, runs=hard),
        Arm(name="gat without", system="gat", preset="student-compact", settings=GAT, runs=hard),
        Arm(name="gat soft labels", system="gat", preset="student-compact", settings=GAT,
            runs=hard | {"distill": "gat teacher"}),
    )  # fmt: skip
    entries = (PlanEntry(site="level.*", quantity="activation"), PlanEntry(site="latent", quantity="latent"),
               PlanEntry(site="window", quantity="score"))  # fmt: skip
    return Study(
        name="distillation-signal",
        system="vgae",
        data="can",
        arms=arms,
        tasks="all",
        seeds=int(THRESHOLDS["least_n"]),
        record=(Recorded(plan=entries, split="test"),),
        decision_rule=RULE.format(**THRESHOLDS),
        thresholds=dict(THRESHOLDS),
        n=int(THRESHOLDS["least_n"]),
        replication="seed",
    )


def log_odds(area: float, *, pairs: int) -> float:
    """Return log(area / (1 - area)); an area of 0 or 1, where it is infinite, is taken half a pair away."""
    inside = min(max(area, 0.5 / pairs), 1 - 0.5 / pairs)
    return log(inside / (1 - inside))


def measure(recording: Recording, *, sites: Mapping[str, str] | None = None) -> Evidence:
    """Return the evidence of one recording, of which none can be without its teacher: always a sentence."""
    return measure_together([recording], sites=sites)


def measure_together(recordings: Sequence[Recording], *, sites: Mapping[str, str] | None = None) -> Evidence:
    """Return one row a run, quantity and place; a student is measured beside the teacher of its seed."""
    rows: list[tuple[Any, ...]] = []
    details: list[dict[str, Any]] = []
    for teacher, students in lessons([taught(recording) for recording in recordings]):
        above, *below = (
            seen_by(run, chosen_sites(SITES, sites, recording=run.recording, several=("levels",)))
            for run in (teacher, *students)
        )
        for run in (above, *below):
            refuse_other_windows(above, run)
            found = [*_detections(run, details), *_calibrations(run)]
            found += [] if run is above else [*_similarities(above, run), *_agreements(above, run)]
            rows += [(run.run.seed, run.run.system, run.run.arm, *one) for one in found]
    return Evidence(
        probe="distillation_signal",
        replication="seed",
        columns={name: tuple(row[at] for row in rows) for at, name in enumerate(COLUMNS)},
        details={"runs": tuple(details)},
        inputs=tuple(recording.name for recording in recordings),
    )


def _detections(seen: Seen, details: list[dict[str, Any]]) -> Iterator[tuple[str, str, float]]:
    """Yield log odds, AUROC and average precision of each group with both kinds of windows."""
    windows = seen.windows
    for group in dict.fromkeys(windows.groups):
        own = windows.of_group(group)
        scores, labels = seen.scores[own], windows.labels[own]
        if labels.all() or not labels.any():
            continue
        area, precision = auroc(scores, labels), average_precision(scores, labels)
        pairs = int(labels.sum()) * int((~labels).sum())
        yield from (("auroc", group, area), ("ap", group, precision))
        if windows.known[own].all():
            yield "log_odds", group, log_odds(area, pairs=pairs)
        blocks = blocks_of_time(windows.starts[own], windows.logs[own], seconds=_BLOCK)
        ends = block_interval(partial(_auroc_of, scores, labels), blocks)
        known = {"seed": seen.run.seed, "system": seen.run.system, "arm": seen.run.arm, "group": group}
        counts = {"windows": len(labels), "attacks": int(labels.sum()), "blocks": int(blocks.max()) + 1}
        low, high = (None, None) if ends is None else (ends.low, ends.high)
        details.append(known | counts | {"auroc": area, "low": low, "high": high, "ap": precision})


def _auroc_of(scores: np.ndarray, labels: np.ndarray, kept: np.ndarray) -> float | None:
    return auroc(scores[kept], labels[kept]) if len(np.unique(labels[kept])) == 2 else None


def _calibrations(seen: Seen) -> Iterator[tuple[str, str, float]]:
    """Yield the calibration error of a GAT, whose scores are log odds, and what chance alone gives."""
    known = seen.windows.known
    if seen.run.system != "gat" or not known.any():
        return
    probabilities = expit(seen.scores[known])
    yield "calibration_error", KNOWN, calibration_error(probabilities, seen.windows.labels[known])
    yield "calibration_error_null", KNOWN, chance_error(probabilities, seed=seen.run.seed)


def _normals(seen: Seen) -> list[Int[np.ndarray, " kept"]]:
    """Return the places of the normal windows of each log of a known vehicle that has some."""
    kept = seen.windows.known & ~seen.windows.labels
    found = [np.flatnonzero(kept & (seen.windows.logs == log)) for log in np.unique(seen.windows.logs)]
    return [places for places in found if len(places) >= _LEAST]


def _similarities(teacher: Seen, student: Seen) -> Iterator[tuple[str, str, float]]:
    """Yield CKA of the layers of one name within logs, mean over logs, and that of permuted windows."""
    logs = _normals(teacher)
    mixed = [(own, np.random.default_rng(shift).permutation(own)) for own in logs for shift in range(_SHIFTS)]
    for key in [key for key in teacher.layers if key in student.layers]:
        try:
            cka = [_similarity(teacher, student, key, own, own) for own in logs]
            null = [_similarity(teacher, student, key, *pair) for pair in mixed]
        except ValueError:  # a layer without spread: it is undefined
            continue
        if cka:
            yield from (("cka", key, float(np.mean(cka))), ("cka_null", key, float(np.mean(null))))


def _similarity(
    teacher: Seen, student: Seen, key: str, one: Int[np.ndarray, " kept"], other: Int[np.ndarray, " kept"]
) -> float:
    """Return debiased CKA of a layer, read in chunks; row i of both sides are places one[i] and other[i]."""
    stream = CKA()
    for start in range(0, len(one), _CHUNK):
        part = slice(start, start + _CHUNK)
        stream.update(teacher.run.recording[key].exact(teacher.layers[key][one[part]]),
                      student.run.recording[key].exact(student.layers[key][other[part]]))  # fmt: skip
    return stream.value()


def _agreements(teacher: Seen, student: Seen) -> Iterator[tuple[str, str, float]]:
    """Yield how far a student judges like its teacher: a VGAE by ranks of normals, a GAT by its decisions."""
    known = teacher.windows.known
    if student.run.system == "gat" and known.any():
        found = agreement(teacher.scores[known] > 0, student.scores[known] > 0)
        yield from (("agreement", KNOWN, found.share), ("agreement_null", KNOWN, found.chance))
        return
    mixed = [(own, np.random.default_rng(student.run.seed).permutation(own)) for own in _normals(teacher)]
    for name, pairs in (("agreement", [(own, own) for own, _ in mixed]), ("agreement_null", mixed)):
        ranks = [rank_correlation(teacher.scores[one], student.scores[other]) for one, other in pairs]
        yield from [(name, KNOWN, float(np.mean(ranks)))] if ranks else []


def judge(
    evidence: Evidence,
    *,
    least_ratio: float = THRESHOLDS["least_ratio"],
    least_n: float = THRESHOLDS["least_n"],
) -> Result:
    """Judge the gain of both signals over none.

    `least_ratio` 1.25: odds a quarter higher, i.e. a fifth of the wrongly ordered pairs set right; AUROC
    itself has no room near 1, where these detectors are. `least_n` 6: fewer seeds leave Student t too wide.
    """
    cells = _cells(evidence)
    gains = np.array(list(gain(cells, "vgae", "both", WITHOUT, "log_odds").values()), dtype=np.float64)
    found = decide(gains, threshold=log(least_ratio), claim="above", least_n=least_n)
    thresholds = {"least_ratio": least_ratio, "least_n": least_n}
    return Result(
        probe=evidence.probe,
        hypothesis=HYPOTHESIS,
        decision_rule=RULE.format(**thresholds),
        verdict=found.verdict,
        effect=found.effect,
        interval=found.interval,
        unit="difference of log odds",
        null=_null(cells),
        n=found.n,
        replication="seed",
        thresholds=thresholds,
        n_to_decide=found.n_to_decide,
        reason=found.reason if len(gains) else "no seed has a VGAE student with both signals and one without",
        tables={"gains": _gain_table(cells), "arms": _arm_table(cells, ("auroc", "ap")),
                "layers": _null_table(cells, "cka"), "agreement": _null_table(cells, "agreement"),
                "calibration": _null_table(cells, "calibration_error"), "runs": evidence.details["runs"]},
        inputs=evidence.inputs,
    )  # fmt: skip


def _cells(evidence: Evidence) -> Cells:
    """Return what was measured of each seed, by system, arm, quantity and place."""
    found: Cells = {}
    rows = zip(*(evidence.columns[name] for name in COLUMNS), strict=True)
    for seed, system, arm, quantity, place, value in rows:
        found.setdefault((system, arm, quantity, place), {})[seed] = value
    return found


def gain(cells: Cells, system: str, arm: str, against: str, quantity: str) -> dict[int, float]:
    """Return seed -> how much an arm has of a quantity more than another, mean over the places of both."""
    gains: dict[int, list[float]] = {}
    for (own, name, kind, place), values in cells.items():
        if (own, name, kind) == (system, arm, quantity):
            other = cells.get((system, against, quantity, place), {})
            for seed in sorted(values.keys() & other.keys()):
                gains.setdefault(seed, []).append(values[seed] - other[seed])
    return {seed: float(np.mean(differences)) for seed, differences in sorted(gains.items())}


def _null(cells: Cells) -> Null:
    """Return 0, and between which differences 95 % of the pairs of students without a teacher lie."""
    alone = [values for key, values in cells.items() if key[:3] == ("vgae", WITHOUT, "log_odds")]
    seeds = sorted({seed for values in alone for seed in values})
    means = [np.mean([values[seed] for values in alone if seed in values]) for seed in seeds]
    pairs = [float(one - other) for one, other in permutations(means, 2)]
    low, high = np.quantile(pairs or [0.0], (0.025, 0.975))
    kind = "untaught student of another seed: in the place of the taught one"
    return Null(kind=kind, value=0.0, interval=(float(low), float(high)) if pairs else None)


def _gain_table(cells: Cells) -> Table:
    """One row a system and pair of arms; the first is judged, the others have intervals and no tests."""
    return tuple(
        {"system": system, "arm": arm, "against": against}
        | _described(gain(cells, system, arm, against, "log_odds"))
        for system, pairs in GAINS.items()
        for arm, against in pairs
    )


def _arm_table(cells: Cells, quantities: Sequence[str]) -> Table:
    """One row a system, arm, group and metric, over seeds."""
    return tuple(
        {"system": system, "arm": arm, "group": place, "quantity": quantity} | _described(values)
        for (system, arm, quantity, place), values in cells.items()
        if quantity in quantities
    )


def _null_table(cells: Cells, quantity: str) -> Table:
    """One row a system, arm and place: a quantity over seeds, and beside it the mean of its null."""
    return tuple(
        {"system": system, "arm": arm, "place": place}
        | _described(values)
        | {"null": _described(cells[system, arm, f"{quantity}_null", place])["mean"]}
        for (system, arm, kind, place), values in cells.items()
        if kind == quantity
    )


def _described(values: Mapping[int, float]) -> dict[str, float | int | None]:
    return describe(np.array(list(values.values()), dtype=np.float64))
