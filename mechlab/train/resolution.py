"""A request made definite, and a run on disk made a request again: the plan of a training.

A new training takes its parts from preset and settings; a run that exists takes them from its own spec, so
that no later change of a preset, and no key that was added since, makes it unreadable.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from pydantic import JsonValue

from mechlab import fingerprint, systems
from mechlab.errors import MechlabError
from mechlab.metrics import aggregation
from mechlab.metrics.smoothing import Smoothing
from mechlab.runs.aggregation_keys import merged
from mechlab.runs.combinations import Combination, Judged, Setup, judge, refuse_idle, refuse_unbuildable
from mechlab.runs.folder import RunFolder
from mechlab.runs.given_base import given_keys, refuse_no_base
from mechlab.runs.overrides import by_task, refuse_one_size, sigma_words
from mechlab.runs.parts import complete, hashed, refuse_other_defaults
from mechlab.runs.request import TrainRequest
from mechlab.runs.settings import EvaluationSettings, InputSettings, refuse_unused, split
from mechlab.runs.stream import tasks_of
from mechlab.specs import TrainSpec, validated
from mechlab.systems import Preset
from mechlab.train.inputs import Inputs

Words = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A request made definite: the spec, its inputs, and how its scores are read."""

    request: TrainRequest
    spec: TrainSpec
    inputs: Inputs
    parts: Words  # the system's complete configuration
    evaluation: EvaluationSettings
    run: RunFolder
    warnings: tuple[str, ...] = ()  # what is told about a training before it begins

    @property
    def allowed(self) -> tuple[str, ...]:
        """What would have been refused and was let pass, in training or evaluation."""
        return tuple(sorted({*self.spec.allowed, *self.evaluation.allowed}))


def resolve(request: TrainRequest) -> Plan:
    """Make a request definite without training: preset, settings, data, features' specs.

    Raises:
        MechlabError: an unknown system, preset, key, data set, class, backbone or weight file.
    """
    preset = systems.preset(request.system, request.preset)
    catalog = systems.catalog(request.system)
    inputs_set, parts_set, scored_set = split(asked(request), parts=systems.load(catalog.CONFIG))
    _refuse_dim(request.system, inputs_set)
    _refuse_devices(request)
    seen, scored = dict(preset.inputs) | inputs_set, _evaluation(request, preset.evaluation, scored_set)
    parts = _parts(request.system, dict(preset.parts) | parts_set | given_keys(request))
    refuse_no_base(parts, request)
    idle = refuse_unused(parts_set, parts=parts, needs=catalog.NEEDS, allow=request.allow)
    judged = _judged(request, preset, parts, scored, seen=seen)
    passed = tuple(sorted({*judged.allowed, *idle}))
    refuse_idle(request.allow, {*passed, *scored.allowed}, combinations=_combinations(request.system),
                keys=catalog.NEEDS)  # fmt: skip
    told = (*judged.warnings, *_strange_words(preset, request))
    plan = _definite(request, seen, _with_overrides(request, parts), scored, allowed=passed, warnings=told)
    refuse_unbuildable(request.system, plan.parts, dim=plan.inputs.dim, grid=plan.inputs.grid,
                       own=plan.inputs.grids, tasks=len(plan.spec.tasks))  # fmt: skip
    _refuse_few_patches(plan)
    if (plan.run.path / "run.json").exists():
        stored = complete(plan.run.spec()) | plan.run.document().get("parts", {})
        refuse_other_defaults(plan.run.name, stored=stored, parts=plan.parts)
    return plan


def _refuse_dim(system: str, given: Words) -> None:
    if "dim" in given and systems.layout(system) == "pyramid":
        raise MechlabError(
            f"dim = {given['dim']} was given, but {system} takes its teacher's maps with all their channels; "
            "leave dim out."
        )


def _refuse_devices(request: TrainRequest) -> None:
    if request.devices > 1 and getattr(systems.catalog(request.system), "NORMALISES_BATCHES", False):
        raise MechlabError(
            f"{request.system} normalises over the batch, which {request.devices} devices would split into "
            "others; train it with --devices 1."
        )


def _refuse_few_patches(plan: Plan) -> None:
    """Refuse before the training what no map of the run could be aggregated by."""
    scored, inputs = plan.evaluation, plan.inputs
    if systems.layout(plan.request.system) == "pyramid":  # whose maps have the grid of another level
        return
    grids = [inputs.grid, *inputs.grids.values()]
    if scored.image_from == "map":
        grids = [(inputs.image_size, inputs.image_size)]
    aggregation.refuse_few(scored.aggregation, scored.aggregation_value, patches=min(map(prod, grids)))


def _combinations(system: str) -> Sequence[Combination]:
    return tuple(getattr(systems.catalog(system), "COMBINATIONS", ()))


def _judged(
    request: TrainRequest, preset: Preset, parts: Words, scored: EvaluationSettings, *, seen: Words
) -> Judged:
    """Return what combinations the run holds, in itself or in what a task has of its own."""
    setup = Setup(
        parts=parts,
        preset=_parts(request.system, dict(preset.parts)),
        evaluation=scored,
        dim=validated(InputSettings, seen, what="input").dim,
        name=request.name,
        seed=request.seed,
    )
    of_tasks = _with_overrides(request, parts).get("overrides", {}).values()
    allow = (*request.allow, *preset.allow)
    found = [judge(replace(setup, parts={**parts, **own}), _combinations(request.system), allow=allow)
             for own in ({}, *of_tasks)]  # fmt: skip
    return Judged(
        tuple(sorted({name for one in found for name in one.allowed})),
        tuple(dict.fromkeys(told for one in found for told in one.warnings)),
    )


