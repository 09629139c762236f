"""What each arm of a sweep is, resolved without torch; it differs in what it claims, and in nothing else.

Source: inventory O2 (an ablation arm differs from its parent in one key, else comparing lists the
confounders); inventory notes, "Combinations to refuse".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.runs.aggregation_keys import merged
from mechlab.runs.combinations import Setup, judge, refuse_idle, refuse_unbuildable
from mechlab.runs.overrides import by_task, own_sizes
from mechlab.runs.request import TrainRequest
from mechlab.runs.settings import EvaluationSettings, InputSettings, refuse_unused, split
from mechlab.runs.words import weights_of
from mechlab.specs import validated
from mechlab.sweep.file import ArmWords, Sweep

_OPTIONS = ("epochs", "batch_size", "image_size", "dim")  # words that are also keys of --set
_STREAM = ("system", "data", "tasks", "stream", "order", "backbone", "layers", "freeze", "base_from")
_HIDDEN = ("allowed",)  # a mark, no setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a sweep trains and writes; nothing here can move a number."""

    root: Path | None = None
    weights: Path | str | None = None
    out: Path = Path("runs")
    cache: Path = Path("cache")
    studies: Path = Path("studies")
    processes: int = 2
    device: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One arm, definite: its training without what only evaluates, its evaluation, and every key it has."""

    name: str
    against: str | None  # None: the parent itself
    differs: tuple[str, ...]  # keys in which it differs from there
    request: TrainRequest
    evaluation: dict[str, JsonValue]  # changes to the preset's evaluation
    keys: dict[str, Any]  # data, stream, inputs, parts and evaluation, complete
    runs: Mapping[str, str] = field(default_factory=dict)  # keys whose value is the run of an earlier arm


def resolved(sweep: Sweep, *, place: Place) -> tuple[Arm, ...]:
    """Return the arms of a sweep, each checked against the arm that it names.

    Raises:
        MechlabError: a word, key or value that `mechlab train` would refuse, a claim that does not hold, or
            an arm that differs in nothing.
    """
    arms: dict[str, Arm] = {}
    for words in sweep.arms:
        try:
            arms[words.name] = _resolved(words, place)
        except MechlabError as fault:
            raise MechlabError(f"arm '{words.name}' of sweep '{sweep.name}': {fault}") from fault
    found = []
    for words in sweep.arms:
        arm, against = arms[words.name], words.against
        if against is not None:
            differs = differing(arms[against].keys, arm.keys)
            _refuse_false_claim(sweep.name, words, against, differs)
            arm = replace(arm, against=against, differs=differs)
        found.append(arm)
    return tuple(found)


def differing(one: dict[str, Any], other: dict[str, Any]) -> tuple[str, ...]:
    """Return the keys in which two arms differ, sorted."""
    return tuple(sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key)))


def _refuse_false_claim(sweep: str, words: ArmWords, against: str, differs: tuple[str, ...]) -> None:
    if not differs:
        raise MechlabError(
            f"arm '{words.name}' of sweep '{sweep}' is arm '{against}' again: no key differs; "
            "change or drop it."
        )
    if words.claims is not None and set(words.claims) != set(differs):
        raise MechlabError(
            f"arm '{words.name}' of sweep '{sweep}' claims to differ from '{against}' in "
            f"{', '.join(words.claims)}, and differs in {', '.join(differs)}; "
            "correct its claims or its words."
        )


def _resolved(arm: ArmWords, place: Place) -> Arm:
    words = dict(arm.words)
    settings = dict(words.pop("settings", {}))
    settings |= {key: f"run of arm '{name}'" for key, name in arm.runs.items()}
    options = {name: words[name] for name in _OPTIONS if words.get(name) is not None}
    if twice := sorted(settings.keys() & options.keys()):
        raise MechlabError(f"'{twice[0]}' is given as a word and in settings; give it once.")
    base = TrainRequest.read(words)
    preset, catalog = systems.preset(base.system, base.preset), systems.catalog(base.system)
    kind = systems.load(catalog.CONFIG)
    inputs_set, parts_set, evaluation_set = split(settings | options, parts=kind)
    own_keys = (inputs_set | parts_set).keys() - arm.runs.keys()
    inputs = validated(InputSettings, dict(preset.inputs) | inputs_set, what="input")
    parts = validated(kind, dict(preset.parts) | parts_set, what=base.system).model_dump(mode="json")
    start = merged(EvaluationSettings().model_dump(), preset.evaluation)
    scored = validated(EvaluationSettings, merged(start, evaluation_set, allow=base.allow), what="evaluation")
    own = _own(base, parts, image_size=inputs.image_size)
    passed = _passed(base, parts, parts_set, scored, dim=inputs.dim, own=own)
    refuse_unbuildable(base.system, parts | ({"overrides": own} if own else {}), dim=inputs.dim)
    request = replace(
        base,
        settings={key: value for key, value in settings.items() if key in own_keys},
        allow=passed,
        root=place.root,
        weights=place.weights or weights_of(base.backbone),
        device=place.device,
        out=place.out,
        cache=place.cache,
    )
    stream = {name: getattr(base, name) for name in _STREAM}
    values = {key: value for key, value in scored.model_dump(mode="json").items() if key not in _HIDDEN}
    changed = {key: value for key, value in values.items() if value != start.get(key)}
    if "aggregation" in changed:
        changed["aggregation_value"] = values["aggregation_value"]
    keys = stream | inputs.model_dump() | parts | values | {"overrides": base.overrides}
    return Arm(name=arm.name, against=None, differs=(), request=request, evaluation=changed, keys=keys,
               runs=arm.runs)  # fmt: skip


def _own(request: TrainRequest, parts: dict[str, Any], *, image_size: int) -> dict[str, dict[str, Any]]:
    """Return the keys that tasks have of their own, each class as a task; the training knows the classes."""
    tasks = [(name,) for name in request.overrides]
    own_sizes(request.overrides, system=request.system, tasks=tasks, image_size=image_size)
    return by_task(request.overrides, system=request.system, tasks=tasks, parts=parts)


def _passed(
    request: TrainRequest,
    parts: dict[str, Any],
    given: dict[str, JsonValue],
    scored: EvaluationSettings,
    *,
    dim: int,
    own: dict[str, dict[str, Any]],
) -> tuple[str, ...]:
    """Return what an arm's `allow` lets pass in its training; what it does not is refused."""
    preset, catalog = systems.preset(request.system, request.preset), systems.catalog(request.system)
    idle = refuse_unused(given, parts=parts, needs=catalog.NEEDS, allow=request.allow)
    whole = validated(systems.load(catalog.CONFIG), dict(preset.parts), what=request.system)
    combinations = getattr(catalog, "COMBINATIONS", ())
    setup = Setup(parts=parts, preset=whole.model_dump(mode="json"), evaluation=scored, dim=dim)
    allow = (*request.allow, *preset.allow)
    judged = [judge(replace(setup, parts=parts | changed), combinations, allow=allow)
              for changed in ({}, *own.values())]  # fmt: skip
    passed = {*idle, *(name for one in judged for name in one.allowed)}
    refuse_idle(request.allow, {*passed, *scored.allowed}, combinations=combinations, keys=catalog.NEEDS)
    return tuple(sorted(passed & set(request.allow)))
