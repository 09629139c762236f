"""Scores of several members as one."""

import numpy as np
import pytest

from mechlab.metrics.calibration import Calibration
from mechlab.metrics.ensemble import combined
from mechlab.metrics.ranking import auroc

LABELS = np.repeat([0, 1], 200)


def member(rng, *, scale=1.0, shift=0.0, noise=1.0):
    """Scores of test images and the calibration of normals, on a scale of the member's own."""
    truth = LABELS + noise * rng.normal(size=LABELS.size)
    normals = noise * rng.normal(size=500)
    return scale * truth + shift, Calibration.of([scale * normals + shift])


def together(members):
    scores, calibrations = zip(*members, strict=True)
    return combined(scores, [np.zeros(LABELS.size, dtype=int)] * len(scores), calibrations)


def test_one_member_is_that_member(rng):
    scores, calibration = member(rng, scale=7.3, shift=-900.1)
    assert together([(scores, calibration)]) is scores


def test_a_member_beside_itself_is_that_member(rng):
    one = member(rng, scale=7.3, shift=-900.1)
    np.testing.assert_allclose(together([one, one]), one[0])


def test_scales_of_members_do_not_matter(rng):
    one, (scores, calibration) = member(rng), member(rng)
    other = Calibration(means=100 * calibration.means - 5, deviations=100 * calibration.deviations)
    np.testing.assert_allclose(
        together([one, (scores, calibration)]), together([one, (100 * scores - 5, other)])
    )


def test_members_of_independent_errors_are_better_together(rng):
    members = [member(rng, scale=10.0**index) for index in range(4)]
    alone = max(auroc(scores, LABELS) for scores, _ in members)
    assert auroc(together(members), LABELS) > alone + 0.05
    naive = auroc(np.mean([scores for scores, _ in members], axis=0), LABELS)
    largest = auroc(members[-1][0], LABELS)
    assert naive == pytest.approx(largest, abs=0.03)  # without z-scores the largest scale decides


def test_each_image_is_measured_by_the_expert_that_scored_it():
    calibration = Calibration(means=np.array([0.0, 100.0]), deviations=np.array([1.0, 10.0]))
    scores, experts = [np.array([2.0, 120.0]), np.array([4.0, 140.0])], [np.array([0, 1])] * 2
    np.testing.assert_allclose(combined(scores, experts, [calibration] * 2), [3.0, 130.0])
    maps = [values[:, None, None] * np.ones((2, 3, 3)) for values in scores]
    np.testing.assert_allclose(combined(maps, experts, [calibration] * 2)[:, 1, 2], [3.0, 130.0])


def test_lists_that_differ_are_refused():
    with pytest.raises(ValueError, match="0 scores"):
        combined([], [], [])
