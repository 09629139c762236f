"""The three kinds of keys that `--set` reaches: inputs, the system's parts, and the evaluation."""

from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from mechlab.errors import MechlabError, unknown
from mechlab.metrics import aggregation
from mechlab.metrics.smoothing import Smoothing
from mechlab.runs.aggregation_keys import MODE_OF
from mechlab.runs.router import Router
from mechlab.specs import Spec


class InputSettings(Spec):
    """What the system sees; part of the FeatureSpec and the TrainSpec."""

    image_size: int = Field(224, ge=32)  # pixels, square
    dim: int = Field(128, ge=2)  # channels of a patch feature
    holdout: float = Field(0.1, ge=0, lt=1)  # fraction of the training normals that is never trained on


class EvaluationSettings(Spec):
    """How a checkpoint is scored; changing it never trains."""

    router: str = "mahalanobis"  # words of mechlab.runs.router
    aggregation: str = "top_k"  # of mechlab.metrics.aggregation.MODES
    aggregation_value: float | None = 3.0  # patches, a fraction or a weight, as the aggregation takes it
    sigma: float | str = 4.0  # pixels of the Gaussian over the map, or words of mechlab.metrics.smoothing
    orientations: Literal["one", "four", "four-placed"] = "one"  # quarter turns that are averaged
    calibration: Literal["none", "task"] = "none"  # of image scores: z-scores by each task's training normals
    image_from: Literal["patches", "map"] = "patches"  # what is aggregated: patch scores, or the smoothed map
    allowed: tuple[str, ...] = ()  # names of --allow that let something pass; a mark, no setting

    @field_validator("router")
    @classmethod
    def _in_canonical_form(cls, words: str) -> str:
        return str(Router.read(words))

    @field_validator("sigma", mode="before")
    @classmethod
    def _in_canonical_words(cls, words: object) -> float | str:
        return Smoothing.read(words).words

    @model_validator(mode="after")
    def _is_an_aggregation(self) -> "EvaluationSettings":
        aggregation.check(self.aggregation, self.aggregation_value)
        return self

    @model_validator(mode="after")
    def _is_one_map(self) -> "EvaluationSettings":
        if self.image_from == "map" and Smoothing.read(self.sigma).by_class:
            raise MechlabError(
                f"sigma '{self.sigma}' differs between classes, and image_from=map makes image scores of the "
                "smoothed map, whose class is unknown; give one sigma for all, or image_from=patches."
            )
        return self


def split(
    settings: Mapping[str, JsonValue], *, parts: type[Spec]
) -> tuple[dict[str, JsonValue], dict[str, JsonValue], dict[str, JsonValue]]:
    """Return (inputs, parts, evaluation): each key belongs to exactly one of them; any other is an error."""
    scored = {*EvaluationSettings.model_fields, *MODE_OF} - {"allowed"}
    kinds = (InputSettings.model_fields, parts.model_fields, scored)
    found: tuple[dict[str, JsonValue], ...] = ({}, {}, {})
    for key, value in settings.items():
        owners = [index for index, keys in enumerate(kinds) if key in keys]
        if not owners:
            raise unknown("setting", key, [name for keys in kinds for name in keys])
        found[owners[0]][key] = value
    return found[0], found[1], found[2]


def evaluation_words(given: Mapping[str, object]) -> dict[str, JsonValue]:
    """Return evaluation settings from words: `aggregation` may carry its value, as in top_k:3."""
    settings: dict[str, JsonValue] = {
        name: value for name, value in given.items() if isinstance(value, str | float | int)
    }
    if (words := given.get("aggregation")) is not None:
        mode, _, value = str(words).partition(":")
        try:
            settings["aggregation_value"] = float(value) if value else None
        except ValueError as fault:
            raise MechlabError(
                f"aggregation '{words}' has no number after the colon; write e.g. top_k:3."
            ) from fault
        settings["aggregation"] = mode
    return settings


NONZERO = "nonzero"
Needs = Mapping[
    str, tuple[str, tuple[object, ...] | str]
]  # key -> (other key, the values it needs, or NONZERO)


def unused(keys: Iterable[str], *, parts: Mapping[str, JsonValue], needs: Needs) -> tuple[str, ...]:
    """Return those keys, in order, that no part of a resolved preset reads: each would do nothing."""

    def is_read(other: str, wanted: tuple[object, ...] | str) -> bool:
        return bool(parts[other]) if wanted == NONZERO else parts[other] in wanted

    return tuple(key for key in keys if key in needs and not is_read(*needs[key]))


def refuse_unused(
    given: Mapping[str, JsonValue],
    *,
    parts: Mapping[str, JsonValue],
    needs: Needs,
    allow: Collection[str] = (),
) -> tuple[str, ...]:
    """Refuse a key of the user that no part of the resolved preset reads; return those that `allow` let pass.

    Raises:
        MechlabError: the key, what it needs, and what that is set to.
    """
    idle = unused(given, parts=parts, needs=needs)
    for key in idle:
        if key in allow:
            continue
        other, wanted = needs[key]
        allowed = "a value above 0" if wanted == NONZERO else " or ".join(f"{choice}" for choice in wanted)
        raise MechlabError(
            f"'{key}' was given, but nothing reads it while {other} = {parts[other]}; "
            f"set {other} to {allowed}, leave '{key}' out, or let it pass, marked, with --allow {key}."
        )
    return idle
