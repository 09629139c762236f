"""The third version's adapter, and the switches of the whitening one."""

import pytest
import torch

from mechlab.errors import MechlabError
from reproductions.moleflow.adapter import WhiteningAdapter
from reproductions.moleflow.film import FiLMAdapter
from reproductions.moleflow.system import MoLEFlow

GRID, DIM = (3, 4), 8
X = torch.randn(2, *GRID, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def film_of(*, task: int) -> FiLMAdapter:
    return FiLMAdapter(DIM, task=task, seed=0).double()


def test_task_0_keeps_nine_tenths_of_its_features():
    adapter = film_of(task=0)
    torch.testing.assert_close(adapter(X), 0.9 * X + 0.1 * adapter.changed(X))
    later = film_of(task=1)
    torch.testing.assert_close(later(X), later.changed(X))
    assert not torch.allclose(later(X), 0.9 * X + 0.1 * later.changed(X))


def test_factor_shift_and_gate_act_where_the_notes_put_them():
    adapter = film_of(task=1)
    with torch.no_grad():
        adapter.gate.zero_()
        adapter.gamma.fill_(2.0)
        adapter.beta.fill_(-1.0)
    torch.testing.assert_close(adapter(X), 2 * torch.nn.functional.layer_norm(X, (DIM,)) - 1)


@pytest.mark.parametrize(("dim", "hidden"), [(8, 128), (768, 384)])
def test_network_is_half_the_channels_wide_and_at_least_128(dim, hidden):
    assert FiLMAdapter(dim, task=0, seed=0).first.out_features == hidden


def test_without_layer_norm_a_patch_keeps_its_length():
    kept, lost = (
        WhiteningAdapter(DIM, task=1, low=0.5, high=2.0, limit=2.0, standardises=standardises).double()
        for standardises in (False, True)
    )
    torch.testing.assert_close(kept(3 * X), 3 * kept(X))  # its shift starts at 0
    torch.testing.assert_close(lost(3 * X), lost(X), rtol=1e-4, atol=1e-4)


def test_regulariser_pulls_the_first_task_to_the_identity_and_no_other():
    parts = {"lora_rank": 2, "blocks": 1, "tail_weight": 0.0, "log_det_weight": 0.0, "identity_weight": 0.1}
    system = MoLEFlow.create(parts, dim=DIM, grid=GRID, seed=0)
    for task in range(2):
        system.add_task(task)
    first, second = (system.loss(X.float(), task=task) for task in range(2))
    away = 0.1 * system.adapter["0"].distance_from_identity()
    torch.testing.assert_close(first.total - first.terms["nll"], away, rtol=1e-2, atol=1e-6)
    assert torch.equal(first.terms["identity"], away)
    assert "identity" not in second.terms


def test_a_regulariser_without_an_adapter_on_task_0_is_refused():
    with pytest.raises(MechlabError, match=r"identity_weight 0.1 acts on the first task's adapter"):
        MoLEFlow.create(
            {"identity_weight": 0.1, "adapter_first_task": False, "lora_rank": 2}, dim=DIM, grid=GRID, seed=0
        )
