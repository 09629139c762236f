"""How many values of a key are infinite or NaN in float16: what a plain copy to fp16 could not hold.

Counted when a recording is packed, since every value passes there and no loop waits. Keys with a coordinate
`scale` have their own counts, taken when they were recorded. Source: docs/recording.md, "Types".
"""

import logging
from collections.abc import Mapping

import h5py
import numpy as np
from jaxtyping import Shaped

ATTRIBUTE = "not_finite"
_INFINITE, _NEGATIVE = 0x7C00, 0xFC00  # bits of +inf and -inf; those of NaN lie above


def count_not_finite(values: Shaped[np.ndarray, "*shape"]) -> int:
    """Return the number of values that are infinite or NaN; ValueError unless they are float16."""
    if values.dtype != np.float16:
        raise ValueError(f"values are {values.dtype}, not float16")
    if not values.size:
        return 0
    # Two passes over integers: isfinite of halves takes forty times as long.
    if values.view(np.int16).max() < _INFINITE and values.view(np.uint16).max() < _NEGATIVE:
        return 0
    return int(np.count_nonzero(~np.isfinite(values)))


def put_not_finite(data: h5py.Dataset, number: int) -> None:
    """Write the count beside the values."""
    data.attrs[ATTRIBUTE] = number


def get_not_finite(data: h5py.Dataset) -> int | None:
    """Return the count; None where nobody counted, as in segments."""
    value = data.attrs.get(ATTRIBUTE)
    return None if value is None else int(value)


def warn(found: Mapping[str, int]) -> None:
    """Say once which keys hold values that are not finite in float16; `found` are the counts of all keys."""
    lost = {key: number for key, number in found.items() if number}
    if not lost:
        return
    worst = max(lost, key=lost.__getitem__)
    others = "" if len(lost) == 1 else f", and some of {len(lost) - 1} other key{'s' * (len(lost) > 2)},"
    logging.getLogger(__name__).warning(
        "%d values of '%s'%s are infinite or NaN in float16, which ends at 65504; record them as float32, or "
        "look for what makes them so large.",
        lost[worst],
        worst,
        others,
    )
