"""What a task has of its own is built for its grid; what tasks share knows none, or is refused."""

import numpy as np
import pytest
import torch

from mechlab.errors import MechlabError
from mechlab.train.view import View
from reproductions.moleflow.config import MoLEFlowConfig
from reproductions.moleflow.grids import Grids
from reproductions.moleflow.position import sine_embedding, turned_embedding
from reproductions.moleflow.system import MoLEFlow

SMALL = {"blocks": 2, "lora_rank": 2, "dia_blocks": 1, "context_kernel": 3}
RUN, OWN = (4, 4), (6, 6)


def created(grids=None, **parts):
    system = MoLEFlow.create(SMALL | parts, dim=8, grid=RUN, seed=0, grids=grids)
    for task in range(2):
        system.add_task(task)
    return system


def features(rng, grid, items=6):
    return rng.standard_normal((items, *grid, 8)).astype(np.float32)


@pytest.mark.parametrize("position", ["sine", "condition", "tape", "none"])
@pytest.mark.parametrize("adapter", ["whitening", "diagonal"])
def test_each_task_scores_and_inverts_on_its_own_grid(position, adapter, rng):
    system = created({1: OWN}, position=position, adapter=adapter).double()
    for task, grid in ((0, RUN), (1, OWN)):
        values = features(rng, grid)
        system.prepare(task, values)
        system.finish_task(task, values)
        batch = torch.from_numpy(values).double()
        assert system.patch_scores(batch, task=task).shape == (6, *grid)
        adapted = system.adapt(batch, task=task)
        latent = system.to_latent(adapted, task=task).latent
        torch.testing.assert_close(system.inverse(latent, task=task), adapted)
        wrong = torch.from_numpy(features(rng, OWN if task == 0 else RUN)).double()
        with pytest.raises(ValueError, match="features of"):
            system.patch_scores(wrong, task=task)


def test_a_grid_of_a_task_leaves_the_others_to_the_bit(rng):
    one, two = created(), created({1: OWN})
    plain, changed = one.state_dict(), two.state_dict()
    assert plain.keys() == changed.keys()  # embeddings are made, not stored
    assert all(torch.equal(plain[name], changed[name]) for name in plain)
    batch = torch.from_numpy(features(rng, RUN))
    assert torch.equal(one.patch_scores(batch, task=0), two.patch_scores(batch, task=0))


def test_a_task_s_own_place_is_that_of_its_grid():
    grids = Grids(MoLEFlowConfig(position="sine"), RUN, {1: OWN}, dim=8)
    assert torch.equal(grids.embedding(task=0), sine_embedding(RUN, dim=8))
    assert torch.equal(grids.embedding(task=1), sine_embedding(OWN, dim=8))
    turning = Grids(MoLEFlowConfig(position="sine", rotation=30.0, position_turns=True), RUN, {1: OWN}, dim=8)
    view = View(angles=torch.tensor([10.0, -20.0]))
    found = turning.embedding(task=1, view=view)
    torch.testing.assert_close(found, turned_embedding(OWN, view.angles, dim=8))
    assert found.shape == (2, *OWN, 8)


def test_routing_takes_what_it_was_last_told(rng):
    system, fine, coarse = created({1: OWN}), features(rng, OWN), features(rng, RUN)
    system.finish_task(1, fine)
    system.route_by(1, coarse)
    twin = created()
    twin.finish_task(1, coarse)
    for name, value in twin.router["1"].state_dict().items():
        assert torch.equal(system.router["1"].state_dict()[name], value)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"branch": "sc-lora"}, "spreads its factors over the run's grid"),
        ({"position": "relative"}, "knows the distances of the run's grid"),
        ({"position": "content"}, "finds prototypes at the places of the run's grid"),
        ({"position": "hybrid"}, "finds prototypes at the places of the run's grid"),
        ({"mixer": "global"}, "cuts the run's grid into regions"),
        ({"base": "shared", "distillation_weight": 1.0}, "shows a task's images to the experts of others"),
    ],
    ids=str,
)
def test_what_tasks_share_on_one_grid_is_refused(parts, reason):
    with pytest.raises(MechlabError, match=f"task 1 sees a grid of its own, and .* {reason}"):
        created({1: OWN}, **parts)
    assert created(**parts).place.shape[:2] == RUN


def test_replay_and_consolidation_know_each_task_s_own_grid(rng):
    keys = {
        "base": "shared",
        "replay_images": 4,
        "distillation_weight": 1.0,
        "ewc_weight": 1.0,
        "batch_size": 2,
    }
    system = created({1: OWN}, **keys)
    system.prepare(0, coarse := features(rng, RUN))
    system.finish_task(0, coarse)
    system.prepare(1, fine := features(rng, OWN))
    system.train()
    loss = system.loss(torch.from_numpy(fine), task=1)
    assert {"replay", "distillation", "ewc"} <= loss.terms.keys()
    assert torch.isfinite(loss.total)
