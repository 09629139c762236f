"""Scores of several models as one: mean of z-scores, told on the scale of the first.

Members have scales of their own (backbones, resolutions, depths), so each is measured in standard deviations
of its own training normals: chosen here. Source: notes 004 L4460 (ensemble of ViT and CNN; no formula).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from mechlab.metrics.calibration import Calibration


def combined(
    scores: Sequence[Float[np.ndarray, "item *place"]],
    experts: Sequence[Int[np.ndarray, " item"]],
    calibrations: Sequence[Calibration],
) -> Float[np.ndarray, "item *place"]:
    """Return the members' scores of the same items as one, in the unit of the first member.

    `experts` is the task whose expert gave each score of a member, `calibrations` are those of its training
    normals. One member is that member, to the bit. Raises ValueError for no member, or lists that differ.
    """
    if not scores or not len(scores) == len(experts) == len(calibrations):
        raise ValueError(f"{len(scores)} scores, {len(experts)} experts, {len(calibrations)} calibrations")
    if len(scores) == 1:
        return scores[0]
    places = (1,) * (scores[0].ndim - 1)
    total = np.zeros(scores[0].shape)
    for values, chosen, calibration in zip(scores, experts, calibrations, strict=True):
        means = calibration.means[chosen].reshape(-1, *places)
        total += (values - means) / calibration.deviations[chosen].reshape(-1, *places)
    first, own = calibrations[0], experts[0]
    deviations, means = (values[own].reshape(-1, *places) for values in (first.deviations, first.means))
    return np.asarray(total / len(scores) * deviations + means)
