"""The curriculum: its ratio and percentile over epochs, hardest first, and what it refuses."""

import numpy as np
import pytest

from mechlab.errors import MechlabError
from reproductions.can_ids.curriculum import HardNormals


def plan(*, normals=1000, attacks=10, epochs=10):
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1], [normals, attacks]))
    return HardNormals(labels=labels, difficulty=rng.normal(size=labels.size), epochs=epochs)


def test_ratio_and_percentile_rise_linearly():
    found = plan(epochs=10)
    assert [found.ratio(epoch) for epoch in range(10)] == pytest.approx(np.linspace(1, 10, 10))
    assert [found.percentile(epoch) for epoch in range(10)] == pytest.approx(np.linspace(75, 95, 10))


def test_an_epoch_has_all_attacks_and_the_ratio_of_normals_while_enough_are_hard():
    found = plan(normals=10_000)
    for epoch in range(10):
        visited = found.visited(epoch)
        assert found.labels[visited].sum() == 10
        assert (found.labels[visited] == 0).sum() == round(10 * found.ratio(epoch))


def test_normals_are_the_hardest_and_none_is_below_the_percentile():
    found = plan(normals=100, attacks=50)
    normal = found.difficulty[found.labels == 0]
    for epoch in (0, 9):
        visited = found.visited(epoch)
        chosen = found.difficulty[visited][found.labels[visited] == 0]
        assert chosen.min() >= np.percentile(normal, found.percentile(epoch))
        assert np.array_equal(np.sort(chosen), np.sort(normal)[-len(chosen) :])


def test_scores_of_attacks_and_their_scale_do_not_matter():
    found = plan()
    other = np.where(found.labels == 1, 1e6, np.exp(found.difficulty))
    moved = HardNormals(labels=found.labels, difficulty=other, epochs=10)
    assert all(np.array_equal(found.visited(epoch), moved.visited(epoch)) for epoch in (0, 9))


def test_one_epoch_begins_at_the_beginning():
    assert plan(epochs=1).ratio(0) == 1.0


@pytest.mark.parametrize(("label", "told"), [(0, "no attacks"), (1, "no normal windows")])
def test_windows_of_one_kind_are_refused(label, told):
    with pytest.raises(MechlabError, match=told):
        HardNormals(labels=np.full(4, label), difficulty=np.zeros(4), epochs=2)
