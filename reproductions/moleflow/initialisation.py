"""Random starts that depend on names alone: (seed, task, parameter), never on what was built before.

So a task's start is the same whatever tasks or parts stand beside it, and no global generator is touched.
"""

import math

import torch
from torch import Tensor, nn

from mechlab.files import sha256_bytes

BASE = -1  # the task number of parameters that belong to no task


def generator(seed: int, *, task: int, name: str) -> torch.Generator:
    """Return the generator of one named parameter of one task (`BASE`: of none)."""
    digest = sha256_bytes(f"{seed}/{task}/{name}".encode())
    return torch.Generator().manual_seed(int(digest[:15], 16))


def empty_linear(fan_in: int, fan_out: int) -> nn.Linear:
    """Return a Linear whose numbers are not yet drawn (`start_uniform` or `nn.init` does it)."""
    return nn.utils.skip_init(nn.Linear, fan_in, fan_out)


def start_uniform(weight: Tensor, bias: Tensor | None, *, draw: torch.Generator) -> None:
    """Fill a weight and its bias from U(-1/√fan_in, 1/√fan_in), the default of torch's Linear."""
    bound = 1 / math.sqrt(weight[0].numel())
    with torch.no_grad():
        weight.uniform_(-bound, bound, generator=draw)
        if bias is not None:
            bias.uniform_(-bound, bound, generator=draw)


def start_zero(*tensors: Tensor) -> None:
    """Fill tensors with zero."""
    with torch.no_grad():
        for tensor in tensors:
            tensor.zero_()
