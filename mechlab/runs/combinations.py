"""Combinations of settings that are refused by one sentence, unless --allow NAME lets them pass, marked.

A system lists its own (`COMBINATIONS` of its catalog), and may say what it cannot build at all (`REFUSE`).
Two kinds hold for every system: a key of another aggregation (`aggregation_keys`), and a key that nothing
reads (`settings.refuse_unused`); their names are the keys. Source: notes on MoLE-Flow, "Combinations to
refuse".
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mechlab import systems
from mechlab.errors import MechlabError, unknown
from mechlab.runs.aggregation_keys import MODE_OF
from mechlab.runs.settings import EvaluationSettings
from mechlab.specs import validated

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a combination is judged on."""

    parts: Values  # all parts of the training
    preset: Values  # those of its preset, before the user's settings
    evaluation: EvaluationSettings
    dim: int  # channels of a patch feature
    name: str | None = None  # that the user gave the run
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """One combination: whether a setup holds it, and the sentence about it."""

    name: str  # of --allow
    summary: str
    source: str
    holds: Callable[[Setup], bool]
    sentence: str  # what was given, what is wrong with it, what to do; no full stop; {key} is a part
    words: Callable[[Setup], Values] = lambda _: {}  # what else the sentence names
    is_warning: bool = False  # told, not refused


@dataclass(frozen=True, slots=True)
class Judged:
    """What a setup holds: the names that were let pass, and what is told about it."""

    allowed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())


def judge(setup: Setup, combinations: Sequence[Combination], *, allow: Collection[str]) -> Judged:
    """Return what was let pass and what is told.

    Raises:
        MechlabError: a combination that `allow` does not name.
    """
    passed, told = [], []
    for combination in combinations:
        if not combination.holds(setup):
            continue
        sentence = combination.sentence.format_map({**setup.parts, **combination.words(setup)})
        if combination.is_warning:
            told.append(f"{sentence}.")
        elif combination.name in allow:
            passed.append(combination.name)
        else:
            raise MechlabError(f"{sentence}, or let it pass, marked, with --allow {combination.name}.")
    return Judged(tuple(sorted(passed)), tuple(told))


def refuse_unbuildable(
    system: str,
    parts: Values,
    *,
    dim: int,
    grid: tuple[int, int] | None = None,
    own: Mapping[int, tuple[int, int]] | None = None,
    tasks: int = 0,
) -> None:
    """Refuse what a system says it cannot build (`REFUSE` of its catalog), before anything is written.

    `grid` is the run's and `tasks` how many it has, None and 0 where they are not known yet; `own` are the
    grids of tasks that see another size.

    Raises:
        MechlabError: what the system says.
    """
    catalog = systems.catalog(system)
    refuse = getattr(catalog, "REFUSE", None)
    if refuse is not None:
        config = validated(systems.load(catalog.CONFIG), dict(parts), what=system)
        refuse(config, dim=dim, grid=grid, own=own or {}, tasks=tasks)


def refuse_idle(
    allow: Collection[str],
    passed: Collection[str],
    *,
    combinations: Sequence[Combination],
    keys: Collection[str],
) -> None:
    """Refuse an allowance that lets nothing pass, which would be a mark for nothing.

    Raises:
        MechlabError: a name that is none, or one that the setup does not need.
    """
    for name in sorted(set(allow) - set(passed)):
        known = [*(one.name for one in combinations if not one.is_warning), *MODE_OF, *keys]
        if name not in known:
            raise unknown("combination to let pass", name, known)
        raise MechlabError(
            f"--allow {name} was given, but there is nothing by that name to let pass here; leave it out "
            "('mechlab list combinations' says what each is)."
        )
