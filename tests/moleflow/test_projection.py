"""Gradient projection: the published form leaves a rest, the joint form of a whole step leaves none."""

import numpy as np
import pytest
import torch
from torch import nn

from mechlab.errors import MechlabError
from mechlab.train.scopes import apply, optimizer
from reproductions.moleflow.gradients import chosen, likelihood_gradients
from reproductions.moleflow.memory import Memory
from reproductions.moleflow.projection import Projection, joined, leading_directions, without
from reproductions.moleflow.system import MoLEFlow

DIM, GRID = 8, (3, 4)
PARTS = {
    "blocks": 2,
    "lora_rank": 2,
    "dia_blocks": 0,
    "context_kernel": 3,
    "mixer": "depthwise",
    "mixer_trains": "every-task",
    "base": "shared",
    "batch_size": 2,
    "learning_rate": 0.01,
    "weight_decay": 0.1,
}


@pytest.fixture
def normals(rng) -> list[np.ndarray]:
    return [rng.normal(size=(14, *GRID, DIM)) @ rng.normal(size=(DIM, DIM)) for _ in range(3)]


def two_tasks(form: str, normals, *, tasks: int = 2, **parts) -> tuple[MoLEFlow, torch.optim.Optimizer, dict]:
    """Return a float64 system after two tasks, at the start of a third."""
    system = MoLEFlow.create(PARTS | {"projection": form} | parts, dim=DIM, grid=GRID, seed=0).double()
    for task in range(tasks + 1):
        system.add_task(task)
        system.double()
        stage = system.stage(task)
        apply(system, stage)
        held = optimizer(system, stage)
        system.train()
        if task < tasks:
            step(system, held, normals[task], task=task)
            system.finish_task(task, normals[task])
    bases = system.protection.rule.bases() if form != "none" else {}
    return system, held, bases


def step(system, held, features, *, task: int, times: int = 3) -> None:
    for index in range(times):
        held.zero_grad(set_to_none=True)
        batch = torch.from_numpy(features[2 * index : 2 * index + 2])
        system.loss(batch, task=task).total.backward()
        held.step()


def rest(form: str, normals, **parts) -> float:
    """Return the largest part of a tensor's step that lies in the union of its bases, over its length."""
    system, held, bases = two_tasks(form, normals, **parts)
    old = {name: value.detach().clone() for name, value in system.named_parameters()}
    step(system, held, normals[2], task=2)
    parts_left = []
    for name, value in system.named_parameters():
        change = (value.detach() - old[name]).flatten()
        if name in bases and float(change.norm()) > 0:
            inside = joined(bases[name]).T @ change
            parts_left.append(float(inside.norm() / change.norm()))
    assert len(parts_left) > 10
    return max(parts_left)


def test_the_optimisers_step_is_orthogonal_to_the_union_of_all_bases(normals):
    assert rest("joint", normals) < 1e-6


@pytest.mark.parametrize("form", ["sequential", "hook"])
def test_projecting_gradients_alone_leaves_a_rest_in_the_step(form, normals):
    assert rest(form, normals) > 1e-2


def test_one_basis_after_the_other_leaves_a_rest_even_without_an_optimiser():
    """Two directions at 45 degrees: the second projection brings a half of the first back."""
    first = torch.tensor([[1.0], [0.0], [0.0]], dtype=torch.float64)
    second = torch.tensor([[1.0], [1.0], [0.0]], dtype=torch.float64) / 2**0.5
    gradient = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64)
    in_turn = without(without(gradient, first), second)
    assert float(first.T @ in_turn) == pytest.approx(-0.5)
    at_once = without(gradient, joined([first, second]))
    torch.testing.assert_close(at_once, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))


@pytest.mark.parametrize("form", ["sequential", "hook", "joint"])
def test_the_first_task_is_left_alone(form, normals):
    plain, projected = (two_tasks(kind, normals, tasks=0)[:2] for kind in ("none", form))
    for system, held in (plain, projected):
        step(system, held, normals[0], task=0)
    for (name, value), (_, other) in zip(
        plain[0].named_parameters(), projected[0].named_parameters(), strict=True
    ):
        assert torch.equal(value, other), name


def test_only_what_tasks_share_has_a_basis(normals):
    system, _, bases = two_tasks("joint", normals)
    assert set(bases) == {
        name for name, scope in system.stage(2).scopes.items() if scope == "shared"
    } | system.protection.immovable(system)
    assert all(len(found) == 2 for found in bases.values())


def test_a_tensor_without_a_direction_left_is_declared_frozen(normals):
    system, _, bases = two_tasks("joint", normals)
    assert bases["mixer.level"][0].shape == (1, 1)  # one number, and one direction takes it
    assert system.stage(2).scopes["mixer.level"] == "frozen"
    assert two_tasks("hook", normals)[0].stage(2).scopes["mixer.level"] == "frozen"
    assert two_tasks("sequential", normals)[0].stage(2).scopes["mixer.level"] == "shared"


