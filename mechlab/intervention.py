"""Interventions as text: what a spec carries, and so what enters its hash.

While testing: `ablate:SITE:zero`, `ablate:SITE:mean`, `ablate:SITE:resample:SEED`, `swap:FIRST,SECOND` and
`patch:SITE:RECORDING:KEY`; while training: `freeze:PATTERN`. A recording is named by a hash, never by its
path. Source: design notes, "Four specs".
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from mechlab.errors import MechlabError, unknown

Value = Literal["zero", "mean", "resample"]
VALUES: tuple[str, ...] = get_args(Value)

_RESAMPLED = re.compile(r"(?P<site>.+):resample(:(?P<seed>\d+))?")
_PATCHED = re.compile(r"(?P<site>.+?):(?P<recording>[0-9a-f]{12}):(?P<key>[a-z][a-z0-9_]*/[^/]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablate:
    """What a site says is replaced by zeros, by the mean of reference images, or by one of them."""

    site: str  # pattern
    value: Value
    seed: int = 0  # of the draw, where `value` is resample

    @property
    def text(self) -> str:
        """The canonical text."""
        return f"ablate:{self.site}:{self.value}" + (f":{self.seed}" if self.value == "resample" else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """Two tasks exchange the parts that are their own."""

    first: int
    second: int

    @property
    def text(self) -> str:
        """The canonical text: the lower task first."""
        return f"swap:{min(self.first, self.second)},{max(self.first, self.second)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """What a site says is replaced by what was recorded of the same images."""

    site: str
    recording: str  # hash, 12 hex digits
    key: str  # "<quantity>/<site>" of the recording

    @property
    def text(self) -> str:
        """The canonical text."""
        return f"patch:{self.site}:{self.recording}:{self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """Parameters that do not move during the whole training."""

    pattern: str  # shell pattern over parameter names; "*" also matches dots

    @property
    def text(self) -> str:
        """The canonical text."""
        return f"freeze:{self.pattern}"


Intervention = Ablate | Swap | Patch | Freeze
FORMS = {
    "ablate": "ablate:SITE:zero, ablate:SITE:mean or ablate:SITE:resample:SEED",
    "swap": "swap:FIRST,SECOND",
    "patch": "patch:SITE:RECORDING:KEY, with the recording's hash of 12 hex digits",
    "freeze": "freeze:PATTERN",
}


def parse(text: str) -> Intervention:
    """Read one intervention.

    Raises:
        MechlabError: another kind of intervention, or a text that does not have the form of its kind.
    """
    kind, _, rest = text.partition(":")
    if kind not in FORMS:
        raise unknown("intervention", kind, FORMS)
    readers: dict[str, Callable[[str], Intervention | None]]
    readers = {"ablate": _ablate, "swap": _swap, "patch": _patch, "freeze": _freeze}
    if (found := readers[kind](rest)) is None:
        raise MechlabError(f"'{text}' is no intervention; write {FORMS[kind]}.")
    return found


def while_testing(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the interventions of an evaluation in canonical form and order; freezing is refused."""
    return _canonical(texts, allowed=(Ablate, Swap, Patch), when="an evaluation")


def while_training(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the interventions of a training in canonical form and order; all but freezing are refused."""
    return _canonical(texts, allowed=(Freeze,), when="a training")


def _canonical(texts: Iterable[str], *, allowed: tuple[type, ...], when: str) -> tuple[str, ...]:
    found: list[str] = []
    for text in texts:
        intervention = parse(text)
        if not isinstance(intervention, allowed):
            kinds = ", ".join(kind.__name__.lower() for kind in allowed)
            raise MechlabError(f"'{text}' does not belong to {when}, which takes {kinds}; leave it out.")
        if intervention.text in found:
            raise MechlabError(f"'{intervention.text}' is given twice; give it once.")
        found.append(intervention.text)
    return tuple(sorted(found))  # sorted: the order of the words on a command line moves no number


def _ablate(rest: str) -> Ablate | None:
    if resampled := _RESAMPLED.fullmatch(rest):
        return Ablate(site=resampled["site"], value="resample", seed=int(resampled["seed"] or 0))
    site, _, value = rest.rpartition(":")
    constants: dict[str, Value] = {"zero": "zero", "mean": "mean"}
    if not site or value not in constants:
        return None
    return Ablate(site=site, value=constants[value])


def _swap(rest: str) -> Swap | None:
    first, _, second = rest.partition(",")
    if not (first.isdecimal() and second.isdecimal()) or int(first) == int(second):
        return None
    return Swap(first=int(first), second=int(second))


def _patch(rest: str) -> Patch | None:
    if not (found := _PATCHED.fullmatch(rest)):
        return None
    return Patch(site=found["site"], recording=found["recording"], key=found["key"])


def _freeze(rest: str) -> Freeze | None:
    return Freeze(pattern=rest) if rest.strip() else None
