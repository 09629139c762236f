"""From a name and plain data to a file: svg, pdf or png, the same bytes for the same data.

Built-in figures are the modules of this folder that have `draw`; others come by the entry points
`mechlab.figures`. Source: design notes, "Extension".
"""

from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from figures.page.content import RunContent
from figures.style import SUFFIXES, canvas, house, image
from mechlab import systems
from mechlab.errors import MechlabError, unknown
from mechlab.files import canonical_json, sha256_bytes, write_bytes
from mechlab.result import Result, plain

Content = Result | RunContent
# Fields of a Result that no figure shows: the same finding has the same hash on another machine.
_UNDRAWN = frozenset({"inputs", "provenance", "plan_hash", "post_hoc", "decision_rule", "reason"})


@cache
def known() -> dict[str, ModuleType]:
    """Return the figures by name: every module of the folder, or of an entry point, that has `draw`."""
    found = {name: import_module(path) for name, path in systems.modules("figures").items()}
    return {name: module for name, module in found.items() if hasattr(module, "draw")}


def figure(name: str) -> ModuleType:
    """Return one figure by name; hyphens and underscores are the same. An unknown one is a MechlabError."""
    found = known().get(name.replace("-", "_"))
    if found is None:
        raise unknown("figure", name, known())
    return found


def rendered(name: str, content: Content, *, kind: str, dpi: int = 160) -> bytes:
    """Return a figure as bytes of `kind` (svg, pdf, png).

    Raises:
        MechlabError: an unknown figure or kind, or content that this figure does not draw.
    """
    if f".{kind}" not in SUFFIXES:
        raise MechlabError(f"a figure cannot be written as '.{kind}'; give a file ending in {_choices()}.")
    module = figure(name)
    check(name, content, module)
    with house():
        ax = canvas(module.size(content) if hasattr(module, "size") else (6.4, 4.0))
        module.draw(content, ax)
        return image(ax, kind=kind, dpi=dpi)


def render(name: str, content: Content, *, out: Path) -> str:
    """Draw a figure to `out`, whole or not at all, and return the SHA-256 of the data that it shows.

    Raises:
        MechlabError: as `rendered`, and a place that cannot be written to.
    """
    write_bytes(out, rendered(name, content, kind=out.suffix.lower().removeprefix(".")))
    return source_hash(name, content)


def check(name: str, content: Content, module: ModuleType) -> None:
    """Refuse content of another kind, and the result of another probe."""
    if not isinstance(content, module.INPUT):
        wanted = "the result of a probe" if module.INPUT is Result else "a run"
        given = "the result of a probe" if isinstance(content, Result) else "a run"
        raise MechlabError(f"figure '{name}' draws {wanted}, but it was given {given}; give it {wanted}.")
    if isinstance(content, Result) and content.probe.replace("-", "_") != name.replace("-", "_"):
        raise MechlabError(
            f"figure '{name}' was given a result of probe '{content.probe}'; "
            f"ask for figure '{content.probe}'."
        )


def source_hash(name: str, content: Content) -> str:
    """Return the SHA-256 (64 hex digits) of what a figure draws, and of its name."""
    if isinstance(content, Result):
        drawn = {key: value for key, value in content.document().items() if key not in _UNDRAWN}
    else:
        drawn = {field: _digest(getattr(content, field)) for field in figure(name).DRAWS}
    return sha256_bytes(canonical_json({"figure": name.replace("-", "_"), "drawn": drawn}).encode())


def _digest(value: Any) -> Any:  # noqa: ANN401 - data of any shape
    """Return JSON that differs whenever the data do; arrays by dtype, shape and hash of their bytes."""
    if isinstance(value, np.ndarray):
        return [str(value.dtype), list(value.shape), sha256_bytes(np.ascontiguousarray(value).tobytes())]
    if is_dataclass(value):
        return {field.name: _digest(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return [[key, _digest(item)] for key, item in value.items()]  # the order of keys is drawn
    if isinstance(value, list | tuple):
        return [_digest(item) for item in value]
    if isinstance(value, float):
        return repr(value)  # not finite ones, too
    return plain(value)


def _choices() -> str:
    return ", ".join(SUFFIXES[:-1]) + f" or {SUFFIXES[-1]}"
