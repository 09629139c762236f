"""Several finished runs scored as one: each member routes and scores by itself, then scores are combined.

Members may differ in backbone, resolution, size and parts; they need the same tasks, and for an evaluation
the same test images. Nothing is trained. Source: notes 004 L4460.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from mechlab.errors import MechlabError
from mechlab.files import canonical_json, sha256_bytes, write_json
from mechlab.metrics.calibration import Calibration
from mechlab.metrics.class_metrics import Scoring, image_metrics, mean_metrics, pixel_metrics, pooled_metrics
from mechlab.metrics.ensemble import combined
from mechlab.runs.aggregation_keys import merged
from mechlab.runs.folder import RunFolder
from mechlab.runs.interventions import NOTHING, Asked
from mechlab.runs.settings import EvaluationSettings
from mechlab.specs import EvalSpec, validated
from mechlab.train import evaluation
from mechlab.train.devices import device_of
from mechlab.train.images import refuse_classes_apart, scoring_from
from mechlab.train.resolution import Plan, plan_of
from mechlab.train.scoring import Scores, score
from mechlab.train.session import Report, reevaluate, restore, silent
from mechlab.train.stage import Trainable, modules_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One run of an ensemble, with what its training normals score."""

    plan: Plan
    system: Trainable
    scoring: Scoring
    spec: EvalSpec  # of its own evaluation
    images: Calibration  # of image scores
    patches: Calibration  # of patch scores, nats

    @classmethod
    def of(
        cls, run: RunFolder, *, settings: dict[str, Any], device: torch.device, report: Report
    ) -> "Member":
        """Evaluate a run as asked and measure its training normals."""
        plan = asked_of(run, settings)
        stage = len(plan.spec.tasks) - 1
        system = restore(plan, checkpoint=stage, device=device)
        spec = evaluation.spec_of(plan.spec, plan.inputs, stage=stage, settings=plan.evaluation)
        report(f"{run.name}: evaluation {spec.hash}")
        document = evaluation.evaluate(
            system, plan.inputs, run, spec, settings=plan.evaluation, device=device
        )
        scoring = scoring_from(plan.evaluation, document, image_size=plan.inputs.image_size)
        tasks, images, patches = len(plan.spec.tasks), [], []
        for task in range(tasks):
            scores = score(system, plan.inputs.fitting(task), task=task, tasks=tasks, router="oracle",
                           device=device, orientations=plan.evaluation.orientations)  # fmt: skip
            images.append(scoring.image_scores(scores.given_images, np.full(len(scores.given), task)))
            patches.append(scores.given.astype(np.float64).ravel())
        return cls(plan=plan, system=system, scoring=scoring, spec=spec, images=Calibration.of(images),
                   patches=Calibration.of(patches))  # fmt: skip

    def scores(self, name: str) -> Scores:
        """Return the arrays of its own evaluation of a class."""
        return Scores.load(self.plan.run.path / "evals" / self.spec.hash / f"{name}.npz")


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """What the members make of the same images."""

    maps: Sequence[Float[np.ndarray, "item _ _"]]  # patch scores of each member, on its own grid
    routes: Sequence[Int[np.ndarray, " item"]]  # the task whose expert gave them
    weighed: Sequence[Float[np.ndarray, "item _ _"]]  # the maps as image scores read them

    def images(self, members: Sequence[Member]) -> Float[np.ndarray, " item"]:
        """Return one score an image, on the scale of the first member."""
        scores = [
            member.scoring.image_scores(maps, routes)
            for member, maps, routes in zip(members, self.weighed, self.routes, strict=True)
        ]
        return combined(scores, self.routes, [member.images for member in members])

    def only(self, chosen: Int[np.ndarray, " some"]) -> "Together":
        """Return what they make of some of the images."""
        return Together(
            maps=[maps[chosen] for maps in self.maps],
            routes=[routes[chosen] for routes in self.routes],
            weighed=[maps[chosen] for maps in self.weighed],
        )

    def pixels(self, members: Sequence[Member], *, size: int, class_name: str) -> np.ndarray:
        """Return maps of size x size pixels, in the unit of the first member's patch scores."""
        maps = [
            member.scoring.pixel_maps(values, size=size, class_name=class_name)
            for member, values in zip(members, self.maps, strict=True)
        ]
        return combined(maps, self.routes, [member.patches for member in members])


def refuse_interventions(asked: Asked) -> None:
    """Refuse an intervention on an ensemble, whose members have sites of their own."""
    if asked.texts:
        raise MechlabError(
            f"'{asked.texts[0]}' changes a part of one run, and several were given; evaluate that run alone."
        )


def asked_of(run: RunFolder, settings: dict[str, Any]) -> Plan:
    """Return the plan of a finished run with its evaluation changed as asked."""
    plan = plan_of(run)
    words = merged(plan.evaluation.model_dump(), settings)
    plan = replace(plan, evaluation=validated(EvaluationSettings, words, what="evaluation"))
    refuse_classes_apart(plan)
    return plan


