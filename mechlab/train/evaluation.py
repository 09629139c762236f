"""One evaluation of a checkpoint: scores and metrics of every class seen so far, in a folder of its own."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from mechlab.files import read_json, remove_folder, write_json
from mechlab.metrics.class_metrics import (
    Scoring,
    image_metrics,
    mean_metrics,
    pixel_metrics,
    pooled_metrics,
    trivial_auroc,
)
from mechlab.metrics.threshold import promised_rate, rate_above, threshold_from_normals
from mechlab.runs.folder import RunFolder
from mechlab.runs.overrides import refuse_one_size
from mechlab.runs.settings import EvaluationSettings
from mechlab.specs import EvalSpec, TrainSpec
from mechlab.train import gallery
from mechlab.train.alteration import COMPARABLE, UNALTERED, Alteration
from mechlab.train.calibration import calibrated
from mechlab.train.heap import give_back
from mechlab.train.inputs import Inputs
from mechlab.train.rejection import accepting, rejected, rejection_rates
from mechlab.train.routing import Routing
from mechlab.train.scoring import Scores, score
from mechlab.train.sights import sights_of
from mechlab.train.stage import Trainable

FALSE_POSITIVES = 0.05  # rate on held-out normals at which the decision threshold is set


def spec_of(
    train: TrainSpec,
    inputs: Inputs,
    *,
    stage: int,
    settings: EvaluationSettings,
    interventions: Sequence[str] = (),
) -> EvalSpec:
    """Return the EvalSpec of the classes of tasks 0..stage."""
    seen = [name for task in train.tasks[: stage + 1] for name in task]
    value = settings.aggregation_value
    aggregation = settings.aggregation if value is None else f"{settings.aggregation}:{value:g}"
    return EvalSpec(
        train=train.hash,
        checkpoint=stage,
        features=tuple(inputs.spec(name, "test") for name in seen),
        router=settings.router,
        aggregation=aggregation,
        sigma=settings.sigma,
        interventions=tuple(interventions),
        calibration=None if settings.calibration == "none" else settings.calibration,
        orientations=None if settings.orientations == "one" else settings.orientations,
        image_from=None if settings.image_from == "patches" else settings.image_from,
        allowed=settings.allowed,
    )


def evaluate(
    system: Trainable,
    inputs: Inputs,
    run: RunFolder,
    spec: EvalSpec,
    *,
    settings: EvaluationSettings,
    device: torch.device,
    alteration: Alteration = UNALTERED,
) -> dict[str, Any]:
    """Evaluate a checkpoint that is loaded in `system`; one that exists is read, not made again."""
    folder = run.path / "evals" / spec.hash
    if (folder / "metrics.json").exists():
        return dict(read_json(folder / "metrics.json"))
    document: dict[str, Any] = {
        "spec": spec.model_dump(mode="json"),
        "metrics": {},
        "scores": {},
        "hashes": {},
    }
    refuse_one_size(settings, inputs.sizes)
    routing = Routing.of(spec.router, inputs.compared, tasks=spec.checkpoint + 1)
    try:
        with alteration:
            routing = accepting(routing, system, inputs.compared, tasks=spec.checkpoint + 1, device=device)
            scoring = calibrated(system, inputs, settings, tasks=spec.checkpoint + 1, device=device,
                                 alteration=alteration)  # fmt: skip
            for task, names in enumerate(inputs.tasks[: spec.checkpoint + 1]):
                for name in names:
                    found = _class(system, inputs, spec, name, task=task, scoring=scoring, routing=routing,
                                   device=device, alteration=alteration, folder=folder)  # fmt: skip
                    for kind, value in found.items():
                        document[kind][name] = value
                    inputs.let_go(name)
    except BaseException:
        if alteration.texts:
            remove_folder(folder)  # scores of an intervention that turned out to do nothing
        raise
    document |= {"mean": mean_metrics(document["metrics"]), "pooled": pooled_metrics(document["scores"])}
    document |= learned_of(scoring)
    if settings.allowed:
        document["allowed"] = list(settings.allowed)
    if alteration.texts:
        document |= {"interventions": alteration.effects(), "comparable": COMPARABLE}
    write_json(folder / "metrics.json", document)
    return document


def learned_of(scoring: Scoring) -> dict[str, Any]:
    """Return what a scoring took from training normals, as JSON: a calibration, strengths of tasks."""
    calibration = {} if scoring.calibration is None else {"calibration": scoring.calibration.document()}
    return calibration | ({"strengths": list(scoring.strengths)} if scoring.strengths else {})


def _class(
    system: Trainable,
    inputs: Inputs,
    spec: EvalSpec,
    name: str,
    *,
    task: int,
    scoring: Scoring,
    routing: Routing,
    device: torch.device,
    alteration: Alteration,
    folder: Path,
) -> dict[str, Any]:
    """Score one class: its metrics, image scores and the hash of its patch scores; arrays go to `folder`."""
    features, tasks = inputs.features(name, "test"), spec.checkpoint + 1

    def tested(expert: int, chosen: Int[np.ndarray, " item"]) -> AbstractContextManager[object]:
        return alteration.around(expert, [features.items[index] for index in chosen])

    scores = score(system, sights_of(inputs, name, "test"), task=task, tasks=tasks, router=routing,
                   device=device, around=tested, orientations=spec.orientations or "one")  # fmt: skip
    scores.save(folder / f"{name}.npz")
    give_back()  # what scoring took
    metrics, images = class_metrics(scores, inputs, name, task=task, scoring=scoring, folder=folder)
    labels = [item.label for item in features.items]
    if (refused := rejected(routing, scores.distances, scores.routes)) is not None:
        metrics |= rejection_rates(refused, np.array(labels))
    kept: dict[str, Any] = {"labels": labels, "scores": images.tolist()}
    held = inputs.held_out(name)
    if len(held) and not alteration.needs_items:  # nothing was recorded of images that no one asked for
        given = score(system, held, task=task, tasks=tasks, router="oracle", device=device,
                      around=lambda expert, _: alteration.around(expert, ()),
                      orientations=spec.orientations or "one").given_images  # fmt: skip
        normal = scoring.image_scores(given, np.full(len(given), task))
        metrics |= decision(normal, images, inputs, name)
        if alteration.texts:
            kept["z"] = z_scores(images, normal)
    return {"metrics": metrics, "scores": kept, "hashes": scores.hash}


def z_scores(tested: Float[np.ndarray, " item"], held: Float[np.ndarray, " held"]) -> list[float] | None:
    """Return scores in standard deviations of held-out normals from their mean; None where they have none."""
    deviation = float(np.std(held, ddof=1)) if len(held) > 1 else 0.0
    rounding = float(np.finfo(np.float32).eps * np.abs(held).max())  # patch scores are float32
    return ((tested - held.mean()) / deviation).tolist() if deviation > rounding else None


def class_metrics(
    scores: Scores, inputs: Inputs, name: str, *, task: int, scoring: Scoring, folder: Path
) -> tuple[dict[str, Any], Float[np.ndarray, " item"]]:
    """Return the metrics of one class and its image scores, and leave its gallery in `folder`.

    Metrics are routed, given the id (prefix `given_`), and of the raw image alone (`trivial_`).
    """
    features = inputs.features(name, "test")
    labels = np.array([item.label for item in features.items])
    assert features.masks is not None, "the test split has masks"
    masks = np.asarray(features.masks, dtype=bool)
    images = scoring.image_scores(scores.routed_images, scores.routes)
    maps = scoring.pixel_maps(scores.routed, size=masks.shape[1], class_name=name)
    metrics: dict[str, Any] = image_metrics(images, labels) | pixel_metrics(maps, masks)
    metrics["routing_accuracy"] = float((scores.routes == task).mean())
    given = scoring.image_scores(scores.given_images, np.full(len(labels), task))
    metrics["given_image_auroc"] = image_metrics(given, labels)["image_auroc"]
    trivial = trivial_auroc(inputs.statistics(name), labels)
    known = [value for value in trivial.values() if value is not None]
    metrics["trivial_image_auroc"] = max(known) if known else None
    metrics |= {f"trivial_{statistic}_auroc": value for statistic, value in trivial.items()}
    metrics |= {"normal_images": int((labels == 0).sum()), "defective_images": int((labels == 1).sum())}
    gallery.save(folder / f"{name}.gallery.npz", inputs, features, scores=images, maps=maps)
    return metrics, images


def decision(
    held: Float[np.ndarray, " held"], tested: Float[np.ndarray, " item"], inputs: Inputs, name: str
) -> dict[str, float]:
    """Return the threshold that held-out normals give, what it promises, and its rates on the test images."""
    promised = promised_rate(len(held), wanted=FALSE_POSITIVES)
    threshold = threshold_from_normals(held, false_positive_rate=promised)
    labels = np.array([item.label for item in inputs.features(name, "test").items])
    found = {"threshold": threshold, "promised_false_positive_rate": promised, "held_out_normals": len(held)}
    for label, what in ((0, "false_positive_rate"), (1, "true_positive_rate")):
        if (labels == label).any():
            rate = rate_above(tested[labels == label], threshold)
            found |= {what: rate.rate, f"{what}_low": rate.low, f"{what}_high": rate.high}
    return found
