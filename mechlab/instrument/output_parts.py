"""The tensors in what a module returned, and the same value with some of them replaced.

Modules return a tensor, a tuple, a named tuple, a list, a mapping or a dataclass, nested at will. Only
floating-point tensors count: numbers of tokens, indices and masks are not what a site says.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

Change = Callable[[list[Tensor]], Sequence[Tensor]]


def tensors(value: Any, outputs: Sequence[int | str] = ()) -> list[Tensor]:  # noqa: ANN401 - any output
    """Return the floating-point tensors of a value in order, or those of some of its parts."""
    if not outputs:
        return list(_leaves(value))
    return [tensor for part in _places(value, outputs) for tensor in _leaves(_children(value)[part][1])]


def changed(value: Any, change: Change, outputs: Sequence[int | str] = ()) -> Any:  # noqa: ANN401 - any output
    """Return the value with its floating-point tensors replaced by what `change` makes of them, in order.

    `outputs` limits it to some parts of the value. The value itself is left as it is.
    """
    replacements = iter(change(tensors(value, outputs)))
    if not outputs:
        return _with(value, replacements)
    parts = [part for _, part in _children(value)]
    for place in _places(value, outputs):
        parts[place] = _with(parts[place], replacements)
    return _rebuilt(value, parts)


def _places(value: Any, outputs: Sequence[int | str]) -> list[int]:  # noqa: ANN401
    """Return the positions of some parts; ValueError for a part that the value does not have."""
    names = [name for name, _ in _children(value)]
    places = []
    for output in outputs:
        if isinstance(output, str) and output not in names:
            raise ValueError(f"a {type(value).__name__} has no part {output!r}; it has {names}")
        places.append(names.index(output) if isinstance(output, str) else output)
    if places and max(places) >= max(1, len(names)):
        raise ValueError(f"a {type(value).__name__} of {len(names)} parts has no part {max(places)}")
    return places


def _children(value: Any) -> list[tuple[str, Any]]:  # noqa: ANN401
    """Return the parts of a container with their names; a value that is none is its own only part."""
    if isinstance(value, Mapping):
        return [(str(name), part) for name, part in value.items()]
    if is_dataclass(value) and not isinstance(value, type):
        return [(entry.name, getattr(value, entry.name)) for entry in fields(value)]
    if isinstance(value, tuple | list):
        names = getattr(value, "_fields", [str(number) for number in range(len(value))])
        return list(zip(names, value, strict=True))
    return [("", value)]


def _is_container(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, Mapping | tuple | list) or (
        is_dataclass(value) and not isinstance(value, type | Tensor)
    )


def _leaves(value: Any) -> Iterator[Tensor]:  # noqa: ANN401
    if isinstance(value, Tensor):
        if value.is_floating_point() or value.is_complex():
            yield value
    elif _is_container(value):
        for _, part in _children(value):
            yield from _leaves(part)


def _with(value: Any, replacements: Iterator[Tensor]) -> Any:  # noqa: ANN401
    if isinstance(value, Tensor):
        return next(replacements) if value.is_floating_point() or value.is_complex() else value
    if not _is_container(value) or not any(True for _ in _leaves(value)):
        return value
    return _rebuilt(value, [_with(part, replacements) for _, part in _children(value)])


def _rebuilt(value: Any, parts: Sequence[Any]) -> Any:  # noqa: ANN401
    """Return a container of the same type with other parts."""
    if isinstance(value, Mapping):
        found: Any = copy.copy(value)
        for name, part in zip(value, parts, strict=True):
            found[name] = part
        return found
    if isinstance(value, tuple | list):
        kind = type(value)
        return kind(*parts) if hasattr(value, "_fields") else kind(parts)
    if is_dataclass(value):
        found = copy.copy(value)
        for entry, part in zip(fields(value), parts, strict=True):
            object.__setattr__(found, entry.name, part)  # also where it is frozen
        return found
    return parts[0]
