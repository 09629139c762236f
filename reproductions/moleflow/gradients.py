"""Gradients of a task's likelihood in what tasks share, taken when the task has ended."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reproductions.moleflow.losses import patch_nll


def chosen(count: int, *, limit: int) -> Int[np.ndarray, " item"]:
    """Return at most `limit` of `count` images, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, limit)).round().astype(np.int64))


@contextmanager
def resting(system: nn.Module) -> Iterator[None]:
    """Evaluate the system, without dropout, until the block ends."""
    is_training = system.training
    system.eval()
    try:
        yield
    finally:
        system.train(is_training)


@contextmanager
def at_rest(system: nn.Module, names: Sequence[str]) -> Iterator[dict[str, nn.Parameter]]:
    """Evaluate the system with gradients in the named parameters alone; all is put back at the end."""
    parameters = dict(system.named_parameters())
    flags = {name: parameter.requires_grad for name, parameter in parameters.items()}
    try:
        with resting(system):
            for name, parameter in parameters.items():
                parameter.requires_grad_(name in names)
            yield {name: parameters[name] for name in names}
    finally:
        for name, parameter in parameters.items():
            parameter.requires_grad_(flags[name])


def likelihood_gradients(
    system: nn.Module,
    features: Float[np.ndarray, "item row column dim"],
    *,
    task: int,
    names: Sequence[str],
    size: int,
) -> Iterator[dict[str, Tensor]]:
    """Give the gradient of the mean NLL of each batch of `size` images, nats a patch, by parameter name.

    A parameter that the task's expert does not use has none.
    """
    with at_rest(system, names) as parameters:
        device = next(system.parameters()).device
        for start in range(0, len(features), size):
            batch = torch.from_numpy(np.array(features[start : start + size])).to(device)
            flowed = system(batch, task=task)
            loss = patch_nll(flowed.latent, flowed.log_det).mean()
            found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
            yield {
                name: gradient
                for name, gradient in zip(parameters, found, strict=True)
                if gradient is not None
            }
