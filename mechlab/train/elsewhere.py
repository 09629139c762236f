"""A finished run on another data set than its own: train on one, score the other.

No task of the run owns these images, so a router sends each to an expert and nothing is scored by a given id.
Everything else is the run's: backbone, size, aggregation, calibration by its own training normals.
Source: notes 004 L3898 (evaluation that always read one data set), L4465 (cross-data-set evaluation).
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.files import read_json, write_json
from mechlab.metrics.class_metrics import (
    image_metrics,
    mean_metrics,
    pixel_metrics,
    pooled_metrics,
    trivial_auroc,
)
from mechlab.runs.aggregation_keys import merged
from mechlab.runs.folder import RunFolder
from mechlab.runs.overrides import refuse_one_size
from mechlab.runs.request import task_stream
from mechlab.runs.settings import EvaluationSettings
from mechlab.specs import validated
from mechlab.train import evaluation
from mechlab.train.calibration import calibrated
from mechlab.train.devices import device_of
from mechlab.train.inputs import Inputs
from mechlab.train.resolution import Plan, plan_of
from mechlab.train.routing import Routing
from mechlab.train.scoring import Scores, score
from mechlab.train.session import Report, restore, silent
from mechlab.train.sights import sights_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """A data set that is not the run's own."""

    data: str
    root: Path | None
    classes: str

    @classmethod
    def of(cls, *, data: str | None, root: Path | None, classes: str | None) -> "Elsewhere | None":
        """Return what was named; None where nothing was.

        Raises:
            MechlabError: a folder or classes of no data set.
        """
        if data is None:
            idle = [name for name, value in (("--root", root), ("--tasks", classes)) if value is not None]
            if idle:
                raise MechlabError(
                    f"{idle[0]} was given without --data, so nothing reads it: an evaluation is of the run's "
                    "own images; give --data as well, or leave it out."
                )
            return None
        return cls(data=data, root=root, classes="all" if classes is None else classes)


def evaluate_elsewhere(
    run: RunFolder,
    elsewhere: Elsewhere,
    *,
    settings: dict[str, Any],
    device: str = "auto",
    report: Report = silent,
) -> dict[str, Any]:
    """Return the metrics of a run on the classes of a data set, kept below its `elsewhere/`.

    Raises:
        MechlabError: an unknown data set or class, the oracle, or a run without its last checkpoint.
    """
    plan = plan_of(run)
    words = merged(plan.evaluation.model_dump(), settings)
    plan = replace(plan, evaluation=validated(EvaluationSettings, words, what="evaluation"))
    refuse_one_size(plan.evaluation, plan.inputs.sizes)
    routing = Routing.of(plan.evaluation.router, plan.inputs.compared, tasks=len(plan.spec.tasks))
    if routing.is_oracle:
        raise MechlabError(
            f"router oracle takes an image's own task, and no task of '{run.name}' owns images of "
            f"{elsewhere.data}; give another one, e.g. --router euclidean."
        )
    dataset = systems.dataset(elsewhere.data, elsewhere.root)
    names = [name for task in task_stream(elsewhere.classes, dataset) for name in task]
    inputs = replace(plan.inputs, dataset=dataset, tasks=(tuple(names),), sizes={}, loaded={})
    spec = evaluation.spec_of(
        plan.spec, plan.inputs, stage=len(plan.spec.tasks) - 1, settings=plan.evaluation
    )
    spec = spec.model_copy(update={"features": tuple(inputs.spec(name, "test") for name in names)})
    file = run.path / "elsewhere" / spec.hash / "metrics.json"
    if not file.exists():
        report(f"{run.name}: {len(names)} classes of {elsewhere.data}, evaluation {spec.hash}")
        document = {"spec": spec.model_dump(mode="json"), "data": elsewhere.data}
        write_json(file, document | _classes(plan, inputs, names, routing, device=device, folder=file.parent))
    return dict(read_json(file))


def _classes(
    plan: Plan, inputs: Inputs, names: list[str], routing: Routing, *, device: str, folder: Path
) -> dict[str, Any]:
    where, tasks = device_of(device), len(plan.spec.tasks)
    system = restore(plan, checkpoint=tasks - 1, device=where)
    scoring = calibrated(system, plan.inputs, plan.evaluation, tasks=tasks, device=where)
    metrics: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    routes: dict[str, Any] = {}
    for name in names:
        features = inputs.features(name, "test")
        scores = score(system, sights_of(inputs, name, "test", run=plan.inputs), task=0, tasks=tasks,
                       router=routing, device=where, orientations=plan.evaluation.orientations)  # fmt: skip
        scores.save(folder / f"{name}.npz")
        labels = np.array([item.label for item in features.items])
        images = scoring.image_scores(scores.routed_images, scores.routes)
        assert features.masks is not None, "the test split has masks"
        maps = scoring.pixel_maps(scores.routed, size=features.masks.shape[1], class_name=name)
        metrics[name] = image_metrics(images, labels) | pixel_metrics(
            maps, np.asarray(features.masks, dtype=bool)
        )
        known = [
            value for value in trivial_auroc(inputs.statistics(name), labels).values() if value is not None
        ]
        metrics[name]["trivial_image_auroc"] = max(known) if known else None
        kept[name] = {"labels": labels.tolist(), "scores": images.tolist()}
        routes[name] = _routes(scores, plan)
    return {"metrics": metrics, "mean": mean_metrics(metrics), "pooled": pooled_metrics(kept), "scores": kept,
            "routes": routes}  # fmt: skip


def _routes(scores: Scores, plan: Plan) -> dict[str, float]:
    """Return the share of the images that each task's expert was given, by the classes of the task."""
    return {
        "+".join(names): float((scores.routes == task).mean()) for task, names in enumerate(plan.spec.tasks)
    }
