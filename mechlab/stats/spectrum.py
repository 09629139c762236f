"""In how many directions does a matrix act? Singular values, energy rank, and the rank of chance.

Energy of a direction is its squared singular value. Sources: Roy & Vetterli 2007 (effective rank); Rudelson &
Vershynin 2007 (stable rank); Marchenko & Pastur 1967 (spectrum of chance).
"""

import numpy as np
from jaxtyping import Float, Int
from numpy.linalg import eigvalsh, qr, svd

Matrix = Float[np.ndarray, "fan_out fan_in"]
Spectrum = Float[np.ndarray, " direction"]  # singular values, in any order


def singular_values(delta: Matrix) -> Spectrum:
    """Return all singular values, descending, in double precision, through the smaller Gram matrix.

    Values below about 1e-8 of the largest are rounding. Raises ValueError when a value is not finite.
    """
    if not np.isfinite(delta).all():
        raise ValueError("a spectrum needs finite values")
    wide = delta.astype(np.float64)
    gram = wide @ wide.T if wide.shape[0] <= wide.shape[1] else wide.T @ wide
    return np.asarray(np.sqrt(np.maximum(eigvalsh(gram)[::-1], 0.0)))


def lora_spectrum(up: Float[np.ndarray, "fan_out rank"], down: Float[np.ndarray, "rank fan_in"]) -> Spectrum:
    """Return the singular values of `up @ down`, descending, without forming the product.

    There are min(rank, fan_out, fan_in) of them; a scale of the update multiplies them all.
    Raises ValueError when a value is not finite.
    """
    if not (np.isfinite(up).all() and np.isfinite(down).all()):
        raise ValueError("a spectrum needs finite values")
    left = qr(up.astype(np.float64)).R
    right = qr(down.astype(np.float64).T).R
    return np.asarray(svd(left @ right.T, compute_uv=False))


def energy_rank(delta: Matrix | Spectrum, *, energy: float = 0.95) -> int:
    """Return the smallest number of directions that together hold the share `energy` of ||delta||².

    `delta` is a matrix or its singular values. Neither scale nor rotation changes the number.
    Raises ValueError for a share outside (0, 1] and for a matrix of zeros.
    """
    if not 0 < energy <= 1:
        raise ValueError(f"energy {energy} is no share in (0, 1]")
    shares = _shares(delta)
    missing = 1.0 - np.cumsum(shares)
    return int(np.argmax(missing <= 1.0 - energy + 1e-12)) + 1


def energy_at(delta: Matrix | Spectrum, k: int) -> float:
    """Return the share of ||delta||² in the k strongest directions, in [0, 1]; 1 from full rank on.

    `delta` is a matrix or its singular values. Raises ValueError for k below 0 and for a matrix of zeros.
    """
    if k < 0:
        raise ValueError(f"k {k} is no number of directions")
    return min(1.0, float(_shares(delta)[:k].sum()))


def effective_rank(delta: Matrix | Spectrum) -> float:
    """Return exp of the entropy of the normalised singular values: r for r equal ones (Roy & Vetterli 2007).

    `delta` is a matrix or its singular values. Raises ValueError for a matrix of zeros.
    """
    share = np.sqrt(_shares(delta))
    share = share[share > 0] / share.sum()
    return float(np.exp(-(share @ np.log(share))))


def stable_rank(delta: Matrix | Spectrum) -> float:
    """Return the energy of all directions over that of the strongest: ||delta||_F² / ||delta||_2².

    `delta` is a matrix or its singular values. Raises ValueError for a matrix of zeros.
    """
    return float(1.0 / _shares(delta)[0])


def random_energy_rank(
    shape: tuple[int, int], *, energy: float = 0.95, draws: int = 20, seed: int, rank: int | None = None
) -> Int[np.ndarray, " draw"]:
    """Return the energy rank of `draws` random matrices of a shape: the null beside `energy_rank`.

    Entries are independent and normal; their scale cancels, so this is a random change of the same norm.
    With `rank`, each is a product of two such factors, the null of a change that is low-rank by construction.
    Raises ValueError for a shape, rank or number of draws below 1.
    """
    if min(shape) < 1 or draws < 1 or (rank is not None and rank < 1):
        raise ValueError(
            f"no random matrices of shape {shape}, rank {rank}, {draws} draws; all must be at least 1"
        )
    rng = np.random.default_rng(seed)
    ranks = np.empty(draws, np.int64)
    for draw in range(draws):
        if rank is None:
            values = singular_values(rng.standard_normal(shape))
        else:
            values = lora_spectrum(
                rng.standard_normal((shape[0], rank)), rng.standard_normal((rank, shape[1]))
            )
        ranks[draw] = energy_rank(values, energy=energy)
    return ranks


def _shares(delta: np.ndarray) -> np.ndarray:
    """Return each direction's share of the energy, descending."""
    values = singular_values(delta) if delta.ndim == 2 else np.sort(delta.astype(np.float64))[::-1]
    largest = values[0] if values.size else 0.0
    if not 0 < largest < np.inf:
        raise ValueError("a matrix of zeros (or of values not finite) has no energy to share out")
    squares = (values / largest) ** 2
    return np.asarray(squares / squares.sum())
