"""The form of a key: what its first rows fix for all later ones. Source: docs/recording.md, "Keys"."""

from dataclasses import dataclass
from typing import Any

from mechlab.files import canonical_json
from mechlab.recording.format import check_axes, kind_of, split_key
from mechlab.recording.quantity import Quantity

Kinds = tuple[tuple[str, ...], tuple[int, ...], str, str, dict[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What must not change between the rows of one key."""

    axes: tuple[str, ...]
    tail: tuple[int, ...]  # lengths of the axes after the first
    kind: str  # type of the values
    unit: str
    coordinates: dict[str, str]  # name -> type
    attributes: dict[str, Any]

    @property
    def kinds(self) -> Kinds:
        """All but the attributes."""
        return self.axes, self.tail, self.kind, self.unit, self.coordinates


def form_of(quantity: Quantity) -> Form:
    """Return the form of what is recorded under a key."""
    return Form(
        axes=quantity.axes,
        tail=quantity.shape[1:],
        kind=kind_of(quantity.dtype),
        unit=quantity.unit,
        coordinates={name: kind_of(values.dtype) for name, values in quantity.coordinates.items()},
        attributes=quantity.attributes,
    )


def fixed(
    key: str, known: Form | None, kinds: Kinds, attributes: dict[str, Any] | None, *, ndim: int
) -> Form:
    """Return the form that the first rows of a key fix; ValueError where later ones have another."""
    axes, tail, kind, unit, coordinates = kinds
    form = Form(
        axes=axes,
        tail=tail,
        kind=kind,
        unit=unit,
        coordinates=coordinates,
        attributes=known.attributes if known and attributes is None else attributes or {},
    )
    if known is None:
        check_form(key, form, ndim=ndim)
    elif form != known:
        raise ValueError(f"rows of {key!r} changed their form: {form} after {known}")
    return form


def check_form(key: str, form: Form, *, ndim: int) -> None:
    """Refuse keys, axes, names and shapes outside the format. Raises ValueError."""
    split_key(key)
    if ndim != len(form.axes) or ndim == 0 or 0 in form.tail:
        raise ValueError(
            f"{key!r}: axes {form.axes} for values of {ndim} dimensions with rows of shape {form.tail}"
        )
    check_axes(form.axes, tuple(form.coordinates))
    canonical_json(form.attributes)
