"""A bounded bank of earlier tasks' features, seen again in later tasks.

The bank holds so many images of all earlier tasks together; each new task's share is made by cutting those
before (Rebuffi et al. 2017). The features are those of the backbone, so that an earlier task's adapter sees
them as it did. Source: notes 004 L1445 to L1451, which name a FeatureBank and say no more.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reproductions.moleflow.initialisation import generator
from reproductions.moleflow.memory import Memory


def remember_images(
    memory: Memory,
    features: Float[np.ndarray, "item row column dim"],
    *,
    task: int,
    images: int,
    seed: int,
) -> None:
    """Keep a random share of a task's features as `bank.<task>` and cut those of the tasks before."""
    tasks = sorted({*map(int, memory.names("bank")), task})
    share = images // len(tasks)
    order = torch.randperm(len(features), generator=generator(seed, task=task, name="bank"))
    memory.keep(f"bank.{task}", torch.from_numpy(np.array(features[order[:share].numpy()])))
    for earlier in tasks:
        memory.keep(f"bank.{earlier}", memory[f"bank.{earlier}"][:share])


def replayed(
    memory: Memory, *, task: int, size: int, seed: int, step: int
) -> Float[Tensor, "batch row column dim"]:
    """Return a random batch of an earlier task's features; it depends on the step alone."""
    bank = memory[f"bank.{task}"]
    draw = generator(seed, task=task, name=f"replay.{step}")
    order = torch.randperm(len(bank), generator=draw)[:size]
    return bank[order.to(bank.device)]