def test_directions_hold_the_asked_energy_and_no_more_than_their_rank(rng):
    gradients = torch.from_numpy(rng.normal(size=(12, 40)) * 0.5 ** np.arange(12)[:, None])
    energy = torch.linalg.svdvals(gradients).square()
    for threshold in (0.5, 0.9, 0.99, 1.0):
        basis = leading_directions(gradients, threshold=threshold, rank=50)
        torch.testing.assert_close(basis.T @ basis, torch.eye(basis.shape[1], dtype=torch.float64))
        kept = float((gradients @ basis).square().sum() / energy.sum())
        assert kept >= threshold - 1e-12
        if basis.shape[1] > 1:
            fewer = float((gradients @ basis[:, :-1]).square().sum() / energy.sum())
            assert fewer < threshold
    assert leading_directions(gradients, threshold=1.0, rank=3).shape == (40, 3)
    assert leading_directions(torch.zeros(5, 7), threshold=0.99, rank=3).shape == (7, 0)


def test_a_planted_direction_is_found(rng):
    planted = torch.from_numpy(rng.normal(size=30))
    planted /= planted.norm()
    gradients = torch.outer(torch.from_numpy(rng.normal(size=8)), planted)
    noise = 0.01 * torch.from_numpy(rng.normal(size=(8, 30)))
    found = leading_directions(gradients + noise, threshold=0.9, rank=50)
    assert found.shape == (30, 1)
    assert abs(float(planted @ found[:, 0])) > 0.999


def test_joining_knows_what_it_has_already():
    basis = torch.linalg.qr(torch.randn(20, 4, generator=torch.Generator().manual_seed(0)))[0]
    assert joined([basis, basis[:, [1, 0]]]).shape == (20, 4)
    assert joined([basis[:, :0]]).shape == (20, 0)


def test_a_gradient_is_that_of_the_tasks_mean_nll(normals):
    system, _, _ = two_tasks("none", normals)
    name = "flow.0.subnet.t1.base.weight"
    (found,) = likelihood_gradients(system, normals[0][:3], task=0, names=[name], size=3)
    value = dict(system.named_parameters())[name]
    scores = system.eval().patch_scores(torch.from_numpy(normals[0][:3]), task=0)
    torch.testing.assert_close(found[name], torch.autograd.grad(scores.mean(), value)[0])


def test_looking_at_gradients_leaves_the_system_as_it_was(normals):
    system, _, _ = two_tasks("none", normals)
    flags = {name: value.requires_grad for name, value in system.named_parameters()}
    list(likelihood_gradients(system, normals[0], task=0, names=["mixer.level"], size=5))
    assert {name: value.requires_grad for name, value in system.named_parameters()} == flags
    assert system.training


def test_images_are_evenly_spaced():
    assert chosen(10, limit=20).tolist() == list(range(10))
    assert chosen(10, limit=4).tolist() == [0, 3, 6, 9]


def test_a_second_optimiser_is_not_projected_twice(normals):
    system, _, _ = two_tasks("hook", normals)
    rule = system.protection.rule
    names = dict(system.named_parameters())
    for _ in range(3):
        rule.attach(torch.optim.SGD([names["mixer.convolution.weight"]], lr=0.1), names)
    assert len(names["mixer.convolution.weight"]._post_accumulate_grad_hooks) == 1


def test_the_log_tells_ranks_memory_and_what_is_left_of_a_step(normals):
    system, held, bases = two_tasks("joint", normals)
    step(system, held, normals[2], task=2, times=1)
    found = system.protection.readings()
    assert found["projection_directions"] == sum(basis.shape[1] for each in bases.values() for basis in each)
    size = sum(basis.numel() for each in bases.values() for basis in each)
    assert found["projection_megabytes"] == pytest.approx(8 * size / 2**20)
    assert 0 < found["projection_share"] < 1


def test_too_few_batches_are_refused_before_the_task_is_trained(normals):
    system = MoLEFlow.create(PARTS | {"projection": "joint"}, dim=DIM, grid=GRID, seed=0).double()
    system.add_task(0)
    system.double()
    with pytest.raises(MechlabError, match=r"task 0 gives 4 batches of gradients .* lower batch_size 2"):
        system.prepare(0, normals[0][:8])
    system.prepare(0, normals[0][:10])


def test_a_rule_without_bases_touches_nothing():
    weight = nn.Parameter(torch.ones(3))
    held = torch.optim.SGD([weight], lr=1.0)
    Projection(Memory(), "joint").attach(held, {"weight": weight})
    weight.grad = torch.ones(3)
    held.step()
    assert torch.equal(weight.detach(), torch.zeros(3))
