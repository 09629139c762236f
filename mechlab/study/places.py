"""Latents as lists of places: whatever the axes of an image's values are called, one vector a place.

A recording of mechlab's own runs has (item, row, column, dim), one of a foreign model may have (item, dim) or
(item, channel, height, width).
"""

import numpy as np
from jaxtyping import Float, Shaped

CHANNELS = ("dim", "channel")


def channel_axis(axes: tuple[str, ...]) -> int | None:
    """Return where the channels stand; None unless items come first and one axis is channels."""
    found = [at for at, axis in enumerate(axes) if axis in CHANNELS]
    return found[0] if axes[:1] == ("item",) and len(found) == 1 else None


def by_place(
    values: Shaped[np.ndarray, "item *axes"], *, channel: int
) -> Float[np.ndarray, "item place dim"]:
    """Return values in float64 with the channels last and all axes between flattened to places."""
    last = np.moveaxis(values, channel, -1).astype(np.float64)
    return last.reshape(len(last), -1, last.shape[-1])  # item, row · column, dim
