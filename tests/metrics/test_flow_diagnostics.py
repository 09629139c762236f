"""Diagnostics of a flow: closed forms, and a planted lack of diversity is found."""

import numpy as np
import pytest

from mechlab.metrics.flow_diagnostics import flow_diagnostics, group_statistics


def test_statistics_are_those_of_their_definitions():
    lengths = np.array([[[1.0, 2.0], [3.0, 4.0]]])
    log_dets = np.array([[[0.0, 2.0], [4.0, 6.0]]])
    found = group_statistics(lengths, log_dets)
    assert found["log_det_std"] == pytest.approx(np.sqrt(5.0))
    assert found["log_prior_variance"] == pytest.approx(np.var([0.5, 2.0, 4.5, 8.0]))
    assert found["length_log_det_correlation"] == pytest.approx(1.0)


def test_a_dead_scale_has_no_deviation_and_no_correlation(rng):
    found = group_statistics(rng.normal(size=(3, 4, 4)), np.full((3, 4, 4), 7.0))
    assert found["log_det_std"] == 0.0
    assert found["length_log_det_correlation"] is None


def test_shifts_of_the_log_det_and_the_order_of_images_do_not_matter(rng):
    lengths, log_dets = rng.normal(10, 1, size=(2, 6, 4, 4))
    labels = np.array([0, 1, 0, 1, 0, 1])
    found = flow_diagnostics(lengths, log_dets, labels)
    shuffled = rng.permutation(6)
    again = flow_diagnostics(lengths[shuffled], log_dets[shuffled] + 100, labels[shuffled])
    for group in ("normal", "defective", "ratio"):
        assert again[group] == pytest.approx(found[group])


def test_a_planted_ratio_is_found_and_none_is_one(rng):
    labels = np.repeat([0, 1], 200)
    lengths, log_dets = rng.normal(20, 1, size=(2, 400, 8, 8))
    log_dets[labels == 1] *= 57.18 / 72.28
    found = flow_diagnostics(lengths, log_dets, labels)["ratio"]
    assert found["log_det_std"] == pytest.approx(0.79, abs=0.02)
    assert found["log_prior_variance"] == pytest.approx(1.0, abs=0.1)


def test_a_group_without_images_is_told_as_none(rng):
    found = flow_diagnostics(rng.normal(size=(3, 2, 2)), rng.normal(size=(3, 2, 2)), np.zeros(3, dtype=int))
    assert found["normal"] is not None
    assert found["defective"] is None and found["ratio"] is None
