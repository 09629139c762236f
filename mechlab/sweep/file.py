"""A sweep file: the arms of one comparison in words of `mechlab train`, at two sizes; YAML, validated.

`train` holds the words of the first arm, and a size changes them. Every other arm takes the words of an
earlier arm (`against`, the first one unless named) and changes some; `settings` are joined key by key. So it
differs in the keys of its own words, which `mechlab.sweep.arms` holds it to; one that takes another preset
may say which keys those are (`claims`). `runs` are keys of the system whose value is an earlier arm's run
at the same seed, e.g. a student's teacher. Source: inventory, section R and O2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import Field, JsonValue

from mechlab.errors import MechlabError, unknown
from mechlab.runs.request import TrainRequest
from mechlab.runs.words import read_yaml
from mechlab.specs import Spec, validated

# Words that belong to whoever runs the file, not to the comparison.
_PLACES = {
    "name",
    "root",
    "weights",
    "out",
    "cache",
    "device",
    "devices",
    "threads",
    "record",
    "record_fault",
    "seed",
}
WORDS = {field.name for field in fields(TrainRequest)} - _PLACES
_ARM = {"name", "against", "claims", "runs"}


class Size(Spec):
    """The words that make a study small or large, and its seeds."""

    seeds: int = Field(3, ge=1)  # 0 to seeds - 1
    train: dict[str, JsonValue] = Field(default_factory=dict)
    arms: list[dict[str, JsonValue]] | None = None  # in place of the study's, where sizes need others


class Document(Spec):
    """The file as it is written."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    id: str | None = None  # row of the inventory that reads it
    source: str
    question: str
    train: dict[str, JsonValue] = Field(default_factory=dict)
    sizes: dict[str, Size]
    arms: list[dict[str, JsonValue]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmWords:
    """One arm: the words of its training, and what it says to differ in."""

    name: str
    against: str | None  # an earlier arm; None: the first one, which differs from none
    claims: tuple[str, ...] | None
    words: dict[str, Any]
    runs: Mapping[str, str] = field(default_factory=dict)  # keys whose value is the run of an earlier arm


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """One size of a sweep file."""

    name: str
    size: str
    id: str | None
    source: str
    question: str
    seeds: int
    arms: tuple[ArmWords, ...]  # the first one is the parent

    @property
    def folder(self) -> str:
        """Name of the folder of its ledger, below the studies."""
        return f"sweep-{self.name}-{self.size}"


def shipped() -> dict[str, Path]:
    """Return the sweep files that come with the reproductions, by name."""
    place = Path(import_module("reproductions").__path__[0]) / "studies"
    return {file.stem: file for file in sorted(place.glob("*.yaml"))}


def found(text: str) -> Path:
    """Return the file of a path or of a shipped study's name.

    Raises:
        MechlabError: neither a file nor a name.
    """
    if Path(text).is_file():
        return Path(text)
    known = shipped()
    if text not in known:
        raise unknown("sweep file or study", text, known)
    return known[text]


def read(path: Path) -> Document:
    """Return a validated file.

    Raises:
        MechlabError: no file, no mapping, an unknown key, or a value of the wrong kind.
    """
    return validated(Document, read_yaml(path), what=f"'{path}'")


def sweep_of(document: Document, *, size: str) -> Sweep:
    """Return one size of a file.

    Raises:
        MechlabError: an unknown size or word, no arm, two arms of one name, or an `against` that is no arm.
    """
    if size not in document.sizes:
        raise unknown(f"size of sweep '{document.name}'", size, document.sizes)
    chosen = document.sizes[size]
    shared = joined(_checked(document.train, document.name), _checked(chosen.train, document.name))
    arms: dict[str, ArmWords] = {}
    for values in document.arms if chosen.arms is None else chosen.arms:
        arm = _arm(values, shared, arms, document.name)
        if arm.name in arms:
            raise MechlabError(f"two arms of sweep '{document.name}' are named '{arm.name}'; rename one.")
        arms[arm.name] = arm
    if not arms:
        raise MechlabError(f"sweep '{document.name}' has no arm at size '{size}'; write at least one.")
    return Sweep(name=document.name, size=size, id=document.id, source=document.source,
                 question=document.question, seeds=chosen.seeds, arms=tuple(arms.values()))  # fmt: skip


def joined(words: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return words with changes over them; `settings` key by key."""
    settings = dict(words.get("settings") or {}) | dict(changes.get("settings") or {})
    return dict(words) | dict(changes) | ({"settings": settings} if settings else {})


def _checked(words: Mapping[str, Any], sweep: str) -> dict[str, Any]:
    named = {key.replace("-", "_"): value for key, value in words.items()}
    for key in named:
        if key not in WORDS:
            raise unknown(f"word of sweep '{sweep}'", key, WORDS)
    return named


def _arm(
    values: Mapping[str, Any], shared: Mapping[str, Any], earlier: Mapping[str, ArmWords], sweep: str
) -> ArmWords:
    if not isinstance(values.get("name"), str):
        raise MechlabError(f"an arm of sweep '{sweep}' has no name: {dict(values)}; write name: ... in it.")
    own = _checked({key: value for key, value in values.items() if key not in _ARM}, sweep)
    against = values.get("against") or next(iter(earlier), None)
    if against is not None and against not in earlier:
        raise unknown(f"earlier arm of sweep '{sweep}'", str(against), earlier)
    settings, runs = own.get("settings") or {}, _runs(values, earlier, sweep)
    claims = values.get("claims")
    if claims is None and "preset" not in own:  # a preset changes keys that only its resolution tells
        words = (key for key in own if key not in ("settings", "allow"))
        claims = [*words, *settings, *runs]
    taken = {} if against is None else earlier[against].runs
    return ArmWords(
        name=values["name"],
        against=against,
        claims=None if claims is None else tuple(str(claim) for claim in claims),
        words=joined(shared if against is None else earlier[against].words, own),
        runs={key: arm for key, arm in taken.items() if key not in settings} | runs,
    )


def _runs(values: Mapping[str, Any], earlier: Mapping[str, ArmWords], sweep: str) -> dict[str, str]:
    """Return the keys of an arm whose value is the run of an earlier one; any other is a MechlabError."""
    found = values.get("runs") or {}
    if not isinstance(found, Mapping):
        raise MechlabError(
            f"arm '{values['name']}' of sweep '{sweep}' has runs '{found}'; write the arm whose run each key "
            "has, as runs: {distill: teacher}."
        )
    for arm in found.values():
        if arm not in earlier:
            raise unknown(f"earlier arm of sweep '{sweep}'", str(arm), earlier)
    return {str(key): str(arm) for key, arm in found.items()}
