"""The four specs and their nested hashes: what was seen, trained, evaluated and recorded.

FeatureSpec → TrainSpec → EvalSpec → RecordSpec. A hash covers everything that can move a number and
nothing else: paths, device, threads and output folder are provenance. Source: design notes, "The nouns".
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_serializer,
)

from mechlab.errors import MechlabError, unknown
from mechlab.files import canonical_json, sha256_bytes
from mechlab.intervention import while_testing, while_training

Split = Literal["train", "test"]
Precision = Literal["float32", "tf32", "bf16"]  # of matrix products
Layout = Literal["patches", "pyramid"]  # of features: patches of one width, or several maps packed in cells


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One image of a data set: its identity is the SHA-256 of its bytes, its paths are provenance."""

    sha256: str
    class_name: str
    split: Split
    label: int  # 0 normal, 1 defective
    defect: str  # "good" for normal images
    image: str  # path, or "embedded:<class>/<split>/<defect>/<number>"
    mask: str | None = None


class Spec(BaseModel):
    """A frozen, validated description; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON, first 12 hex digits."""
        return sha256_bytes(canonical_json(self.model_dump(mode="json")).encode())[:12]


class FeatureSpec(Spec):
    """Frozen features of one class and split: the shared cache has one folder a FeatureSpec."""

    dataset: str
    class_name: str
    split: Split
    manifest: str  # SHA-256 over the items' identities, labels, defects and masks, in order
    transform: str  # e.g. "resize-bilinear/imagenet"
    image_size: int  # pixels, square
    backbone: str
    weights: str  # SHA-256 of the weight file, or "random-<seed>"
    layers: tuple[str, ...]
    dim: int  # D, channels of an adapted patch feature
    layout: Layout = "patches"

    @model_serializer(mode="wrap")
    def _without_later_keys(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Leave out the layout of patches, so that features from before it and their trainings keep names."""
        values: dict[str, Any] = handler(self)
        return {name: value for name, value in values.items() if name != "layout" or value != "patches"}


class TrainSpec(Spec):
    """One training: the same TrainSpec is never trained twice."""

    system: str
    parts: dict[str, JsonValue]  # the resolved preset
    tasks: tuple[tuple[str, ...], ...]
    features: tuple[FeatureSpec, ...]  # training split, in task order
    seed: int
    epochs: int
    batch_size: int
    world_size: int = 1
    interventions: Annotated[tuple[str, ...], AfterValidator(while_training)] = ()
    allowed: tuple[str, ...] = ()  # what would have been refused and was let pass

    @model_serializer(mode="wrap")
    def _without_later_keys(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Leave out a mark that is not there, so that trainings from before it keep their hashes."""
        values: dict[str, Any] = handler(self)
        return {name: value for name, value in values.items() if name != "allowed" or value}


class EvalSpec(Spec):
    """One evaluation of a checkpoint; changing it never trains."""

    train: str  # hash of the TrainSpec
    checkpoint: int  # after which task
    features: tuple[FeatureSpec, ...]  # test split
    router: str
    aggregation: str
    sigma: float | str  # pixels of the evaluated map, or words of mechlab.metrics.smoothing
    interventions: Annotated[tuple[str, ...], AfterValidator(while_testing)] = ()
    calibration: str | None = None  # of image scores, e.g. "task"
    orientations: str | None = None  # whose patch scores are averaged, e.g. "four"
    image_from: str | None = None  # what an image score is aggregated from, e.g. "map"
    split: str | None = None  # of windows that are no tests, e.g. "validation"
    recall: float | None = None  # at which false positives are counted, where it is not the usual one
    block_seconds: float | None = None  # of the units of intervals, likewise
    false_positives: float | None = None  # of thresholds, where it is not that of the training
    allowed: tuple[str, ...] = ()  # what would have been refused and was let pass

    @model_serializer(mode="wrap")
    def _without_later_keys(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Leave out later keys that are not given, so that evaluations from before them keep their hashes."""
        values: dict[str, Any] = handler(self)
        later = ("calibration", "orientations", "image_from", "split", "recall", "block_seconds",
                 "false_positives", "allowed")  # fmt: skip
        return {name: value for name, value in values.items() if name not in later or value}


class PlanEntry(Spec):
    """One line of a recording plan: which sites, which quantity, how often, how precise."""

    site: str  # pattern, e.g. "flow.*.log_det"
    quantity: str
    every: Annotated[int, Field(ge=1)] = 1  # steps 0, k, 2k, ...
    dtype: Literal["float16", "float32", "float64"] = "float32"
    reduction: str | None = None
    first: Annotated[int, Field(ge=1)] | None = None  # only steps below
    at: tuple[Annotated[int, Field(ge=0)], ...] | None = None  # only these steps
    log_spaced: Annotated[int, Field(ge=1)] | None = None  # steps a doubling

    @model_serializer(mode="wrap")
    def _without_absent_schedules(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Leave out what is not given, so that plans from before these keys keep their hashes."""
        values: dict[str, Any] = handler(self)
        later = ("first", "at", "log_spaced")
        return {name: value for name, value in values.items() if name not in later or value is not None}


class RecordSpec(Spec):
    """One recording: an EvalSpec, a plan, and the losses under which gradients are taken."""

    evaluation: EvalSpec | None  # None while training
    train: str
    plan: tuple[PlanEntry, ...]
    stages: tuple[int, ...] = ()  # checkpoints that are visited; empty while training
    split: str = "test"
    adapters: tuple[int, ...] = ()  # empty: each image's own task
    losses: tuple[str, ...] = ()
    limit: int | None = None  # images a class at most
    normal_only: bool = False


S = TypeVar("S", bound=BaseModel)


def validated(kind: type[S], values: dict[str, Any], *, what: str) -> S:
    """Build a spec or config from a user's values; an unknown key gets a "did you mean"."""
    try:
        return kind.model_validate(values)
    except ValidationError as fault:
        first = min(fault.errors(), key=lambda error: error["type"] != "extra_forbidden")
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise unknown(f"{what} key", key, kind.model_fields) from fault
        raise MechlabError(
            f"{what} key '{key}' = {first['input']!r} is not allowed: {first['msg']}."
        ) from fault
