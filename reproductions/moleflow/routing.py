"""Which task an image belongs to, from the mean of its backbone features (without position).

Mahalanobis distance to each task's training images with the Ledoit-Wolf shrunk covariance, or Euclidean
distance to their mean. The published router adds 1e-5 to a covariance of a rank below its size, so the null
space dominates its distances; shrinkage is the correction. Two terms may join a distance: the log-det of a
task's covariance, which the Gaussian decision rule has and the published router lacks, and the entropy of the
latents that a task's expert gives the image.
Source: notes 004 L1373, L7002; facts 1.3; Ledoit & Wolf 2004.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

TERMS = ("log_det", "entropy")  # asked for by name as well
ROUTERS = ("mahalanobis", "euclidean", *TERMS)  # the oracle takes the true task id and has no distances
SPREAD = 1e-12  # variance below which a channel's entropy is that of rounding


def image_means(features: Float[np.ndarray, "item row column dim"]) -> Float[np.ndarray, "item dim"]:
    """Return the mean feature of each image, in float64; reads one image at a time."""
    return np.stack([np.asarray(item, dtype=np.float64).mean(axis=(0, 1)) for item in features])


def shrunk_covariance(samples: Float[np.ndarray, "item dim"]) -> tuple[Float[np.ndarray, "dim dim"], float]:
    """Return (1 - d) S + d · mean(diag S) · I and d, the Ledoit-Wolf weight in closed form.

    d = min(1, b² / a²), a² = ‖S - m I‖² and b² = mean over items of ‖x xᵀ - S‖² / n.
    One item, or items without spread, give d = 1.
    """
    count, dim = samples.shape
    centred = samples - samples.mean(axis=0)
    covariance = centred.T @ centred / count
    middle = np.trace(covariance) / dim
    from_target = (covariance**2).sum() - dim * middle**2
    from_sample = ((centred**2).sum(axis=1) ** 2).sum() / count - (covariance**2).sum()
    weight = 1.0 if from_target <= 0 else float(min(1.0, max(0.0, from_sample / count / from_target)))
    return (1 - weight) * covariance + weight * middle * np.eye(dim), weight


def latent_entropy(latent: Float[Tensor, "batch row column dim"]) -> Float[Tensor, " batch"]:
    """Return the entropy of a Gaussian with the variance of an image's latents, nats, mean over channels.

    ½ log(2πe) = 1.419 where the patches of the image are spread like the prior; more under an expert to whom
    they are strange.
    """
    variance = latent.double().flatten(1, 2).var(dim=1, correction=0).clamp_min(SPREAD)
    return 0.5 * (variance.log() + math.log(2 * math.pi * math.e)).mean(dim=-1)


class TaskStatistics(nn.Module):
    """Mean and inverse shrunk covariance of one task's image means: float64 buffers, nothing trains."""

    count: Float[Tensor, ""]
    mean: Float[Tensor, " dim"]
    precision: Float[Tensor, "dim dim"]

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(dim, dtype=torch.float64))
        self.register_buffer("precision", torch.eye(dim, dtype=torch.float64))

    def fit(self, features: Float[np.ndarray, "item row column dim"]) -> None:
        """Set the statistics from the task's training normals."""
        means = image_means(features)
        covariance, _ = shrunk_covariance(means)
        # A floor at rounding: one image, or identical ones, have no spread to divide by.
        floor = np.finfo(np.float64).eps * max(1.0, float((means**2).mean()))
        precision = np.linalg.inv(covariance + floor * np.eye(len(covariance)))
        self.count.fill_(len(means))
        self.mean.copy_(torch.from_numpy(means.mean(axis=0)))
        self.precision.copy_(torch.from_numpy((precision + precision.T) / 2))

    def distance(self, means: Float[Tensor, "batch dim"], *, router: str) -> Float[Tensor, " batch"]:
        """Return the distance of each image; infinite before `fit`. "euclidean" has the features' unit.

        "log_det" is the same for every image: log det of the task's shrunk covariance, nats.
        """
        if router == "log_det":
            log_det = -torch.linalg.slogdet(self.precision).logabsdet
            return torch.where(self.count > 0, log_det, torch.inf).expand(len(means))
        away = means.double() - self.mean
        spread = away @ self.precision if router == "mahalanobis" else away
        distance = (spread * away).sum(dim=-1).clamp_min(0).sqrt()
        return torch.where(self.count > 0, distance, torch.inf)
