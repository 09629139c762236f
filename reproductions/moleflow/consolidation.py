"""Elastic weight consolidation: what tasks share is pulled back to where earlier tasks left it.

The pull on a number is the empirical Fisher information of the task that left it there: the mean over its
training normals of the squared gradient of an image's NLL, in nats a patch.
Source: Kirkpatrick et al. 2017, one penalty a task; notes 004 L1451, L4375 (named, and never called there).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from reproductions.moleflow.gradients import chosen, likelihood_gradients
from reproductions.moleflow.memory import Memory


def remember_weights(
    memory: Memory,
    system: nn.Module,
    features: Float[np.ndarray, "item row column dim"],
    *,
    task: int,
    names: Sequence[str],
    images: int,
) -> None:
    """Keep each shared tensor and its Fisher information: `anchor.<task>.<name>`, `fisher.<task>.<name>`."""
    parameters = dict(system.named_parameters())
    picked = features[chosen(len(features), limit=images)]
    fisher = {name: torch.zeros_like(parameters[name], dtype=torch.float64) for name in names}
    for gradients in likelihood_gradients(system, picked, task=task, names=names, size=1):
        for name, gradient in gradients.items():
            fisher[name] += gradient.double().square() / len(picked)
    for name in names:
        memory.keep(f"anchor.{task}.{name}", parameters[name])
        memory.keep(f"fisher.{task}.{name}", fisher[name].to(parameters[name].dtype))


def consolidation_penalty(memory: Memory, parameters: Mapping[str, Tensor]) -> Float[Tensor, ""]:
    """Return half the sum over tasks and numbers of Fisher · (number - anchor)²; 0 at the anchor."""
    terms = [
        (
            memory[f"fisher.{key}"] * (parameters[key.split(".", 1)[1]] - memory[f"anchor.{key}"]).square()
        ).sum()
        for key in memory.names("anchor")
    ]
    return 0.5 * torch.stack(terms).sum()
