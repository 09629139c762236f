"""The training of a fusion: which two runs it fuses, how it is built and judged.

It learns on validation windows: on training windows the two models are better than they will be.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from mechlab.errors import MechlabError
from mechlab.runs.folder import find
from mechlab.runs.request import TrainRequest
from mechlab.runs.settings import refuse_unused
from mechlab.specs import validated
from mechlab.train.resolution import Plan
from reproductions.can_ids import modes
from reproductions.can_ids.divided import Divided, divided
from reproductions.can_ids.evaluation import EVEN, kept, mean_of, normal_threshold, rows_of, spec_of
from reproductions.can_ids.fusion_config import NEEDS, FusionConfig
from reproductions.can_ids.fusion_reward import HALF
from reproductions.can_ids.fusion_state import states
from reproductions.can_ids.fusion_system import Fusion
from reproductions.can_ids.inputs import GraphInputs
from reproductions.can_ids.judging import USUAL, Judging
from reproductions.can_ids.models import Trained, refuse_stranger, trained, what_of
from reproductions.can_ids.places import Place, discovered
from reproductions.can_ids.request_words import logs_of, refuse_words_of_images, words_of
from reproductions.can_ids.resolution import AUTO, plan_of_windows
from reproductions.can_ids.scoring import scored
from reproductions.can_ids.work import Work

BESIDE = ("f1", "f1_macro", "auroc", "ap")  # of what a fusion has to beat
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The two trained models that are fused."""

    vgae: Trained
    gat: Trained


def fusion_work(request: TrainRequest, *, say: Callable[[str], None]) -> Work:
    """Return the training that a request asks for.

    Raises:
        MechlabError: distillation, an unknown key, a run that is missing, of another kind, data set or
            vocabulary.
    """
    refuse_words_of_images(request)
    given, words = words_of(request)
    meant = modes.asked(request.system, str(words.get("mode", "fusion")), distill=words.get("distill"),
                        size=str(words.get("size", "student")))  # fmt: skip
    config = validated(FusionConfig, words, what=request.system)
    refuse_unused(given, parts=config.model_dump(mode="json"), needs=NEEDS)
    root, name = logs_of(request)
    place = Place(dataset=name, model=request.system, size=config.size, is_distilled=False, mode=meant.mode)
    pair = Pair(vgae=_found(request, config, place, "vgae"), gat=_found(request, config, place, "gat"))
    windows = divided(root, config, cache=request.cache, say=say)
    for one in (pair.vgae, pair.gat):
        purpose = f"{one.system} of the fusion"
        refuse_stranger(one, windows.train, dataset=name, split=config.split, purpose=purpose)
    if len(set(windows.validation.y.tolist())) < 2:
        raise MechlabError(
            f"a fusion learns on validation windows, and those of '{root}' are of one kind; add logs with "
            "attacks, or "
            "give --set split=time."
        )
    parts = config.model_dump(mode="json") | {"vgae": pair.vgae.run.name, "gat": pair.gat.run.name}
    inputs = GraphInputs.of(name, windows.validation, cache=request.cache)
    plan = plan_of_windows(request, parts, inputs, warnings=meant.warnings)
    return Work(plan=plan, place=place, what=what_of(windows.train, dataset=name, split=config.split),
                build=partial(_system, config, pair, windows, request.seed),
                judge=partial(_judged, config, pair, windows, plan),
                told={"vgae": pair.vgae.run.name, "gat": pair.gat.run.name})  # fmt: skip


def _found(request: TrainRequest, config: FusionConfig, place: Place, model: str) -> Trained:
    word = getattr(config, model)
    kind = Place(dataset=place.dataset, model=model, size=config.size, is_distilled=config.size == "student",
                 mode=modes.MODES[model][0])  # fmt: skip
    purpose = f"a {model} for the fusion"
    run = (
        discovered(request.out, kind, seed=request.seed, purpose=purpose)
        if word == AUTO
        else find(word, request.out)
    )
    found = trained(run)
    if found.system != model:
        raise MechlabError(f"{model}={run.name} names a run of {found.system}; name a run of {model}.")
    return found


def _system(config: FusionConfig, pair: Pair, windows: Divided, seed: int, device: torch.device) -> Fusion:
    models = [one.model.to(device) for one in (pair.vgae, pair.gat)]
    seen = states(*models, windows.validation).cpu()
    return Fusion(config, seen, torch.tensor(windows.validation.y), seed=seed).to(device)


def _judged(
    config: FusionConfig, pair: Pair, windows: Divided, plan: Plan, system: Fusion, judging: Judging = USUAL
) -> Row:
    graphs = windows.of_split(judging.split)
    seen = states(pair.vgae.model, pair.gat.model, graphs)
    found = {name: one.double().cpu().numpy() for name, one in system.scores(seen).items()}
    for one in (pair.vgae, pair.gat):
        found[one.system] = scored(one.model, graphs).scores
    rate = config.false_positives if judging.false_positives is None else judging.false_positives
    own = {"vgae": normal_threshold(pair.vgae.model, windows, false_positives=rate), "gat": EVEN}
    rows = {
        name: rows_of(scores, own.get(name, HALF), windows, judging, false_positives=rate)
        for name, scores in found.items()
    }
    metrics = rows.pop("agent")
    for test, row in metrics.items():
        row |= {f"{name}_{metric}": own[test].get(metric) for name, own in rows.items() for metric in BESIDE}
    document = {"metrics": metrics, "mean": mean_of(metrics), "threshold": HALF,
                "single_weight": float(system.single), "mean_weight": _mean_weight(system, seen)}  # fmt: skip
    spec = spec_of(plan.spec, windows, judging, usual=config.false_positives)
    return kept(document, found, graphs, plan.run, spec)


def _mean_weight(system: Fusion, seen: torch.Tensor) -> float:
    with torch.inference_mode():
        chosen = system.weights[system.values(seen).argmax(dim=1)]
    return float(np.mean(chosen.double().cpu().numpy()))
