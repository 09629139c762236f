"""A curriculum for the GAT: few hard normals beside each attack at first, more and harder ones later.

Over the epochs the ratio of normal to attack windows rises from 1 to 10, and the percentile of the VGAE's
score from which a normal counts as hard from 75 to 95, both linearly. Of the hard normals the hardest are
taken, up to the ratio. Source: KD-GAT, arXiv:2507.19686; notes 003.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mechlab.errors import MechlabError

RATIO, PERCENTILE = (1.0, 10.0), (75.0, 95.0)  # first and last epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class HardNormals:
    """A `mechlab.train.stage.Curriculum` of windows by their difficulty."""

    labels: Int[np.ndarray, " window"]  # 1: an attack is in the window
    difficulty: Float[np.ndarray, " window"]  # the VGAE's score; that of attacks is not used
    epochs: int

    def __post_init__(self) -> None:
        """Refuse windows of one kind alone.

        Raises:
            MechlabError: no window under attack, or none without.
        """
        if len(set(self.labels.tolist())) < 2:
            kind = "attacks" if (self.labels == 0).all() else "normal windows"
            raise MechlabError(
                f"curriculum mode orders normals beside attacks, and the training logs hold no {kind}; add "
                "logs, "
                "or give --mode normal."
            )

    def ratio(self, epoch: int) -> float:
        """Return how many normals stand beside an attack in an epoch, from 0."""
        return _between(RATIO, self._done(epoch))

    def percentile(self, epoch: int) -> float:
        """Return the percentile of difficulty from which a normal is hard in an epoch."""
        return _between(PERCENTILE, self._done(epoch))

    def visited(self, epoch: int) -> Int[np.ndarray, " visited"]:
        """Return all attacks and the hardest of the hard normals, in the order of windows."""
        attacks, normals = np.flatnonzero(self.labels == 1), np.flatnonzero(self.labels == 0)
        scores = self.difficulty[normals]
        hardest = normals[np.argsort(-scores, kind="stable")]
        hard = int((scores >= np.percentile(scores, self.percentile(epoch))).sum())
        most = round(self.ratio(epoch) * len(attacks))
        return np.sort(np.concatenate([attacks, hardest[: min(hard, most)]]))

    def _done(self, epoch: int) -> float:
        return epoch / max(1, self.epochs - 1)


def _between(ends: tuple[float, float], done: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * done
