"""What a report shows, as plain data: it can be built from a run folder or in a test.

Source: inventory F and the command table (`report`). Nothing here reads a file.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8

from mechlab.result import Result

Number = float | int | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassScores:
    """The routed image scores of one class's test images, and the threshold set on held-out normals."""

    labels: Integer[np.ndarray, " item"] | Bool[np.ndarray, " item"]  # 0 normal, 1 defective
    scores: Float[np.ndarray, " item"]  # in the run's score unit
    threshold: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """One test image of the gallery; thumbnail, mask and map may differ in size, they show the same field."""

    class_name: str
    defect: str  # "good" for a normal image
    label: int  # 0 normal, 1 defective
    score: float  # of the image
    thumbnail: UInt8[np.ndarray, "height width 3"]
    mask: Bool[np.ndarray, "mask_height mask_width"]
    map: Float[np.ndarray, "row column"]  # score of each place, in the run's score unit


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunContent:
    """One run: what was trained, how well it does, and what there is to look at. Any part may be empty."""

    name: str
    tasks: tuple[tuple[str, ...], ...]  # class names of each task, in order
    metrics: dict[str, dict[str, Number]]  # class -> metric -> value
    mean: dict[str, Number] = field(default_factory=dict)
    trivial: dict[str, dict[str, Number]] = field(default_factory=dict)  # class -> statistic -> image AUROC
    forgetting: float | None = None
    scores_identical: bool | None = None
    accuracy_matrix: tuple[tuple[float | None, ...], ...] = ()  # image AUROC [stage][task]
    scores: dict[str, ClassScores] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()
    examples_rule: str = ""  # how the examples were chosen, one sentence; shown below the gallery
    log: tuple[dict[str, Any], ...] = ()  # rows with step, task, epoch, loss, ...
    spec: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    score_unit: str = "nats"
    loss_unit: str = "nats a patch"

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes in task order, and then those that no task names."""
        named = [name for task in self.tasks for name in task if name in self.metrics]
        return tuple(dict.fromkeys([*named, *self.metrics]))

    def best_trivial(self, name: str) -> tuple[str, float] | None:
        """Return the trivial statistic that separates a class best, with its image AUROC."""
        known = {key: float(value) for key, value in self.trivial.get(name, {}).items() if value is not None}
        return max(known.items(), key=lambda pair: pair[1]) if known else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DetectorContent:
    """One run that is judged on windows of messages: a row of metrics for each group of tests and attack."""

    name: str
    rows: dict[str, dict[str, Any]]  # "<group>" or "<group>/<attack>" -> metric -> value; `intervals` in it
    mean: dict[str, Number] = field(default_factory=dict)  # over the groups
    threshold: float | None = None  # of the score
    parameters: int | None = None
    arm: str = ""  # equal for runs that differ in their seed alone
    log: tuple[dict[str, Any], ...] = ()  # rows with step, task, epoch, loss, ...
    spec: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    loss_unit: str = "a window"

    @property
    def as_run(self) -> RunContent:
        """The training alone, as figures of a run take it."""
        tasks = ((str(self.spec.get("system", self.name)),),)
        return RunContent(name=self.name, tasks=tasks, metrics={}, log=self.log, loss_unit=self.loss_unit)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReportContent:
    """Everything on one page."""

    title: str
    runs: tuple[RunContent, ...] = ()
    detectors: tuple[DetectorContent, ...] = ()
    results: tuple[Result, ...] = ()
