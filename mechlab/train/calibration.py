"""How a checkpoint's patch scores are read: with `calibration=task`, on the scale of the training normals."""

from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import torch

from mechlab.errors import MechlabError
from mechlab.metrics.aggregation import ADAPTIVE
from mechlab.metrics.calibration import Calibration
from mechlab.metrics.class_metrics import Scoring
from mechlab.runs.settings import EvaluationSettings
from mechlab.train.adaptation import tuned_strengths
from mechlab.train.alteration import UNALTERED, Alteration
from mechlab.train.routing import Normals
from mechlab.train.scoring import score
from mechlab.train.stage import Trainable


def scoring_of(settings: EvaluationSettings, *, image_size: int) -> Scoring:
    """Return how the settings turn patch scores into image scores and maps, without a calibration."""
    return Scoring(
        aggregation=settings.aggregation,
        value=settings.aggregation_value,
        sigma=settings.sigma,
        map_size=image_size if settings.image_from == "map" else None,
    )


def calibrated(
    system: Trainable,
    normals: Normals,
    settings: EvaluationSettings,
    *,
    tasks: int,
    device: torch.device,
    alteration: Alteration = UNALTERED,
) -> Scoring:
    """Return the scoring of the first `tasks` tasks, calibrated and tuned where the settings ask for it.

    Each task's training normals are scored by its own expert, altered as the evaluation is.

    Raises:
        MechlabError: an alteration that knows no training normals, normals without spread, or inputs that
            cannot be damaged.
    """
    scoring = scoring_of(settings, image_size=normals.image_size)
    is_adaptive = settings.aggregation == ADAPTIVE
    if settings.calibration == "none" and not is_adaptive:
        return scoring
    if alteration.needs_items:
        key = "aggregation = adaptive" if is_adaptive else "calibration = task"
        raise MechlabError(
            f"{key} scores training normals, and a patch knows only the images of its recording; "
            f"set {key.split()[0]} otherwise, or use another intervention than --patch."
        )

    def around(expert: int, _: object) -> AbstractContextManager[object]:
        return alteration.around(expert, ())

    if is_adaptive:
        strengths = tuned_strengths(system, normals, tasks=tasks, device=device, around=around,
                                    orientations=settings.orientations)  # fmt: skip
        scoring = replace(scoring, strengths=strengths)
    if settings.calibration == "none":
        return scoring
    found = []
    for task in range(tasks):
        given = score(system, normals.fitting(task), task=task, tasks=tasks, router="oracle", device=device,
                      around=around, orientations=settings.orientations).given_images  # fmt: skip
        found.append(np.asarray(scoring.image_scores(given, np.full(len(given), task))))
    return replace(scoring, calibration=Calibration.of(found))