def members_of(
    runs: Sequence[RunFolder], *, settings: dict[str, Any], device: str, report: Report
) -> tuple[Member, ...]:
    """Return the members of an ensemble.

    Raises:
        MechlabError: a run given twice, or runs of other tasks than the first.
    """
    plans = [plan_of(run) for run in runs]
    for index, plan in enumerate(plans):
        if any(plan.run.name == other.run.name for other in plans[:index]):
            raise MechlabError(f"run '{plan.run.name}' is given twice; give each member once.")
        if plan.spec.tasks != plans[0].spec.tasks:
            raise MechlabError(
                f"run '{plan.run.name}' has other tasks than '{plans[0].run.name}'; members of an ensemble "
                "need the same tasks in the same order."
            )
    where = device_of(device)
    return tuple(Member.of(run, settings=settings, device=where, report=report) for run in runs)


def evaluate_together(
    runs: Sequence[RunFolder],
    *,
    settings: dict[str, Any],
    interventions: Asked = NOTHING,
    device: str = "auto",
    report: Report = silent,
) -> dict[str, Any]:
    """Return the metrics of one run, or of an ensemble, which are left below its first member's `ensembles/`.

    Raises:
        MechlabError: as `members_of`, members whose test images differ, or an intervention on several runs.
    """
    if len(runs) == 1:
        return reevaluate(
            runs[0], settings=settings, interventions=interventions, device=device, report=report
        )
    refuse_interventions(interventions)
    members = members_of(runs, settings=settings, device=device, report=report)
    document: dict[str, Any] = {
        "members": [member.plan.run.name for member in members],
        "metrics": {},
        "scores": {},
    }
    for task, names in enumerate(members[0].plan.spec.tasks):
        for name in names:
            refuse_other_images(members, name)
            metrics, scores, labels = _class(members, name, task=task)
            document["metrics"][name] = metrics
            document["scores"][name] = {"labels": labels.tolist(), "scores": scores.tolist()}
    document |= {"mean": mean_metrics(document["metrics"]), "pooled": pooled_metrics(document["scores"])}
    identity = sha256_bytes(canonical_json([member.spec.hash for member in members]).encode())[:12]
    write_json(members[0].plan.run.path / "ensembles" / f"{identity}.json", document)
    return document


def refuse_other_images(members: Sequence[Member], name: str) -> None:
    """Refuse members whose test images of a class are not the same, in the same order."""
    first = [item.sha256 for item in members[0].plan.inputs.items(name, "test")]
    for member in members[1:]:
        if [item.sha256 for item in member.plan.inputs.items(name, "test")] != first:
            raise MechlabError(
                f"run '{member.plan.run.name}' was tested on other images of '{name}' than "
                f"'{members[0].plan.run.name}'; give runs of one data set."
            )


def _class(
    members: Sequence[Member], name: str, *, task: int
) -> tuple[dict[str, Any], Float[np.ndarray, " item"], Int[np.ndarray, " item"]]:
    plan = members[0].plan
    features = plan.inputs.features(name, "test")
    labels = np.array([item.label for item in features.items])
    assert features.masks is not None, "the test split has masks"
    masks = np.asarray(features.masks, dtype=bool)
    kept = [member.scores(name) for member in members]
    own = [np.full(len(labels), task)] * len(members)
    routed = Together(maps=[one.routed for one in kept], routes=[one.routes for one in kept],
                      weighed=[one.routed_images for one in kept])  # fmt: skip
    given = Together(maps=[one.given for one in kept], routes=own,
                     weighed=[one.given_images for one in kept])  # fmt: skip
    images = routed.images(members)
    metrics: dict[str, Any] = image_metrics(images, labels)
    metrics |= pixel_metrics(routed.pixels(members, size=masks.shape[1], class_name=name), masks)
    metrics["routing_accuracy"] = float(np.mean([(one.routes == task).mean() for one in kept]))
    metrics["given_image_auroc"] = image_metrics(given.images(members), labels)["image_auroc"]
    held = held_out_scores(members, name, task=task)
    if len(held):
        metrics |= evaluation.decision(held, images, plan.inputs, name)
    return metrics, images, labels


def held_out_scores(members: Sequence[Member], name: str, *, task: int) -> Float[np.ndarray, " held"]:
    """Return the ensemble's image scores of the normals of a class that no member was trained on.

    Which are held out depends on the images alone, so members that hold out the same share hold out the same.
    """
    maps: list[Float[np.ndarray, "held _ _"]] = []
    for member in members:
        held = member.plan.inputs.held_out(name)
        if not len(held) or (maps and len(held) != len(maps[0])):
            return np.zeros(0)
        where = next(modules_of(member.system).parameters()).device
        scores = score(member.system, held, task=task, tasks=len(member.plan.spec.tasks), router="oracle",
                       device=where, orientations=member.plan.evaluation.orientations)  # fmt: skip
        maps.append(scores.given_images)
    own = [np.full(len(maps[0]), task)] * len(members)
    return Together(maps=maps, routes=own, weighed=maps).images(members)
