"""How a checkpoint's patch scores are read: with `calibration=task`, on the scale of the training normals."""

from dataclasses import replace

import numpy as np
import torch

from mechlab.errors import MechlabError
from mechlab.metrics.calibration import Calibration
from mechlab.metrics.class_metrics import Scoring
from mechlab.runs.settings import EvaluationSettings
from mechlab.train.alteration import UNALTERED, Alteration
from mechlab.train.routing import Normals
from mechlab.train.scoring import score
from mechlab.train.stage import Trainable


def scoring_of(settings: EvaluationSettings) -> Scoring:
    """Return how the settings turn patch scores into image scores and maps, without a calibration."""
    return Scoring(aggregation=settings.aggregation, value=settings.aggregation_value, sigma=settings.sigma)


def calibrated(
    system: Trainable,
    normals: Normals,
    settings: EvaluationSettings,
    *,
    tasks: int,
    device: torch.device,
    alteration: Alteration = UNALTERED,
) -> Scoring:
    """Return the scoring of the first `tasks` tasks, calibrated where the settings ask for it.

    Each task's training normals are scored by its own expert, altered as the evaluation is.

    Raises:
        MechlabError: an alteration that knows no training normals, or normals without spread.
    """
    scoring = scoring_of(settings)
    if settings.calibration == "none":
        return scoring
    if alteration.needs_items:
        raise MechlabError(
            "calibration = task scores training normals, and a patch knows only the images of its recording; "
            "set calibration to none, or use another intervention than --patch."
        )
    found = []
    for task in range(tasks):
        given = score(system, normals.fitting(task), task=task, tasks=tasks, router="oracle", device=device,
                      around=lambda expert, _: alteration.around(expert, ())).given  # fmt: skip
        found.append(np.asarray(scoring.image_scores(given)))
    return replace(scoring, calibration=Calibration.of(found))
