"""Half precision for numbers far from 1: a power-of-two scale, and counts of what it could not hold.

A gradient of 1e-9 is zero in fp16. Multiplied by a power of two it is exact in the mantissa, and dividing by
the same power on reading loses nothing. Source: design notes, "fp16 gradients".
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt16
from torch import Tensor

_LARGEST = 14  # the largest magnitude is brought below 2^(14 + 1); fp16 ends at 65504, just under 2^16
_FARTHEST = 120  # powers beyond this overflow float32 themselves
_FULL, _NEXT = 0x7400, 0x7800  # bits of 2^14 and 2^15 in fp16: where the largest magnitude lies
_MAGNITUDE = 0x7FFF  # the bits of fp16 but its sign
_BLOCK = 2**18  # elements that stay in the processor's cache between the passes over them


@dataclass(frozen=True, slots=True, kw_only=True)
class Halved:
    """Values times `scale` in fp16: `overflow` are not finite there, `underflow` became 0."""

    stored: Float[Tensor, "*shape"]
    power: int
    overflow: int
    underflow: int

    @property
    def scale(self) -> float:
        """What values were multiplied by: 2 to the `power`."""
        return 2.0**self.power


def scratch() -> Float[Tensor, " block"]:
    """Return the memory that `halved` works in; who calls it often keeps one."""
    return torch.empty(_BLOCK)


def halved(
    values: Float[Tensor, "*shape"],
    *,
    into: Float[Tensor, "*shape"] | None = None,
    work: Float[Tensor, " block"] | None = None,
    guess: int | None = None,
) -> Halved:
    """Return values in fp16 under the power of two that uses its range best.

    `into` is filled if given; `work` is memory of `scratch`. A right `guess` of the power saves a pass over
    the values and changes nothing else.
    """
    values = values.detach()
    if values.dtype == torch.bfloat16:
        values = values.float()  # exact, and NumPy has no such type
    stored = torch.empty(values.shape, dtype=torch.float16, device=values.device) if into is None else into
    if not (_is_dense(values) and _is_dense(stored)):
        largest, _ = _largest(values)
        stored.copy_(values * 2.0 ** (power := _power(largest)))
        return _counted(values, stored, power=power)
    flat, own = values.view(-1), (scratch() if work is None else work).to(values.dtype)
    for guessed in (guess, None):
        power = _power(_largest(values)[0]) if guessed is None else guessed
        cast = _cast_blocks(flat, stored.view(-1), power=power, work=own)
        if _FULL <= cast.largest_bits < _NEXT:
            return Halved(stored=stored, power=power, overflow=0, underflow=cast.lost)
    return _counted(values, stored, power=power)  # all are zero, or some value is not finite


def _counted(values: Tensor, stored: Tensor, *, power: int) -> Halved:
    """Return what was cast, with everything counted anew."""
    lost = int(torch.count_nonzero(values)) - int(torch.count_nonzero(stored))
    return Halved(stored=stored, power=power, overflow=int((~stored.isfinite()).sum()), underflow=lost)


def _power(largest: float) -> int:
    """Return the power of two that brings the largest magnitude just below the end of fp16."""
    power = _LARGEST - math.floor(math.log2(largest)) if largest else 0
    return max(-_FARTHEST, min(_FARTHEST, power))


def _is_dense(values: Tensor) -> bool:
    return values.device.type == "cpu" and values.is_contiguous()


def _largest(values: Tensor) -> tuple[float, bool]:
    """Return the largest finite magnitude, 0 where there is none, and whether every value is finite."""
    if not values.numel():
        return 0.0, True
    low, high = torch.aminmax(values)
    largest = max(-float(low), float(high))
    if math.isfinite(float(low)) and math.isfinite(float(high)):
        return largest, True
    finite = values[values.isfinite()]
    return (float(finite.abs().max()) if finite.numel() else 0.0), False


class _Cast(NamedTuple):
    """What a pass over the values found: bits of the largest magnitude in fp16, values that became zero."""

    largest_bits: int
    lost: int


def _cast_blocks(
    values: Float[Tensor, " n"], stored: Float[Tensor, " n"], *, power: int, work: Float[Tensor, " block"]
) -> _Cast:
    """Fill `stored` block by block, and look at each block while it is in the cache."""
    bits, factor = stored.numpy().view(np.uint16), 2.0**power
    largest, lost = 0, 0
    for start in range(0, len(bits), _BLOCK):
        end = min(start + _BLOCK, len(bits))
        block = values[start:end]
        stored[start:end].copy_(torch.mul(block, factor, out=work[: end - start]))
        extremes = _extremes(bits[start:end])
        largest = max(largest, extremes.largest)
        if extremes.has_zero:  # zeros that were there before are none that were lost
            lost += int(torch.count_nonzero(block)) - int(torch.count_nonzero(stored[start:end]))
    return _Cast(largest, lost)


class _Extremes(NamedTuple):
    largest: int  # magnitude, as bits
    has_zero: bool


def _extremes(bits: UInt16[np.ndarray, " n"]) -> _Extremes:
    """Return the largest magnitude of fp16 numbers, and whether one is zero, from their bits alone.

    Four scans of whole numbers take half the time of stripping the sign and counting. As unsigned numbers
    the negative ones are the largest, as signed ones the positive; +0 and -0 are the least of either kind.
    """
    signed = bits.view(np.int16)
    high, high_signed = int(bits.max()), int(signed.max())
    largest = max(high & _MAGNITUDE if high > _MAGNITUDE else high, high_signed)
    return _Extremes(largest, int(bits.min()) == 0 or int(signed.min()) == -_MAGNITUDE - 1)
