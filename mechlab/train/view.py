"""What of a training image is drawn anew each epoch: its angle, and a damaged copy of it.

A stage asks for it; the loop hands it to the loss beside the batch. Evaluations see images as they are.
Source: notes 004 L3457 (rotation), L2660 and L3303 (pseudo-anomalies).
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor

Damage = Literal["none", "cutpaste", "jitter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What a stage draws for each image and epoch."""

    rotation: float = 0.0  # degrees, at most, to either side
    damage: Damage = "none"
    jitter: float = 1.0  # of damage "jitter", in standard deviations of each channel

    @property
    def is_idle(self) -> bool:
        """Whether nothing is drawn, so that cached features serve all epochs."""
        return self.rotation == 0 and self.damage == "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What was drawn for the images of one batch."""

    angles: Float[Tensor, " batch"]  # degrees, counter-clockwise as one looks at the image
    damaged: Float[Tensor, "batch row column dim"] | None = None  # the same images with a pseudo-anomaly
    mask: Bool[Tensor, "batch row column"] | None = None  # the patches that it touches
