"""The task's own flow: nothing at the start, bounded, and undone in the right order."""

import pytest
import torch

from reproductions.moleflow.flow import dia


def adapter_of(dim: int, *, blocks: int = 3, task: int = 0, seed: int = 0) -> torch.nn.ModuleList:
    return dia.adapter(dim, blocks=blocks, hidden=6, clamp=1.9, task=task, seed=seed)


@pytest.mark.parametrize("dim", [6, 7], ids=["even", "odd"])
def test_adapter_is_the_identity_at_the_start(dim):
    x = torch.randn(2, 3, 3, dim)
    for block in adapter_of(dim):
        found = block(x)
        assert torch.equal(found.latent, x)
        assert torch.equal(found.log_det, torch.zeros(2, 3, 3))


def test_halves_alternate_so_that_two_blocks_move_every_channel():
    x = torch.randn(2, 3, 3, 7)
    first, second = adapter_of(7, blocks=2)
    with torch.no_grad():
        for block in (first, second):
            block.shift[-1].bias.fill_(1.0)
    assert torch.equal(first(x).latent[..., :3], x[..., :3])
    assert torch.equal(second(x).latent[..., 3:], x[..., 3:])
    assert not torch.isclose(second(first(x).latent).latent, x).any()


def test_log_scale_stays_below_the_clamp():
    block = adapter_of(6, blocks=1)[0].double()
    with torch.no_grad():
        block.log_scale[-1].bias.fill_(1e6)
    log_det = block(torch.randn(1, 2, 2, 6, dtype=torch.float64)).log_det
    assert torch.allclose(log_det, torch.full_like(log_det, 3 * 1.9))


def test_start_depends_on_seed_and_task():
    one, again, task, seed = (
        adapter_of(6, task=task, seed=seed)[0].shift[0].weight
        for task, seed in [(0, 0), (0, 0), (1, 0), (0, 1)]
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, task)
    assert not torch.equal(one, seed)
