"""The patch gate: 0.5 at the start; one number as sketched, one a patch as corrected."""

import pytest
import torch

from reproductions.moleflow.scopes import still_parameters
from reproductions.moleflow.system import MoLEFlow

GRID, DIM = (4, 5), 8
X = torch.randn(4, *GRID, DIM, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0] * 7 + [9.0])
PARTS = {"position": "none", "adapter": "none", "blocks": 1, "lora_rank": 2, "gate_hidden": 5}


def system_of(subnet: str) -> MoLEFlow:
    system = MoLEFlow.create(PARTS | {"subnet": subnet}, dim=DIM, grid=GRID, seed=0)
    system.add_task(0)
    return system


def gates(system: MoLEFlow) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    hook = system.flow[0].subnet.gate.register_forward_hook(lambda *call: seen.append(call[2].detach()))
    system(X, task=0)
    hook.remove()
    return seen[0]


def step(system: MoLEFlow, *, count: int = 4) -> None:
    optimizer = torch.optim.AdamW(system.parameters(), lr=0.05)
    for _ in range(count):
        optimizer.zero_grad()
        system.loss(X, task=0).total.backward()
        optimizer.step()


@pytest.mark.parametrize("subnet", ["gated", "gated-published"])
def test_gate_is_one_half_at_the_start(subnet):
    found = gates(system_of(subnet))
    assert found.shape == (4, *GRID, 1)
    assert torch.equal(found, torch.full_like(found, 0.5))


def test_corrected_gate_comes_to_vary_over_patches():
    system = system_of("gated")
    step(system)
    assert float(gates(system).std()) > 1e-3


def test_published_gate_stays_one_number_even_where_all_of_it_may_train():
    system = system_of("gated-published")
    step(system)  # over all parameters, whatever the stage declares
    found = gates(system)
    assert float(found.std()) == 0
    assert float(found[0, 0, 0, 0]) != 0.5
    gate = dict(system.named_parameters())
    held = list(still_parameters(system))
    assert held == [f"flow.0.subnet.gate.{name}" for name in ("first.weight", "first.bias", "last.weight")]
    for name in held:
        assert not gate[name].any()
        assert not gate[name].grad.any()
        assert system.stage(0).scopes[name] == "frozen"


def test_an_open_gate_passes_all_of_the_context():
    system = system_of("gated")
    subnet = system.flow[0].subnet
    with torch.no_grad():
        subnet.context.weight.normal_(generator=torch.Generator().manual_seed(1))
    half = subnet(X[..., :4], None, task=0)[0]
    with torch.no_grad():
        subnet.gate.last.bias.fill_(-1e3)
    shut = subnet(X[..., :4], None, task=0)[0]
    with torch.no_grad():
        subnet.context.weight.zero_()
    torch.testing.assert_close(subnet(X[..., :4], None, task=0)[0], shut)
    assert not torch.allclose(half, shut)
