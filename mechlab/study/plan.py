"""What a question needs: arms, seeds, recordings, and the decision rule that is fixed before the first run.

Source: design notes, "Study".
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import JsonValue

from mechlab.errors import MechlabError
from mechlab.files import canonical_json, sha256_bytes
from mechlab.instrument.plan import read_plan
from mechlab.result import Replication, plain
from mechlab.specs import PlanEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One training of the comparison: a preset and the keys in which the arm differs from it."""

    name: str
    preset: str
    settings: dict[str, JsonValue] = field(default_factory=dict)
    system: str | None = None  # None: that of the study
    runs: dict[str, str] = field(default_factory=dict)  # keys whose value is the run of an earlier arm

    def document(self) -> dict[str, Any]:
        """Return the arm as JSON without what it does not say: plans from before those words keep hashes."""
        later = ("system", "runs")
        return {name: value for name, value in asdict(self).items() if name not in later or value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One recording that every run of the study needs."""

    plan: tuple[PlanEntry, ...]
    stages: tuple[int, ...] | None = None  # checkpoints after task t; None: the last
    split: str = "test"
    adapters: tuple[int, ...] = ()  # empty: each image's own task
    losses: tuple[str, ...] = ()  # named losses under which gradients are taken
    normal_only: bool = False
    limit: int | None = None  # images a class at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """The runs and recordings that answer one question, and the rule that will judge them."""

    name: str
    system: str
    arms: tuple[Arm, ...]
    tasks: str
    seeds: int
    record: tuple[Recorded, ...]
    decision_rule: str
    thresholds: dict[str, float]
    n: int
    replication: Replication
    data: str = "embedded"
    backbone: str = "embedded"

    def __post_init__(self) -> None:
        """Refuse an arm that takes the run of one that does not stand before it; ValueError."""
        earlier: set[str] = set()
        for arm in self.arms:
            if missing := sorted(set(arm.runs.values()) - earlier):
                raise ValueError(f"arm '{arm.name}' takes the run of '{missing[0]}', which is no earlier arm")
            earlier.add(arm.name)

    def document(self) -> dict[str, Any]:
        """Return the plan as JSON: what is written to plan.json before the first run."""
        record = [document_of(recorded) for recorded in self.record]
        arms = [arm.document() for arm in self.arms]
        return dict(plain(asdict(self) | {"arms": arms, "record": record}))

    @property
    def hash(self) -> str:
        """SHA-256 of the plan's canonical JSON, first 12 hex digits."""
        return sha256_bytes(canonical_json(self.document()).encode())[:12]


def recorded_of(words: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of a recording from the words of `mechlab record`.

    Raises:
        MechlabError: no plan, or one that cannot be.
    """
    if words["plan"] is None:
        raise MechlabError("give either --plan FILE or --site PATTERN with --quantity NAME.")
    recorded = Recorded(
        plan=read_plan(words["plan"]),
        stages=tuple(words["stages"]) or None,
        split=words["split"],
        adapters=tuple(words["adapters"]),
        losses=tuple(words["losses"]),
        normal_only=words["normal_only"],
        limit=words["limit"],
    )
    return document_of(recorded)


def document_of(recorded: Recorded) -> dict[str, Any]:
    """Return a recording's request as JSON."""
    value = asdict(recorded) | {"plan": [entry.model_dump(mode="json") for entry in recorded.plan]}
    return dict(plain(value))