def _with_overrides(request: TrainRequest, parts: Words) -> Words:
    """Return the parts with what tasks have of their own, by their numbers."""
    if not request.overrides:
        return parts
    tasks = tasks_of(request, systems.dataset(request.data, request.root))
    own = by_task(request.overrides, system=request.system, tasks=tasks, parts=parts)
    return parts | {"overrides": own} if own else parts


def outline(request: TrainRequest) -> dict[str, Any]:
    """Return what `mechlab train --dry-run --json` prints: the run that a request names, untrained."""
    if (own := systems.session(request.system)) is not None:
        return dict(own.outline(request))
    plan = resolve(request)
    has_begun = (plan.run.path / "run.json").exists()
    state = "trained" if plan.run.is_finished else "begun" if has_begun else "absent"
    return {
        "run": plan.run.name,
        "path": str(plan.run.path),
        "state": state,
        "spec": plan.spec.model_dump(mode="json"),
        "allowed": list(plan.allowed),
        "warnings": list(plan.warnings),
    }


def plan_of(run: RunFolder) -> Plan:
    """Return the plan of a run on disk; images or weights that have changed since are refused.

    Raises:
        MechlabError: a key that this mechlab does not know, something else than the run was trained on, or a
            system whose inputs are no images.
    """
    request, spec = replace(run.request(), out=run.path.parent), run.spec()
    if hasattr(systems.catalog(spec.system), "SESSION"):
        raise MechlabError(
            f"run '{run.path}' is of system {spec.system}, whose inputs are no images, and this command "
            "is about images; see 'mechlab evaluate', 'score', 'record', 'compare' and 'report'."
        )
    preset = systems.preset(request.system, request.preset)
    kind = systems.load(systems.catalog(request.system).CONFIG)
    scored = _evaluation(request, preset.evaluation, split(request.settings, parts=kind)[2])
    parts = complete(spec)
    seen = {"image_size": spec.features[0].image_size, "dim": spec.features[0].dim}
    seen |= {key: parts.pop(key) for key in InputSettings.model_fields if key in parts}
    plan = _definite(request, seen, _parts(spec.system, parts), scored, allowed=spec.allowed)
    if plan.spec.hash != spec.hash:
        keys = ", ".join(fingerprint.differing_keys(spec, plan.spec))
        raise MechlabError(
            f"run '{run.path}' was trained on something else than is there now (different: {keys}); "
            "give it the images and weights it was trained with, or train it again."
        )
    return replace(plan, run=run)


def asked(request: TrainRequest) -> dict[str, JsonValue]:
    """Return the settings of a request; a key that is given twice, by option and by --set, is refused."""
    options = {name: getattr(request, name) for name in ("epochs", "batch_size", "image_size", "dim")}
    given = {name: value for name, value in options.items() if value is not None}
    twice = sorted(given.keys() & request.settings.keys())
    if twice:
        raise MechlabError(f"'{twice[0]}' is given as an option and by --set; give it once.")
    return dict(request.settings) | given


def _strange_words(preset: Preset, request: TrainRequest) -> Iterator[str]:
    """Give a sentence for a backbone other than the one that a preset is meant for."""
    wanted = preset.asks.get("backbone", request.backbone)
    if wanted != request.backbone:
        yield (
            f"preset '{preset.name}' is meant for the backbone {wanted}, and runs on {request.backbone}; "
            f"give --backbone {wanted}, or take it as a setting of yours."
        )


def _parts(system: str, words: Words) -> Words:
    kind = systems.load(systems.catalog(system).CONFIG)
    return dict(validated(kind, words, what=system).model_dump(mode="json"))


def _evaluation(
    request: TrainRequest, preset: Mapping[str, JsonValue], given: Mapping[str, JsonValue]
) -> EvaluationSettings:
    words = merged(merged(EvaluationSettings().model_dump(), preset), given, allow=request.allow)
    words["sigma"] = sigma_words(words["sigma"], request.overrides)
    return validated(EvaluationSettings, words, what="evaluation")


def _definite(
    request: TrainRequest,
    seen: Words,
    parts: Words,
    scored: EvaluationSettings,
    *,
    allowed: tuple[str, ...],
    warnings: tuple[str, ...] = (),
) -> Plan:
    """Return the plan of a training that sees images in the way of `seen`."""
    settings = validated(InputSettings, seen, what="input")
    inputs = Inputs.open(request, image_size=settings.image_size, dim=settings.dim, holdout=settings.holdout)
    Smoothing.read(scored.sigma).refuse_strangers(name for task in inputs.tasks for name in task)
    refuse_one_size(scored, inputs.sizes)
    # Where each task's features say their own size, the run's stands nowhere else.
    compared = {"image_size": settings.image_size} if inputs.sizes else {}
    spec = TrainSpec(
        system=request.system,
        parts=hashed(request.system, parts) | {"holdout": settings.holdout} | compared,
        tasks=inputs.tasks,
        features=tuple(inputs.spec(name, "train") for task in inputs.tasks for name in task),
        seed=request.seed,
        epochs=parts["epochs"],
        batch_size=parts["batch_size"],
        world_size=request.devices,
        interventions=tuple(f"freeze:{pattern}" for pattern in request.freeze),
        allowed=allowed,
    )
    return Plan(
        request=request,
        spec=spec,
        inputs=inputs,
        parts=parts,
        evaluation=scored,
        run=RunFolder.of(request.out, spec),
        warnings=warnings,
    )
