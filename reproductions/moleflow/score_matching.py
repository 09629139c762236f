"""Denoising score matching: the gradient of the log-density in the flow's input, taught by noise.

At x + sigma e the score, the gradient of an image's log-density in the flow's input, shall be -e / sigma
(Vincent 2011). "full" takes it by autograd. The notes' "sliced" form does so too and then multiplies it by
random directions, which saves nothing; here the product of the score with a direction is one directional
derivative (forward mode), and the score itself is never formed. Its mean over directions from N(0, I) is the
full loss (Song, Garg, Shi & Ermon 2020). Noise is added behind adapter and mixer, where the density is. The
notes name a clean penalty and give no formula: here it is the squared score of images without noise, in which
normals are stationary points. Source: notes 004 L3985, L4096 on.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import forward_ad

from mechlab.train.stage import Loss, Moment
from mechlab.train.view import View
from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.flowed import Flowed
from reproductions.moleflow.initialisation import generator
from reproductions.moleflow.losses import patch_nll

LogDensity = Callable[
    [Float[Tensor, "batch row column dim"]], Float[Tensor, " batch"]
]  # of a whole image, nats


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What is drawn for a batch: one sigma an image, and the directions of "sliced"."""

    sigma: Float[Tensor, "batch 1 1 1"]  # in units of the flow's input
    unit: Float[Tensor, "batch row column dim"]  # standard normal
    directions: Float[Tensor, "projection batch row column dim"]


def noise_for(
    config: MoLEFlowConfig,
    x: Float[Tensor, "batch row column dim"],
    *,
    task: int,
    moment: Moment,
    seed: int,
) -> Noise:
    """Return the noise of a batch; each image's depends on seed, task, epoch and the image alone."""
    count = config.dsm_projections if config.dsm == "sliced" else 0
    sigmas, units, directions = [], [], []
    for item in moment.items:
        draw = generator(seed, task=task, name=f"dsm.{moment.epoch}.{item}")
        sigmas.append(_sigma(config, float(torch.rand((), generator=draw))))
        units.append(torch.randn(x.shape[1:], generator=draw))
        directions.append(torch.randn(count, *x.shape[1:], generator=draw))
    return Noise(
        sigma=torch.tensor(sigmas).view(-1, 1, 1, 1).to(x),
        unit=torch.stack(units).to(x),
        directions=torch.stack(directions, dim=1).to(x),
    )


def _sigma(config: MoLEFlowConfig, uniform: float) -> float:
    low, high = config.dsm_sigma_min, config.dsm_sigma_max
    if config.dsm_noise == "fixed":
        return low
    if config.dsm_noise == "uniform":
        return low + (high - low) * uniform
    return math.exp(math.log(low) + (math.log(high) - math.log(low)) * uniform)


def score(
    log_density: LogDensity, x: Float[Tensor, "batch row column dim"]
) -> Float[Tensor, "batch row column dim"]:
    """Return the gradient of each image's log-density in its input; differentiable itself."""
    at = x if x.requires_grad else x.detach().requires_grad_()
    (found,) = torch.autograd.grad(log_density(at).sum(), at, create_graph=True)
    return found


def full_loss(
    log_density: LogDensity,
    x: Float[Tensor, "batch row column dim"],
    *,
    target: Float[Tensor, "batch row column dim"],
) -> Float[Tensor, ""]:
    """Return the mean over patches of the squared length of score - target."""
    return (score(log_density, x) - target).square().sum(dim=-1).mean()


def sliced_loss(
    log_density: LogDensity,
    x: Float[Tensor, "batch row column dim"],
    *,
    target: Float[Tensor, "batch row column dim"],
    directions: Float[Tensor, "projection batch row column dim"],
) -> Float[Tensor, ""]:
    """Return the mean over images and directions of the squared product with score - target, a patch.

    A direction is one of a whole image; its mean over directions is `full_loss`.
    """
    _load_forward_mode()
    patches = math.prod(x.shape[1:3])
    losses = []
    for direction in directions:
        with forward_ad.dual_level():
            slope = forward_ad.unpack_dual(log_density(forward_ad.make_dual(x, direction))).tangent
        away = slope - (target * direction).sum(dim=(1, 2, 3))
        losses.append(away.square().mean() / patches)
    return torch.stack(losses).mean()


@cache
def _load_forward_mode() -> None:
    """Load what forward mode needs, once, without torch's warning about its own use of a deprecated name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import_module("torch._decomp.decompositions_for_jvp")


def matching_loss(
    config: MoLEFlowConfig,
    log_density: LogDensity,
    x: Float[Tensor, "batch row column dim"],
    *,
    noise: Noise,
) -> Float[Tensor, ""]:
    """Return the score matching loss of a batch with its clean penalty, a patch."""

    def loss(at: Tensor, target: Tensor) -> Float[Tensor, ""]:
        if config.dsm == "full":
            return full_loss(log_density, at, target=target)
        return sliced_loss(log_density, at, target=target, directions=noise.directions)

    total = loss(x + noise.sigma * noise.unit, -noise.unit / noise.sigma)
    if config.dsm_clean_weight:
        total = total + config.dsm_clean_weight * loss(x, torch.zeros_like(x))
    return total


def nll_share(config: MoLEFlowConfig, *, epoch: int) -> float:
    """Return the weight of the NLL in an epoch: constant, or on a line from the first epoch to the last."""
    last = config.dsm_alpha if config.dsm_alpha_last is None else config.dsm_alpha_last
    done = min(1.0, epoch / max(1, config.epochs - 1))
    return config.dsm_alpha + (last - config.dsm_alpha) * done


@runtime_checkable
class Mapping(Protocol):
    """A system whose flow maps its input to the latent side."""

    config: MoLEFlowConfig
    seed: int

    def start_of(self, task: int) -> int:
        """Return the number that a task's draws depend on."""
        ...

    def to_latent(
        self, adapted: Float[Tensor, "batch row column dim"], *, task: int, view: View | None = ...
    ) -> Flowed:
        """Map the flow's input."""
        ...


def matched(system: Mapping, found: Loss, flowed: Flowed, *, task: int, moment: Moment) -> Loss:
    """Return alpha · the loss `found` of the NLL + (1 - alpha) · score matching; `found` where alpha is 1."""
    config = system.config
    alpha = nll_share(config, epoch=moment.epoch)
    if config.dsm == "none" or alpha == 1:
        return found

    def log_density(x: Float[Tensor, "batch row column dim"]) -> Float[Tensor, " batch"]:
        at = system.to_latent(x, task=task, view=moment.view)
        return -patch_nll(at.latent, at.log_det).sum(dim=(1, 2))

    drawn_as = system.start_of(task)
    noise = noise_for(config, flowed.adapted, task=drawn_as, moment=moment, seed=system.seed)
    score_loss = matching_loss(config, log_density, flowed.adapted, noise=noise)
    total = alpha * found.total + (1 - alpha) * score_loss if alpha else score_loss
    terms = {"score_matching": score_loss, "nll_share": torch.tensor(alpha)}
    return Loss(total=total, terms=found.terms | terms)
