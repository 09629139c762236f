"""What a task does to its features before the shared flow: the published WhiteningAdapter, and affine ones.

The published adapter standardises each patch over its channels, which is singular: what follows is a density
of the adapted features only. The affine ones are fitted to the task's training normals in closed form and do
not train, so they are invertible and leave training no incentive to shrink its input.
Source: notes 004 L849 on, MoLE-Flow facts 1.2.
"""

import math
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mechlab.errors import MechlabError

CHUNK = 16  # images; statistics are summed over chunks so that a memory map is never held whole


class Adapter(Protocol):
    """A module from features to adapted features, fitted before training."""

    def fit(self, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Set what depends on the training normals."""
        ...


class NoAdapter(nn.Module):
    """Features as they are."""

    def fit(self, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Do nothing."""

    def forward(self, x: Float[Tensor, "batch row column dim"]) -> Float[Tensor, "batch row column dim"]:
        """Return x."""
        return x


class WhiteningAdapter(nn.Module):
    """gamma · LayerNorm(x) + beta with gamma in (low, high) by sigmoid and |beta| < limit by tanh; it trains.

    Task 0 starts next to gamma = 1, later tasks at the middle of the range, as published. Without
    `standardises` it is gamma · x + beta, which keeps the length of a patch (notes 004 L2118).
    """

    def __init__(
        self, dim: int, *, task: int, low: float, high: float, limit: float, standardises: bool = True
    ) -> None:
        super().__init__()
        self.low, self.high, self.limit, self.standardises = low, high, limit, standardises
        self.raw_gamma = nn.Parameter(torch.full((dim,), -0.7 if task == 0 else 0.0))
        self.raw_beta = nn.Parameter(torch.zeros(dim))

    @property
    def gamma(self) -> Float[Tensor, " dim"]:
        """The factor of each channel."""
        return self.low + (self.high - self.low) * torch.sigmoid(self.raw_gamma)

    @property
    def beta(self) -> Float[Tensor, " dim"]:
        """The shift of each channel."""
        return self.limit * torch.tanh(self.raw_beta)

    def fit(self, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Do nothing: it has no statistics."""

    def distance_from_identity(self) -> Float[Tensor, ""]:
        """Return mean (gamma - 1)² + mean beta², the notes' regulariser on task 0."""
        return (self.gamma - 1).square().mean() + self.beta.square().mean()

    def forward(self, x: Float[Tensor, "batch row column dim"]) -> Float[Tensor, "batch row column dim"]:
        """Standardise each patch over its channels, then scale and shift."""
        patches = functional.layer_norm(x, x.shape[-1:]) if self.standardises else x
        return torch.addcmul(self.beta, patches, self.gamma)


class AffineAdapter(nn.Module):
    """(x - centre) · matrix, fitted to the task's training normals: unit covariance, no parameters.

    `centre` is the mean of each place of the grid (PaDiM, Defard et al. 2020), shrunk towards the mean over
    all places; `matrix` is the symmetric root of the pooled inverse covariance: of all whitening matrices the
    one that moves channels least (Kessy, Lewin & Strimmer 2018), so channels keep their meaning.
    """

    centre: Float[Tensor, "row column dim"]
    matrix: Float[Tensor, "dim dim"]

    def __init__(
        self, grid: tuple[int, int], dim: int, *, diagonal: bool, by_place: bool, ridge: float
    ) -> None:
        super().__init__()
        self.diagonal, self.by_place, self.ridge = diagonal, by_place, ridge
        self.register_buffer("centre", torch.zeros(*grid, dim))
        self.register_buffer("matrix", torch.eye(dim))

    def fit(self, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Set centre and matrix, in float64; a covariance that cannot be inverted is a MechlabError."""
        centre = np.zeros(features.shape[1:])
        for part in _chunks(features):
            centre += _double(part).sum(axis=0) / len(features)
        overall = centre.mean(axis=(0, 1))
        trust = self._trust(features, centre) if self.by_place else 0.0
        centre = overall + trust * (centre - overall)
        scatter = np.zeros((centre.shape[-1],) * 2)
        for part in _chunks(features):
            rows = (_double(part) - centre).reshape(-1, centre.shape[-1])
            scatter += rows.T @ rows
        covariance = scatter / math.prod(features.shape[:3])
        self.centre.copy_(torch.from_numpy(centre))
        self.matrix.copy_(
            torch.from_numpy(_inverse_root(covariance, diagonal=self.diagonal, ridge=self.ridge))
        )

    def _trust(
        self, features: Float[np.ndarray, "item row column dim"], centre: Float[np.ndarray, "row column dim"]
    ) -> float:
        """Return the weight of the places' own means: the share of their spread that is no sampling noise."""
        count, spread = len(features), float(((centre - centre.mean(axis=(0, 1))) ** 2).mean())
        if count < 2 or spread == 0:
            return 0.0
        squares = sum(float(((_double(part) - centre) ** 2).sum()) for part in _chunks(features))
        noise = squares / (count - 1) / centre.size / count  # variance of a place's mean
        return max(0.0, 1 - noise / spread)

    def log_det(self) -> float:
        """Return log |det matrix|: nats that a density of features has over one of adapted features."""
        return float(torch.linalg.slogdet(self.matrix.double()).logabsdet)

    def forward(self, x: Float[Tensor, "batch row column dim"]) -> Float[Tensor, "batch row column dim"]:
        """Centre and whiten."""
        return (x - self.centre) @ self.matrix


def _chunks(features: Float[np.ndarray, "item row column dim"]) -> list[np.ndarray]:
    return [features[start : start + CHUNK] for start in range(0, len(features), CHUNK)]


def _double(part: np.ndarray) -> Float[np.ndarray, "item row column dim"]:
    return np.asarray(part, dtype=np.float64)


def _inverse_root(
    covariance: Float[np.ndarray, "dim dim"], *, diagonal: bool, ridge: float
) -> Float[np.ndarray, "dim dim"]:
    """Return the symmetric inverse root of covariance + ridge · (mean variance) · I."""
    loaded = covariance + ridge * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    variances, directions = np.linalg.eigh(np.diag(np.diag(loaded)) if diagonal else loaded)
    if variances[0] <= np.finfo(np.float64).eps * max(variances[-1], np.finfo(np.float64).tiny):
        raise MechlabError(
            "the training features of a task do not vary in some direction, so they cannot be whitened; "
            "check that its images are not all the same, or raise adapter_ridge."
        )
    root: Float[np.ndarray, "dim dim"] = (directions / np.sqrt(variances)) @ directions.T
    return root
