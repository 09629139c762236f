"""A request made definite: settings, windows, teacher, and the run; nothing is trained."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.runs.folder import RunFolder, find
from mechlab.runs.parts import hashed
from mechlab.runs.request import TrainRequest
from mechlab.runs.settings import EvaluationSettings, refuse_unused
from mechlab.specs import TrainSpec
from mechlab.train.resolution import Plan
from reproductions.can_ids import modes
from reproductions.can_ids.config import GATConfig, TrainingConfig, VGAEConfig
from reproductions.can_ids.distillation import Signals
from reproductions.can_ids.divided import Divided, divided
from reproductions.can_ids.graph_set import ATTACK
from reproductions.can_ids.inputs import GraphInputs
from reproductions.can_ids.models import Trained, configured, refuse_stranger, trained
from reproductions.can_ids.places import Place, discovered
from reproductions.can_ids.request_words import (
    logs_of,
    refuse_without_teacher,
    refuse_words_of_images,
    words_of,
)

AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorPlan:
    """What is to be trained, on what, and who teaches it."""

    plan: Plan
    config: TrainingConfig
    windows: Divided
    place: Place
    teacher: Trained | None
    difficulty: Trained | None  # VGAE whose score orders normal windows


def resolve(request: TrainRequest, *, say: Callable[[str], None] = lambda _: None) -> DetectorPlan:
    """Return the plan of a request; `say` is told of logs that are read.

    Raises:
        MechlabError: words of images, an unknown key or value, a mode that the model is not trained in, logs
            that cannot be read, a teacher that is missing, of another model, data set or vocabulary.
    """
    refuse_words_of_images(request)
    config, meant = _configured(request)
    root, name = logs_of(request)
    is_distilled = meant.distill is not None
    place = Place(dataset=name, model=request.system, size=config.size, is_distilled=is_distilled,
                  mode=meant.mode)  # fmt: skip
    teacher = _teacher(request, meant.distill, place)
    difficulty = _difficulty(request, config, place)
    windows = divided(root, config, cache=request.cache, say=say)
    for found, purpose in ((teacher, "teacher"), (difficulty, "VGAE of the curriculum")):
        if found is not None:
            refuse_stranger(found, windows.train, dataset=name, split=config.split, purpose=purpose)
    if isinstance(config, GATConfig):
        _refuse_one_kind(windows, root)
    parts = config.model_dump(mode="json")
    parts |= {"distill": None if teacher is None else teacher.run.name}
    if isinstance(config, GATConfig):
        parts |= {"difficulty": GATConfig().difficulty if difficulty is None else difficulty.run.name}
    config = configured(request.system, parts)
    chosen = windows.normal() if isinstance(config, VGAEConfig) else windows
    inputs = GraphInputs.of(name, chosen.train, cache=request.cache)
    plan = plan_of_windows(request, parts, inputs, warnings=meant.warnings)
    return DetectorPlan(
        plan=plan, config=config, windows=windows, place=place, teacher=teacher, difficulty=difficulty
    )


def _configured(request: TrainRequest) -> tuple[TrainingConfig, modes.Asked]:
    """Return the settings, and what its mode and its switch mean."""
    given, words = words_of(request)
    meant = modes.asked(
        request.system,
        str(words.get("mode", modes.MODES[request.system][0])),
        distill=words.get("distill"),
        size=str(words.get("size", "student")),
    )
    config = configured(request.system, words | {"mode": meant.mode, "distill": meant.distill})
    refuse_without_teacher(given, distill=meant.distill)
    refuse_unused(given, parts=config.model_dump(mode="json"), needs=systems.catalog(request.system).NEEDS)
    if isinstance(config, VGAEConfig) and config.distill is not None:
        Signals(latent=config.latent_weight, reconstruction=config.reconstruction_weight)
    return config, meant


def _teacher(request: TrainRequest, distill: str | None, place: Place) -> Trained | None:
    if distill is None:
        return None
    run = _run(request, distill, place.teacher, purpose="a teacher")
    found = trained(run)
    if found.system != place.model:
        raise MechlabError(
            f"teacher '{run.name}' is a {found.system}, and a {place.model} is to be taught; name a run of "
            f"{place.model}."
        )
    return found


def _difficulty(request: TrainRequest, config: TrainingConfig, place: Place) -> Trained | None:
    if not isinstance(config, GATConfig) or config.mode != "curriculum":
        return None
    kind = replace(place, model="vgae").teacher
    run = _run(request, config.difficulty, kind, purpose="a VGAE for the curriculum")
    found = trained(run)
    if found.system != "vgae":
        raise MechlabError(
            f"difficulty '{run.name}' is a {found.system}, and normal windows are ordered by the score of a "
            "vgae; "
            "name a run of vgae."
        )
    return found


def _refuse_one_kind(windows: Divided, root: Path) -> None:
    if not (windows.train.y == ATTACK).any():
        raise MechlabError(
            f"a gat learns from attacks, and no training window of the logs in '{root}' holds one; add logs "
            "with "
            "attacks (train_02_with_attacks), or give --set split=time."
        )


def _run(request: TrainRequest, word: str, place: Place, *, purpose: str) -> RunFolder:
    if word == AUTO:
        return discovered(request.out, place, seed=request.seed, purpose=purpose)
    return find(word, request.out)


def plan_of_windows(
    request: TrainRequest, parts: dict[str, Any], inputs: GraphInputs, *, warnings: tuple[str, ...]
) -> Plan:
    """Return what `mechlab train` knows of a training on these windows by these settings."""
    spec = TrainSpec(
        system=request.system,
        parts=hashed(request.system, parts),
        tasks=inputs.tasks,
        features=(inputs.spec(inputs.dataset.name, "train"),),
        seed=request.seed,
        epochs=parts["epochs"],
        batch_size=parts["batch_size"],
        interventions=tuple(f"freeze:{pattern}" for pattern in request.freeze),
    )
    return Plan(request=request, spec=spec, inputs=inputs, parts=parts, evaluation=EvaluationSettings(),
                run=RunFolder.of(request.out, spec), warnings=warnings)  # fmt: skip
