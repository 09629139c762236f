"""Half precision for numbers far from 1: a power-of-two scale, and counts of what it could not hold.

A gradient of 1e-9 is zero in fp16. Multiplied by a power of two it is exact in the mantissa, and dividing by
the same power on reading loses nothing. Source: design notes, "fp16 gradients".
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_LARGEST = 14  # the largest magnitude is brought below 2^(14 + 1); fp16 ends at 65504, just under 2^16
_FARTHEST = 120  # powers beyond this overflow float32 themselves


@dataclass(frozen=True, slots=True, kw_only=True)
class Halved:
    """Values times `scale` in fp16: `overflow` are not finite there, `underflow` became 0."""

    stored: Float[Tensor, "*shape"]
    scale: float
    overflow: int
    underflow: int


def halved(values: Float[Tensor, "*shape"]) -> Halved:
    """Return values in fp16 under the power of two that uses its range best."""
    magnitude = values.abs()
    finite = magnitude[magnitude.isfinite()]
    largest = float(finite.max()) if finite.numel() else 0.0
    power = _LARGEST - math.floor(math.log2(largest)) if largest > 0 else 0
    scale = 2.0 ** max(-_FARTHEST, min(_FARTHEST, power))
    stored = (values * scale).to(torch.float16)
    return Halved(
        stored=stored,
        scale=scale,
        overflow=int((~stored.isfinite()).sum()),
        underflow=int(((stored == 0) & (values != 0)).sum()),
    )
