"""One scale for the scores of several experts: z-scores by each task's training normals.

Source: notes on MoLE-Flow, score calibration (M33), 004 L2640. A shift and a positive scale an expert: ranks
among images of one expert stay, ranks between experts may change.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mechlab.errors import MechlabError


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Mean and standard deviation of the image scores of each task's training normals, by its own expert."""

    means: Float[np.ndarray, " task"]
    deviations: Float[np.ndarray, " task"]  # over n, so that the normals themselves have exactly 1

    @classmethod
    def of(cls, normals: Sequence[Float[np.ndarray, " _"]]) -> "Calibration":
        """Return the calibration by the scores of each task's normals.

        Raises:
            MechlabError: a task whose normals have no spread beyond rounding, so no scale.
        """
        for task, scores in enumerate(normals):
            # patch scores are float32
            if np.std(scores) <= np.finfo(np.float32).eps * np.abs(scores).max(initial=0.0):
                raise MechlabError(
                    f"the {len(scores)} training normals of task {task} have one score and give no scale; "
                    "leave the calibration out, or train on more images."
                )
        return cls(
            means=np.array([np.mean(scores) for scores in normals], dtype=np.float64),
            deviations=np.array([np.std(scores) for scores in normals], dtype=np.float64),
        )

    def apply(
        self, scores: Float[np.ndarray, " item"], experts: Int[np.ndarray, " item"]
    ) -> Float[np.ndarray, " item"]:
        """Return scores in standard deviations from the mean of the normals of the expert that gave each."""
        return np.asarray((scores - self.means[experts]) / self.deviations[experts])

    def document(self) -> dict[str, list[float]]:
        """Return it as JSON: one mean and one deviation a task."""
        return {"mean": self.means.tolist(), "deviation": self.deviations.tolist()}

    @classmethod
    def read(cls, document: dict[str, list[float]]) -> "Calibration":
        """Rebuild it from `document`."""
        return cls(
            means=np.array(document["mean"], dtype=np.float64),
            deviations=np.array(document["deviation"], dtype=np.float64),
        )
