"""Numbers, names and verdicts in words: one way of writing them in every figure, table and page."""

import math
import re
import textwrap
import unicodedata
from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font

from mechlab.result import Result

FIRM = "\u00a0"  # a space at which no line breaks
_PLURAL = {"image": "images", "class": "classes", "seed": "seeds"}


def number(value: float | int | None, *, digits: int = 3) -> str:
    """Return a number with `digits` significant digits; an absent one is "n/a"."""
    if value is None:
        return "n/a"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not math.isfinite(value):
        return "not finite"
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        short = f"{value:.{digits}g}"
        return f"{value:.0f}" if "e" in short else short
    return f"{int(value)}" if isinstance(value, int) and abs(value) < 10**9 else f"{value:.{digits - 1}e}"


def share(value: float | int | None) -> str:
    """Return an AUROC, AP or rate with three decimals."""
    return "n/a" if value is None else f"{value:.3f}"


@cache
def _has_glyph(character: str) -> bool:
    return bool(get_font(findfont(FontProperties(family="DejaVu Sans"))).get_char_index(ord(character)))


def label(name: str, *, limit: int = 24) -> str:
    """Return a name that can be drawn: one line, at most `limit` characters, a box where no glyph is."""
    flat = re.sub(r"[ \t\r\n\f\v]+", " ", name).strip()
    plain = "".join(" " if unicodedata.category(one).startswith("C") else one for one in flat)
    known = "".join(one if _has_glyph(one) else "\u25a1" for one in plain)
    if len(known) <= limit:
        return known
    head = (limit - 1) * 2 // 3
    return f"{known[:head]}…{known[len(known) - (limit - 1 - head) :]}"


def replicates(result: Result) -> str:
    """Return n with its unit of replication: "n = 20 images"."""
    word = result.replication if result.n == 1 else _PLURAL[result.replication]
    return f"n = {result.n} {word}".replace(" ", FIRM)


def effect(result: Result) -> str:
    """Return the effect with interval, unit, n, and the null beside it."""
    null = f"null {number(result.null.value)}"
    if result.null.interval is not None:
        null += " " + span(result.null.interval)
    if result.effect is None:
        seen = "no effect could be estimated"
    else:
        interval = "without interval" if result.interval is None else span(result.interval)
        seen = f"effect {number(result.effect)} {interval} {result.unit}"
    return f"{seen}; {null} ({result.null.kind}); {replicates(result)}"


def span(interval: tuple[float, float]) -> str:
    """Return an interval in brackets."""
    return f"[{number(interval[0])},{FIRM}{number(interval[1])}]"


def verdict(result: Result) -> str:
    """Return the verdict as one sentence; an undecided one names the n that would decide."""
    if result.verdict != "undecided":
        return f"{result.verdict.capitalize()}: {result.hypothesis}"
    needed = result.n_to_decide
    units = _PLURAL[result.replication]
    more = f" (about {needed} {units} would decide)" if needed is not None else ""
    return f"Undecided{more}: {result.hypothesis}"


def heading(result: Result, *, columns: int = 88) -> str:
    """Return the title of a probe's figure: verdict in words, then the effect line, wrapped."""
    lines = [*textwrap.wrap(label(verdict(result), limit=400), columns)]
    return "\n".join([*lines, *textwrap.wrap(label(effect(result), limit=300), columns)])
