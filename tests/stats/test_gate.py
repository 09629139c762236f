"""A learned gate: what it tells, and how it forgets when it learns in sequence."""

import numpy as np
import pytest

from mechlab.stats.gate import RIDGE, Gate


@pytest.fixture
def groups(rng) -> list[np.ndarray]:
    return [rng.normal(size=(40, 5)) + 6 * np.eye(5)[index] for index in range(3)]


def accuracies(gate: Gate, groups) -> list[float]:
    return [
        float((gate.surprise(group).argmin(axis=1) == index).mean()) for index, group in enumerate(groups)
    ]


def test_a_joint_gate_tells_groups_that_can_be_told(groups):
    assert accuracies(Gate.of(groups, learning="joint"), groups) == [1.0, 1.0, 1.0]


def test_a_gate_that_learns_in_sequence_knows_the_last_group_alone(groups):
    found = accuracies(Gate.of(groups, learning="sequential"), groups)
    assert found[2] == 1.0
    assert max(found[:2]) < 0.2


def test_surprises_are_of_probabilities(groups):
    told = Gate.of(groups, learning="joint").surprise(groups[0])
    np.testing.assert_allclose(np.exp(-told).sum(axis=1), 1.0)
    assert (Gate.of(groups[:1], learning="sequential").surprise(groups[0]) == 0).all()


def test_a_joint_gate_is_scikit_learns(groups):
    from sklearn.linear_model import LogisticRegression

    gate = Gate.of(groups, learning="joint")
    rows = (np.concatenate(groups) - gate.middle) / gate.deviation
    labels = np.repeat(range(3), 40)
    peer = LogisticRegression(C=1 / (RIDGE * len(rows)), tol=1e-8, max_iter=5000).fit(rows, labels)
    np.testing.assert_allclose(
        np.exp(-gate.surprise(np.concatenate(groups))), peer.predict_proba(rows), atol=2e-3
    )


def test_groups_of_noise_are_not_told(rng):
    groups = [rng.normal(size=(400, 3)) for _ in range(2)]
    fresh = [rng.normal(size=(400, 3)) for _ in range(2)]
    assert abs(np.mean(accuracies(Gate.of(groups, learning="joint"), fresh)) - 0.5) < 0.08


@pytest.mark.parametrize(("groups", "learning"), [([], "joint"), ([np.ones((2, 2))], "replayed")])
def test_other_ways_to_learn_are_refused(groups, learning):
    with pytest.raises(ValueError, match="no gate learns"):
        Gate.of(groups, learning=learning)
