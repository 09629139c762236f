"""A request made definite, and a run on disk made a request again: the plan of a training.

A new training takes its parts from preset and settings; a run that exists takes them from its own spec, so
that no later change of a preset, and no key that was added since, makes it unreadable.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import JsonValue

from mechlab import fingerprint, systems
from mechlab.errors import MechlabError
from mechlab.metrics.smoothing import Smoothing
from mechlab.runs.aggregation_keys import merged
from mechlab.runs.combinations import Setup, judge, refuse_idle
from mechlab.runs.folder import RunFolder
from mechlab.runs.parts import complete, hashed, refuse_other_defaults
from mechlab.runs.request import TrainRequest
from mechlab.runs.settings import EvaluationSettings, InputSettings, refuse_unused, split
from mechlab.specs import TrainSpec, validated
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
    parts, seen = _parts(request.system, dict(preset.parts) | parts_set), dict(preset.inputs) | inputs_set
    scored = _evaluation(request, preset.evaluation, scored_set)
    idle = refuse_unused(parts_set, parts=parts, needs=catalog.NEEDS, allow=request.allow)
    setup = Setup(
        parts=parts,
        preset=_parts(request.system, dict(preset.parts)),
        evaluation=scored,
        dim=validated(InputSettings, seen, what="input").dim,
        name=request.name,
        seed=request.seed,
    )
    combinations = getattr(catalog, "COMBINATIONS", ())
    judged = judge(setup, combinations, allow=(*request.allow, *preset.allow))
    passed = tuple(sorted({*judged.allowed, *idle}))
    refuse_idle(request.allow, {*passed, *scored.allowed}, combinations=combinations, keys=catalog.NEEDS)
    plan = _definite(request, seen, parts, scored, allowed=passed, warnings=judged.warnings)
    if (plan.run.path / "run.json").exists():
        stored = complete(plan.run.spec()) | plan.run.document().get("parts", {})
        refuse_other_defaults(plan.run.name, stored=stored, parts=plan.parts)
    return plan


def plan_of(run: RunFolder) -> Plan:
    """Return the plan of a run on disk; images or weights that have changed since are refused.

    Raises:
        MechlabError: a key that this mechlab does not know, or something else than the run was trained on.
    """
    request, spec = replace(run.request(), out=run.path.parent), run.spec()
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


def _parts(system: str, words: Words) -> Words:
    kind = systems.load(systems.catalog(system).CONFIG)
    return dict(validated(kind, words, what=system).model_dump(mode="json"))


def _evaluation(
    request: TrainRequest, preset: Mapping[str, JsonValue], given: Mapping[str, JsonValue]
) -> EvaluationSettings:
    words = merged(merged(EvaluationSettings().model_dump(), preset), given, allow=request.allow)
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
    spec = TrainSpec(
        system=request.system,
        parts=hashed(request.system, parts) | {"holdout": settings.holdout},
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
