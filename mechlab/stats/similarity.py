"""How alike are two representations of the same inputs? Debiased linear CKA in one pass; principal angles.

Sources: Kornblith et al. 2019 (CKA); Song et al. 2012 (HSIC_1, the estimator without bias); Murphy,
Zylberberg & Fyshe 2024, arXiv:2405.01012 (why the biased form misleads); Björck & Golub 1973 (angles).
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from scipy.linalg import orth


class CKA:
    """Debiased linear CKA of two representations that arrive chunk by chunk; memory grows with dim², not n.

    Rows must be the same inputs in the same order through both. Patches of one image are no independent
    rows: compare over images, or over runs, when an interval is wanted. Both sides are shifted by the mean of
    their first chunk, which the estimator does not notice and rounding does. All sums are double precision.
    """

    def __init__(self) -> None:
        """Start with no rows."""
        self.rows = 0
        self._shifts: tuple[np.ndarray, np.ndarray] | None = None
        self._pairs: tuple[_Pair, _Pair, _Pair] | None = None

    def update(self, x: Float[np.ndarray, "sample dim"], y: Float[np.ndarray, "sample other"]) -> None:
        """Take in the next rows. Raises ValueError for unequal rows, a changed width or values not finite."""
        if x.shape[0] != y.shape[0]:
            raise ValueError(f"{x.shape[0]} rows of x but {y.shape[0]} of y; both need the same inputs")
        if not x.shape[0]:
            return
        if self._shifts is None or self._pairs is None:
            self._shifts = _mean(x), _mean(y)
            widths = x.shape[1], y.shape[1]
            self._pairs = _Pair.empty(*widths), _Pair.empty(*widths[:1] * 2), _Pair.empty(*widths[1:] * 2)
        if (x.shape[1], y.shape[1]) != self._pairs[0].cross.shape:
            raise ValueError(
                f"rows of widths {x.shape[1]} and {y.shape[1]} after {self._pairs[0].cross.shape}"
            )
        a, b = x.astype(np.float64) - self._shifts[0], y.astype(np.float64) - self._shifts[1]
        q, r = _squares(a), _squares(b)
        if not (np.isfinite(q).all() and np.isfinite(r).all()):
            raise ValueError("representations must be finite")
        for pair, one, two in zip(
            self._pairs, ((a, q), (a, q), (b, r)), ((b, r), (a, q), (b, r)), strict=True
        ):
            pair.add(*one, *two)
        self.rows += x.shape[0]

    def value(self) -> float:
        """Return CKA: 1 for equal up to rotation and scale, about 0 (either sign) for independent ones.

        Raises ValueError for fewer than four rows and for a representation without spread between rows.
        """
        if self.rows < 4 or self._pairs is None:
            raise ValueError(f"debiased CKA needs at least four rows, not {self.rows}")
        both, first, second = (pair.hsic(self.rows) for pair in self._pairs)
        return _ratio(both, first, second)


def cka_debiased(x: Float[np.ndarray, "sample dim"], y: Float[np.ndarray, "sample other"]) -> float:
    """Return debiased linear CKA of two representations in memory, through the smaller of n² and dim² terms.

    Raises ValueError as `CKA` does.
    """
    if x.shape[0] != y.shape[0]:
        raise ValueError(f"{x.shape[0]} rows of x but {y.shape[0]} of y; both need the same inputs")
    if x.shape[0] >= min(x.shape[1], y.shape[1]):
        stream = CKA()
        stream.update(x, y)
        return stream.value()
    if x.shape[0] < 4:
        raise ValueError(f"debiased CKA needs at least four rows, not {x.shape[0]}")
    k, m = _gram(x), _gram(y)
    return _ratio(_hsic_of_grams(k, m), _hsic_of_grams(k, k), _hsic_of_grams(m, m))


def principal_angles(
    a: Float[np.ndarray, "dim rank"], b: Float[np.ndarray, "dim other"]
) -> Float[np.ndarray, " angle"]:
    """Return the principal angles between the column spaces of `a` and `b`, in radians, ascending.

    0 is a shared direction, pi/2 an orthogonal one; there are as many as the smaller space has dimensions.
    Columns need not be orthogonal. Sines and cosines are both taken, so small and right angles alike are
    exact to rounding. Raises ValueError for different heights, values not finite or a space of zeros.
    """
    if a.shape[0] != b.shape[0]:
        raise ValueError(f"columns of height {a.shape[0]} and {b.shape[0]}; both need the same space")
    large, small = orth(a.astype(np.float64)), orth(b.astype(np.float64))
    if not large.size or not small.size:
        raise ValueError("a space of zeros has no directions")
    if large.shape[1] < small.shape[1]:
        large, small = small, large
    inside = large.T @ small
    cosines = np.linalg.svd(inside, compute_uv=False)  # descending
    sines = np.linalg.svd(small - large @ inside, compute_uv=False)[::-1]  # ascending
    return np.asarray(np.arctan2(sines, cosines))


@dataclass(slots=True)
class _Pair:
    """The sums over rows that HSIC_1 of two representations needs; a row of each is a_i, b_i."""

    cross: np.ndarray  # sum of a_i b_i^T
    sum_a: np.ndarray
    sum_b: np.ndarray
    a_by_b: np.ndarray  # sum of a_i |b_i|^2
    b_by_a: np.ndarray  # sum of b_i |a_i|^2
    square_a: float = field(default=0.0)
    square_b: float = field(default=0.0)
    squares: float = field(default=0.0)  # sum of |a_i|^2 |b_i|^2

    @classmethod
    def empty(cls, a: int, b: int) -> "_Pair":
        """Return the sums over no rows, for widths a and b."""
        return cls(np.zeros((a, b)), np.zeros(a), np.zeros(b), np.zeros(a), np.zeros(b))

    def add(self, a: np.ndarray, q: np.ndarray, b: np.ndarray, r: np.ndarray) -> None:
        """Take in rows with their squared norms q (of a) and r (of b)."""
        self.cross += a.T @ b
        self.sum_a += a.sum(axis=0)
        self.sum_b += b.sum(axis=0)
        self.a_by_b += r @ a
        self.b_by_a += q @ b
        self.square_a += float(q.sum())
        self.square_b += float(r.sum())
        self.squares += float(q @ r)

    def hsic(self, n: int) -> float:
        """Return HSIC_1 over n rows, written with row sums only (the diagonal of both Grams left out)."""
        product = float(np.vdot(self.cross, self.cross)) - self.squares
        totals = (float(self.sum_a @ self.sum_a) - self.square_a) * (
            float(self.sum_b @ self.sum_b) - self.square_b
        )
        mixed = float(
            self.sum_a @ self.cross @ self.sum_b - self.sum_a @ self.a_by_b - self.sum_b @ self.b_by_a
        )
        rest = 2 * (mixed + self.squares) / (n - 2)
        return (product + totals / ((n - 1) * (n - 2)) - rest) / (n * (n - 3))


def _ratio(both: float, first: float, second: float) -> float:
    """Return the normalised similarity, or raise ValueError where the norm does not exist."""
    if not (first > 0 and second > 0):
        raise ValueError("CKA is undefined: a representation has no spread between its rows")
    return float(both / (np.sqrt(first) * np.sqrt(second)))


def _mean(x: np.ndarray) -> np.ndarray:
    return np.asarray(x.mean(axis=0, dtype=np.float64))


def _squares(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.einsum("sd,sd->s", x, x))


def _gram(x: np.ndarray) -> np.ndarray:
    """Return the Gram matrix of centred rows with its diagonal set to 0."""
    centred = x.astype(np.float64) - _mean(x)
    gram: np.ndarray = centred @ centred.T
    np.fill_diagonal(gram, 0.0)
    return gram


def _hsic_of_grams(k: np.ndarray, m: np.ndarray) -> float:
    """Return HSIC_1 of two Gram matrices without diagonals."""
    n = len(k)
    k_rows, m_rows = k.sum(axis=1), m.sum(axis=1)
    totals = float(k_rows.sum() * m_rows.sum()) / ((n - 1) * (n - 2))
    return (float(np.vdot(k, m)) + totals - 2 * float(k_rows @ m_rows) / (n - 2)) / (n * (n - 3))
