"""What a question needs: arms, seeds, recordings, and the decision rule that is fixed before the first run.

Source: design notes, "Study".
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import JsonValue

from mechlab.errors import MechlabError
from mechlab.files import canonical_json, sha256_bytes
from mechlab.result import Replication, plain
from mechlab.specs import PlanEntry, validated


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One training of the comparison: a preset and the keys in which the arm differs from it."""

    name: str
    preset: str
    settings: dict[str, JsonValue] = field(default_factory=dict)


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

    def document(self) -> dict[str, Any]:
        """Return the plan as JSON: what is written to plan.json before the first run."""
        return dict(plain(asdict(self) | {"record": [document_of(recorded) for recorded in self.record]}))

    @property
    def hash(self) -> str:
        """SHA-256 of the plan's canonical JSON, first 12 hex digits."""
        return sha256_bytes(canonical_json(self.document()).encode())[:12]


ENTRY_WORDS = ("every", "first", "at", "log_spaced", "dtype", "reduction")


def recorded_of(words: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of a recording from the words of `mechlab record`.

    Raises:
        MechlabError: neither or both of a plan and sites, or not one quantity a site.
    """
    sites, quantities = words["sites"], words["quantities"]
    if (words["plan"] is None) == (not sites):
        raise MechlabError("give either --plan FILE or --site PATTERN with --quantity NAME.")
    if len(sites) != len(quantities):
        raise MechlabError(
            f"{len(sites)} sites and {len(quantities)} quantities were given; give one a site."
        )
    if words["plan"] is not None:
        entries = read_list(words["plan"])
    else:
        shared = {name: words[name] for name in ENTRY_WORDS if words.get(name) is not None}
        pairs = zip(sites, quantities, strict=True)
        entries = [{"site": site, "quantity": quantity} | shared for site, quantity in pairs]
    plan = tuple(validated(PlanEntry, entry, what="plan") for entry in entries)
    recorded = Recorded(
        plan=plan,
        stages=tuple(words["stages"]) or None,
        split=words["split"],
        adapters=tuple(words["adapters"]),
        losses=tuple(words["losses"]),
        normal_only=words["normal_only"],
        limit=words["limit"],
    )
    return document_of(recorded)


def read_list(path: Path) -> list[dict[str, Any]]:
    """Read a YAML list of plan entries safely."""
    try:
        value = yaml.safe_load(path.read_text())
    except FileNotFoundError as fault:
        raise MechlabError(f"'{path}' does not exist; give the path of a recording plan.") from fault
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise MechlabError(f"'{path}' is not valid YAML: {' '.join(str(fault).split())}.") from fault
    if not isinstance(value, list) or not value or not all(isinstance(entry, dict) for entry in value):
        raise MechlabError(
            f"'{path}' is no recording plan; write a list of entries: - {{site: ..., quantity: ...}}."
        )
    return value


def document_of(recorded: Recorded) -> dict[str, Any]:
    """Return a recording's request as JSON."""
    value = asdict(recorded) | {"plan": [entry.model_dump(mode="json") for entry in recorded.plan]}
    return dict(plain(value))
