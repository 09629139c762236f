"""How often do two detectors decide alike, and how often would they by chance?

Source: Cohen 1960, Educ. Psychol. Meas. 20:37 (chance: independent decisions at the rates of each).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool


class Agreement(NamedTuple):
    """Shares of the items, in [0, 1]."""

    share: float  # of equal decisions
    chance: float  # of equal decisions, were the two independent

    @property
    def kappa(self) -> float | None:
        """Agreement beyond chance over what is possible beyond it; None where chance leaves nothing."""
        return None if self.chance == 1 else (self.share - self.chance) / (1 - self.chance)


def agreement(one: Bool[np.ndarray, " n"], other: Bool[np.ndarray, " n"]) -> Agreement:
    """Return the agreement of two detectors on the same items; ValueError for no item or unequal lengths."""
    if one.shape != other.shape or not one.size:
        raise ValueError(f"{one.size} and {other.size} decisions; give one each of the same items")
    rates = float(one.mean()), float(other.mean())
    chance = rates[0] * rates[1] + (1 - rates[0]) * (1 - rates[1])
    return Agreement(share=float((one == other).mean()), chance=chance)
