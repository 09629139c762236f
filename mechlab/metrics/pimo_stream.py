"""AUPIMO of images that come in batches: normal pixels as counts, defective ones as four bytes each.

Rates come from the bins of `mechlab.metrics.bins`, so batches and ranks add up in whatever order. Within a
bin scores count as equal.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt32

from mechlab.metrics.bins import CELLS, Bins, ordered_bits
from mechlab.metrics.pimo import LOWER, UPPER, check_bounds, image_area


class PimoStream:
    """What AUPIMO needs of images. Add whole images; read scores at any time."""

    def __init__(self, *, cells: int = CELLS) -> None:
        """Begin empty, with at most so many bins."""
        self.bins = Bins(("normal",), cells)
        self.defects: list[UInt32[np.ndarray, " pixel"]] = []  # of each defective image, as ordered bits

    def add(
        self, maps: Float[np.ndarray, "item height width"], masks: Bool[np.ndarray, "item height width"]
    ) -> None:
        """Count whole images; ValueError for unequal shapes and NaN."""
        if maps.shape != masks.shape:
            raise ValueError(
                f"maps of shape {maps.shape} but masks of shape {masks.shape}; they must be equal"
            )
        for values, mask in zip(maps, masks, strict=True):
            bits = ordered_bits(values[mask] if mask.any() else values.reshape(-1))
            cells = self.bins.cells_of(bits)
            if mask.any():
                self.defects.append(bits)
            else:
                self.bins.add("normal", cells)

    def merged(self, other: "PimoStream") -> "PimoStream":
        """Return the images of both, those of `self` first."""
        found = PimoStream(cells=self.bins.cells)
        found.bins = self.bins.merged(other.bins)
        found.defects = [*self.defects, *other.defects]
        return found

    def aupimo(self, *, lower: float = LOWER, upper: float = UPPER) -> Float[np.ndarray, " defective"]:
        """Return one score a defective image, in the order in which they came; errors as `pimo.aupimo`."""
        normal = self.bins.ascending("normal")
        check_bounds(int(normal.sum()), lower=lower, upper=upper)
        if not self.defects:
            raise ValueError("AUPIMO needs at least one defective item")
        thresholds = np.flatnonzero(normal)[::-1]
        rates = np.cumsum(normal[thresholds]) / normal.sum()
        places = [self.bins.place_of(bits).astype(np.float64) for bits in self.defects]
        return np.array([image_area(one, thresholds.astype(np.float64), rates, lower=lower, upper=upper)
                         for one in places])  # fmt: skip
