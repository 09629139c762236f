"""Two passes of one flow, with and without position, and how much each patch trusts the first.

score = a · (with position) + (1 - a) · (without). The weights stand behind the loss: in the notes nothing
reaches them (L3050, L3334), here the margin loss on pseudo-anomalies does, where it has a weight.
Source: notes 004 L2722 (free), L2893 (bounded), L2940 (guided by the scores).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from reproductions.moleflow.initialisation import empty_linear, generator, start_uniform, start_zero

Latent = Float[Tensor, "batch row column dim"]
Scores = Float[Tensor, "batch row column"]
TINY = 1e-8  # nats, so that two scores of 0 do not divide by 0


def relative_difference(one: Scores, two: Scores) -> Scores:
    """Return (one - two) / (|one| + |two|), in [-1, 1]."""
    return (one - two) / (one.abs() + two.abs() + TINY)


class LatentTrust(nn.Module):
    """Trust in the pass with position, from both latents: low + (high - low) · sigmoid(network).

    Free, it may reach 0 and 1 and starts at one half. Bounded, it stays in (0.3, 0.9), starts at 0.72 and is
    also told by how much the scores differ.
    """

    def __init__(self, dim: int, *, is_bounded: bool, task: int, seed: int) -> None:
        super().__init__()
        self.is_bounded = is_bounded
        self.low, self.high = (0.3, 0.9) if is_bounded else (0.0, 1.0)  # L2893
        hidden = max(1, dim // 2)
        self.first = empty_linear(2 * dim + is_bounded, hidden)
        self.last = empty_linear(hidden, 1)
        start_uniform(
            self.first.weight, self.first.bias, draw=generator(seed, task=task, name="scorer.trust")
        )
        start_zero(self.last.weight)
        with torch.no_grad():
            self.last.bias.fill_(math.log(0.7 / 0.3) if is_bounded else 0.0)  # L2893

    def forward(self, placed: Latent, blind: Latent, one: Scores, two: Scores) -> Scores:
        """Return the trust of each patch; `one` and `two` are the scores with and without position."""
        seen = [placed, blind]
        if self.is_bounded:
            seen.append(relative_difference(one, two)[..., None])
        hidden = functional.gelu(
            functional.layer_norm(self.first(torch.cat(seen, -1)), self.last.weight.shape[1:])
        )
        return self.low + (self.high - self.low) * torch.sigmoid(self.last(hidden).squeeze(-1))


class ScoreTrust(nn.Module):
    """Trust from the scores alone: sigmoid(temperature · (bias - relative difference)), kept in 0.2 to 0.8.

    More where the pass with position finds a patch more normal. Source: notes 004 L2940, temperature 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.temperature, self.bias = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))

    def forward(self, placed: Latent, blind: Latent, one: Scores, two: Scores) -> Scores:
        """Return the trust of each patch."""
        trust = torch.sigmoid(self.temperature * (self.bias - relative_difference(one, two)))
        return trust.clamp(0.2, 0.8)
