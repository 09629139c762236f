"""HTML from data: every text and attribute goes through `escaped`, the one door into the page."""

import base64
import html
import re
import unicodedata
from collections.abc import Mapping, Sequence

_NAME = re.compile(r"[a-z][a-z0-9-]*")
_VOID = frozenset({"meta", "img", "br", "hr"})
_MEDIA = {"svg": "image/svg+xml", "png": "image/png"}
LONGEST = 200  # rows of a table that are shown


class Markup(str):
    """Text that is HTML already; only this module makes it from text."""

    __slots__ = ()


def escaped(text: object) -> Markup:
    """Return text as HTML: markup stays, all else loses its meaning, control characters their effect."""
    if isinstance(text, Markup):
        return text
    shown = "".join(
        "\ufffd" if unicodedata.category(one) in {"Cc", "Cs", "Cf"} and one not in "\n\t" else one
        for one in str(text)
    )
    return Markup(html.escape(shown, quote=True))


def element(
    name: str, children: Sequence[object] | object = (), *, attributes: Mapping[str, str] | None = None
) -> Markup:
    """Return one element; children are escaped unless they are markup."""
    given = attributes or {}
    for word in (name, *given):
        if not _NAME.fullmatch(word):
            raise ValueError(f"{word!r} is no name of an element or attribute")
    told = "".join(f' {key}="{escaped(str(value))}"' for key, value in given.items())
    if name in _VOID:
        return Markup(f"<{name}{told}>")
    inside = children if isinstance(children, Sequence) and not isinstance(children, str) else (children,)
    return Markup(f"<{name}{told}>" + "".join(escaped(child) for child in inside) + f"</{name}>")


def joined(parts: Sequence[object]) -> Markup:
    """Return parts one after the other, a line each."""
    return Markup("\n".join(escaped(part) for part in parts))


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str, last_is_mean: bool = False
) -> Markup:
    """Return a table whose first column names the rows; it scrolls sideways where the screen is narrow."""
    shown = rows[:LONGEST]
    texts = {column for row in shown for column, cell in enumerate(row) if column and _is_text(cell)}
    kinds = [{"class": "text"} if column in texts else {} for column in range(len(header))]
    names = [element("th", name, attributes={"scope": "col"} | kinds[at]) for at, name in enumerate(header)]
    lines = []
    for at, row in enumerate(shown):
        cells = [element("td", cell, attributes=kinds[column]) for column, cell in enumerate(row) if column]
        cells.insert(0, element("th", row[0], attributes={"scope": "row"}))
        is_mean = last_is_mean and at == len(rows) - 1
        lines.append(element("tr", cells, attributes={"class": "mean"} if is_mean else None))
    if len(rows) > LONGEST:
        more = f"{len(rows) - LONGEST} more rows are in the file of the result"
        lines.append(element("tr", element("td", more, attributes={"colspan": str(len(header))})))
    parts = [element("thead", element("tr", names)), element("tbody", lines)]
    return _wide(element("table", [element("caption", caption), *parts]), name=caption)


def _is_text(cell: str) -> bool:
    """Return whether a cell holds words, which stand left and may be broken, rather than a number."""
    return cell[:1] not in set("-[0123456789") and cell not in {"", "n/a", "not finite", "yes", "no"}


def _wide(child: Markup, *, name: str) -> Markup:
    """Return a part that scrolls sideways by itself, also with the keyboard."""
    given = {"class": "wide", "tabindex": "0", "role": "group", "aria-label": name}
    return element("div", child, attributes=given)


def folded(summary: str, children: Sequence[object]) -> Markup:
    """Return a part that is closed until it is asked for."""
    return element("details", [element("summary", summary), *children])


def picture(data: bytes, *, kind: str, alt: str, caption: str, dpi: int = 96) -> Markup:
    """Return an image inside the page, with text for those who do not see it; `dpi` is that of a png."""
    source = f"data:{_MEDIA[kind]};base64,{base64.b64encode(data).decode()}"
    size = {"width": str(round(int.from_bytes(data[16:20], "big") * 96 / dpi))} if kind == "png" else {}
    shown = element("img", attributes={"src": source, "alt": alt, **size})
    box = _wide(shown, name=caption)
    return element("figure", [box, element("figcaption", caption)])
