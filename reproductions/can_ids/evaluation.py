"""A trained detector judged on the tests, beside the baseline that knows rates and ids alone.

The threshold of a VGAE, and that of the baseline, come from validation windows without an attack; that of a
GAT are even odds. What the metrics are, and why blocks of time are their unit: `judging`.
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float64
from torch import nn

from mechlab.errors import MechlabError
from mechlab.files import write_bytes, write_json
from mechlab.metrics.threshold import threshold_from_normals
from mechlab.runs.folder import RunFolder
from mechlab.specs import EvalSpec, TrainSpec
from reproductions.can_ids.baseline import judge_baseline
from reproductions.can_ids.config import TrainingConfig, VGAEConfig
from reproductions.can_ids.divided import Divided
from reproductions.can_ids.graph_set import GraphSet
from reproductions.can_ids.inputs import window_spec
from reproductions.can_ids.judging import USUAL, Judging, Scored, judged
from reproductions.can_ids.latency import seconds_a_window
from reproductions.can_ids.scoring import scored

EVEN = 0.0  # log-odds above which a GAT calls an attack
BASELINE = ("f1", "f1_macro", "auroc", "ap")  # of the baseline, that stand beside those of the detector
Row = dict[str, Any]


def evaluate(
    model: nn.Module, windows: Divided, run: RunFolder, train: TrainSpec, config: TrainingConfig
) -> dict[str, Any]:
    """Judge a trained model on the tests, and tell how long it takes for a window.

    Raises:
        MechlabError: as `judgement`.
    """
    latency = {"microseconds_a_window": 1e6 * seconds_a_window(model, windows.test)}
    return judgement(model, windows, run, train, config) | latency


def judgement(
    model: nn.Module,
    windows: Divided,
    run: RunFolder,
    train: TrainSpec,
    config: TrainingConfig,
    judging: Judging = USUAL,
) -> Row:
    """Judge a model on the windows of a split; scores and metrics go to the run's `evals`.

    `metrics` has a row for each group of tests, and one for each attack of a group as `<group>/<attack>`.

    Raises:
        MechlabError: too few validation windows for the rate of false positives.
    """
    rate = config.false_positives if judging.false_positives is None else judging.false_positives
    graphs = windows.of_split(judging.split)
    threshold = EVEN
    if isinstance(config, VGAEConfig):
        threshold = normal_threshold(model, windows, false_positives=rate)
    seen = scored(model, graphs)
    metrics = rows_of(seen.scores, threshold, windows, judging, false_positives=rate)
    document = {
        "metrics": metrics,
        "mean": mean_of(metrics),
        "threshold": threshold,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    arrays = {"scores": seen.scores} | ({} if seen.logits is None else {"logits": seen.logits})
    return kept(document, arrays, graphs, run, spec_of(train, windows, judging, usual=config.false_positives))


def rows_of(
    scores: Float64[np.ndarray, " graph"],
    threshold: float,
    windows: Divided,
    judging: Judging = USUAL,
    *,
    false_positives: float,
) -> dict[str, Row]:
    """Return the rows of a detector's scores on a split, the baseline's numbers beside them."""
    words = {"seconds": judging.block, "recall": judging.recall}
    found = Scored(graphs=windows.of_split(judging.split), scores=scores, threshold=threshold)
    metrics = flat(judged(found, **words))
    beside = judge_baseline(windows.whole, false_positive_rate=false_positives, split=judging.split, **words)
    ordinary = flat(beside["groups"])
    for name, row in metrics.items():
        row |= {f"baseline_{metric}": ordinary[name].get(metric) for metric in BASELINE}
        row["baseline_single_auroc"] = ordinary[name]["single_auroc"]
    return metrics


def kept(
    document: Row, arrays: Mapping[str, np.ndarray], graphs: GraphSet, run: RunFolder, spec: EvalSpec
) -> Row:
    """Write an evaluation into the run's `evals` and return its document with the evaluation's name."""
    folder = run.path / "evals" / spec.hash
    stream = io.BytesIO()
    np.savez(stream, labels=graphs.y, start=graphs.start, **arrays)
    write_bytes(folder / "windows.npz", stream.getvalue())
    write_json(folder / "metrics.json", {"spec": spec.model_dump(mode="json"), **document})
    return {**document, "evaluation": spec.hash}


def spec_of(
    train: TrainSpec, windows: Divided, judging: Judging = USUAL, *, usual: float | None = None
) -> EvalSpec:
    """Return what names an evaluation of a detector's only checkpoint.

    It says what is not as usual; `usual` is the rate of false positives that the training was told.
    """
    name, other = train.tasks[0][0], judging.split != USUAL.split
    features = window_spec(name, windows.of_split(judging.split), split="train" if other else "test")
    return EvalSpec(
        train=train.hash, checkpoint=0, features=(features,), router="oracle", aggregation="mean", sigma=0.0,
        split=judging.split if other else None,
        recall=None if judging.recall == USUAL.recall else judging.recall,
        block_seconds=None if judging.block == USUAL.block else judging.block,
        false_positives=None if judging.false_positives == usual else judging.false_positives,
    )  # fmt: skip


def normal_threshold(model: nn.Module, windows: Divided, *, false_positives: float) -> float:
    """Return the score that normal validation windows exceed at a rate; MechlabError for too few."""
    normal = scored(model, windows.normal().validation).scores
    try:
        return threshold_from_normals(normal, false_positive_rate=false_positives)
    except ValueError as fault:
        raise MechlabError(f"no threshold: {fault}; add logs, or set false_positives higher.") from fault


def flat(groups: Mapping[str, Row]) -> dict[str, Row]:
    """Return the rows of groups and of their attacks under one name each."""
    found: dict[str, Row] = {}
    for group, row in groups.items():
        found[group] = {name: value for name, value in row.items() if name != "attacks"}
        found |= {f"{group}/{attack}": dict(own) for attack, own in row["attacks"].items()}
    return found


def mean_of(metrics: Mapping[str, Row]) -> dict[str, float | None]:
    """Return the mean of each number over the groups of tests in which it is defined."""
    groups = [row for name, row in metrics.items() if "/" not in name]
    names = [name for name, value in groups[0].items() if value is None or isinstance(value, float)]
    found: dict[str, float | None] = {}
    for name in names:
        known = [row[name] for row in groups if row.get(name) is not None]
        found[name] = float(np.mean(known)) if known else None
    return found
