"""Scores averaged over quarter turns: what turning does with a position, and what it cannot do."""

import numpy as np
import pytest
import torch

from mechlab.errors import MechlabError
from mechlab.train.orientations import oriented_scores
from mechlab.train.session import reevaluate
from reproductions.moleflow.system import MoLEFlow

DIM, SIDE = 8, 5
ALONE = {"mixer": "none", "subnet": "plain", "adapter": "none", "blocks": 2, "lora_rank": 2, "dia_blocks": 1}


@pytest.fixture
def x(rng) -> torch.Tensor:
    return torch.from_numpy(rng.normal(size=(3, SIDE, SIDE, DIM)).astype(np.float32))


def system_of(parts: dict) -> MoLEFlow:
    system = MoLEFlow.create(ALONE | parts, dim=DIM, grid=(SIDE, SIDE), seed=0)
    system.add_task(0)
    return system.eval()


def scores(system, x, orientations):
    with torch.inference_mode():
        return oriented_scores(system, x, task=0, orientations=orientations)


MIXED = {"mixer": "depthwise", "subnet": "context", "context_kernel": 3}


@pytest.mark.parametrize("orientations", ["four", "four-placed"])
@pytest.mark.parametrize("parts", [{}, MIXED], ids=["alone", "mixed"])
def test_without_a_position_turning_the_features_turns_the_scores(orientations, parts, x):
    system = system_of({"position": "none"} | parts)
    here = scores(system, x, orientations)
    there = scores(system, torch.rot90(x, 1, (1, 2)), orientations)
    torch.testing.assert_close(there, torch.rot90(here, 1, (1, 2)), rtol=1e-4, atol=1e-4)


def test_a_position_that_is_told_anew_is_averaged_over_four_places(x):
    system = system_of({"position": "sine"})
    here, there = (scores(system, value, "four") for value in (x, torch.rot90(x, 1, (1, 2))))
    torch.testing.assert_close(there, torch.rot90(here, 1, (1, 2)), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(here, scores(system, x, "one"), atol=1e-2)


def test_turning_what_is_already_placed_moves_no_patch_of_a_flow_that_sees_patches_alone(x):
    system = system_of({"position": "sine"})
    torch.testing.assert_close(
        scores(system, x, "four-placed"), scores(system, x, "one"), rtol=1e-4, atol=1e-4
    )
    mixed = system_of({"position": "sine"} | MIXED)
    with torch.no_grad():
        mixed.mixer.convolution.weight.copy_(torch.randn_like(mixed.mixer.convolution.weight))
    assert not torch.allclose(scores(mixed, x, "four-placed"), scores(mixed, x, "one"), atol=1e-2)


def test_what_cannot_be_turned_is_refused(x):
    system = system_of({"position": "sine"})
    with pytest.raises(MechlabError, match="a grid of 4x5 patches"):
        oriented_scores(system, x[:, :4], task=0, orientations="four")
    with pytest.raises(MechlabError, match="scorer=dual"):
        scores(system_of({"scorer": "dual"}), x, "four-placed")
    with pytest.raises(MechlabError, match="align=stn"):
        scores(system_of({"align": "stn"}), x, "four-placed")

    class Placeless:
        def patch_scores(self, batch, *, task):
            return batch.sum(dim=-1)

        add_task = prepare = stage = loss = finish_task = task_distances = patch_scores

    with pytest.raises(MechlabError, match="Placeless gives them none"):
        oriented_scores(Placeless(), x, task=0, orientations="four-placed")


def test_a_run_is_evaluated_in_four_orientations(small_run):
    plain, four = (reevaluate(small_run, settings={"orientations": kind}) for kind in ("one", "four"))
    assert "orientations" not in plain["spec"]
    assert four["spec"]["orientations"] == "four"
    assert four["hashes"] != plain["hashes"]
    assert {name: one["routing_accuracy"] for name, one in four["metrics"].items()} == {
        name: one["routing_accuracy"] for name, one in plain["metrics"].items()
    }
