"""The training of a VGAE or a GAT: how its system is built from a plan, and how it is judged."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from mechlab.runs.request import TrainRequest
from reproductions.can_ids.curriculum import HardNormals
from reproductions.can_ids.evaluation import evaluate, judgement
from reproductions.can_ids.judging import USUAL, Judging
from reproductions.can_ids.models import what_of
from reproductions.can_ids.resolution import DetectorPlan, resolve
from reproductions.can_ids.scoring import scored
from reproductions.can_ids.system import Detector
from reproductions.can_ids.work import Work


def detector_work(request: TrainRequest, *, say: Callable[[str], None]) -> Work:
    """Return the training that a request asks for; MechlabError as `resolve`."""
    made = resolve(request, say=say)
    return Work(
        plan=made.plan,
        place=made.place,
        what=what_of(made.windows.train, dataset=made.place.dataset, split=made.config.split),
        build=partial(_system, made),
        judge=partial(_judged, made),
        told={"teacher": None if made.teacher is None else made.teacher.run.name},
    )


def _judged(made: DetectorPlan, system: Detector, judging: Judging = USUAL) -> dict[str, Any]:
    found = (system.model, made.windows, made.plan.run, made.plan.spec, made.config)
    return evaluate(*found) if judging == USUAL else judgement(*found, judging)


def _system(made: DetectorPlan, device: torch.device) -> Detector:
    curriculum = None
    if made.difficulty is not None:
        windows = made.windows.train
        scores = scored(made.difficulty.model.to(device), windows).scores
        curriculum = HardNormals(labels=windows.y, difficulty=scores, epochs=made.config.epochs)
    teacher = None if made.teacher is None else made.teacher.model
    inputs = made.plan.inputs
    return Detector(made.config, inputs.train, seed=made.plan.spec.seed, teacher=teacher,
                    curriculum=curriculum).to(device)  # fmt: skip
