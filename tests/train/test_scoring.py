"""Scores given the id and routed; forgetting and identity over stages; held-out images."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from mechlab.errors import MechlabError
from mechlab.specs import Item
from mechlab.train.inputs import kept_and_held
from mechlab.train.matrix import accuracy_matrix, forgetting, scores_identical
from mechlab.train.scoring import Scores, score

CPU = torch.device("cpu")


@pytest.fixture
def two_tasks(toy):
    toy.add_task(0)
    toy.add_task(1)
    with torch.no_grad():
        toy.shift["1"] += 10
    return toy


def test_an_image_is_scored_by_the_task_it_is_routed_to(two_tasks, features):
    moved = features.copy()
    moved[4] += 10
    scores = score(two_tasks, moved, task=0, tasks=2, router="euclidean", device=CPU)
    assert scores.routes.tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert np.array_equal(np.delete(scores.routed, 4, 0), np.delete(scores.given, 4, 0))
    assert scores.routed[4].mean() < 50 < scores.given[4].mean()


def test_every_pass_through_an_expert_stands_in_its_block_and_routing_does_not(two_tasks, features):
    moved, seen = features.copy(), []
    moved[4] += 10

    @contextmanager
    def around(task, chosen):
        seen.append((task, chosen.tolist()))
        two_tasks.shift[str(task)].data += 100
        yield
        two_tasks.shift[str(task)].data -= 100

    changed = score(two_tasks, moved, task=0, tasks=2, router="euclidean", device=CPU, around=around)
    plain = score(two_tasks, moved, task=0, tasks=2, router="euclidean", device=CPU)
    assert seen == [(0, list(range(10))), (1, [4])]
    assert np.array_equal(changed.distances, plain.distances)
    assert (changed.given > plain.given + 1000).all()
    assert (changed.routed > plain.routed + 1000).all()


def test_the_oracle_routes_every_image_to_its_own_task(two_tasks, features):
    scores = score(two_tasks, features + 10, task=0, tasks=2, router="oracle", device=CPU)
    assert scores.routes.tolist() == [0] * 10
    assert np.array_equal(scores.given, scores.routed)


def test_scores_survive_their_file(two_tasks, features, tmp_path):
    scores = score(two_tasks, features, task=1, tasks=2, router="euclidean", device=CPU)
    scores.save(tmp_path / "a.npz")
    assert Scores.load(tmp_path / "a.npz").hash == scores.hash
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-40])
    with pytest.raises(MechlabError, match="is missing or damaged"):
        Scores.load(tmp_path / "a.npz")


def document(values, hashes):
    return {"metrics": {name: {"image_auroc": value} for name, value in values.items()}, "hashes": hashes}


STAGES = [
    document({"a": 0.9}, {"a": "x"}),
    document({"a": 0.8, "b": 0.7}, {"a": "x", "b": "y"}),
    document({"a": 0.6, "b": 0.8, "c": 0.5}, {"a": "x", "b": "y", "c": "z"}),
]
TASKS = (("a",), ("b",), ("c",))


def test_forgetting_is_the_mean_fall_from_the_best():
    assert accuracy_matrix(STAGES, TASKS) == [[0.9, None, None], [0.8, 0.7, None], [0.6, 0.8, 0.5]]
    assert forgetting(accuracy_matrix(STAGES, TASKS)) == pytest.approx((0.3 + 0.0) / 2)
    assert forgetting([[0.9]]) is None


def test_one_changed_bit_makes_scores_differ():
    assert scores_identical(STAGES, TASKS) is True
    drifted = [*STAGES[:2], document({"a": 0.6, "b": 0.8, "c": 0.5}, {"a": "X", "b": "y", "c": "z"})]
    assert scores_identical(drifted, TASKS) is False
    assert scores_identical(STAGES[:1], TASKS[:1]) is None


def items(names):
    return [
        Item(sha256=name, class_name="a", split="train", label=0, defect="good", image=name) for name in names
    ]


def test_held_out_images_are_chosen_by_identity_and_not_by_order(rng):
    names = [f"{value:064x}" for value in rng.integers(0, 2**60, 30)]
    _, held = kept_and_held(items(names), fraction=0.2)
    shuffled = [names[index] for index in rng.permutation(30)]
    kept, again = kept_and_held(items(shuffled), fraction=0.2)
    assert {names[index] for index in held} == {shuffled[index] for index in again}
    assert len(again) == 6
    assert sorted([*kept, *again]) == list(range(30))


def test_a_holdout_outside_its_range_is_refused():
    with pytest.raises(MechlabError, match=r"holdout 1.0 is not in \[0, 1\)"):
        kept_and_held(items(["a"]), fraction=1.0)
