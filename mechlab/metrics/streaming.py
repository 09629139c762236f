"""Pixel metrics of images that come in batches, in memory that does not grow with their number.

AUROC, AP, AUPRO and AUC-sPRO from counts in the bins of `mechlab.metrics.bins`: batches, and ranks, add up in
whatever order. Within a bin scores count as equal; what that costs is measured by `benchmarks pixel-metrics`.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from mechlab.metrics.bins import CELLS, Bins, ordered_bits
from mechlab.metrics.overlap import check_limit, limited_area
from mechlab.metrics.region import labelled
from mechlab.metrics.spro import Channel, saturated_weights, union

NAMES = ("pixels", "defective", "~overlap")


class PixelStream:
    """Counts of pixel scores. Add whole images; read metrics at any time."""

    def __init__(self, *, cells: int = CELLS) -> None:
        """Begin empty, with at most so many bins."""
        self.bins = Bins(NAMES, cells)
        self.regions = 0  # channels, or regions of masks

    def add(
        self, maps: Float[np.ndarray, "item height width"], masks: Bool[np.ndarray, "item height width"]
    ) -> None:
        """Count whole images; a region is an 8-connected component of one image's mask.

        Raises ValueError for unequal shapes and for NaN; images before the faulty one are counted.
        """
        if maps.shape != masks.shape:
            raise ValueError(
                f"maps of shape {maps.shape} but masks of shape {masks.shape}; they must be equal"
            )
        for values, mask in zip(maps, masks, strict=True):
            cells = self._pixels(values, mask)
            regions, count = labelled(mask[None])
            of_pixel = regions[mask[None]] - 1
            sizes = np.bincount(of_pixel, minlength=count)
            self.bins.add("~overlap", cells[mask], 1.0 / sizes[of_pixel])
            self.regions += count

    def add_channels(
        self, maps: Float[np.ndarray, "item height width"], channels: Sequence[Sequence[Channel]]
    ) -> None:
        """Count whole images whose defects are annotated one by one; a normal image has no channel."""
        for values, own in zip(maps, channels, strict=True):
            cells = self._pixels(values, union(own, values.shape))
            for channel in own:
                weights = saturated_weights(values[channel.mask], channel.saturation)
                self.bins.add("~overlap", cells[channel.mask], weights)
            self.regions += len(own)

    def _pixels(self, values: np.ndarray, mask: np.ndarray) -> Int[np.ndarray, "height width"]:
        cells = self.bins.cells_of(ordered_bits(values.reshape(-1))).reshape(values.shape)
        self.bins.add("pixels", cells.reshape(-1))
        self.bins.add("defective", cells[mask])
        return cells

    def merged(self, other: "PixelStream") -> "PixelStream":
        """Return the counts of both: of two batches, or of two ranks."""
        found = PixelStream(cells=self.bins.cells)
        found.bins = self.bins.merged(other.bins)
        found.regions = self.regions + other.regions
        return found

    def auroc(self) -> float:
        """Return the pixel AUROC; scores of one bin count as ties. ValueError without both kinds."""
        defective, normal = self._kinds()
        below = np.cumsum(normal) - normal
        won = defective @ (below + 0.5 * normal)
        return float(won / (defective.sum() * normal.sum()))

    def average_precision(self) -> float:
        """Return the pixel AP; scores of one bin count as ties. ValueError without both kinds."""
        defective, normal = (kind[::-1] for kind in self._kinds())
        hits = np.cumsum(defective)
        called = np.maximum(hits + np.cumsum(normal), 1.0)
        return float((defective / hits[-1]) @ (hits / called))

    def area(self, limit: int | float) -> float:
        """Return AUPRO to a rate of `limit`, or AUC-sPRO where images came with channels.

        Raises ValueError for a limit outside (0, 1] and without defective or normal pixels.
        """
        check_limit(limit)
        _, normal = self._kinds()
        rate = np.append(0.0, np.cumsum(normal[::-1]))
        overlap = np.append(0.0, np.cumsum(self.bins.ascending("~overlap")[::-1]))
        return limited_area(rate / rate[-1], overlap / self.regions, limit=limit)

    def _kinds(self) -> tuple[Float[np.ndarray, " cell"], Float[np.ndarray, " cell"]]:
        defective = self.bins.ascending("defective").astype(np.float64)
        normal = self.bins.ascending("pixels") - defective
        if not defective.sum() or not normal.sum():
            raise ValueError("a pixel metric needs at least one defective and one normal pixel")
        return defective, normal
