"""W2 to N(0, 1) of patches that come in images: in one pass, without the bias of few images, with its null.

For one direction with distribution F, W2² is E[x²] + 1 - 2 ∫ φ(Φ⁻¹(F(t))) dt. Pooled patches of n images are
off N(0, 1) by chance, the more the patches of an image agree; the jackknife over images takes that bias (of
order 1/n) out. Sources: Villani 2003 (W2 in one dimension); Quenouille 1956 (jackknife).
"""

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

_GRID = np.sinh(np.linspace(-5.0, 5.0, 1025))  # edges of cells, finest at 0; beyond ±74 counts as ±74
_CELLS = len(_GRID) - 1
_WIDTHS = (np.diff(_GRID)[:-1] + np.diff(_GRID)[1:]) / 2  # trapezoid rule at the inner edges
_SIMULATED_PATCHES = 196  # at most, and 8 dimensions: the simulated null is a little wide
_SIMULATED_DIMS = 8


class ImageDistances:
    """Sums over the patches of each image that W2 to N(0, 1) needs, a direction; all images of one size."""

    def __init__(self, *, images: int, directions: int) -> None:
        """Make room for `images` images. Raises ValueError for fewer than three."""
        if images < 3 or directions < 1:
            raise ValueError(f"a jackknife needs 3 images and a direction, not {images} and {directions}")
        self._counts = np.zeros((images, directions, _CELLS), dtype=np.uint16)  # 2 kB an image and direction
        self._sums = np.zeros((images, directions))
        self._squares = np.zeros((images, directions))
        self.patches = 0

    def update(self, start: int, values: Float[np.ndarray, "item patch direction"]) -> None:
        """Take in whole images, the first of them as number `start`.

        Raises ValueError for a value not finite and for more than 65535 patches.
        """
        if not np.isfinite(values).all():
            raise ValueError("latents must be finite")
        if values.shape[1] > np.iinfo(self._counts.dtype).max:
            raise ValueError(
                f"{values.shape[1]} patches an image are more than can be counted; take every other"
            )
        items, self.patches, directions = values.shape
        place = np.clip(np.searchsorted(_GRID, values) - 1, 0, _CELLS - 1)  # item, patch, direction
        first = np.arange(items)[:, None, None] * directions + np.arange(directions)
        flat = np.bincount((first * _CELLS + place).ravel(), minlength=items * directions * _CELLS)
        own = slice(start, start + items)
        self._counts[own] = flat.reshape(items, directions, _CELLS)
        self._sums[own] = values.sum(axis=1, dtype=np.float64)
        self._squares[own] = np.square(values, dtype=np.float64).sum(axis=1)

    def squared(self) -> Float[np.ndarray, " direction"]:
        """Return W2² of the pooled patches to N(0, 1), each direction; biased upwards for few images."""
        total = self._counts.sum(axis=0, dtype=np.int64)
        return _squared(total, self._squares.sum(axis=0), len(self._counts) * self.patches)

    def jackknife(self) -> Float[np.ndarray, "item direction"]:
        """Return each image's jackknife value of W2²; their mean has no bias of order 1 / images.

        The mean can be a little negative where latents are normal; it is left so.
        """
        n, whole = len(self._counts), self.squared()
        total, square = self._counts.sum(axis=0, dtype=np.int64), self._squares.sum(axis=0)
        values = np.empty_like(self._squares)
        for image in range(n):
            rest = _squared(
                total - self._counts[image], square - self._squares[image], (n - 1) * self.patches
            )
            values[image] = n * whole - (n - 1) * rest
        return values

    def correlation(self) -> Float[np.ndarray, " direction"]:
        """Return the share of the variance that the patches of an image have in common, in [0, 1]."""
        means = self._sums / self.patches
        within = np.mean(self._squares / self.patches - means**2, axis=0)
        within *= self.patches / max(1, self.patches - 1)
        between = np.maximum(means.var(axis=0, ddof=1) - within / self.patches, 0.0)
        total = within + between
        return np.where(total > 0, between / np.where(total > 0, total, 1.0), 0.0)


def simulated_null(
    *, images: int, patches: int, correlation: float, draws: int = 40, seed: int = 0
) -> tuple[float, float]:
    """Return mean and standard deviation of jackknifed W2² when each patch is exactly N(0, 1).

    The patches of an image share a component of variance `correlation`.
    """
    rng = np.random.default_rng(seed)
    shape = (images, min(patches, _SIMULATED_PATCHES), _SIMULATED_DIMS)
    found = []
    for _ in range(draws):
        shared = rng.standard_normal((images, 1, _SIMULATED_DIMS))
        values = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.standard_normal(shape)
        distances = ImageDistances(images=images, directions=_SIMULATED_DIMS)
        distances.update(0, values)
        found.append(float(distances.jackknife().mean()))
    return float(np.mean(found)), float(np.std(found, ddof=1))


def _squared(counts: np.ndarray, squares: np.ndarray, n: int) -> np.ndarray:
    """Return W2² of n binned values a direction, whose squares sum to `squares`."""
    edge = ndtri(np.cumsum(counts, axis=1)[:, :-1] / n)  # ±inf below the smallest and above the largest value
    density = np.exp(-np.square(edge) / 2) / np.sqrt(2 * np.pi)
    return np.asarray(squares / n + 1.0 - 2.0 * (density @ _WIDTHS))
