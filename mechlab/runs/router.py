"""Routers in words: what tells which task an image belongs to.

`mahalanobis` and `euclidean`: distance of the image's mean feature to that of a task. `prototypes:P`: to the
nearest of P prototypes of a task. `likelihood`: mean -log p of the image's patches by each expert.
`entropy`: of the expert's latents. `gate:LEARNING`: a learned gate, "joint" or "sequential".
`two-stage:K:BASE`: the K nearest tasks, then likelihood among them.
`BASE+WEIGHT*TERM`: with a term that is 0 the same as BASE. `.../reject:SHARE`: an image farther from its task
than that share of held-out normals belongs to none; 0 rejects none. `oracle` takes the true task id.
Source: notes on MoLE-Flow, two-stage router (M15, 004 L1373) and baselines (M48, 004 L7003).
"""

import math
from dataclasses import dataclass, replace

from mechlab.errors import MechlabError, unknown

ORACLE = "oracle"
BASES = ("mahalanobis", "euclidean", "prototypes", "likelihood", "entropy", "gate")
TWO_STAGE = "two-stage"
FIRST_STAGES = ("mahalanobis", "euclidean")
TERMS = ("log_det", "entropy")
CANDIDATES = 2  # L1390, tasks that reach the second stage
PROTOTYPES = 3  # of a task
GATES = ("joint", "sequential")  # how a gate learns
REJECT = "reject"


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """One router, read from its words."""

    base: str  # of BASES, or ORACLE
    candidates: int | None = None  # tasks that reach the likelihood of the second stage
    prototypes: int | None = None  # of a task
    term: str | None = None  # of TERMS
    weight: float = 0.0  # of the term
    gate: str | None = None  # how it learns
    rejects: float = 0.0  # share of held-out normals that is farther than what is accepted

    @classmethod
    def read(cls, words: str) -> "Router":
        """Read the words of a router.

        Raises:
            MechlabError: an unknown router or term, a number that cannot be, or a term that does not fit.
        """
        text, slash, rejection = words.partition("/")
        found = cls._accepting(text.strip(), words=words)
        return replace(found, rejects=_share(rejection, found.base, words=words)) if slash else found

    @classmethod
    def _accepting(cls, text: str, *, words: str) -> "Router":
        first, plus, rest = text.partition("+")
        name, *numbers = (part.strip() for part in first.split(":"))
        if name not in (*BASES, TWO_STAGE, ORACLE):
            raise unknown("router", name, (*BASES, TWO_STAGE, ORACLE))
        term, weight = _term(rest, name=name, words=words) if plus else (None, 0.0)
        if name == TWO_STAGE:
            candidates = _count(numbers[0], words=words) if numbers else CANDIDATES
            base = numbers[1] if len(numbers) > 1 else FIRST_STAGES[0]
            if base not in FIRST_STAGES:
                raise unknown("first stage of a router", base, FIRST_STAGES)
            _refuse_more(numbers[2:], words=words)
            return cls(base=base, candidates=candidates)
        if name == "prototypes":
            _refuse_more(numbers[1:], words=words)
            count = _count(numbers[0], words=words) if numbers else PROTOTYPES
            return cls(base=name, prototypes=count, term=term, weight=weight)
        if name == "gate":
            _refuse_more(numbers[1:], words=words)
            learning = numbers[0] if numbers else GATES[0]
            if learning not in GATES:
                raise unknown("way for a gate to learn", learning, GATES)
            return cls(base=name, gate=learning, term=term, weight=weight)
        _refuse_more(numbers, words=words)
        return cls(base=name, term=term, weight=weight)

    @property
    def asks_experts(self) -> bool:
        """Whether an image goes through the expert of each task that is compared."""
        is_asking = self.base in ("likelihood", "entropy") or self.term == "entropy"
        return is_asking or self.candidates is not None

    def __str__(self) -> str:
        rejection = f"/{REJECT}:{self.rejects:.12g}" if self.rejects else ""
        if self.candidates is not None:
            return f"{TWO_STAGE}:{self.candidates}:{self.base}{rejection}"
        numbers = [str(number) for number in (self.prototypes, self.gate) if number is not None]
        name = ":".join([self.base, *numbers])
        return (name if self.term is None else f"{name}+{self.weight:.12g}*{self.term}") + rejection


def _term(text: str, *, name: str, words: str) -> tuple[str | None, float]:
    number, times, term = (part.strip() for part in text.rpartition("*"))
    if term not in TERMS:
        raise unknown("term of a router", term, TERMS)
    try:
        weight = float(number) if times else 1.0
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise MechlabError(
            f"router '{words}' has no weight of 0 or more; write e.g. mahalanobis+0.5*log_det."
        )
    if name in (TWO_STAGE, ORACLE, term) or (term == "log_det" and name != "mahalanobis"):
        raise MechlabError(
            f"router '{words}' cannot add '{term}' to '{name}'; log_det goes with mahalanobis, whose "
            "covariance it is of, and entropy with mahalanobis, euclidean, prototypes, likelihood or gate."
        )
    return (term, weight) if weight else (None, 0.0)


def _share(text: str, base: str, *, words: str) -> float:
    name, colon, number = (part.strip() for part in text.partition(":"))
    if name != REJECT:
        raise unknown("option of a router", name, (REJECT,))
    try:
        share = float(number) if colon else math.nan
    except ValueError:
        share = math.nan
    if not 0 <= share < 1:
        raise MechlabError(
            f"router '{words}' rejects no share of normals in [0, 1); write e.g. mahalanobis/reject:0.05."
        )
    if base == ORACLE:
        raise MechlabError(
            f"router '{words}' cannot reject: the oracle has no distances; reject with another router."
        )
    return share


def _count(text: str, *, words: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise MechlabError(f"router '{words}' has '{text}' for a number; give a whole number of 1 or more.")
    return int(text)


def _refuse_more(numbers: list[str], *, words: str) -> None:
    if numbers:
        raise MechlabError(
            f"router '{words}' has a part that nothing reads, '{numbers[0]}'; leave it out. Write "
            "two-stage:K:euclidean, prototypes:P or gate:sequential; the others take no number."
        )
