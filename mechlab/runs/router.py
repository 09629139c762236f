"""Routers in words: what tells which task an image belongs to.

`mahalanobis` and `euclidean`: distance of the image's mean feature to that of a task. `prototypes:P`: to the
nearest of P prototypes of a task. `likelihood`: mean -log p of the image's patches by each expert.
`entropy`: of the expert's latents. `two-stage:K:BASE`: the K nearest tasks, then likelihood among them.
`BASE+WEIGHT*TERM`: with a term that is 0 the same as BASE. `oracle` takes the true task id.
Source: notes on MoLE-Flow, two-stage router (M15, 004 L1373) and baselines (M48, 004 L7003).
"""

import math
from dataclasses import dataclass

from mechlab.errors import MechlabError, unknown

ORACLE = "oracle"
BASES = ("mahalanobis", "euclidean", "prototypes", "likelihood", "entropy")
TWO_STAGE = "two-stage"
FIRST_STAGES = ("mahalanobis", "euclidean")
TERMS = ("log_det", "entropy")
CANDIDATES = 2  # L1390, tasks that reach the second stage
PROTOTYPES = 3  # of a task


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """One router, read from its words."""

    base: str  # of BASES, or ORACLE
    candidates: int | None = None  # tasks that reach the likelihood of the second stage
    prototypes: int | None = None  # of a task
    term: str | None = None  # of TERMS
    weight: float = 0.0  # of the term

    @classmethod
    def read(cls, words: str) -> "Router":
        """Read the words of a router.

        Raises:
            MechlabError: an unknown router or term, a number that cannot be, or a term that does not fit.
        """
        first, plus, rest = words.partition("+")
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
        _refuse_more(numbers, words=words)
        return cls(base=name, term=term, weight=weight)

    def __str__(self) -> str:
        if self.candidates is not None:
            return f"{TWO_STAGE}:{self.candidates}:{self.base}"
        name = self.base if self.prototypes is None else f"{self.base}:{self.prototypes}"
        return name if self.term is None else f"{name}+{self.weight:.12g}*{self.term}"


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
            "covariance it is of, and entropy with mahalanobis, euclidean, prototypes or likelihood."
        )
    return (term, weight) if weight else (None, 0.0)


def _count(text: str, *, words: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise MechlabError(f"router '{words}' has '{text}' for a number; give a whole number of 1 or more.")
    return int(text)


def _refuse_more(numbers: list[str], *, words: str) -> None:
    if numbers:
        raise MechlabError(
            f"router '{words}' has a part that nothing reads, '{numbers[0]}'; leave it out. Write "
            "two-stage:K:euclidean or prototypes:P; the others take no number."
        )
