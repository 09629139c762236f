"""Errors that a user can cause: what was given, what is allowed, what to do."""

from collections.abc import Iterable
from difflib import get_close_matches

TRAINING = ("torch", "torchvision", "timm", "FrEIA", "captum", "lightning", "safetensors")  # of an extra
_SHOWN = 6  # names of many that a sentence lists
INSTALL = "install what trains with: pip install -e '.[train]'"


class MechlabError(Exception):
    """A user's mistake or a condition of the machine, told in one sentence and without a traceback."""


def unknown(kind: str, name: str, known: Iterable[str]) -> MechlabError:
    """Return the error for a name that does not exist, with the nearest known one."""
    names = sorted(known)
    plain = {candidate.replace("-", "_").lower(): candidate for candidate in names}
    near = get_close_matches(name.replace("-", "_").lower(), plain, n=1, cutoff=0.6)
    hint = f" Did you mean '{plain[near[0]]}'?" if near else ""
    return MechlabError(f"no {kind} named '{name}'.{hint} Known: {', '.join(names) or 'none'}.")


def unknown_pattern(kind: str, pattern: str, known: Iterable[str]) -> MechlabError:
    """Return the error for a pattern that selects nothing: the nearest name and a few of the known ones."""
    names = [name for name in known if name]
    near = get_close_matches(pattern, names, n=2, cutoff=0.5)
    shown = list(dict.fromkeys([*near, *names]))[:_SHOWN]
    told = str(unknown(kind, pattern, shown))
    rest = len(set(names)) - len(shown)
    return MechlabError(f"{told.removesuffix('.')} and {rest} more." if rest > 0 else told)
