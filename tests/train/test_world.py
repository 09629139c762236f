"""A step on several ranks is the step on one: shares, sums, and what breaks the law."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mechlab import systems
from mechlab.errors import MechlabError
from mechlab.train import scopes
from mechlab.train.loop import Progress, run_task
from mechlab.train.world import (
    ALONE,
    batch_loss,
    first_says,
    gathered,
    refuse_disagreement,
    share,
    sum_gradients,
)

GRID, DIM, ITEMS = (4, 4), 8, 11
ATOL = 1e-6  # of parameters after 6 steps of about 5e-4; measured: 1.5e-8, unweighted shares 7e-4


def flow(parts, dtype=torch.float32):
    """A small flow off its identity start, so that each term of its loss has a gradient."""
    small = {"blocks": 2, "lora_rank": 2, "dia_blocks": 1, "epochs": 2, "batch_size": 4}
    system = systems.load(systems.catalog("moleflow").SYSTEM.target).create(
        dict(systems.preset("moleflow", "reduced").parts) | small | parts, dim=DIM, grid=GRID, seed=0
    )
    system.add_task(0)
    system.prepare(0, pictures())
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in system.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=draw)
    return system.to(dtype)


def pictures():
    return np.random.default_rng(0).normal(size=(ITEMS, *GRID, DIM)).astype(np.float32)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [1, 4, 7])
def test_shares_are_the_batch_once_and_weigh_one(count, size, together):
    items = np.arange(10, 10 + count)
    shares = together(size, lambda here: share(items, here))
    taken = np.concatenate([one.items for one in shares if not one.is_empty])
    assert taken.tolist() == items.tolist()
    assert sum(one.weight for one in shares) == pytest.approx(1.0, abs=1e-15)
    assert all(len(one.items) for one in shares)  # a rank without an image still has something to look at
    assert sum(one.is_empty for one in shares) == max(0, size - count)


TERMS = {
    "mean": {"tail_weight": 0.0, "log_det_weight": 0.0},
    "tail of each image": {"tail_weight": 1.0, "tail_ratio": 0.2, "log_det_weight": 0.0},
    "log-det penalty": {"tail_weight": 0.0, "log_det_weight": 1.0},
    "all": {"tail_weight": 0.7, "tail_ratio": 0.2, "log_det_weight": 0.1},
}


def gradient_of(parts, items, here):
    """Return loss, terms and gradient of a batch as the ranks of `here` find them, in float64."""
    system, own = flow(parts, torch.float64), share(items, here)
    loss = system.loss(torch.from_numpy(pictures()[own.items]).double(), task=0)
    value, terms = batch_loss(here, loss, weight=own.weight)
    (loss.total * own.weight).backward()
    sum_gradients(here, system.parameters())
    held = [one.grad.reshape(-1) for one in system.parameters() if one.grad is not None]
    return value, terms, torch.cat(held)


@pytest.mark.parametrize(("count", "size"), [(5, 2), (7, 3), (1, 2), (2, 3)])
@pytest.mark.parametrize("parts", TERMS.values(), ids=TERMS)
def test_every_term_of_the_loss_is_the_weighted_sum_of_its_shares(parts, count, size, together):
    items = np.arange(count)
    value, terms, gradient = gradient_of(parts, items, ALONE)
    for found, found_terms, found_gradient in together(size, lambda here: gradient_of(parts, items, here)):
        assert found == pytest.approx(value, rel=1e-13)
        assert found_terms == pytest.approx(terms, rel=1e-12)
        assert farthest(found_gradient, gradient) < 1e-12 * float(gradient.abs().max())


def trained(here, *, observer=None, features=None):
    system = flow({"learning_rate": 1e-3})
    stage = system.stage(0)
    scopes.apply(system, stage)
    end = run_task(
        system, pictures() if features is None else features, task=0, seed=0, stage=stage,
        optimizer=scopes.optimizer(system, stage), device=torch.device("cpu"), start=Progress(),
        observers=() if observer is None else (observer,), after_epoch=lambda _: None, world=here,
    )  # fmt: skip
    return end.losses, torch.cat([one.detach().reshape(-1) for one in system.parameters()])


def farthest(one, other):
    return float((one - other).abs().max())


@pytest.mark.parametrize("size", [2, 3, 4])
def test_several_ranks_end_where_one_device_ends(size, together):
    losses, parameters = trained(ALONE)  # batches of 4, 4 and 3: uneven on two ranks, one rank idle of four
    ranks = together(size, trained)
    for found, moved in ranks:
        assert found == pytest.approx(losses, rel=1e-6)
        assert farthest(moved, parameters) < ATOL
        assert torch.equal(moved, ranks[0][1])  # the ranks themselves agree in every bit
    assert farthest(parameters, flow_parameters()) > 1000 * ATOL  # far beyond the tolerance


def flow_parameters():
    return torch.cat([one.detach().reshape(-1) for one in flow({}).parameters()])


def test_an_unweighted_mean_over_ranks_would_be_noticed(monkeypatch, together):
    _, parameters = trained(ALONE)

    def unweighted(items, here):
        return replace(share(items, here), weight=1 / here.size)

    monkeypatch.setattr("mechlab.train.loop.share", unweighted)
    (_, moved), _ = together(2, trained)
    assert farthest(moved, parameters) > 100 * ATOL


class Seen:
    def __init__(self):
        self.began, self.gradients, self.ended = [], 0, []

    def before(self, step):
        self.began.append((step.step, step.items.tolist()))

    def after_backward(self, step):
        self.gradients += 1

    def after(self, step):
        self.ended.append(step)


def test_observers_see_their_own_images_and_the_whole_batch_s_loss(together):
    whole = Seen()
    trained(ALONE, observer=whole)
    seen = [Seen() for _ in range(4)]
    together(4, lambda here: trained(here, observer=seen[here.rank]))
    for step, items in whole.began:
        assert sorted(item for one in seen for at, some in one.began if at == step for item in some) == items
    last = seen[3]
    assert len(last.began) == last.gradients == len(last.ended) == 4  # the batches of 3 leave it without one
    expected = {step.step: step for step in whole.ended}
    for step in last.ended:
        assert step.loss == pytest.approx(expected[step.step].loss, rel=1e-6)
        assert step.gradient_norm == pytest.approx(expected[step.step].gradient_norm, rel=2e-5)


def test_a_loss_that_is_not_finite_on_one_rank_stops_all_with_one_sentence(together):
    features = pictures()
    features[3] = np.nan
    heard = []

    def work(here):
        with pytest.raises(MechlabError, match=r"the loss is nan at step \d") as caught:
            trained(here, features=features)
        heard.append(str(caught.value))

    together(3, work)
    assert len(heard) == 3 and len(set(heard)) == 1


def test_ranks_that_ended_with_different_parameters_are_refused(toy, together):
    def work(here, off):
        system = type(toy)()
        system.add_task(0)
        with torch.no_grad():
            system.base[0] += off * here.rank
        refuse_disagreement(here, system)
        return True

    assert all(together(3, lambda here: work(here, 0.0)))
    with pytest.raises(MechlabError, match="3 ranks ended the task with different parameters"):
        together(3, lambda here: work(here, 1e-7))


def test_the_first_decides_and_numbers_come_in_the_order_of_ranks(together):
    assert together(3, lambda here: first_says(here, here.rank == 0)) == [True] * 3
    assert together(3, lambda here: first_says(here, here.rank > 0)) == [False] * 3
    assert together(3, lambda here: gathered(here, 7 * here.rank)) == [(0, 7, 14)] * 3
    assert gathered(ALONE, 5) == (5,) and first_says(ALONE, True) and not first_says(ALONE, False)
