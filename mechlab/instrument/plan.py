"""A recording plan: which sites, which quantity, how often, how precise. Loads no torch.

A plan is a list of entries in Python, or a YAML file that holds one (read with the safe loader).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mechlab.errors import MechlabError, unknown
from mechlab.instrument.catalog import REDUCTIONS
from mechlab.instrument.schedule import check_schedule
from mechlab.specs import PlanEntry, validated


def read_plan(plan: Path | str | Sequence[PlanEntry | Mapping[str, Any]]) -> tuple[PlanEntry, ...]:
    """Return the checked entries of a plan given as a list or as the path of a YAML file.

    Unknown keys, quantities and reductions, and an empty plan, are MechlabErrors.
    """
    where = "this plan" if not isinstance(plan, str | Path) else f"the plan '{plan}'"
    lines = _from_yaml(Path(plan)) if isinstance(plan, str | Path) else plan
    if not lines:
        raise MechlabError(
            f"{where} has no entry and would record nothing; add at least one site and quantity."
        )
    return tuple(_entry(line) for line in lines)


def _from_yaml(path: Path) -> list[Any]:
    try:
        value = yaml.safe_load(path.read_text())
    except FileNotFoundError as fault:
        raise MechlabError(f"the plan '{path}' does not exist; give the path of a YAML file.") from fault
    except OSError as fault:
        raise MechlabError(f"the plan '{path}' is unreadable: {fault.strerror}; give a YAML file.") from fault
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        reason = " ".join(str(fault).split())
        raise MechlabError(f"the plan '{path}' is not valid YAML ({reason}); correct that line.") from fault
    if value is not None and not isinstance(value, list):
        raise MechlabError(
            f"the plan '{path}' holds a {type(value).__name__}; write a list, one '- site: ...' an entry."
        )
    return value or []


def check_reduction(quantity: str, reduction: str) -> None:
    """Refuse a reduction that the quantity does not take, and a number that does not belong to it."""
    name, colon, number = reduction.partition(":")
    if name not in REDUCTIONS[quantity]:
        raise unknown(f"reduction of {quantity}", name, REDUCTIONS[quantity])
    takes_number = name == "subsample"
    if bool(colon) != takes_number or (takes_number and not (number.isdecimal() and int(number) > 0)):
        allowed = "a number of places, e.g. subsample:64" if takes_number else f"no number: {name}"
        raise MechlabError(f"reduction '{reduction}' is not understood; {name} takes {allowed}.")


def _entry(line: object) -> PlanEntry:
    if isinstance(line, PlanEntry):
        entry = line
    elif isinstance(line, Mapping):
        entry = validated(PlanEntry, dict(line), what="plan")
    else:
        raise MechlabError(f"a plan entry is {line!r}; write a mapping with at least 'site' and 'quantity'.")
    if entry.quantity not in REDUCTIONS:
        raise unknown("quantity", entry.quantity, REDUCTIONS)
    if entry.reduction is not None:
        check_reduction(entry.quantity, entry.reduction)
    check_schedule(entry)
    return entry
