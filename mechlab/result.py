"""What a verdict is: Evidence (one row a replicate), Result (frozen), and their JSON files.

Source: design notes, "Result": the rule is fixed before the data, a null stands beside every effect,
images, classes or seeds are the unit, and `undecided` says which n would decide.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from mechlab.errors import MechlabError
from mechlab.files import read_json, write_json

Verdict = Literal["supported", "refuted", "undecided"]
Replication = Literal["image", "class", "seed"]
Table = tuple[dict[str, Any], ...]  # rows: column name -> str, int, float, bool or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Null:
    """What the effect would be if nothing were there, in the unit of the effect."""

    kind: str  # "analytic", "permutation", "random matrix", "simulation", with one word of detail
    value: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was measured: `columns` of equal length, one row a unit of replication.

    `facts` holds scalars of the recording (n patches, dimension, loss names); `details` holds small
    tables for figures (histograms, curves, spectra).
    """

    probe: str
    replication: Replication
    columns: dict[str, tuple[Any, ...]]
    facts: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Table] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()  # names of the recordings it came from

    def __post_init__(self) -> None:
        """Refuse ragged columns."""
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of unequal length: {lengths}")

    def __len__(self) -> int:
        """Return the number of replicates."""
        return len(next(iter(self.columns.values()), ()))

    def column(self, name: str) -> np.ndarray:
        """Return one column as an array."""
        if name not in self.columns:
            raise KeyError(f"no column {name!r}; there are {', '.join(self.columns)}")
        return np.asarray(self.columns[name])

    @classmethod
    def joined(cls, parts: Sequence["Evidence"]) -> "Evidence":
        """Join the evidence of several recordings; facts must agree or become lists.

        Where the unit is the image, rows with the same text cells (item, class, loss) become one row, the
        mean of their numbers: the same image seen by three seeds is one replicate, not three.
        """
        first = parts[0]
        if any(set(part.columns) != set(first.columns) for part in parts):
            raise MechlabError(
                "these recordings give different columns; probe recordings made with one plan."
            )
        facts: dict[str, Any] = {}
        for name in first.facts:
            values = [part.facts.get(name) for part in parts]
            facts[name] = values[0] if all(value == values[0] for value in values) else values
        columns = {
            name: tuple(value for part in parts for value in part.columns[name]) for name in first.columns
        }
        details = {
            name: tuple(row for part in parts for row in part.details.get(name, ())) for name in first.details
        }
        return cls(
            probe=first.probe,
            replication=first.replication,
            columns=_one_row_an_image(columns) if first.replication == "image" else columns,
            facts=facts,
            details=details,
            inputs=tuple(name for part in parts for name in part.inputs),
        )

    def save(self, path: Path) -> None:
        """Write the evidence as JSON."""
        write_json(path, plain(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> "Evidence":
        """Read evidence written by `save`."""
        value = read_json(path)
        return cls(
            probe=value["probe"],
            replication=value["replication"],
            columns={name: tuple(column) for name, column in value["columns"].items()},
            facts=value["facts"],
            details={name: tuple(rows) for name, rows in value["details"].items()},
            inputs=tuple(value["inputs"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A verdict with its effect, interval, null, unit and n. NaN is refused."""

    probe: str
    hypothesis: str
    decision_rule: str
    verdict: Verdict
    effect: float | None
    interval: tuple[float, float] | None
    unit: str
    null: Null
    n: int
    replication: Replication
    thresholds: dict[str, float]
    n_to_decide: int | None = None  # only when undecided: the n that would decide
    reason: str = ""  # one sentence: why this verdict
    tables: dict[str, Table] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    plan_hash: str | None = None
    post_hoc: tuple[str, ...] = ()  # thresholds changed after the plan was hashed
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse NaN, unknown verdicts, and decided results without effect and interval."""
        if self.verdict not in get_args(Verdict):
            raise ValueError(f"verdict {self.verdict!r} is none of {', '.join(get_args(Verdict))}")
        numbers = [self.effect, *(self.interval or ()), self.null.value, *self.thresholds.values()]
        if any(number is not None and not math.isfinite(number) for number in numbers):
            raise ValueError(f"a Result holds a number that is not finite: {numbers}")
        if self.verdict != "undecided" and (self.effect is None or self.interval is None):
            raise ValueError("effect and interval may be absent only when undecided")
        if self.interval is not None and self.interval[0] > self.interval[1]:
            raise ValueError(f"interval {self.interval} is upside down")

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return dict(plain(asdict(self)))

    def save(self, path: Path) -> None:
        """Write the result as JSON."""
        write_json(path, {"kind": "mechlab result", "version": 1} | self.document())

    @classmethod
    def load(cls, path: Path) -> "Result":
        """Read a result written by `save`; another kind of file is a sentence."""
        value = read_json(path)
        if not isinstance(value, dict) or value.get("kind") != "mechlab result":
            raise MechlabError(
                f"'{path}' is no result of a probe; give a result.json written by 'mechlab probe'."
            )
        if value["version"] != 1:
            raise MechlabError(
                f"'{path}' is a result of version {value['version']}; this mechlab reads version 1."
            )
        try:
            return cls(**_typed(value))
        except (KeyError, TypeError, ValueError) as fault:
            raise MechlabError(
                f"'{path}' does not hold a whole result ({fault}); run the probe again."
            ) from fault


def _typed(document: dict[str, Any]) -> dict[str, Any]:
    known = {item.name for item in fields(Result)}
    values = {name: item for name, item in document.items() if name in known}
    values["null"] = Null(**(values["null"] | {"interval": _pair(values["null"]["interval"])}))
    values |= {"interval": _pair(values["interval"]), "inputs": tuple(values["inputs"])}
    values |= {"post_hoc": tuple(values["post_hoc"])}
    values["tables"] = {name: tuple(rows) for name, rows in values["tables"].items()}
    return values


def _one_row_an_image(columns: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    texts = [name for name, column in columns.items() if all(isinstance(value, str) for value in column)]
    if not texts:
        return columns
    groups: dict[tuple[str, ...], list[int]] = {}
    for row, key in enumerate(zip(*(columns[name] for name in texts), strict=True)):
        groups.setdefault(key, []).append(row)
    return {
        name: tuple(_agreed([column[row] for row in rows]) for rows in groups.values())
        for name, column in columns.items()
    }


def _agreed(values: list[Any]) -> Any:  # noqa: ANN401 - a cell of any type
    """Return the value that all share, else the mean of those that are known."""
    known = [value for value in values if value is not None]
    if not known or all(value == known[0] for value in known):
        return known[0] if known else None
    return float(np.mean(known))


def _pair(value: list[float] | None) -> tuple[float, float] | None:
    return None if value is None else (value[0], value[1])


def plain(value: Any) -> Any:  # noqa: ANN401 - walks JSON-like values of any kind
    """Return `value` with NumPy scalars and arrays, tuples and paths turned into JSON types."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, Path):
        return str(value)
    return value
